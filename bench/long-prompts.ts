/**
 * W12: streams run while somebody asks what long prompts cost, one after the other, and somebody else makes small calls.
 * What is wanted: a price that takes time in proportion to the prompt, and frames that do not wait for it.
 */
import type { HearthUnderTest } from "./contestants.ts";
import { type Measures, percentile } from "./measures.ts";
import { type StreamResult, warmUpCalls } from "./stream-client.ts";
import { chatBody, frameCount, modelId } from "./workload.ts";
import { type Bench, readStreams } from "./workloads.ts";

/** Bytes of the full size, in UTF-8. */
export const promptKinds = { base64: 1_048_576, emoji: 80_000, chinese: 400_000 } as const;
export type PromptKind = keyof typeof promptKinds;
export const promptKindNames = Object.keys(promptKinds) as PromptKind[];
export const promptSizes = ["quarter", "full"] as const;
export type PromptSize = (typeof promptSizes)[number];

/** Where a price is asked for: free of charge, or by a stranger's call, which is a bill with an invoice. */
export const pricingRoutes = { quote: { path: "/api/v1/quote", status: 200 }, bill: { path: "/v1/chat/completions", status: 402 } } as const;
export type PricingRoute = keyof typeof pricingRoutes;
/** What goes on beside the streams and the small calls. */
export const phases = ["quiet", "quote", "bill"] as const;
export type Phase = (typeof phases)[number];

export const longPromptStreams = 16;
export const longPromptPaceMs = 10;
/** One phase lasts about as many times 0.64 s, and half a second to open and close. */
const repeats = 4;
/** Spread over one stream's time, so that most of them are in their middle at any moment. */
const openingSpacingMs = 40;
const smallCallEveryMs = 20;

type Prompt = { kind: PromptKind; size: PromptSize; body: Uint8Array<ArrayBuffer> };

function promptText(kind: PromptKind, bytes: number): string {
  const characters = (count: number, codeAt: (index: number) => number) => Array.from({ length: count }, (_, index) => String.fromCodePoint(codeAt(index))).join("");
  switch (kind) {
    // What multiplying makes of an index looks like chance, and is the same in every run.
    case "base64": return Buffer.from(Uint8Array.from({ length: (bytes * 3) / 4 }, (_, index) => Math.imul(index, 2_654_435_761) >>> 13)).toString("base64");
    case "emoji": return characters(bytes / 4, (index) => 0x1f600 + (index % 64));
    case "chinese": return characters(Math.floor(bytes / 3), (index) => 0x4e00 + ((index * 7_919) % 20_000));
  }
}

const prompts: Prompt[] = promptKindNames.flatMap((kind) =>
  promptSizes.map((size) => {
    const content = promptText(kind, size === "full" ? promptKinds[kind] : promptKinds[kind] / 4);
    return { kind, size, body: new TextEncoder().encode(JSON.stringify({ model: modelId, messages: [{ role: "user", content }], max_tokens: frameCount })) };
  }));

async function timedPost(url: string, status: number, body: Uint8Array<ArrayBuffer> | string, authorization?: string): Promise<number> {
  const begunMs = performance.now();
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json", ...(authorization && { authorization }) }, body });
  await answer.arrayBuffer();
  if (answer.status !== status) throw new Error(`${url} was answered ${answer.status}`);
  return performance.now() - begunMs;
}

/** All prompts in turn, until it is over: times by kind and size. */
async function askPrices({ child, served }: HearthUnderTest, route: PricingRoute, over: () => boolean): Promise<Map<Prompt, number[]>> {
  const { path, status } = pricingRoutes[route];
  const times = new Map(prompts.map((prompt): [Prompt, number[]] => [prompt, []]));
  while (!over())
    for (const [prompt, list] of times) {
      list.push(await timedPost(child.url + path, status, prompt.body));
      if (route === "bill") served.bills++;
    }
  return times;
}

async function makeSmallCalls({ child, credentials, served }: HearthUnderTest, over: () => boolean): Promise<number[]> {
  const times: number[] = [];
  while (!over()) {
    times.push(await timedPost(`${child.url}/v1/chat/completions`, 200, chatBody, credentials[times.length % credentials.length]));
    served.calls++;
    await Bun.sleep(smallCallEveryMs);
  }
  return times;
}

/** One phase after the other: quiet, then each way to ask for a price. */
export async function measureLongPrompts(bench: Bench, hearth: HearthUnderTest, round: number): Promise<void> {
  await fetch(`${bench.upstreamUrl}/pace?ms=${longPromptPaceMs}`);
  for (const phase of phases) await measurePhase(bench.measures, hearth, phase, round);
}

async function measurePhase(measures: Measures, hearth: HearthUnderTest, phase: Phase, round: number): Promise<void> {
  let ended = false;
  const over = () => ended;
  const { credentials, served, name } = hearth;
  const url = `${hearth.child.url}/v1/chat/completions`;
  const reading = readStreams({ url, streams: longPromptStreams, repeats, spacingMs: openingSpacingMs, credentials, together: false }).finally(() => (ended = true));
  const asking = phase === "quiet" ? new Map<Prompt, number[]>() : askPrices(hearth, phase, over);
  const [result, times, smallMs] = await Promise.all([reading, asking, makeSmallCalls(hearth, over)]);
  served.calls += result.wholeStreams + warmUpCalls;
  if (result.problems.length > 0) process.stdout.write(`  W12, ${phase}: ${result.problems.join("; ")}\n`);
  const at = { workload: "W12" as const, contestant: name, parallel: longPromptStreams, round };
  measures.add(at, phaseMeasures(phase, result, smallMs));
  if (phase !== "quiet") for (const [{ kind, size }, list] of times) measures.add(at, { [`${phase}_${kind}_${size}_ms`]: percentile(list, 50)! });
}

function phaseMeasures(phase: Phase, { gaps, streams, lostFrames }: StreamResult, smallMs: number[]) {
  return {
    [`${phase}_gap_p50_ms`]: gaps.p50Ms, [`${phase}_gap_p99_ms`]: gaps.p99Ms, [`${phase}_largest_gap_ms`]: gaps.largestMs,
    [`${phase}_small_call_p50_ms`]: percentile(smallMs, 50)!, [`${phase}_small_call_p99_ms`]: percentile(smallMs, 99)!,
    [`${phase}_streams`]: streams, [`${phase}_lost_frames`]: lostFrames,
  };
}
