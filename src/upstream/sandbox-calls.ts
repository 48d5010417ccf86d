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

export type CallList = ReturnType<typeof createCallList>;

export function createCallList() {
  const calls: SandboxCall[] = [];
  const sizes: number[] = [];
  const waiters = new Set<() => void>();
  const abortsToTell: SandboxCall[] = [];
  let keptBytes = 0;

  function changed() {
    for (const look of [...waiters]) look();
  }

  function open(input: { model: string; body: unknown; bytes: number; nowMs: number; signal: AbortSignal }): OpenCall {
    const record = { model: input.model, body: input.body, startedAtMs: input.nowMs, aborted: false, tokensSent: 0, finished: false };
    const gone = new AbortController();
    let ended = false;
    function end(how: () => void) {
      if (ended) return;
      ended = true;
      input.signal.removeEventListener("abort", leave);
      how();
      changed();
    }
    function leave() {
      end(() => {
        record.aborted = true;
        abortsToTell.push(record);
        if (abortsToTell.length > maxCalls) abortsToTell.shift();
        gone.abort();
      });
    }
    keep(record, input.bytes);
    if (input.signal.aborted) leave();
    else input.signal.addEventListener("abort", leave);
    return {
      record,
      gone: gone.signal,
      addTokens(count) {
        record.tokensSent += count;
        changed();
      },
      finish: () => end(() => (record.finished = true)),
      giveUp: () => end(() => {}),
      leave,
    };
  }

  function keep(record: SandboxCall, bytes: number) {
    calls.push(record);
    sizes.push(bytes);
    keptBytes += bytes;
    while (calls.length > maxCalls || (keptBytes > maxKeptBytes && calls.length > 1)) {
      calls.shift();
      keptBytes -= sizes.shift() ?? 0;
    }
    changed();
  }

  /** Resolves as soon as `holds` is true of the calls; looks again at every change. */
  function until(holds: (calls: readonly SandboxCall[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      function look() {
        if (!holds(calls)) return;
        waiters.delete(look);
        resolve();
      }
      waiters.add(look);
      look();
    });
  }

  /** The earliest abort that no earlier `whenAborted` has told, past or to come. */
  async function whenAborted(): Promise<SandboxCall> {
    for (;;) {
      const told = abortsToTell.shift();
      if (told) return told;
      await until(() => abortsToTell.length > 0);
    }
  }

  return { calls: calls as readonly SandboxCall[], open, until, whenAborted };
}
