/** What a bitcoin is worth, as far as it is known: the owner's word, or the median of sources that were asked lately. */
import type { Clock } from "../base/clock.ts";
import { rateFreezeMs, rateRefreshMs, rateRetryMs, rateWarnMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { BtcRate } from "./rate.ts";
import { medianRate, type RateReading } from "./rate-median.ts";
import type { RateSource } from "./rate-source.ts";

export type RateState =
  | { kind: "known"; rate: BtcRate; by: "owner" | "sources"; ageMs: number; /** Over ten minutes old: the owner is told. */ stale: boolean }
  /** No price, or none of the last hour: nothing is quoted in dollars. */
  | { kind: "unknown"; lastAtMs: number | undefined };

export class RateBook {
  readonly #sources: readonly RateSource[];
  readonly #clock: Clock;
  readonly #fixedCents: bigint | undefined;
  readonly #stop = new AbortController();
  #last: BtcRate | undefined;

  /** @param fixedCents The owner's own price (or the sandbox's); then no source is asked. */
  constructor(parts: { sources: readonly RateSource[]; clock: Clock; fixedCents: bigint | undefined }) {
    this.#sources = parts.sources;
    this.#clock = parts.clock;
    this.#fixedCents = parts.fixedCents;
  }

  state(): RateState {
    const nowMs = this.#clock.nowMs();
    if (this.#fixedCents !== undefined) return { kind: "known", rate: { centsPerBtc: this.#fixedCents, atMs: nowMs }, by: "owner", ageMs: 0, stale: false };
    const last = this.#last;
    // A clock set back makes no old price young again.
    const ageMs = last && Math.abs(nowMs - last.atMs);
    if (last === undefined || ageMs === undefined || ageMs >= rateFreezeMs) return { kind: "unknown", lastAtMs: last?.atMs };
    return { kind: "known", rate: last, by: "sources", ageMs, stale: ageMs >= rateWarnMs };
  }

  /** Undefined while nothing may be quoted in dollars. */
  current(): BtcRate | undefined {
    const state = this.state();
    return state.kind === "known" ? state.rate : undefined;
  }

  /** Asks all sources once. True when there is a new price. */
  async refresh(): Promise<boolean> {
    if (this.#fixedCents !== undefined) return true;
    const answers = await Promise.all(this.#sources.map((source) => this.#ask(source)));
    const outcome = medianRate(answers.filter((one) => one !== undefined));
    if (outcome.dropped.length > 0) log.warn("rate.outliers", { sources: outcome.dropped.join(",") });
    if (!outcome.ok) {
      log.warn("rate.unknown", { reason: outcome.reason });
      return false;
    }
    this.#last = { centsPerBtc: outcome.centsPerBtc, atMs: this.#clock.nowMs() };
    return true;
  }

  async #ask(source: RateSource): Promise<RateReading | undefined> {
    try {
      return { source: source.name, centsPerBtc: await source.read() };
    } catch (error) {
      log.info("rate.source_failed", { source: source.name, reason: describeError(error) });
      return undefined;
    }
  }

  /** Keeps the price fresh until `stop`. */
  async run(): Promise<void> {
    if (this.#fixedCents !== undefined) return;
    const { signal } = this.#stop;
    while (!signal.aborted) await this.#clock.sleep((await this.refresh()) ? rateRefreshMs : rateRetryMs, signal);
  }

  stop(): void {
    this.#stop.abort();
  }
}
