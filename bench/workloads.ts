/** The measured runs, one contestant and one load at a time. The order is `run.ts`'s. */
import { join } from "node:path";
import { processorMs, runChild } from "./children.ts";
import { asContestant, type Contestant, type HearthUnderTest } from "./contestants.ts";
import { type Measures, percentile } from "./measures.ts";
import { type StreamResult, type StreamRun, warmUpCalls } from "./stream-client.ts";
import { chatBody } from "./workload.ts";
import { runWrk, type WrkRun } from "./wrk.ts";

/** `credentials` are those of the first Hearth, sent to whoever sells nothing so that requests are alike. */
export type Bench = { measures: Measures; credentials: readonly string[]; upstreamUrl: string };

export const chatConnections = [1, 16] as const;
export const mintConnections = [1, 16] as const;

/** Slower frames for more streams: what is offered stays below what two cores can carry, so that latency means something. */
export const streamLoads = [
  { streams: 1, repeats: 8, paceMs: 2 },
  { streams: 32, repeats: 2, paceMs: 10 },
  { streams: 128, repeats: 1, paceMs: 20 },
  { streams: 512, repeats: 1, paceMs: 50 },
] as const;
export type StreamLoad = (typeof streamLoads)[number];

/** 500 openings a second. */
const openingSpacingMs = 2;
const streamTimeoutMs = 90_000;

/** Warms a contestant up; counted in the books and not in the measures. */
export async function warmChat(bench: Bench, contestant: Contestant, seconds: number): Promise<void> {
  await chat(bench, contestant, 16, seconds);
}

export async function measureChat(bench: Bench, contestant: Contestant, connections: number, seconds: number, round: number): Promise<void> {
  const beforeMs = await processorMs(contestant.pid);
  const { requests, seconds: took, p50Ms, p99Ms } = await chat(bench, contestant, connections, seconds);
  const afterMs = await processorMs(contestant.pid);
  const processor = beforeMs === undefined || afterMs === undefined || contestant.name === "direct" ? {} : { cpu_ms_per_request: (afterMs - beforeMs) / requests };
  bench.measures.add(
    { workload: "W1", contestant: contestant.name, parallel: connections, round },
    { requests_per_s: requests / took, p50_ms: p50Ms, p99_ms: p99Ms, ...processor },
  );
}

async function chat(bench: Bench, contestant: Contestant, connections: number, seconds: number) {
  const { hearth } = contestant;
  const run: WrkRun = { url: contestant.chatUrl, connections, seconds, body: chatBody, credentials: hearth?.credentials ?? bench.credentials };
  const result = await runWrk(run);
  if (result.badStatus > 0 || result.socketErrors > 0 || result.requests === 0)
    throw new Error(`${contestant.name} at ${connections} connections: ${result.requests} answers, ${result.badStatus} of a bad status, ${result.socketErrors} socket errors`);
  if (hearth) {
    hearth.served.calls += result.requests;
    hearth.served.cutCallsAtMost += connections;
  }
  return result;
}

/** The reader of streams, as a process of its own. */
export async function readStreams(run: StreamRun): Promise<StreamResult> {
  return JSON.parse(await runChild([process.execPath, join(import.meta.dir, "stream-client.ts"), JSON.stringify(run)], {}, streamTimeoutMs)) as StreamResult;
}

export async function measureStreams(bench: Bench, contestant: Contestant, load: StreamLoad, round: number): Promise<void> {
  await fetch(`${bench.upstreamUrl}/pace?ms=${load.paceMs}`);
  const { streams, repeats } = load;
  const result = await readStreams({ url: contestant.chatUrl, streams, repeats, spacingMs: openingSpacingMs, credentials: [...bench.credentials], together: true });
  if (result.problems.length > 0) process.stdout.write(`  ${contestant.name}, ${streams} streams: ${result.streams - result.wholeStreams} of ${result.streams} not whole: ${result.problems.join("; ")}\n`);
  if (contestant.hearth) contestant.hearth.served.calls += result.wholeStreams + warmUpCalls;
  bench.measures.add({ workload: "W2", contestant: contestant.name, parallel: streams, round }, {
    first_p50_ms: percentile(result.firstFrameMs, 50) ?? NaN, first_p99_ms: percentile(result.firstFrameMs, 99) ?? NaN,
    total_p50_ms: percentile(result.totalMs, 50) ?? NaN, streams: result.streams, lost_frames: result.lostFrames,
  });
}

export async function measureMinting(measures: Measures, hearth: HearthUnderTest, connections: number, seconds: number, round: number): Promise<void> {
  const { child, name, served } = hearth;
  const beforeMs = (await processorMs(child.pid)) ?? NaN;
  const result = await runWrk({ url: asContestant(hearth).chatUrl, connections, seconds, body: chatBody, credentials: [] });
  const afterMs = (await processorMs(child.pid)) ?? NaN;
  if (result.badStatus !== result.requests || result.socketErrors > 0)
    throw new Error(`${name}, minting at ${connections} connections: ${result.requests} answers, ${result.badStatus} of them bills, ${result.socketErrors} socket errors`);
  served.bills += result.badStatus;
  served.cutBillsAtMost += connections;
  measures.add({ workload: "W3", contestant: name, parallel: connections, round }, {
    requests_per_s: result.requests / result.seconds, p50_ms: result.p50Ms, p99_ms: result.p99Ms,
    ...(Number.isNaN(afterMs) ? {} : { cpu_ms_per_request: (afterMs - beforeMs) / result.requests }),
  });
}

const exactCalls = 1_000;
const exactParallel = 16;

/** Calls that are all awaited, on a credential of their own: here the sums must agree to the millisatoshi. */
export async function runExactPass(hearth: HearthUnderTest): Promise<void> {
  const { served } = hearth;
  const headers = { "content-type": "application/json", authorization: hearth.exactCredential };
  const one = async () => {
    const answer = await fetch(asContestant(hearth).chatUrl, { method: "POST", headers, body: chatBody });
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`the exact pass was answered ${answer.status}`);
    served.calls++;
    served.exact.calls++;
    served.exact.chargedMsat += BigInt(answer.headers.get("x-hearth-cost-msat") ?? "0");
  };
  const worker = async () => {
    for (let i = 0; i < exactCalls / exactParallel; i++) await one();
  };
  await Promise.all(Array.from({ length: exactParallel }, worker));
}
