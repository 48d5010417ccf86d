/** `hearth doctor`: what Hearth depends on, one line each with what to do. Works beside a running Hearth. */
import { checkNode, checkNodeInUse, type Line, type NodeToCheck } from "./doctor-node.ts";
import type { OwnersDoor } from "./owners-door.ts";
import { checkSecrets, type SecretsToCheck } from "./doctor-secrets.ts";
import { lowDiskBytes, slowSyncMs } from "../base/limits.ts";
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describeError } from "../base/log.ts";
import type { Config } from "../config/schema.ts";
import { isSold, soldAs } from "../gateway/model-directory.ts";
import type { RateBook } from "../pricing/rate-book.ts";
import { priceAndCost } from "../pricing/owner-prices.ts";
import { loadPrices } from "../pricing/price-table.ts";
import type { SearchEngine } from "../upstream/search.ts";
import type { Upstream } from "../upstream/upstream.ts";

export type DoctorParts = { config: Config; upstreams: readonly Upstream[]; rates: RateBook; search: SearchEngine | undefined; /** Undefined for play money; a door where the Hearth that runs must be asked. */ node: NodeToCheck | OwnersDoor | undefined; secrets: SecretsToCheck };


const syncSamples = 20;

/** The process's exit code: 1 when something needs the owner. */
export async function doctorCommand(parts: DoctorParts, print: (line: string) => void): Promise<number> {
  const { config, upstreams, rates, search, node } = parts;
  mkdirSync(config.data_dir, { recursive: true });
  const lines = [
    ...(node && "port" in node ? await checkNodeInUse(node) : node ? await checkNode(node) : [{ ok: true, text: "node: sandbox (play money)" }]),
    ...checkSecrets(parts.secrets),
    checkDisk(config.data_dir),
    checkSync(config.data_dir),
    checkClock(),
    await checkRate(rates),
    ...(upstreams.length === 0 ? [{ ok: false, text: "upstreams: none; set HEARTH_UPSTREAM_URL or [[upstreams]] in hearth.toml" }] : []),
    ...(await Promise.all(upstreams.map((upstream) => checkUpstream(config, upstream)))),
    ...(config.dvm ? [await checkDvm(config.aliases[config.dvm.model] ?? config.dvm.model, upstreams)] : []),
    ...(search ? [await checkSearch(search)] : []),
  ];
  if (node && "node" in node) await node.stop?.();
  for (const { ok, text } of lines) print(`${ok ? "ok   " : "FIX  "} ${text}`);
  return lines.every((line) => line.ok) ? 0 : 1;
}

function checkDisk(directory: string): Line {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  return { ok: free >= lowDiskBytes, text: `disk: ${(free / 1024 ** 3).toFixed(1)} GB free${free < lowDiskBytes ? "; selling stops when it is full" : ""}` };
}

/** A file of its own: opening the database's files would drop SQLite's locks. */
function checkSync(directory: string): Line {
  const path = join(directory, ".doctor");
  const file = openSync(path, "w");
  const times: number[] = [];
  for (let i = 0; i < syncSamples; i++) {
    writeSync(file, Buffer.alloc(4096, i));
    const begun = performance.now();
    fdatasyncSync(file);
    times.push(performance.now() - begun);
  }
  closeSync(file);
  rmSync(path);
  const median = times.sort((a, b) => a - b)[syncSamples / 2]!;
  return { ok: median < slowSyncMs, text: `disk: a sync takes ${median.toFixed(1)} ms${median < slowSyncMs ? "" : "; payments are confirmed slowly, use a faster disk"}` };
}

function checkClock(): Line {
  const ok = Date.now() > Date.UTC(2026, 0);
  return { ok, text: `clock: ${new Date().toISOString()}${ok ? "" : "; set the clock, invoices and credentials expire by it"}` };
}

async function checkRate(rates: RateBook): Promise<Line> {
  await rates.refresh();
  const state = rates.state();
  if (state.kind === "unknown") return { ok: false, text: "rate: too few of rate_sources answer; models priced in dollars are not for sale, set usd_per_btc or other sources" };
  return { ok: true, text: `rate: ${(Number(state.rate.centsPerBtc) / 100).toFixed(2)} USD per bitcoin (${state.by === "owner" ? "set, not asked for" : "median of the sources"})` };
}

async function checkUpstream(config: Config, upstream: Upstream): Promise<Line> {
  try {
    const models = await upstream.models();
    const prices = loadPrices(config.data_dir);
    const kinds = models.map((model) => soldAs(model, priceAndCost(config, prices, upstream, model.id, model.listedPrice)));
    const sold = kinds.filter(isSold).length, unpriced = kinds.filter((kind) => kind === undefined).length;
    return { ok: sold > 0, text: `upstream ${upstream.name}: ${sold} of ${models.length} models for sale${unpriced > 0 ? `; give ${unpriced} of them a price under [prices.models]` : ""}` };
  } catch (error) {
    return { ok: false, text: `upstream ${upstream.name}: ${describeError(error)}` };
  }
}

async function checkDvm(model: string, upstreams: readonly Upstream[]): Promise<Line> {
  const lists = await Promise.all(upstreams.map((upstream) => upstream.models().catch(() => [])));
  const names = new Set(lists.flatMap((list, at) => list.flatMap(({ id }) => [id, id.replace(/:latest$/, ""), `${upstreams[at]!.name}/${id}`])));
  return names.has(model) ? { ok: true, text: `dvm: prompts go to ${model}` } : { ok: false, text: `dvm: no upstream lists ${model}; name another model under [dvm], or an alias of one under [aliases]` };
}

/** A cloud's search costs the owner money, so only one at home is tried. */
async function checkSearch(engine: SearchEngine): Promise<Line> {
  if (!engine.local) return { ok: true, text: `search: ${engine.name} (not tried, it costs you money)` };
  try {
    const results = await engine.search({ query: "bitcoin", maxResults: 3, includeDomains: [], excludeDomains: [] });
    return { ok: true, text: `search: ${engine.name} answers (${results.length} results)` };
  } catch {
    return { ok: false, text: `search: ${engine.name} does not answer in JSON; check [search] url, and that json is among the instance's search.formats` };
  }
}
