/**
 * The composition root: settings, store, adapters, capabilities, doors, in this order. The only file that names
 * adapters. It decides nothing a room could decide.
 */
import { join } from "node:path";
import { mkdirSync } from "node:fs";
import { systemClock, systemRandom } from "./base/clock.ts";
import { AppError } from "./base/errors.ts";
import { newId } from "./base/ids.ts";
import { drainMs } from "./base/limits.ts";
import { describeError, log } from "./base/log.ts";
import { Charge } from "./charge/charge.ts";
import { auditCommand } from "./cli/audit.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { greetingText } from "./cli/greeting.ts";
import { usageText } from "./cli/usage.ts";
import { loadConfig } from "./config/load.ts";
import type { Config } from "./config/schema.ts";
import { loadOrMakeSecret } from "./config/secrets.ts";
import { Gateway } from "./gateway/gateway.ts";
import { ModelDirectory } from "./gateway/model-directory.ts";
import { realm } from "./http/challenge-body.ts";
import { openDoor, ownerApp, publicApp } from "./http/doors.ts";
import type { Sandbox } from "./http/routes/sandbox.ts";
import { CredentialDesk } from "./l402/credential.ts";
import { startBoot } from "./ledger/boot.ts";
import { boundedNode } from "./lightning/bounded-node.ts";
import { openSandboxNode } from "./lightning/sandbox.ts";
import { sat } from "./money/msat.ts";
import { hasPassword, isPassword, setPassword } from "./owner/password.ts";
import { makeReport } from "./owner/report.ts";
import { OwnerSessions } from "./owner/session.ts";
import { bindNode } from "./payments/node-identity.ts";
import { Payments } from "./payments/payments.ts";
import { SettlementWatcher } from "./payments/watcher.ts";
import { ownerPrice } from "./pricing/owner-prices.ts";
import { takeLease } from "./store/lease.ts";
import { openReader } from "./store/reader.ts";
import { ThreadWriter } from "./store/writer.ts";
import { openAiCompatible } from "./upstream/openai-compatible.ts";
import { type SandboxModel, startSandboxModel } from "./upstream/sandbox-model.ts";
import type { Upstream } from "./upstream/upstream.ts";

/** Exit code of a process that must not go on (EX_SOFTWARE); the supervisor starts it again. */
const fatalExit = 70;
const demoTokenDelayMs = 15;
const ollamaUrl = "http://127.0.0.1:11434/v1";
/** With play money nobody from outside may come in. */
const loopback = "127.0.0.1";

const databasePath = (config: Config) => join(config.data_dir, "hearth.db");

function fatal(reason: string): never {
  log.error("fatal", { reason });
  process.exit(fatalExit);
}

function configuredUpstreams(config: Config): Upstream[] {
  return config.upstreams.map((one) => openAiCompatible({ name: one.name, url: one.url, key: one.key, capField: one.cap_field }));
}

/** The demo sells what is at hand: Ollama on this machine if it answers and has a model, else the sandbox model. */
async function demoUpstream(): Promise<{ upstream: Upstream; model: SandboxModel | undefined }> {
  const ollama = openAiCompatible({ name: "ollama", url: ollamaUrl, key: undefined, capField: undefined });
  const models = await ollama.models().catch(() => []);
  if (models.length > 0) return { upstream: ollama, model: undefined };
  const model = startSandboxModel({ tokenDelayMs: demoTokenDelayMs });
  return { upstream: openAiCompatible({ name: "sandbox", url: model.url, key: undefined, capField: undefined }), model };
}

function refuseCloudForPlayMoney(upstreams: readonly Upstream[]): void {
  const cloud = upstreams.find((upstream) => !upstream.local);
  if (cloud) throw new AppError("invalid_config", `The sandbox node makes play money, which must not buy real tokens: take the cloud upstream "${cloud.name}" out of the settings.`);
}

async function serve(config: Config, demo: boolean): Promise<void> {
  const clock = systemClock, random = systemRandom;
  mkdirSync(config.data_dir, { recursive: true, mode: 0o700 });
  const lease = takeLease(join(config.data_dir, "hearth.lock"));

  let upstreams = configuredUpstreams(config);
  let model: SandboxModel | undefined;
  if (upstreams.length === 0 && demo) {
    const found = await demoUpstream();
    upstreams = [found.upstream];
    model = found.model;
  }
  refuseCloudForPlayMoney(upstreams);

  const writer = await ThreadWriter.open(new Worker(new URL("./writer.ts", import.meta.url).href), databasePath(config), fatal);
  const reader = openReader(databasePath(config));
  const sandboxNode = openSandboxNode({ path: join(config.data_dir, "sandbox-node.jsonl"), clock, random });
  const node = boundedNode(sandboxNode);
  const identity = await node.status();
  const bound = await writer.durable(bindNode, { network: identity.network, publicKey: identity.publicKey });
  if (!bound.ok) fatal(`this data directory belongs to the ${bound.boundTo} ${bound.bound}; use another HEARTH_DATA_DIR for this one`);
  const booted = await writer.durable(startBoot, { atMs: clock.nowMs() });
  if (!booted.ok) fatal(`the ledger does not add up: ${booted.findings.map((one) => `${one.rule} ${one.what}`).join("; ")}`);
  if (booted.voided > 0) log.warn("boot.voided_calls", { calls: booted.voided });

  const master = loadOrMakeSecret(join(config.data_dir, "keys", "credentials"), 32, random);
  const { boot } = booted;
  const payments = new Payments({ node, writer, reader, clock, random, boot, maxOpenInvoices: config.limits.max_open_invoices });
  const watcher = new SettlementWatcher({ node, payments, reader, clock });
  const setting = { offerPayment: offersPayment(config), paymentNetwork: "regtest" };
  const topups = { minSats: config.limits.min_topup_sats, maxSats: config.limits.max_topup_sats };
  const desk = new CredentialDesk({ master, payments, clock, offer: { realm, network: setting.paymentNetwork } });
  const charge = new Charge({ desk, payments, writer, reader, clock, random, master, boot, minPriceSats: sat(BigInt(config.limits.min_price_sats)) });
  const directory = new ModelDirectory(upstreams, (upstream, id) => ownerPrice(config, upstream, id), clock);
  const gateway = new Gateway({
    directory, till: charge, clock,
    limits: { defaultOutputTokens: config.limits.default_output_tokens, maxOutputTokens: config.limits.max_output_tokens },
  });

  const sandbox: Sandbox = {
    pay: (bolt11) => sandboxNode.pay(bolt11),
    misbehaveNode: (faults) => (sandboxNode.misbehave(faults), sandboxNode.faults()),
    misbehaveModel: model && ((faults) => (model.misbehave(faults), { ...model.faults() })),
  };
  const sessions = new OwnerSessions({ clock, random, checkPassword: (password) => isPassword(reader, password) });
  const report = () =>
    makeReport({
      reader, clock,
      openInvoices: () => payments.openInvoices,
      nodeHealth: () => node.status().then(() => ({ ...identity, reachable: true }), () => ({ ...identity, reachable: false })),
      upstreams: () => directory.health(),
      storage: () => ({ full: writer.full, queued: writer.queued }),
    });

  await directory.refresh();
  watcher.start();
  void directory.run();
  const publicDoor = openDoor(publicApp({ gateway, charge, directory, sandbox, setting, topups, clock, random }), loopback, config.port);
  const ownerDoor = openDoor(
    ownerApp({ sessions, report, setPassword: (password) => setPassword(writer, password), newRequestId: () => newId("r", clock.nowMs(), random) }),
    loopback, config.owner_port,
  );
  const ownerCode = demo || !hasPassword(reader) ? sessions.issueCode() : undefined;
  process.stdout.write(greetingText({
    publicUrl: publicDoor.url.origin, ownerUrl: ownerDoor.url.origin, ownerCode, models: directory.list().map((one) => one.id), sandbox: true,
  }));

  const stop = async (): Promise<void> => {
    log.info("stopping", { active: publicDoor.activeRequests() });
    const drained = Promise.all([publicDoor.stop(false), ownerDoor.stop(false)]);
    await Promise.race([drained, clock.sleep(drainMs)]);
    await Promise.race([Promise.all([publicDoor.stop(true), ownerDoor.stop(true)]), clock.sleep(500)]);
    directory.stop();
    await watcher.stop();
    await writer.close();
    reader.close();
    sandboxNode.close();
    await model?.stop();
    lease.release();
    process.exit(0);
  };
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      if (!stopping) void stop();
      stopping = true;
    });
}

/** A `Payment` proof is a bare secret: it is offered only where nobody on the way can read it. */
function offersPayment(config: Config): boolean {
  return config.public_url === undefined || config.public_url.startsWith("https:") || /^http:\/\/(localhost|127\.|\[::1\])/.test(config.public_url);
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
      return process.exit(await doctorCommand(config, configuredUpstreams(config), print));
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
