/** Free calls: so many for an address in 24 hours, and no more than the day's budget over all. */
import type { Failed, LedgerModel, ReserveExpectation } from "./ledger-model.ts";

export type TrialCall = {
  address: string;
  atMs: number;
  /** Its 24 hours were over when another was given, so that its row may be gone: it counts for certain no more. */
  mayBeGone: boolean;
};

const dayMs = 86_400_000;
const account = "trial";

export class TrialModel {
  readonly calls = new Map<string, TrialCall>();
  #fundedDay = Number.NEGATIVE_INFINITY;
  readonly #ledger: LedgerModel;

  constructor(ledger: LedgerModel) {
    this.#ledger = ledger;
  }

  /** What the address has had. A call that came to nothing, by a crash or otherwise, was none. */
  #lately(address: string, atMs: number): TrialCall[] {
    return [...this.calls].filter(([id, call]) => call.address === address && call.atMs > atMs - dayMs && this.#ledger.calls.get(id)!.state !== "voided").map(([, call]) => call);
  }

  isCertain(address: string, atMs: number): boolean {
    return this.#lately(address, atMs).every((call) => !call.mayBeGone);
  }

  reserve(r: {
    id: string; address: string; callsPerDay: number; dailyBudgetMsat: bigint; atMostMsat: bigint; atLeastMsat: bigint; atMs: number;
  }): ReserveExpectation | { ok: false; reason: "used_up" } | Failed {
    if (this.#lately(r.address, r.atMs).length >= r.callsPerDay) return { ok: false, reason: "used_up" };
    if (r.atLeastMsat < 1n || r.atLeastMsat > r.atMostMsat) return { failed: true };
    const day = Math.floor(r.atMs / dayMs);
    const begins = day > this.#fundedDay;
    const there = begins ? r.dailyBudgetMsat : this.#ledger.spendable(account);
    // Who is turned away has not begun the day either.
    if (there < r.atLeastMsat) return { ok: false, reason: "insufficient_balance", spendableMsat: there };
    if (begins) this.#begin(day, r.dailyBudgetMsat);
    for (const call of this.calls.values()) if (call.atMs <= r.atMs - dayMs) call.mayBeGone = true;
    this.calls.set(r.id, { address: r.address, atMs: r.atMs, mayBeGone: false });
    return this.#ledger.reserveCall({ id: r.id, accountId: account, atMostMsat: r.atMostMsat, atLeastMsat: r.atLeastMsat, free: true });
  }

  /** A new day has its budget, whatever the one before left over or lacked; a clock that was set back begins none again. */
  #begin(day: number, budgetMsat: bigint): void {
    this.#fundedDay = day;
    const trial = this.#ledger.openPayer(account);
    const missing = budgetMsat - this.#ledger.spendable(account);
    if (missing > 0n) trial.paidIn += missing;
    if (missing < 0n) trial.movedOut -= missing;
    if (missing > 0n) this.#ledger.grantedMsat += missing;
    if (missing < 0n) this.#ledger.takenBackMsat -= missing;
    if (missing !== 0n) this.#ledger.transfers++;
  }
}
