/**
 * The sandbox model's memory of the calls it got, for tests to look at and wait on. Bounded in number and bytes, in
 * memory only; it refuses to outlive the process.
 */
import { maxBodyBytes } from "../base/limits.ts";

/** One chat call as the model saw it. The same object changes while the call goes on. */
export type SandboxCall = {
  readonly model: string;
  /** The parsed request body. */
  readonly body: unknown;
  readonly startedAtMs: number;
  /** The caller went away before the answer's end. */
  readonly aborted: boolean;
  /** Tokens made so far, over all choices. */
  readonly tokensSent: number;
  /** The answer went out to its end; false for one that broke or stalled. */
  readonly finished: boolean;
};

/** One call from the inside. Whatever comes after its first end is ignored. */
export type OpenCall = {
  readonly record: SandboxCall;
  /** Fires when the caller goes away. */
  readonly gone: AbortSignal;
  addTokens(count: number): void;
  finish(): void;
  /** We end it, on purpose: what the socket reports from now on is not the caller's doing. */
  giveUp(): void;
  leave(): void;
};

/** Enough for any test; the demo must not grow by what strangers send. */
const maxCalls = 1_000;
const maxKeptBytes = 8 * maxBodyBytes;

export class CallList {
  readonly #calls: SandboxCall[] = [];
  readonly #sizes: number[] = [];
  readonly #waiters = new Set<() => void>();
  readonly #abortsToTell: SandboxCall[] = [];
  #keptBytes = 0;

  get calls(): readonly SandboxCall[] {
    return this.#calls;
  }

  open(input: { model: string; body: unknown; bytes: number; nowMs: number; signal: AbortSignal }): OpenCall {
    const record = { model: input.model, body: input.body, startedAtMs: input.nowMs, aborted: false, tokensSent: 0, finished: false };
    const gone = new AbortController();
    let ended = false;
    const end = (how: () => void) => {
      if (ended) return;
      ended = true;
      input.signal.removeEventListener("abort", leave);
      how();
      this.#changed();
    };
    const leave = () =>
      end(() => {
        record.aborted = true;
        this.#noteAbort(record);
        gone.abort();
      });
    this.#keep(record, input.bytes);
    if (input.signal.aborted) leave();
    else input.signal.addEventListener("abort", leave);
    return {
      record,
      gone: gone.signal,
      addTokens: (count) => {
        record.tokensSent += count;
        this.#changed();
      },
      finish: () => end(() => (record.finished = true)),
      giveUp: () => end(() => {}),
      leave,
    };
  }

  /** Resolves as soon as `holds` is true of the calls; looks again at every change. */
  until(holds: (calls: readonly SandboxCall[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!holds(this.#calls)) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  /** The earliest abort that no earlier `whenAborted` has told, past or to come. */
  async whenAborted(): Promise<SandboxCall> {
    for (;;) {
      const told = this.#abortsToTell.shift();
      if (told) return told;
      await this.until(() => this.#abortsToTell.length > 0);
    }
  }

  #noteAbort(record: SandboxCall): void {
    this.#abortsToTell.push(record);
    if (this.#abortsToTell.length > maxCalls) this.#abortsToTell.shift();
  }

  #keep(record: SandboxCall, bytes: number): void {
    this.#calls.push(record);
    this.#sizes.push(bytes);
    this.#keptBytes += bytes;
    while (this.#calls.length > maxCalls || (this.#keptBytes > maxKeptBytes && this.#calls.length > 1)) {
      this.#calls.shift();
      this.#keptBytes -= this.#sizes.shift() ?? 0;
    }
    this.#changed();
  }

  #changed(): void {
    for (const look of [...this.#waiters]) look();
  }
}
