/**
 * `npm run bench`: every contestant in turn, over and over, against one upstream, and at the end the books. Fails when
 * what was charged is not what was served, or a frame was lost; a missed aim is printed and fails nothing.
 *   HEARTH_BENCH_SECONDS=240   about how long it may take
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { type Books, checkBooks } from "./books.ts";
import { type Contestant, type HearthUnderTest, startBareBun, startHearth, startNginx, startNoLedger, startUpstream } from "./contestants.ts";
import { aims, aimTable, tables } from "./report.ts";
import { Measures } from "./measures.ts";
import { measureRedeem, measureTopup, paymentParallels } from "./payments.ts";
import { measureNodeMs, measureSyncMs } from "./spans.ts";
import { type Bench, chatConnections, measureChat, measureMinting, measureStreams, mintConnections, runExactPass, streamLoads, warmChat } from "./workloads.ts";
import { missingWrk } from "./wrk.ts";

const defaultSeconds = 240;
/** Shares of the time; the rest is starting, warming up and the books. */
const chatShare = 0.45, streamShare = 0.35, mintShare = 0.06;
/** One round of W2 over five contestants. */
const streamRoundSeconds = 37;

type Field = { bench: Bench; contestants: Contestant[]; hearth: HearthUnderTest; asked(): Promise<number>; stop(): Promise<void> };

const say = (text: string) => void process.stdout.write(text + "\n");

async function startField(folder: string): Promise<Field> {
  const upstream = await startUpstream();
  const hearth = await startHearth(upstream.url, join(folder, "hearth"));
  const nginx = await startNginx(upstream.url, join(folder, "nginx"));
  const contestants: Contestant[] = [
    { name: "direct", chatUrl: `${upstream.url}/direct/v1/chat/completions`, pid: upstream.pid },
    ...(nginx ? [nginx] : []),
    await startBareBun(upstream.url),
    await startNoLedger(upstream.url),
    { name: "hearth", chatUrl: `${hearth.child.url}/v1/chat/completions`, pid: hearth.child.pid },
  ];
  const served = { calls: 0, cutCallsAtMost: 0, bills: 0, cutBillsAtMost: 0, exact: { calls: 0, chargedMsat: 0n } };
  // Each credential was bought with a bill of its own, and a bill that is paid is no longer open.
  const bench = { measures: new Measures(), served, credentials: hearth.credentials, upstreamUrl: upstream.url };
  const asked = async () => ((await (await fetch(`${upstream.url}/asked`)).json()) as Record<string, number>).hearth ?? 0;
  const stop = async () => {
    const code = await hearth.child.stop();
    if (code !== 0) throw new Error(`hearth ended with ${code}:\n${hearth.child.output()}`);
  };
  return { bench, contestants, hearth, asked, stop };
}

async function runChat({ bench, contestants }: Field, seconds: number): Promise<void> {
  const rounds = seconds >= 60 ? 5 : 3;
  const slice = Math.max(1, Math.round(seconds / (rounds * contestants.length * chatConnections.length)));
  say(`W1: ${rounds} rounds of ${slice} s`);
  for (const contestant of contestants) await warmChat(bench, contestant, Math.max(2, slice));
  for (let round = 1; round <= rounds; round++)
    for (const connections of chatConnections)
      for (const contestant of contestants) await measureChat(bench, contestant, connections, slice, round);
}

async function runStreams({ bench, contestants }: Field, seconds: number): Promise<void> {
  const rounds = Math.max(1, Math.floor(seconds / streamRoundSeconds));
  say(`W2: ${rounds} rounds`);
  for (let round = 1; round <= rounds; round++)
    for (const load of streamLoads)
      for (const contestant of contestants) await measureStreams(bench, contestant, load, round);
}

async function runMinting({ bench, contestants }: Field, seconds: number): Promise<void> {
  const rounds = 3;
  const slice = Math.max(1, Math.round(seconds / (rounds * mintConnections.length)));
  say(`W3: ${rounds} rounds of ${slice} s`);
  const hearth = contestants.find((one) => one.name === "hearth")!;
  for (let round = 1; round <= rounds; round++)
    for (const connections of mintConnections) await measureMinting(bench, hearth, connections, slice, round);
}

async function runPayments({ bench, hearth }: Field): Promise<void> {
  const rounds = 3;
  say(`W4, W5: ${rounds} rounds`);
  for (let round = 1; round <= rounds; round++)
    for (const parallel of paymentParallels) {
      await measureRedeem(bench, hearth.child.url, parallel, round);
      await measureTopup(bench, hearth.child.url, parallel, round);
    }
}

function showBooks(books: Books): void {
  say(`Books: ${books.calls} calls served for ${books.servedMsat} msat (${books.cutCalls} cut off at the end of a run, ${books.neverAsked} of them before the upstream had read their request), charged ${books.chargedMsat} msat; audit: ${books.audit}`);
  for (const problem of books.problems) say(`  WRONG: ${problem}`);
}

/** True when everything that must hold did. */
async function run(seconds: number, folder: string): Promise<boolean> {
  say(`${cpus().length} cores, ${process.arch}, ${process.platform} ${release().split(".")[0]}, Bun ${Bun.version}; a sync of the disk takes ${measureSyncMs(folder).toFixed(2)} ms (p50)`);
  const field = await startField(folder);
  const hearth = field.contestants.at(-1)!;
  if (missingWrk !== undefined) say(missingWrk);
  else await runChat(field, seconds * chatShare);
  await runStreams(field, seconds * streamShare);
  await runExactPass(field.bench, field.hearth, hearth.chatUrl);
  if (missingWrk === undefined) await runMinting(field, seconds * mintShare);
  await runPayments(field);
  const asked = await field.asked();
  await field.stop();
  const books = await checkBooks(field.hearth.dataDir, field.bench.served, asked);
  const { measures } = field.bench;
  const path = join(import.meta.dir, "results", `${new Date().toISOString().replaceAll(/[:.]/g, "-")}.csv`);
  measures.writeCsv(path);
  say(`\n${tables(measures, await measureNodeMs(folder))}\n\n${aimTable(aims(measures))}\n`);
  showBooks(books);
  say(`Every number: ${path}`);
  const lost = streamLoads.reduce((sum, { streams }) => sum + measures.sum("hearth", { workload: "W2", parallel: streams, metric: "lost_frames" }), 0);
  if (lost > 0) say(`  WRONG: ${lost} frames were lost`);
  return books.problems.length === 0 && lost === 0;
}

const seconds = Number(process.env.HEARTH_BENCH_SECONDS ?? defaultSeconds);
if (!(seconds >= 10 && seconds <= 3_600)) throw new Error("HEARTH_BENCH_SECONDS must be between 10 and 3600");
// Not below /tmp, which may be memory: the disk is part of what is measured.
const cache = join(import.meta.dir, "../.cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, "bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const patience = setTimeout(() => {
  process.stderr.write("The bench took twice its time and was ended.\n");
  process.exit(1);
}, 2_000 * seconds + 120_000);
patience.unref();
process.exit((await run(seconds, folder)) ? 0 : 1);
