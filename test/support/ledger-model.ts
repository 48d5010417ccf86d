/**
 * What the ledger owes to whom, told a second time: from the rules of money, with plain objects, a figure for each
 * reason. Knows no SQL and nothing of how the real one books; imports none of its code.
 */
import { ClaimModel } from "./claim-model.ts";
import { OnceModel } from "./once-model.ts";
import { PayoutModel } from "./payout-model.ts";
import { TrialModel } from "./trial-model.ts";

export type Payer = { paidIn: bigint; movedIn: bigint; movedOut: bigint; charged: bigint; held: bigint };
export type ModelPurpose =
  | { kind: "call"; rollsOverFrom: string | undefined }
  | { kind: "topup"; claimNeedsSecret: boolean }
  | { kind: "refill"; claimNeedsSecret: boolean; accountId: string };
export type ModelInvoice = {
  state: "open" | "credited" | "forgotten"; quoteId: string; secret: string | undefined; purpose: ModelPurpose; accountId?: string; credited?: bigint;
};
/** `free`: the house pays for it, and earns nothing by it. */
export type ModelCall = { payer: string; reserved: bigint; state: "open" | "posted" | "voided"; charged: bigint; free: boolean };
export type Figures = { debitsPending: bigint; debitsPosted: bigint; creditsPending: bigint; creditsPosted: bigint };
export type Day = { calls: bigint; earned: bigint };
export type AccountDay = { calls: bigint; charged: bigint };

/** Our own mistake somewhere: the command must fail and change nothing. */
export type Failed = { failed: true };
const failed: Failed = { failed: true };

export type CreditExpectation = { ok: true; credited: "foreign" } | { ok: true; credited: "now" | "before"; accountId: string; creditedMsat: bigint };
export type ReserveExpectation =
  | { ok: true; amountMsat: bigint; spendableMsat: bigint }
  | { ok: false; reason: "insufficient_balance"; spendableMsat: bigint };

export class LedgerModel {
  boot = 0n;
  cursor = 0n;
  /** Everything that payers ever paid, and everything that calls ever took of it. */
  paidMsat = 0n;
  earnedMsat = 0n;
  /** The same of permission: what the house granted and took back, and what free calls used of it. */
  grantedMsat = 0n;
  takenBackMsat = 0n;
  givenMsat = 0n;
  transfers = 0n;
  readonly payers = new Map<string, Payer>();
  readonly invoices = new Map<string, ModelInvoice>();
  readonly calls = new Map<string, ModelCall>();
  readonly days = new Map<number, Day>();
  /** By account and number of the day. */
  readonly accountDays = new Map<string, AccountDay>();
  readonly claims = new ClaimModel(this);
  readonly once = new OnceModel(this);
  readonly trials = new TrialModel(this);
  readonly out = new PayoutModel(this);
  readonly #quotes = new Set<string>();
  readonly #secrets = new Set<string>();
  readonly #openCalls = new Set<string>();

  get openCalls(): ReadonlySet<string> {
    return this.#openCalls;
  }

  /** A crash, then a start: calls in flight died with their process and cost nothing. */
  startBoot(): { ok: true; boot: bigint; voided: number } {
    const voided = this.#openCalls.size;
    for (const id of [...this.#openCalls]) this.#end(id, "voided");
    this.transfers += BigInt(voided);
    this.boot += 1n;
    return { ok: true, boot: this.boot, voided };
  }

  openInvoice(invoice: { paymentHash: string; quoteId: string; secret: string | undefined; purpose: ModelPurpose }): { ok: true } | Failed {
    const { paymentHash, quoteId, secret, purpose } = invoice;
    const known = this.invoices.get(paymentHash);
    if (known && known.state !== "forgotten") return { ok: true };
    if (this.#quotes.has(quoteId)) return failed;
    // What is bought ahead can be claimed by a secret of its own, a call cannot.
    if ((purpose.kind === "call") !== (secret === undefined) || (secret !== undefined && this.#secrets.has(secret))) return failed;
    const account = purpose.kind === "refill" ? purpose.accountId : purpose.kind === "call" ? purpose.rollsOverFrom : undefined;
    if (account !== undefined && !this.payers.has(account)) return failed;
    this.#quotes.add(quoteId);
    if (secret !== undefined) this.#secrets.add(secret);
    this.invoices.set(paymentHash, { state: "open", quoteId, secret, purpose });
    return { ok: true };
  }

  forgetInvoice(paymentHash: string): { ok: true; forgotten: boolean } {
    const invoice = this.invoices.get(paymentHash);
    if (invoice?.state !== "open") return { ok: true, forgotten: false };
    invoice.state = "forgotten";
    this.#quotes.delete(invoice.quoteId);
    if (invoice.secret !== undefined) this.#secrets.delete(invoice.secret);
    return { ok: true, forgotten: true };
  }

  /** A refill goes to the account it was asked for; every other payment opens one. */
  creditInvoice(settled: { paymentHash: string; paidMsat: bigint; accountId: string; cursor: bigint | undefined }): CreditExpectation | Failed {
    const invoice = this.invoices.get(settled.paymentHash);
    const refills = invoice?.purpose.kind === "refill" ? invoice.purpose.accountId : undefined;
    if (invoice?.state === "open" && (settled.paidMsat === 0n || (refills === undefined && this.payers.has(settled.accountId)))) return failed;
    if (settled.cursor !== undefined && settled.cursor > this.cursor) this.cursor = settled.cursor;
    if (invoice === undefined || invoice.state === "forgotten") return { ok: true, credited: "foreign" };
    if (invoice.state === "credited") return { ok: true, credited: "before", accountId: invoice.accountId!, creditedMsat: invoice.credited! };
    const accountId = refills ?? settled.accountId;
    this.openPayer(accountId).paidIn += settled.paidMsat;
    this.paidMsat += settled.paidMsat;
    this.transfers++;
    if (invoice.purpose.kind === "call" && invoice.purpose.rollsOverFrom !== undefined) this.moveRest(invoice.purpose.rollsOverFrom, accountId);
    Object.assign(invoice, { state: "credited", accountId, credited: settled.paidMsat });
    return { ok: true, credited: "now", accountId, creditedMsat: settled.paidMsat };
  }

  openPayer(accountId: string): Payer {
    const payer = this.payers.get(accountId) ?? { paidIn: 0n, movedIn: 0n, movedOut: 0n, charged: 0n, held: 0n };
    this.payers.set(accountId, payer);
    return payer;
  }

  /** Everything that is not set aside changes its owner. Answers how much that was. */
  moveRest(from: string, to: string): bigint {
    const rest = this.spendable(from);
    if (rest === 0n) return 0n;
    this.payers.get(from)!.movedOut += rest;
    this.payers.get(to)!.movedIn += rest;
    this.transfers++;
    return rest;
  }

  reserveCall(r: { id: string; accountId: string; atMostMsat: bigint; atLeastMsat: bigint; free?: boolean }): ReserveExpectation | Failed {
    const payer = this.payers.get(r.accountId);
    if (payer === undefined || r.atLeastMsat < 1n || r.atLeastMsat > r.atMostMsat) return failed;
    const before = this.calls.get(r.id);
    if (before) return { ok: true, amountMsat: before.reserved, spendableMsat: free(payer) };
    if (free(payer) < r.atLeastMsat) return { ok: false, reason: "insufficient_balance", spendableMsat: free(payer) };
    const reserved = free(payer) < r.atMostMsat ? free(payer) : r.atMostMsat;
    payer.held += reserved;
    this.calls.set(r.id, { payer: r.accountId, reserved, state: "open", charged: 0n, free: r.free ?? false });
    this.#openCalls.add(r.id);
    this.transfers++;
    return { ok: true, amountMsat: reserved, spendableMsat: free(payer) };
  }

  postCall(p: { id: string; costMsat: bigint; atMs: number }): { ok: true; posted: boolean } {
    const call = this.calls.get(p.id);
    if (call?.state !== "open") return { ok: true, posted: false };
    // No call is free once it is posted, and none costs more than was set aside.
    call.charged = p.costMsat === 0n ? 1n : p.costMsat > call.reserved ? call.reserved : p.costMsat;
    this.#end(p.id, "posted");
    this.payers.get(call.payer)!.charged += call.charged;
    if (call.free) this.givenMsat += call.charged;
    else this.earnedMsat += call.charged;
    this.transfers++;
    this.#countDay(call, Math.floor(p.atMs / 86_400_000));
    return { ok: true, posted: true };
  }

  #countDay({ payer, charged, free }: ModelCall, dayNumber: number): void {
    const day = this.days.get(dayNumber) ?? { calls: 0n, earned: 0n };
    this.days.set(dayNumber, { calls: day.calls + 1n, earned: day.earned + (free ? 0n : charged) });
    const key = `${payer} ${dayNumber}`;
    const own = this.accountDays.get(key) ?? { calls: 0n, charged: 0n };
    this.accountDays.set(key, { calls: own.calls + 1n, charged: own.charged + charged });
  }

  voidCall(id: string): { ok: true; voided: boolean } {
    if (this.calls.get(id)?.state !== "open") return { ok: true, voided: false };
    this.#end(id, "voided");
    this.transfers++;
    return { ok: true, voided: true };
  }

  #end(id: string, state: "posted" | "voided"): void {
    const call = this.calls.get(id)!;
    call.state = state;
    this.payers.get(call.payer)!.held -= call.reserved;
    this.#openCalls.delete(id);
  }

  spendable(accountId: string): bigint {
    const payer = this.payers.get(accountId);
    return payer ? free(payer) : 0n;
  }

  /** How many accounts there are: whoever can pay, and those of the house. */
  get accounts(): number {
    return this.payers.size + 2 + (this.payers.has("trial") ? 2 : 0) + this.out.accounts;
  }

  /** An account's four figures, each the sum of its reasons. */
  figures(accountId: string): Figures | undefined {
    switch (accountId) {
      case "node":
        return { debitsPending: 0n, debitsPosted: this.paidMsat, creditsPending: 0n, creditsPosted: this.out.leftMsat };
      case "revenue":
        return { debitsPending: 0n, debitsPosted: 0n, creditsPending: this.#heldBy(false), creditsPosted: this.earnedMsat };
      case "house":
        return this.payers.has("trial") ? { debitsPending: 0n, debitsPosted: this.grantedMsat, creditsPending: 0n, creditsPosted: this.takenBackMsat } : undefined;
      case "given":
        return this.payers.has("trial") ? { debitsPending: 0n, debitsPosted: 0n, creditsPending: this.#heldBy(true), creditsPosted: this.givenMsat } : undefined;
    }
    const payer = this.payers.get(accountId);
    if (payer === undefined) return this.out.figures(accountId);
    return { debitsPending: payer.held, debitsPosted: payer.charged + payer.movedOut, creditsPending: 0n, creditsPosted: payer.paidIn + payer.movedIn };
  }

  #heldBy(free: boolean): bigint {
    let held = 0n;
    for (const id of this.#openCalls) {
      const call = this.calls.get(id)!;
      if (call.free === free) held += call.reserved;
    }
    return held;
  }
}

function free(payer: Payer): bigint {
  return payer.paidIn + payer.movedIn - payer.movedOut - payer.charged - payer.held;
}
