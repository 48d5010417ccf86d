/**
 * Time that passes only when the test says so: to each sleeper in turn, with everything it sets off done before the
 * next one wakes. The same test takes the same steps on every machine. No wall clock is read.
 */
import type { Clock } from "../../src/base/clock.ts";

type Sleeper = { dueMs: number; wake(): void };

/** Work that is in flight and waits for no clock ends within so many turns of the event loop. */
const maxIdleTurns = 1_000;

export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #sleepers: Sleeper[] = [];

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        const place = this.#sleepers.indexOf(sleeper);
        if (place !== -1) this.#sleepers.splice(place, 1);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper: Sleeper = { dueMs: this.#nowMs + ms, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener("abort", wake);
    });
  }

  /** Lets `ms` pass, waking whoever is due on the way. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await this.settle();
    for (let next = this.#earliest(); next && next.dueMs <= endMs; next = this.#earliest()) await this.#wake(next);
    this.#nowMs = endMs;
    await this.settle();
  }

  /** Lets time pass, from sleeper to sleeper, until `promise` is settled, and answers as it does. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => void (settled = true);
    promise.then(done, done);
    for (let idle = 0; ; idle++) {
      await this.settle();
      if (settled) return promise;
      const next = this.#earliest();
      if (next) await this.#wake(next);
      if (next) idle = 0;
      if (idle >= maxIdleTurns) throw new Error("nobody sleeps and nothing happens: the promise waits for something else");
    }
  }

  /** Lets everything run that waits for no time. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** The one that is due first; among equals the one that lay down first. */
  #earliest(): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) if (!first || sleeper.dueMs < first.dueMs) first = sleeper;
    return first;
  }

  async #wake(sleeper: Sleeper): Promise<void> {
    this.#nowMs = Math.max(this.#nowMs, sleeper.dueMs);
    sleeper.wake();
    await this.settle();
  }
}
