/** Money out, told a second time: what is set aside for a payout leaves or comes back, once. */
import type { Failed, Figures, LedgerModel } from "./ledger-model.ts";

export type ModelPayout = { payer: string; hash: string; amount: bigint; limit: bigint; state: "intent" | "sent" | "succeeded" | "failed" | "returned"; fee: bigint; atMs: number; /** What came and went before it was booked. */ earlier?: bigint };
export type PayoutEnding = { state: "succeeded"; feeMsat: bigint } | { state: "failed" | "returned" };
export type TakeExpectation =
  | { ok: true }
  | { ok: false; reason: "payouts_off" | "invoice_already_used" | "too_many_open" }
  | { ok: false; reason: "payout_limit"; ownLeftMsat: bigint | undefined }
  | { ok: false; reason: "insufficient_balance"; spendableMsat: bigint };

export type BookExpectation = { ok: true; id: string } | { ok: false; reason: "known" | "no_account" | "another_account" } | { ok: false; reason: "insufficient_balance"; spendableMsat: bigint };

const dayMs = 86_400_000;

export class PayoutModel {
  readonly payouts = new Map<string, ModelPayout>();
  on = true;
  /** What left the node, and how much of it was the house's loss. */
  leftMsat = 0n;
  excessMsat = 0n;
  readonly #ledger: LedgerModel;

  constructor(ledger: LedgerModel) {
    this.#ledger = ledger;
  }

  take(p: { id: string; payer: string; hash: string; amount: bigint; limit: bigint; atMs: number; daily: bigint; dailyPerAccount: bigint }): TakeExpectation | Failed {
    if (!this.on) return { ok: false, reason: "payouts_off" };
    const all = [...this.payouts.values()];
    if (all.some(({ hash, state }) => hash === p.hash && state !== "returned")) return { ok: false, reason: "invoice_already_used" };
    const lately = all.filter(({ atMs, state }) => atMs > p.atMs - dayMs && state !== "failed" && state !== "returned");
    const sum = (some: ModelPayout[]) => some.reduce((total, { amount }) => total + amount, 0n);
    const open = all.filter(({ state }) => state === "intent" || state === "sent");
    if (open.length >= 100 || open.filter(({ payer }) => payer === p.payer).length >= 8) return { ok: false, reason: "too_many_open" };
    const own = p.dailyPerAccount - sum(lately.filter(({ payer }) => payer === p.payer));
    if (p.amount > own) return { ok: false, reason: "payout_limit", ownLeftMsat: own > 0n ? own : 0n };
    if (p.amount > p.daily - sum(lately)) return { ok: false, reason: "payout_limit", ownLeftMsat: undefined };
    const payer = this.#ledger.payers.get(p.payer);
    if (payer === undefined) return { failed: true };
    const spendableMsat = this.#ledger.spendable(p.payer);
    if (p.amount + p.limit > spendableMsat) return { ok: false, reason: "insufficient_balance", spendableMsat };
    payer.movedOut += p.amount + p.limit;
    this.#ledger.transfers++;
    this.payouts.set(p.id, { payer: p.payer, hash: p.hash, amount: p.amount, limit: p.limit, state: "intent", fee: 0n, atMs: p.atMs });
    return { ok: true };
  }

  send(id: string): { ok: boolean } {
    const payout = this.payouts.get(id);
    if (!this.on || payout?.state !== "intent") return { ok: false };
    payout.state = "sent";
    return { ok: true };
  }

  end(id: string, ending: PayoutEnding): { ok: true; ended: boolean } {
    const payout = this.payouts.get(id);
    if (payout === undefined || payout.state !== (ending.state === "returned" ? "intent" : "sent")) return { ok: true, ended: false };
    payout.state = ending.state;
    let back = payout.amount + payout.limit;
    if (ending.state === "succeeded") {
      const own = ending.feeMsat < payout.limit ? ending.feeMsat : payout.limit;
      payout.fee = own;
      back -= payout.amount + own;
      this.leftMsat += payout.amount + ending.feeMsat;
      this.excessMsat += ending.feeMsat - own;
      this.#ledger.transfers += 1n + (own > 0n ? 1n : 0n) + (ending.feeMsat > own ? 1n : 0n);
    }
    this.#ledger.payers.get(payout.payer)!.movedIn += back;
    if (back > 0n) this.#ledger.transfers++;
    return { ok: true, ended: true };
  }

  /** By the owner's word: one that is not known, or one that was given back. */
  book(b: { id: string; payer: string; hash: string; amount: bigint; feeMsat: bigint; atMs: number }): BookExpectation {
    const [beforeId, before] = [...this.payouts].find(([, { hash, state }]) => hash === b.hash && state !== "returned") ?? [];
    if (before && before.state !== "failed") return { ok: false, reason: "known" };
    const payer = this.#ledger.payers.get(b.payer);
    if (payer === undefined || b.payer === "trial") return { ok: false, reason: "no_account" };
    if (before && (before.payer !== b.payer || before.amount !== b.amount)) return { ok: false, reason: "another_account" };
    const fee = before && before.limit < b.feeMsat ? before.limit : b.feeMsat;
    const spendableMsat = this.#ledger.spendable(b.payer);
    if (spendableMsat < b.amount + fee) return { ok: false, reason: "insufficient_balance", spendableMsat };
    payer.movedOut += b.amount + fee;
    this.#ledger.transfers++;
    const id = beforeId ?? b.id;
    const rounds = before ? before.amount + before.limit + (before.earlier ?? 0n) : 0n;
    this.payouts.set(id, { payer: b.payer, hash: b.hash, amount: b.amount, limit: fee, state: "sent", fee: 0n, atMs: before?.atMs ?? b.atMs, earlier: rounds });
    this.end(id, { state: "succeeded", feeMsat: b.feeMsat });
    return { ok: true, id };
  }

  start(): { ok: true; returned: number; unknown: number } {
    const intents = [...this.payouts].filter(([, { state }]) => state === "intent");
    for (const [id] of intents) this.end(id, { state: "returned" });
    return { ok: true, returned: intents.length, unknown: 0 };
  }

  /** Their accounts, and the house's own for what ways cost too much. */
  get accounts(): number {
    return this.payouts.size + (this.excessMsat > 0n ? 1 : 0);
  }

  figures(accountId: string): Figures | undefined {
    const only = (debitsPosted: bigint, creditsPosted: bigint) => ({ debitsPending: 0n, debitsPosted, creditsPending: 0n, creditsPosted });
    if (accountId === "routing-fees") return this.excessMsat > 0n ? only(this.excessMsat, 0n) : undefined;
    const payout = this.payouts.get(accountId.replace(/^payout:/, ""));
    if (payout === undefined) return undefined;
    const whole = payout.amount + payout.limit + (payout.earlier ?? 0n);
    return only(payout.state === "intent" || payout.state === "sent" ? 0n : whole, whole);
  }
}
