/**
 * Which adapters the settings name: the node, the servers of models, the search engine, the sources of bitcoin's price. A part of the
 * composition root, and with main.ts the only file that knows them by name.
 */
import { join } from "node:path";
import { systemClock as clock, systemRandom as random } from "./base/clock.ts";
import { AppError } from "./base/errors.ts";
import type { NodeToCheck } from "./cli/doctor-node.ts";
import type { Config } from "./config/schema.ts";
import { SealedSecrets } from "./config/sealed-secrets.ts";
import type { SearchOffer } from "./gateway/order-planner.ts";
import { type LncNode, openLnc, sessionCommand } from "./lightning/lnc-node.ts";
import { lndNode } from "./lightning/lnd.ts";
import { lndAccess, readMacaroon } from "./lightning/lnd-access.ts";
import { judgePayoutRights, judgeSellingRights, macaroonRights, type Rights } from "./lightning/lnd-macaroon.ts";
import { lndPayer } from "./lightning/lnd-payer.ts";
import { LndRest } from "./lightning/lnd-rest.ts";
import type { Node, NodeAbilities, NodeStatus } from "./lightning/node.ts";
import { isFullPassword, phoenixdNode, phoenixdRoom } from "./lightning/phoenixd.ts";
import { phoenixdPayer } from "./lightning/phoenixd-payer.ts";
import { openPhoenixdApi } from "./lightning/phoenixd-access.ts";
import { openSandboxNode, type SandboxNode } from "./lightning/sandbox.ts";
import { toListPrice } from "./pricing/owner-prices.ts";
import { RateBook } from "./pricing/rate-book.ts";
import { jsonRateSource, publicRateSources } from "./pricing/rate-source.ts";
import { takeLease } from "./store/lease.ts";
import { isLocalUrl } from "./upstream/local-address.ts";
import { openAiCompatible } from "./upstream/openai-compatible.ts";
import { searchEngine } from "./upstream/search-engine.ts";
import { type SandboxModel, startSandboxModel } from "./upstream/sandbox-model.ts";
import type { Upstream } from "./upstream/upstream.ts";

const demoTokenDelayMs = 15;
const sandboxUsdPerBtc = 100_000;
const ollamaUrl = "http://127.0.0.1:11434/v1";

export const leasePath = (config: Config) => join(config.data_dir, "hearth.lock");

export const lncParts = (config: Config) => ({
  settings: config.lnc, clock, random, secrets: new SealedSecrets(config.data_dir, process.env, random), leasePath: leasePath(config),
  openWorker: () => new Worker(new URL("./lightning/lnc-worker.ts", import.meta.url).href),
});

/** The node, and the sandbox's own knobs, or a connection to be ended in good order, where it is that. */
export function openNode(config: Config): { node: Node & NodeAbilities; sandbox: SandboxNode | undefined; lnc?: LncNode } {
  if (config.node === "sandbox") {
    const sandbox = openSandboxNode({ path: join(config.data_dir, "sandbox-node.jsonl"), clock, random });
    return { node: sandbox, sandbox };
  }
  if (config.node === "lnc") {
    const lnc = openLnc(lncParts(config));
    return { node: lnc.node, sandbox: undefined, lnc };
  }
  if (config.node === "phoenixd") {
    const { url, payout_password: password } = settingsOfPhoenixd(config);
    const payer = password === undefined ? {} : { payer: phoenixdPayer({ api: openPhoenixdApi({ url, password, full: true }), clock }) };
    return { node: { ...phoenixdNode({ api: openPhoenixd(config), clock }), ...payer }, sandbox: undefined };
  }
  if (config.lnd === undefined) throw new AppError("invalid_config", "Settings: lnd is missing; node = \"lnd\" needs [lnd] with rest_url, tls_cert and macaroon, or HEARTH_LND_REST_URL, HEARTH_LND_TLS_CERT and HEARTH_LND_MACAROON.");
  const { rest_url: url, tls_cert: certificate, macaroon, payout_macaroon, private_hints } = config.lnd;
  const reached = (macaroon: string) => new LndRest(lndAccess({ url, certificate, macaroon }));
  const payer = payout_macaroon === undefined ? {} : { payer: lndPayer(reached(payout_macaroon)) };
  return { node: { ...lndNode({ rpc: reached(macaroon), private: private_hints, clock }), ...payer }, sandbox: undefined };
}

/** Who the node of the settings is, for a process that ends then. No Hearth may be using it: two connections of one session push each other out. */
export async function askNode(config: Config): Promise<NodeStatus> {
  if (config.node === "lnc") takeLease(leasePath(config)).release();
  const { node, lnc } = openNode(config);
  return node.status().finally(() => lnc?.stop());
}

/** The password travels with each request: in clear only where nobody else listens. */
function settingsOfPhoenixd({ phoenixd }: Config) {
  if (phoenixd === undefined) throw new AppError("invalid_config", "Settings: phoenixd is missing; node = \"phoenixd\" needs [phoenixd] with password, or HEARTH_PHOENIXD_PASSWORD.");
  if (!phoenixd.url.startsWith("https:") && !isLocalUrl(phoenixd.url)) throw new AppError("invalid_config", `Settings: phoenixd.url is ${JSON.stringify(phoenixd.url.slice(0, 100))}: over plain http a phoenixd must be on this machine or its own network; elsewhere it needs https.`);
  return phoenixd;
}

const openPhoenixd = (config: Config) => openPhoenixdApi(settingsOfPhoenixd(config));

/** Undefined for play money, which needs no check. */
export function nodeToCheck(config: Config): NodeToCheck | undefined {
  if (config.node === "sandbox") return undefined;
  const { node: opened, lnc } = openNode(config);
  if (lnc) return { node: lnc.node, session: { judgement: lnc.judgement, command: sessionCommand(config.lnc.payouts), payouts: config.lnc.payouts }, stop: lnc.stop };
  const node = opened as NodeToCheck["node"];
  if (config.node === "phoenixd") return { node, room: () => phoenixdRoom(openPhoenixd(config)), opensMore: () => isFullPassword(openPhoenixd(config)) };
  const { macaroon, payout_macaroon } = config.lnd!;
  return {
    node, rights: () => rightsOf(macaroon, judgeSellingRights),
    ...(payout_macaroon !== undefined && { payoutRights: () => rightsOf(payout_macaroon, judgePayoutRights) }),
  };
}

/** Undefined where they cannot be read from it. */
function rightsOf(macaroon: string, judge: (held: readonly string[]) => Rights): Rights | undefined {
  const held = macaroonRights(readMacaroon(macaroon));
  return held && judge(held);
}

/** What LND's macaroons allow, so far as they are there and can be read: said at each start, not only to who asks the doctor. */
export function readRights({ node, lnd }: Config): (Rights & { setting: string })[] {
  if (node !== "lnd" || lnd === undefined) return [];
  const read = (setting: string, macaroon: string | undefined, judge: (held: readonly string[]) => Rights) => {
    try {
      const rights = macaroon === undefined ? undefined : rightsOf(macaroon, judge);
      return rights ? [{ setting, ...rights }] : [];
    } catch {
      return []; // a file that is not there yet is the node's condition to tell
    }
  };
  return [...read("macaroon", lnd.macaroon, judgeSellingRights), ...read("payout_macaroon", lnd.payout_macaroon, judgePayoutRights)];
}

export function configuredUpstreams(config: Config): Upstream[] {
  return config.upstreams.map((one) => openAiCompatible({ name: one.name, url: one.url, key: one.key, capField: one.cap_field, profile: one.profile, places: one.concurrency }));
}

/** The demo sells what is at hand: Ollama on this machine if it answers and has a model, else the sandbox model. */
async function demoUpstream(): Promise<{ upstream: Upstream; model: SandboxModel | undefined }> {
  const ollama = openAiCompatible({ name: "ollama", url: ollamaUrl, key: undefined, capField: undefined, profile: "ollama" });
  const models = await ollama.models().catch(() => []);
  if (models.length > 0) return { upstream: ollama, model: undefined };
  const model = startSandboxModel({ tokenDelayMs: demoTokenDelayMs });
  return { upstream: openAiCompatible({ name: "sandbox", url: model.url, key: undefined, capField: undefined }), model };
}

function refuseCloudForPlayMoney(upstreams: readonly { name: string; local: boolean }[]): void {
  const cloud = upstreams.find((upstream) => !upstream.local);
  if (cloud) throw new AppError("invalid_config", `The sandbox node makes play money, which must not buy real tokens: take the cloud upstream "${cloud.name}" out of the settings.`);
}

/** The upstreams to sell, and the sandbox model if it had to be started for the demo. */
export async function chooseUpstreams(config: Config, demo: boolean): Promise<{ upstreams: Upstream[]; model: SandboxModel | undefined }> {
  const configured = configuredUpstreams(config);
  const search = searchOffer(config)?.engine;
  if (config.node === "sandbox") refuseCloudForPlayMoney([...configured, ...(search ? [search] : [])]);
  if (configured.length > 0 || !demo) return { upstreams: configured, model: undefined };
  const { upstream, model } = await demoUpstream();
  return { upstreams: [upstream], model };
}

export function searchOffer({ search }: Config): SearchOffer | undefined {
  return search && { engine: searchEngine({ name: search.engine, url: search.url, key: search.key }), price: toListPrice(search.price) };
}

/** Play money has a price of its own, so that dollars can be tried; only sources that the owner names are asked for it. */
export function openRates({ node, usd_per_btc, rate_sources }: Config): RateBook {
  const fixed = usd_per_btc ?? (rate_sources === undefined && node === "sandbox" ? sandboxUsdPerBtc : undefined);
  return new RateBook({ sources: (rate_sources ?? publicRateSources).map(jsonRateSource), clock, fixedCents: fixed === undefined ? undefined : BigInt(fixed) * 100n });
}
