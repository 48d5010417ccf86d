/**
 * The reader of W2 and W12, as a process of its own: opens streams over raw sockets, notes when bytes came, and checks at
 * the end that every frame is there once and in order. Prints one line of JSON (`StreamResult`).
 */
import { percentile } from "./measures.ts";
import { chatBody, frameCount, frameText, streamBody } from "./workload.ts";

export type StreamResult = {
  firstFrameMs: number[];
  totalMs: number[];
  /** Between bytes of one stream that came one after the other, after its first frame; over all streams. */
  gaps: { p50Ms: number; p99Ms: number; largestMs: number };
  streams: number;
  wholeStreams: number;
  frames: number;
  lostFrames: number;
  problems: string[];
};

export type StreamRun = {
  url: string;
  /** Open at one time. */
  streams: number;
  /** How often each of them is opened. */
  repeats: number;
  /** All are opened again when the last one has ended; else each when it has ended itself, so that most are always open. */
  together: boolean;
  /** Between the first openings of two. */
  spacingMs: number;
  credentials: string[];
};

type Read = { firstFrameMs: number | undefined; gapsMs: number[]; totalMs: number; text: string; problem: string | undefined };
type Tally = Omit<StreamResult, "gaps"> & { gapsMs: number[] };

const patienceMs = 60_000;
/** An address is warm when its code was compiled and its connections to the upstream are open. */
export const warmUpCalls = 20;

function requestText(url: URL, body: string, credential: string): string {
  return `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: ${credential}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Resolves when the last chunk is there or the connection ended. Nothing is parsed while it lasts. */
async function readStream(url: URL, credential: string): Promise<Read> {
  const startedMs = performance.now();
  const pieces: Uint8Array[] = [];
  const gapsMs: number[] = [];
  let firstFrameMs: number | undefined, lastMs = startedMs;
  const ended = Promise.withResolvers<string | undefined>();
  const socket = await Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: {
      open: (opened) => void opened.write(requestText(url, streamBody, credential)),
      data: (_, bytes) => {
        const piece = new Uint8Array(bytes);
        pieces.push(piece);
        const nowMs = performance.now();
        if (firstFrameMs !== undefined) gapsMs.push(nowMs - lastMs);
        else if (Buffer.from(piece.buffer).includes("data: ")) firstFrameMs = nowMs - startedMs;
        lastMs = nowMs;
        if (Buffer.from(piece.buffer, Math.max(0, piece.length - 5)).toString("latin1") === "0\r\n\r\n") ended.resolve(undefined);
      },
      close: () => ended.resolve("the connection ended before the stream"),
      error: (_, error) => ended.resolve(error.message),
    },
  });
  const patience = setTimeout(() => ended.resolve(`no end within ${patienceMs} ms`), patienceMs);
  const problem = await ended.promise;
  clearTimeout(patience);
  const totalMs = performance.now() - startedMs;
  socket.terminate();
  return { firstFrameMs, gapsMs, totalMs, text: Buffer.concat(pieces).toString("latin1"), problem };
}

/** The body of an answer in chunks. */
function decodeChunked(text: string): string {
  let at = text.indexOf("\r\n\r\n") + 4;
  let body = "";
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    const size = lineEnd < 0 ? NaN : parseInt(text.slice(at, lineEnd), 16);
    if (!(size > 0)) return body;
    body += text.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
  }
}

function contentOf(event: string): string | undefined {
  if (!event.startsWith("data: {")) return undefined;
  const chunk = JSON.parse(event.slice(6)) as { choices?: { delta?: { content?: string } }[] };
  return chunk.choices?.[0]?.delta?.content;
}

function judge(result: Tally, read: Read): void {
  result.streams++;
  const events = decodeChunked(read.text).split("\n\n");
  const contents = events.map(contentOf).filter((content) => content !== undefined);
  const inOrder = contents.length === frameCount && contents.every((content, index) => content === frameText(index));
  result.frames += contents.length;
  result.lostFrames += Math.max(0, frameCount - contents.length);
  const status = /^HTTP\/1\.1 (\d+)/.exec(read.text)?.[1] ?? "no answer";
  const problem = read.problem ?? (status !== "200" ? `status ${status}` : !inOrder ? "frames are missing or out of order" : !events.includes("data: [DONE]") ? "no [DONE]" : undefined);
  if (problem === undefined && read.firstFrameMs !== undefined) {
    result.wholeStreams++;
    result.firstFrameMs.push(read.firstFrameMs);
    result.totalMs.push(read.totalMs);
    result.gapsMs.push(...read.gapsMs);
  } else if (result.problems.length < 5) result.problems.push(problem ?? "no frame");
}

async function warmUp(run: StreamRun): Promise<void> {
  for (let i = 0; i < warmUpCalls; i++) {
    const headers = { "content-type": "application/json", authorization: run.credentials[i % run.credentials.length]! };
    await (await fetch(run.url, { method: "POST", headers, body: chatBody })).arrayBuffer();
  }
}

async function read(run: StreamRun): Promise<StreamResult> {
  const tally: Tally = { firstFrameMs: [], totalMs: [], gapsMs: [], streams: 0, wholeStreams: 0, frames: 0, lostFrames: 0, problems: [] };
  await warmUp(run);
  const rounds = run.together ? run.repeats : 1;
  for (let round = 0; round < rounds; round++)
    for (const one of (await readRound(run, run.together ? 1 : run.repeats)).flat()) judge(tally, one);
  const { gapsMs, ...result } = tally;
  return { ...result, gaps: { p50Ms: percentile(gapsMs, 50) ?? NaN, p99Ms: percentile(gapsMs, 99) ?? NaN, largestMs: percentile(gapsMs, 100) ?? NaN } };
}

/** Every stream `times` times, one after the other; judged when all are over. */
function readRound(run: StreamRun, times: number): Promise<Read[][]> {
  const url = new URL(run.url);
  const startedMs = performance.now();
  return Promise.all(Array.from({ length: run.streams }, async (_, index) => {
    await Bun.sleep(Math.max(0, startedMs + index * run.spacingMs - performance.now()));
    const reads: Read[] = [];
    while (reads.length < times) reads.push(await readStream(url, run.credentials[index % run.credentials.length]!));
    return reads;
  }));
}

if (import.meta.main) {
  process.stdout.write(JSON.stringify(await read(JSON.parse(process.argv[2] ?? "{}") as StreamRun)) + "\n");
  process.exit(0);
}
