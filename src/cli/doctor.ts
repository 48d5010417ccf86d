/** `hearth doctor`: what Hearth depends on, one line each with what to do. Works beside a running Hearth. */
import { lowDiskBytes, slowSyncMs } from "../base/limits.ts";
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describeError } from "../base/log.ts";
import type { Config } from "../config/schema.ts";
import type { RateBook } from "../pricing/rate-book.ts";
import { listPrice } from "../pricing/owner-prices.ts";
import { loadPrices } from "../pricing/price-table.ts";
import type { Upstream } from "../upstream/upstream.ts";

type Line = { ok: boolean; text: string };

const syncSamples = 20;

/** The process's exit code: 1 when something needs the owner. */
export async function doctorCommand(config: Config, upstreams: readonly Upstream[], rates: RateBook, print: (line: string) => void): Promise<number> {
  mkdirSync(config.data_dir, { recursive: true });
  const lines = [
    { ok: true, text: `node: ${config.node}${config.node === "sandbox" ? " (play money)" : ""}` },
    checkDisk(config.data_dir),
    checkSync(config.data_dir),
    checkClock(),
    await checkRate(rates),
    ...(upstreams.length === 0 ? [{ ok: false, text: "upstreams: none; set HEARTH_UPSTREAM_URL or [[upstreams]] in hearth.toml" }] : []),
    ...(await Promise.all(upstreams.map((upstream) => checkUpstream(config, upstream)))),
  ];
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
    const priced = models.filter((model) => listPrice(config, prices, upstream, model.id, model.listedPrice)).length;
    return { ok: priced > 0, text: `upstream ${upstream.name}: ${priced} of ${models.length} models for sale${priced < models.length ? "; give the others a price under [prices.models]" : ""}` };
  } catch (error) {
    return { ok: false, text: `upstream ${upstream.name}: ${describeError(error)}` };
  }
}
