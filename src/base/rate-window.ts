/** So many events of one key in so much time, counted for at most so many keys. Pure. */
import { assert } from "./assert.ts";
import type { Clock } from "./clock.ts";

/** `retryAfterSeconds` is 0 where the event is allowed, else the whole seconds after which the next one is. */
export type RateAnswer = { allowed: boolean; retryAfterSeconds: number };

type Window = { startedAtMs: number; events: number };

/** A key's window begins with its first event and is not moved by later ones, so that somebody who keeps trying is let in again. */
export class RateWindow {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #maxKeys: number;
  readonly #clock: Pick<Clock, "nowMs">;
  /** In the order they began. All are equally long, so the first is one that is over if there is any: it goes when there is no more room. */
  readonly #windows = new Map<string, Window>();

  constructor({ limit, windowMs, maxKeys, clock }: { limit: number; windowMs: number; maxKeys: number; clock: Pick<Clock, "nowMs"> }) {
    for (const bound of [limit, windowMs, maxKeys]) assert(Number.isSafeInteger(bound) && bound >= 1, "the bounds of a rate window are whole numbers from 1");
    this.#limit = limit;
    this.#windowMs = windowMs;
    this.#maxKeys = maxKeys;
    this.#clock = clock;
  }

  /** Counts an event and says whether it may be. */
  hit(key: string): RateAnswer {
    const nowMs = this.#clock.nowMs();
    const window = this.#openWindow(key, nowMs) ?? this.#begin(key, nowMs);
    const answer = this.#answer(window, nowMs);
    window.events++;
    return answer;
  }

  /** What `hit` would answer. */
  peek(key: string): RateAnswer {
    const nowMs = this.#clock.nowMs();
    return this.#answer(this.#openWindow(key, nowMs), nowMs);
  }

  #answer(window: Window | undefined, nowMs: number): RateAnswer {
    if (window === undefined || window.events < this.#limit) return { allowed: true, retryAfterSeconds: 0 };
    return { allowed: false, retryAfterSeconds: Math.ceil((window.startedAtMs + this.#windowMs - nowMs) / 1000) };
  }

  #openWindow(key: string, nowMs: number): Window | undefined {
    const window = this.#windows.get(key);
    return window && this.#isOpen(window, nowMs) ? window : undefined;
  }

  /** One that begins in the future is over: a clock that was set back must not lock anybody out for as long. */
  #isOpen({ startedAtMs }: Window, nowMs: number): boolean {
    return startedAtMs <= nowMs && nowMs < startedAtMs + this.#windowMs;
  }

  #begin(key: string, nowMs: number): Window {
    // Set anew, or the map would keep the key's old place.
    this.#windows.delete(key);
    if (this.#windows.size >= this.#maxKeys) this.#windows.delete(this.#windows.keys().next().value!);
    const window = { startedAtMs: nowMs, events: 0 };
    this.#windows.set(key, window);
    return window;
  }
}
