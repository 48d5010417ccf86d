/**
 * `npm run bench`: every contestant in turn, over and over, against one upstream, and at the end the books. Fails when
 * what was charged is not what was served, or a frame was lost; a missed aim is printed and fails nothing.
 *   HEARTH_BENCH_SECONDS=240   about how long it may take
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { type Books, checkBooks } from "./books.ts";
import { asContestant, type Contestant, type HearthUnderTest, startBareBun, startHearth, startHearth300, startNginx, startNoLedger, startUpstream } from "./contestants.ts";
import { checkList, measureDocuments } from "./documents.ts";
import { longPromptStreams, measureLongPrompts, phases } from "./long-prompts.ts";
import { aims, aimTable, tables } from "./report.ts";
import { Measures } from "./measures.ts";
import { measureRedeem, measureTopup, paymentParallels } from "./payments.ts";
import { measureNodeMs, measureSyncMs } from "./spans.ts";
import { type Bench, chatConnections, measureChat, measureMinting, measureStreams, mintConnections, runExactPass, streamLoads, warmChat } from "./workloads.ts";
import { missingWrk } from "./wrk.ts";

const defaultSeconds = 240;
/** Shares of the time; the rest is starting, warming up and the books. */
const chatShare = 0.42, streamShare = 0.31, mintShare = 0.08, longPromptShare = 0.13;
/** One round of W2 over five contestants. */
const streamRoundSeconds = 37;
/** One round of W12 over its phases. */
const longPromptRoundSeconds = 10;

type Field = {
  bench: Bench;
  contestants: Contestant[];
  hearth: HearthUnderTest;
  /** All that sell, whose books are held. */
  houses: HearthUnderTest[];
  /** By asker, as the upstream has counted. */
  asked(): Promise<Record<string, number>>;
  stop(): Promise<void>;
};

const say = (text: string) => void process.stdout.write(text + "\n");

async function startField(folder: string): Promise<Field> {
  const upstream = await startUpstream();
  const hearth = await startHearth(upstream.url, join(folder, "hearth"));
  const hearth300 = await startHearth300(upstream.url, join(folder, "hearth-300"));
  const houses = [hearth, hearth300];
  for (const house of houses) await checkList(house);
  const nginx = await startNginx(upstream.url, join(folder, "nginx"));
  const contestants: Contestant[] = [
    { name: "direct", chatUrl: `${upstream.url}/direct/v1/chat/completions`, pid: upstream.pid },
    ...(nginx ? [nginx] : []),
    await startBareBun(upstream.url),
    await startNoLedger(upstream.url),
    asContestant(hearth),
    asContestant(hearth300),
  ];
  const bench = { measures: new Measures(), credentials: hearth.credentials, upstreamUrl: upstream.url };
  const asked = async () => (await (await fetch(`${upstream.url}/asked`)).json()) as Record<string, number>;
  const stop = async () => {
    for (const { name, child } of houses) {
      const code = await child.stop();
      if (code !== 0) throw new Error(`${name} ended with ${code}:\n${child.output()}`);
    }
  };
  return { bench, contestants, hearth, houses, asked, stop };
}

async function runChat({ bench, contestants }: Field, seconds: number): Promise<void> {
  const rounds = seconds >= 60 ? 4 : 3;
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
  // How many models there are means nothing for a stream that has begun.
  const compared = contestants.filter((one) => one.name !== "hearth-300");
  for (let round = 1; round <= rounds; round++)
    for (const load of streamLoads)
      for (const contestant of compared) await measureStreams(bench, contestant, load, round);
}

async function runMinting({ bench, houses }: Field, seconds: number): Promise<void> {
  const rounds = seconds >= 15 ? 5 : 2;
  const slice = Math.max(1, Math.round(seconds / (rounds * houses.length * mintConnections.length)));
  say(`W3: ${rounds} rounds of ${slice} s`);
  for (let round = 1; round <= rounds; round++)
    for (const connections of mintConnections)
      for (const house of houses) await measureMinting(bench.measures, house, connections, slice, round);
}

async function runDocuments({ bench, houses }: Field): Promise<void> {
  const rounds = 3;
  say(`W11: ${rounds} rounds`);
  for (let round = 1; round <= rounds; round++) for (const house of houses) await measureDocuments(bench.measures, house, round);
}

async function runLongPrompts({ bench, hearth }: Field, seconds: number): Promise<void> {
  const rounds = Math.max(1, Math.floor(seconds / longPromptRoundSeconds));
  say(`W12: ${rounds} rounds`);
  for (let round = 1; round <= rounds; round++) await measureLongPrompts(bench, hearth, round);
}

async function runPayments({ bench, hearth }: Field): Promise<void> {
  const rounds = 3;
  say(`W4, W5: ${rounds} rounds`);
  for (let round = 1; round <= rounds; round++)
    for (const parallel of paymentParallels) {
      await measureRedeem(bench.measures, hearth, parallel, round);
      await measureTopup(bench.measures, hearth, parallel, round);
    }
}

function showBooks(name: string, books: Books): void {
  say(`Books of ${name}: ${books.calls} calls served for ${books.servedMsat} msat (${books.cutCalls} cut off at the end of a run, ${books.neverAsked} of them before the upstream had read their request), charged ${books.chargedMsat} msat; audit: ${books.audit}`);
  for (const problem of books.problems) say(`  WRONG: ${problem}`);
}

/** After the programs have ended. */
async function holdBooks({ name, dataDir, served, servedBy, passedOver }: HearthUnderTest, asked: Record<string, number>): Promise<boolean> {
  const books = await checkBooks(dataDir, served, { served: asked[servedBy] ?? 0, passedOver: passedOver.reduce((sum, one) => sum + (asked[one] ?? 0), 0) });
  showBooks(name, books);
  return books.problems.length === 0;
}

function lostFrames(measures: Measures): number {
  const ofStreams = streamLoads.map(({ streams }) => measures.sum("hearth", { workload: "W2", parallel: streams, metric: "lost_frames" }));
  const ofLongPrompts = phases.map((phase) => measures.sum("hearth", { workload: "W12", parallel: longPromptStreams, metric: `${phase}_lost_frames` }));
  return [...ofStreams, ...ofLongPrompts].reduce((sum, lost) => sum + lost, 0);
}

/** True when everything that must hold did. */
async function run(seconds: number, folder: string): Promise<boolean> {
  say(`${cpus().length} cores, ${process.arch}, ${process.platform} ${release().split(".")[0]}, Bun ${Bun.version}; a sync of the disk takes ${measureSyncMs(folder).toFixed(2)} ms (p50)`);
  const field = await startField(folder);
  const { measures } = field.bench;
  if (missingWrk !== undefined) say(missingWrk);
  else await runChat(field, seconds * chatShare);
  await runStreams(field, seconds * streamShare);
  for (const house of field.houses) await runExactPass(house);
  if (missingWrk === undefined) await runMinting(field, seconds * mintShare);
  await runDocuments(field);
  await runLongPrompts(field, seconds * longPromptShare);
  await runPayments(field);
  const asked = await field.asked();
  await field.stop();
  const path = join(import.meta.dir, "results", `${new Date().toISOString().replaceAll(/[:.]/g, "-")}.csv`);
  measures.writeCsv(path);
  say(`\n${tables(measures, await measureNodeMs(folder))}\n\n${aimTable(aims(measures))}\n`);
  let right = true;
  for (const house of field.houses) right = (await holdBooks(house, asked)) && right;
  say(`Every number: ${path}`);
  const lost = lostFrames(measures);
  if (lost > 0) say(`  WRONG: ${lost} frames were lost`);
  return right && lost === 0;
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
