/**
 * Asks the node about payouts whose end is not known, for ever: each again after 1 s, 2 s ... 10 min. Nothing but the node's word on the
 * payment hash ends one here.
 */
import type { Clock } from "../base/clock.ts";
import { absentLookGapMs, absentLooks, absentPayoutAfterMs, firstPayoutLookMs, lastPayoutLookMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { NodeCondition, PaymentState } from "../lightning/node.ts";
import { isEnded, type OpenPayout, type Payout, type PayoutEnd } from "./payout.ts";

export type TrackerParts = {
  clock: Clock;
  find(id: string): Payout | undefined;
  lookUp(payout: OpenPayout): Promise<PaymentState>;
  condition(): Promise<NodeCondition>;
  /** What the node's word ends it with; undefined where it does not. */
  endBy(payout: OpenPayout, said: PaymentState): PayoutEnd | undefined;
  end(payout: OpenPayout, end: PayoutEnd): Promise<void>;
};

export class PayoutTracker {
  readonly #parts: TrackerParts;
  readonly #stop = new AbortController();
  readonly #following = new Map<string, Promise<void>>();

  constructor(parts: TrackerParts) {
    this.#parts = parts;
  }

  follow(id: string): void {
    if (this.#following.has(id) || this.#stop.signal.aborted) return;
    this.#following.set(id, this.#follow(id).finally(() => this.#following.delete(id)));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#following.values());
  }

  async #follow(id: string): Promise<void> {
    const absences = new Absences(this.#parts);
    const { signal } = this.#stop;
    for (let waitMs = firstPayoutLookMs; !signal.aborted; waitMs = Math.min(waitMs * 2, lastPayoutLookMs)) {
      const payout = this.#parts.find(id);
      if (payout === undefined || isEnded(payout)) return;
      await this.#look(payout, absences).catch((error: unknown) => log.warn("payout.not_looked_up", { payout: id, reason: describeError(error) }));
      await this.#parts.clock.sleep(waitMs, signal);
    }
  }

  async #look(payout: OpenPayout, absences: Absences): Promise<void> {
    const said = await this.#parts.lookUp(payout);
    const end = this.#parts.endBy(payout, said) ?? (await absences.endBy(payout, said));
    if (end && !this.#stop.signal.aborted) await this.#parts.end(payout, end);
  }
}

/**
 * A node that has no such payment may be restoring itself, or our request may still be on its way to it. It counts as never sent only when
 * the node never had it, is in order, the invoice can be paid by nobody any more, and looks that lie apart agree.
 */
class Absences {
  readonly #parts: Pick<TrackerParts, "clock" | "condition">;
  #count = 0;
  #lastAtMs = -Infinity;

  constructor(parts: Pick<TrackerParts, "clock" | "condition">) {
    this.#parts = parts;
  }

  async endBy({ expiresAtMs, known }: OpenPayout, said: PaymentState): Promise<PayoutEnd | undefined> {
    const nowMs = this.#parts.clock.nowMs();
    const counts = said.state === "unknown" && !known && nowMs > expiresAtMs + absentPayoutAfterMs && (await this.#parts.condition()).kind === "ready";
    if (!counts) {
      this.#count = 0;
      return undefined;
    }
    if (nowMs - this.#lastAtMs < absentLookGapMs) return undefined;
    this.#lastAtMs = nowMs;
    return ++this.#count < absentLooks ? undefined : { state: "failed", reason: "The node never had this payment, and its invoice has expired." };
  }
}
