/**
 * The composition root: settings, store, adapters, capabilities, doors, in this order. `adapters.ts` knows
 * which adapters those are. It decides nothing a room could decide.
 */
import "./cli/more-connections.ts";
import { join } from "node:path";
import { existsSync, mkdirSync } from "node:fs";
import { askNode, chooseUpstreams, configuredUpstreams, leasePath, lncParts, nodeToCheck, openNode, openRates, readRights, searchOffer } from "./adapters.ts";
import { systemClock, systemRandom } from "./base/clock.ts";
import { AppError } from "./base/errors.ts";
import { newId } from "./base/ids.ts";
import { drainMs, hangUpMs } from "./base/limits.ts";
import { describeError, log } from "./base/log.ts";
import { Accounts } from "./accounts/accounts.ts";
import { findKey } from "./accounts/keys.ts";
import { Topups } from "./accounts/topups.ts";
import { Collect, type CollectRules } from "./accounts/collect.ts";
import { Charge } from "./charge/charge.ts";
import { auditCommand } from "./cli/audit.ts";
import { backupCommand, restoreCommand } from "./cli/backup.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { greetingText } from "./cli/greeting.ts";
import { lncCommand } from "./cli/lnc.ts";
import { keyCommand } from "./cli/key.ts";
import { reconcileCommand } from "./cli/reconcile.ts";
import { pricesCommand } from "./cli/prices.ts";
import { usageText } from "./cli/usage.ts";
import { readInput } from "./cli/read-input.ts";
import { stopOnSignal } from "./cli/stop-on-signal.ts";
import { secretCommand } from "./cli/secret.ts";
import type { SecretsToCheck } from "./cli/doctor-secrets.ts";
import { loadConfig, readSettings } from "./config/load.ts";
import { sealPlace } from "./config/seal.ts";
import { SealedSecrets } from "./config/sealed-secrets.ts";
import { plainSecrets } from "./config/secret-settings.ts";
import type { Config } from "./config/schema.ts";
import { loadOrMakeSecret, readSecret } from "./config/secrets.ts";
import { Gateway } from "./gateway/gateway.ts";
import { LoadBook } from "./gateway/load-book.ts";
import { Learnt } from "./gateway/learnt.ts";
import { ModelDirectory } from "./gateway/model-directory.ts";
import { OrderDesk } from "./gateway/order-desk.ts";
import { OrderPlanner } from "./gateway/order-planner.ts";
import type { DvmSettings } from "./gateway/dvm-order.ts";
import { offersPayment, realm } from "./http/challenge-body.ts";
import { describeService } from "./http/discovery/service.ts";
import { parseTrustedProxies } from "./http/client-address.ts";
import { containerGateways } from "./http/container-gateways.ts";
import { Addresses, openDoor, ownerApp, publicApp } from "./http/doors.ts";
import type { Sandbox } from "./http/routes/sandbox.ts";
import { ChallengeMint } from "./l402/challenge-mint.ts";
import { CredentialDesk } from "./l402/credential.ts";
import { startBoot } from "./ledger/boot.ts";
import { boundedNode } from "./lightning/bounded-node.ts";
import { pairLnc, sessionCommand } from "./lightning/lnc-node.ts";
import { sat, satToMsat } from "./money/msat.ts";
import { nodeCommand } from "./cli/node.ts";
import { payoutsCommand } from "./cli/payouts.ts";
import { OwnerPayouts } from "./owner/payouts.ts";
import { OwnerKeys } from "./owner/keys.ts";
import { hasPassword, isPassword, setPassword } from "./owner/password.ts";
import { makeReport, type NodeHealth } from "./owner/report.ts";
import { Reconciler } from "./owner/reconciler.ts";
import { OwnerSessions } from "./owner/session.ts";
import { Inbound } from "./payments/inbound.ts";
import { NodeGuard } from "./payments/node-guard.ts";
import { Payments } from "./payments/payments.ts";
import { Payouts } from "./payments/payouts.ts";
import { SettlementWatcher } from "./payments/watcher.ts";
import { priceAndCost } from "./pricing/owner-prices.ts";
import { loadPrices } from "./pricing/price-table.ts";
import { isLeased, takeLease } from "./store/lease.ts";
import { openReader } from "./store/reader.ts";
import { ThreadWriter } from "./store/writer.ts";
import type { Upstream } from "./upstream/upstream.ts";

/** Exit code of a process that must not go on (EX_SOFTWARE); the supervisor starts it again. */
const fatalExit = 70;
/** With play money nobody from outside may come in. */
const loopback = "127.0.0.1";

const clock = systemClock;
const random = systemRandom;

const consoleKeyPath = (config: Config) => join(config.data_dir, "keys", "console");
const databasePath = (config: Config) => join(config.data_dir, "hearth.db");

const ownersDoorOf = (config: Config) => ({ port: config.owner_port, consoleKey: readSecret(consoleKeyPath(config)) });

function fatal(reason: string): never {
  log.error("fatal", { reason });
  process.exit(fatalExit);
}

function secretsToCheck(dataDir: string): SecretsToCheck {
  const { fromFile } = readSettings({ demo: false, environment: process.env });
  return { place: sealPlace(dataDir, process.env), names: new SealedSecrets(dataDir, process.env, random).names(), plain: plainSecrets(fromFile) };
}

/** The database and a boot that adds up, for one process alone. Ends the process where it does not. */
async function openLedger(config: Config) {
  const lease = takeLease(leasePath(config));
  const writer = await ThreadWriter.open(new Worker(new URL("./writer.ts", import.meta.url).href), databasePath(config), fatal);
  const reader = openReader(databasePath(config));
  const booted = await writer.durable(startBoot, { atMs: clock.nowMs() });
  if (!booted.ok) fatal(`the ledger does not add up: ${booted.findings.map((one) => `${one.rule} ${one.what}`).join("; ")}`);
  if (booted.voided > 0) log.warn("boot.voided_calls", { calls: booted.voided });
  const close = async () => {
    await writer.close();
    reader.close();
    lease.release();
  };
  return { writer, reader, boot: booted.boot, close };
}

/** The ledger with the node it belongs to. Ends the process when that is another one. */
async function openBooks(config: Config) {
  const ledger = await openLedger(config);
  const { node: adapter, sandbox, lnc } = openNode(config);
  const node = new NodeGuard({ node: boundedNode(adapter), ...ledger, onStranger: fatal });
  await node.check().catch((error: unknown) => log.warn("node.not_reached", { reason: describeError(error) }));
  const close = async () => {
    await lnc?.stop();
    await ledger.close();
    sandbox?.close();
  };
  return { ...ledger, node, sandbox, nodeHealth: () => lookAtNode(node), close };
}

/** What the owner sees of it. */
async function lookAtNode(guard: NodeGuard): Promise<NodeHealth> {
  const condition = await guard.condition();
  const receivableMsat = condition.kind === "ready" ? await guard.receivableMsat().catch(() => undefined) : undefined;
  return { ...guard.identity, condition, receivableMsat };
}

type Books = Awaited<ReturnType<typeof openBooks>>;

/** Everything that earns: payments, accounts, the till, the gateway. */
function openShop(config: Config, books: Books, upstreams: readonly Upstream[]) {
  const { writer, reader, node, boot } = books;
  const secret = (name: string) => loadOrMakeSecret(join(config.data_dir, "keys", name), 32, random);
  const [master, tokenKey] = [secret("credentials"), secret("tokens")];
  const { limits } = config;
  const inbound = new Inbound(node, clock);
  const payments = new Payments({
    node, writer, reader, clock, random, boot, inbound,
    limits: { inAll: limits.max_open_invoices, perAddress: limits.max_open_invoices_per_address, owedMsat: satsToMsat(limits.max_owed_sats) },
  });
  const watcher = new SettlementWatcher({ node, payments, reader, clock });
  const rates = openRates(config);
  const prices = loadPrices(config.data_dir);
  // As the Lightning charge draft names networks. Nothing is offered before the node has answered once.
  const paymentNetwork = () => (node.identity?.network === "sandbox" ? "regtest" : (node.identity?.network ?? "mainnet"));
  const setting = { offerPayment: offersPayment(config.public_url ?? `http://${config.node === "sandbox" ? loopback : config.listen}`), paymentNetwork, rate: () => rates.current(), discountPercent: config.prices.lightning_discount_percent };
  const isLiveKey = (hash: string) => findKey(reader, hash)?.ended === undefined;
  const desk = new CredentialDesk({ master, payments, clock, offer: () => ({ realm, network: paymentNetwork() }), isLiveKey });
  const mint = new ChallengeMint({ master, payments, clock, random });
  const accounts = new Accounts({ reader, writer, clock, desk });
  const topups = new Topups({ accounts, desk, mint, payments, writer, reader, clock, tokenKey, boot, alwaysSecret: config.claim_needs_secret });
  const payouts = new Payouts({ node, writer, reader, clock, boot, reserveMsat: satsToMsat(config.payouts.reserve_sats) });
  const collect = new Collect({ accounts, payouts, writer, reader, clock, random, boot, node: () => node.identity, rules: collectRules(config) });
  const charge = new Charge({ accounts, desk, mint, writer, reader, clock, boot, minPriceSats: sat(BigInt(limits.min_price_sats)), trial: trialRules(config, master) });
  const directory = new ModelDirectory({
    upstreams, clock,
    priceOf: (upstream, { id, listedPrice }) => priceAndCost(config, prices, upstream, id, listedPrice),
    rate: () => rates.current(),
    aliases: config.aliases,
    discountPercent: config.prices.lightning_discount_percent,
  });
  const caps = { defaultOutputTokens: limits.default_output_tokens, maxOutputTokens: limits.max_output_tokens };
  const trial = { models: config.trial.models, maxOutputTokens: config.trial.max_output_tokens };
  const planner = new OrderPlanner({
    directory, dvm: dvmSettings(config), search: searchOffer(config), trial: { models: config.trial.models, maxOutputTokens: config.trial.max_output_tokens },
    rate: () => rates.current(), discountPercent: config.prices.lightning_discount_percent, nowMs: () => clock.nowMs(),
  });
  const loads = new LoadBook(clock);
  const orders = new OrderDesk({ till: charge, loads });
  const reconciler = new Reconciler({ node, payments, payouts, reader, clock });
  return { payments, payouts, collect, inbound, watcher, rates, setting, accounts, topups, mint, tokenKey, directory, planner, orders, reconciler, gateway: new Gateway({ directory, till: charge, clock, limits: caps, trial, learnt: Learnt.from(reader), loads }) };
}

const satsToMsat = (sats: number) => satToMsat(sat(BigInt(sats)));

function collectRules({ payouts }: Config): CollectRules {
  return {
    minSats: sat(BigInt(payouts.min_payout_sats)),
    feeLimit: { percent: payouts.max_fee_percent, baseMsat: satsToMsat(payouts.max_fee_base_sats) },
    caps: { dailyMsat: satsToMsat(payouts.max_daily_sats), dailyPerAccountMsat: satsToMsat(payouts.max_daily_sats_per_account) },
  };
}

function trialRules({ trial }: Config, addressKey: Uint8Array) {
  if (trial.models.length === 0) return undefined;
  return { callsPerDay: trial.calls, dailyBudgetMsat: satsToMsat(trial.daily_budget_sats), addressKey };
}

function dvmSettings({ dvm }: Config): DvmSettings | undefined {
  return dvm && { model: dvm.model, priceMsat: satsToMsat(dvm.price_sats), maxOutputTokens: dvm.max_output_tokens, maxPromptCharacters: dvm.max_prompt_characters };
}

type Shop = ReturnType<typeof openShop>;

function openOwnersDoor(config: Config, { writer, reader, nodeHealth }: Books, { payments, payouts, directory, tokenKey, reconciler }: Shop) {
  const consoleKey = loadOrMakeSecret(consoleKeyPath(config), 32, random);
  const sessions = new OwnerSessions({ clock, random, consoleKey, checkPassword: (password) => isPassword(reader, password) });
  const report = () =>
    makeReport({
      reader, clock, nodeHealth,
      payouts: () => ({ state: payouts.state, open: payouts.open.length }),
      reconciled: () => reconciler.last,
      openInvoices: () => payments.openInvoices,
      upstreams: () => directory.health(),
      storage: () => ({ full: writer.full, queued: writer.queued }),
    });
  const keys = new OwnerKeys({ reader, writer, clock, tokenKey });
  const app = ownerApp({ sessions, keys, payouts: new OwnerPayouts({ payouts, writer, reader, random }), report, reconcile: (days) => reconciler.run(days), setPassword: (password) => setPassword(writer, password), newRequestId: () => newId("r", clock.nowMs(), random) });
  return { sessions, door: openDoor(app, loopback, config.owner_port, "HEARTH_OWNER_PORT") };
}

async function serve(config: Config, demo: boolean): Promise<void> {
  const { upstreams, model } = await chooseUpstreams(config, demo);
  mkdirSync(config.data_dir, { recursive: true, mode: 0o700 });
  const books = await openBooks(config);
  for (const { setting, missing, dangerous } of readRights(config)) {
    if (dangerous.length > 0) log.warn("node.more_rights_than_needed", { setting, rights: dangerous.join(" ") });
    if (missing.length > 0) log.warn("node.rights_missing", { setting, rights: missing.join(" ") });
  }
  const shop = openShop(config, books, upstreams);
  await shop.directory.refresh();
  await shop.payouts.start();
  shop.watcher.start();
  void shop.directory.run();
  void shop.rates.run();
  void shop.reconciler.start();

  const play = books.sandbox;
  const sandbox: Sandbox | undefined = play && {
    pay: (bolt11) => play.pay(bolt11),
    payeesInvoice: ({ amountSats, held, expirySeconds }) => play.payer.invoice(satsToMsat(amountSats), held, expirySeconds),
    payeeDecides: (paymentHash, taken) => play.payer.decide(paymentHash, taken),
    misbehaveNode: (faults) => (play.misbehave(faults), play.faults()),
    misbehaveModel: model && ((faults) => (model.misbehave(faults), { ...model.faults() })),
  };
  const owner = openOwnersDoor(config, books, shop);
  const addresses = new Addresses(parseTrustedProxies(config.trusted_proxies), containerGateways());
  const app = publicApp({
    ...shop, sandbox, addresses, clock, random,
    service: () => describeService(config, { models: shop.directory.list(), flat: shop.planner.flatOffers(), rate: shop.rates.current() }, door.url.origin),
    limits: { minSats: config.limits.min_topup_sats, maxSats: config.limits.max_topup_sats },
    streams: { open: 0, onCredited: (paymentHash, listener) => shop.payments.onCredited(paymentHash, listener) },
  });
  const door = openDoor(app, play ? loopback : config.listen, config.port, "HEARTH_PORT", addresses);

  stopOnSignal(async () => {
    log.info("stopping", { active: door.activeRequests() });
    await Promise.race([Promise.all([door.stop(false), owner.door.stop(false)]), clock.sleep(drainMs)]);
    await Promise.race([Promise.all([door.stop(true), owner.door.stop(true)]), clock.sleep(hangUpMs)]);
    shop.directory.stop();
    shop.rates.stop();
    shop.reconciler.stop();
    await Promise.all([shop.watcher.stop(), shop.payouts.stop()]);
    await books.close();
    await model?.stop();
  }, fatal);
  process.stdout.write(greetingText({
    publicUrl: door.url.origin,
    ownerUrl: owner.door.url.origin,
    ownerCode: demo || !hasPassword(books.reader) ? owner.sessions.issueCode() : undefined,
    models: shop.directory.list().map((one) => one.id),
    inboundSats: await shop.inbound.receivable().then((msat) => msat && msat / 1000n),
    chatModel: shop.directory.listKind("chat")[0]?.id,
    sandbox: play !== undefined,
  }));
}

async function runNodeCommand(args: string[], config: Config, print: (line: string) => void): Promise<number> {
  if (!existsSync(databasePath(config))) throw new AppError("not_there", `There is no ledger at ${databasePath(config)}; set HEARTH_DATA_DIR to the data directory.`);
  return nodeCommand({ args, status: () => askNode(config), openBooks: () => openLedger(config), reader: openReader(databasePath(config)), nowMs: () => clock.nowMs() }, print);
}

async function run(argv: string[]): Promise<void> {
  const print = (line: string) => void process.stdout.write(line + "\n");
  const name = argv[0] ?? "help";
  switch (name) {
    case "serve":
    case "demo":
      return serve(loadConfig({ demo: name === "demo", environment: process.env }), name === "demo");
    case "audit":
      return process.exit(auditCommand(databasePath(loadConfig({ demo: false, environment: process.env })), print));
    case "doctor": {
      const config = loadConfig({ demo: false, environment: process.env });
      return process.exit(await doctorCommand({ config, upstreams: configuredUpstreams(config), rates: openRates(config), search: searchOffer(config)?.engine, node: config.node === "lnc" && isLeased(leasePath(config)) ? ownersDoorOf(config) : nodeToCheck(config), secrets: secretsToCheck(config.data_dir) }, print));
    }
    case "backup":
    case "restore": {
      const { dataDir } = readSettings({ demo: false, environment: process.env });
      return process.exit(name === "backup" ? backupCommand({ dataDir, folder: argv[1] }, print) : restoreCommand({ dataDir, folder: argv[1], nowMs: clock.nowMs() }, print));
    }
    case "secret": {
      const { dataDir } = readSettings({ demo: false, environment: process.env });
      const secrets = new SealedSecrets(dataDir, process.env, random);
      return process.exit(await secretCommand({ args: argv.slice(1), secrets, readInput }, print));
    }
    case "lnc": {
      const config = loadConfig({ demo: false, environment: process.env });
      const { payouts } = config.lnc;
      return process.exit(await lncCommand({ args: argv.slice(1), readInput, wanted: { command: sessionCommand(payouts), payouts }, pair: (phrase) => pairLnc(phrase, lncParts(config)) }, print));
    }
    case "key": {
      const config = loadConfig({ demo: false, environment: process.env });
      return process.exit(await keyCommand(argv.slice(1), ownersDoorOf(config), print));
    }
    case "node":
      return process.exit(await runNodeCommand(argv.slice(1), loadConfig({ demo: false, environment: process.env }), print));
    case "payouts":
      return process.exit(await payoutsCommand(argv.slice(1), ownersDoorOf(loadConfig({ demo: false, environment: process.env })), print));
    case "reconcile":
      return process.exit(await reconcileCommand(argv.slice(1), ownersDoorOf(loadConfig({ demo: false, environment: process.env })), print));
    case "prices": {
      const config = loadConfig({ demo: false, environment: process.env });
      // One that passes on to a cloud, as its `provider` says, is not the owner's electricity.
      const upstreams = configuredUpstreams({ ...config, upstreams: config.upstreams.filter((one) => one.provider === undefined) });
      return process.exit(await pricesCommand({ args: argv.slice(1), dataDir: config.data_dir, upstreams, rates: openRates(config), random }, print));
    }
    case "help":
    case "--help":
      return void process.stdout.write(usageText);
    default:
      process.stderr.write(`hearth: there is no command "${name}"\n\n${usageText}`);
      process.exit(2);
  }
}

process.on("unhandledRejection", (error) => fatal(`unhandled: ${describeError(error)}`));
process.on("uncaughtException", (error) => fatal(`uncaught: ${describeError(error)}`));
run(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`hearth: ${error instanceof AppError ? error.message : describeError(error)}\n`);
  process.exit(error instanceof AppError ? 2 : fatalExit);
});
