/**
 * Relays a stream of server-sent events byte for byte and timing for timing, with a tap on it. It withholds at most
 * one event (usage nobody asked for) and adds comments, or an ending when the upstream had to be stopped.
 */
import { capTolerancePercent, keepAliveMs, maxEventBytes, stallTimeoutMs } from "../base/limits.ts";
import { eventData, SseFramer } from "../upstream/sse.ts";
import type { Ending } from "./call-end.ts";
import type { ChatTap } from "./chat-tap.ts";

export type StreamParts = {
  body: ReadableStream<Uint8Array>;
  tap: ChatTap;
  /** Output tokens paid for, over all choices. */
  paidTokens: number;
  clientGone: AbortSignal;
  /** Ends the upstream's work. */
  stopUpstream(): void;
  /** Called exactly once. Answers the closing comment: what the call cost. */
  finish(ending: Ending): string;
};

/** What is used of a stream's two ends. */
type Sink = { enqueue(bytes: Uint8Array): void; close(): void };
type Source = { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>; cancel(): Promise<void> };

const encoder = new TextEncoder();
const keepAlive = encoder.encode(": keep-alive\n\n");
const doneEvent = "data: [DONE]\n\n";

export function relayStream(parts: StreamParts): ReadableStream<Uint8Array> {
  const relay = new StreamRelay(parts);
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => relay.start(controller),
      pull: () => relay.pull(),
      cancel: () => void relay.end("client_left"),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
  );
}

class StreamRelay {
  readonly #parts: StreamParts;
  readonly #reader: Source;
  readonly #framer = new SseFramer();
  #controller!: Sink;
  #pulse: ReturnType<typeof setInterval> | undefined;
  #lastByteMs = performance.now();
  #lastSentMs = performance.now();
  #ended = false;
  #reading = false;
  readonly #left = () => void this.end("client_left");

  constructor(parts: StreamParts) {
    this.#parts = parts;
    this.#reader = parts.body.getReader();
  }

  start(controller: Sink): void {
    this.#controller = controller;
    this.#pulse = setInterval(() => this.#beat(), keepAliveMs / 2);
    this.#parts.clientGone.addEventListener("abort", this.#left, { once: true });
    if (this.#parts.clientGone.aborted) this.end("client_left");
  }

  /** Returns when something was sent or the stream is over. */
  async pull(): Promise<void> {
    while (!this.#ended) {
      // Silence counts from when we ask: a client that reads slowly is not the upstream's fault.
      this.#reading = true;
      this.#lastByteMs = performance.now();
      const read = await this.#reader.read().catch(() => undefined);
      this.#reading = false;
      if (this.#ended) return;
      if (read === undefined) return this.#upstreamEnded(false);
      if (read.done || read.value === undefined) return this.#upstreamEnded(true);
      if (this.#forward(this.#framer.push(read.value))) return;
    }
  }

  /** True when anything was sent. */
  #forward(events: Uint8Array[]): boolean {
    const { tap, paidTokens } = this.#parts;
    const passed: Uint8Array[] = [];
    for (const event of events) {
      const data = eventData(event);
      if (data === undefined || tap.see(data) === "pass") passed.push(event);
      if (tap.done || tap.failed) break;
      // Engines do not always honour caps. Counting bytes instead of tokens would cut a Chinese answer at a third.
      if (BigInt(tap.surelyMade) * 100n > BigInt(paidTokens) * capTolerancePercent) return this.#stopAtCap(passed);
    }
    this.#send(passed);
    if (tap.failed) this.#close("upstream_broke", "");
    else if (tap.done) this.#close("completed", "");
    else if (this.#framer.heldBytes > maxEventBytes) this.#close("upstream_broke", errorEvent("The model server sent an endless event."));
    return passed.length > 0;
  }

  #stopAtCap(passed: Uint8Array[]): true {
    this.#send(passed);
    this.#close("cap_reached", `data: ${this.#parts.tap.lengthChunk()}\n\n${doneEvent}`);
    return true;
  }

  #upstreamEnded(cleanly: boolean): void {
    const rest = this.#framer.rest();
    if (cleanly && rest.length > 0) this.#forward([withBlankLine(rest)]);
    if (this.#ended) return;
    if (cleanly && this.#parts.tap.finished) this.#close("completed", doneEvent);
    else this.#close("upstream_broke", errorEvent("The model server broke off in the middle of its answer."));
  }

  /** A quiet stream is kept open; one that is silent for too long is broken. */
  #beat(): void {
    const nowMs = performance.now();
    if (this.#reading && nowMs - this.#lastByteMs > stallTimeoutMs) return this.#close("upstream_broke", errorEvent("The model server fell silent."));
    if (nowMs - this.#lastSentMs >= keepAliveMs / 2) this.#send([keepAlive]);
  }

  #send(pieces: Uint8Array[]): void {
    if (pieces.length === 0) return;
    this.#lastSentMs = performance.now();
    this.#controller.enqueue(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  }

  /** Sends `last` and the closing comment, and ends both sides. */
  #close(ending: Ending, last: string): void {
    const comment = this.end(ending);
    if (comment === undefined) return;
    this.#controller.enqueue(encoder.encode(`${last}${comment}`));
    this.#controller.close();
  }

  /** Ends the call once; answers the closing comment. */
  end(ending: Ending): string | undefined {
    if (this.#ended) return undefined;
    this.#ended = true;
    clearInterval(this.#pulse);
    this.#parts.clientGone.removeEventListener("abort", this.#left);
    if (ending !== "completed") this.#parts.stopUpstream();
    this.#reader.cancel().catch(() => undefined);
    return this.#parts.finish(ending);
  }
}

function withBlankLine(rest: Uint8Array): Uint8Array {
  return Buffer.concat([rest, encoder.encode("\n\n")]);
}

function errorEvent(message: string): string {
  return `data: ${JSON.stringify({ error: { message, type: "server_error", code: "upstream_unavailable", param: null } })}\n\n`;
}
