/**
 * What the ledger owes to whom, told a second time: from the rules of money, with plain objects, a figure for each
 * reason. Knows no SQL and nothing of how the real one books; imports none of its code.
 */

export type Payer = { paidIn: bigint; movedIn: bigint; movedOut: bigint; charged: bigint; held: bigint };
export type ModelInvoice = { state: "open" | "credited" | "forgotten"; quoteId: string; rollsOverFrom?: string; accountId?: string; credited?: bigint };
export type ModelCall = { payer: string; reserved: bigint; state: "open" | "posted" | "voided"; charged: bigint };
export type Figures = { debitsPending: bigint; debitsPosted: bigint; creditsPending: bigint; creditsPosted: bigint };
export type Day = { calls: bigint; earned: bigint };

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
  transfers = 0n;
  readonly payers = new Map<string, Payer>();
  readonly invoices = new Map<string, ModelInvoice>();
  readonly calls = new Map<string, ModelCall>();
  readonly days = new Map<number, Day>();
  readonly #quotes = new Set<string>();
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

  openInvoice(invoice: { paymentHash: string; quoteId: string; rollsOverFrom: string | undefined }): { ok: true } | Failed {
    const known = this.invoices.get(invoice.paymentHash);
    if (known && known.state !== "forgotten") return { ok: true };
    if (this.#quotes.has(invoice.quoteId)) return failed;
    if (invoice.rollsOverFrom !== undefined && !this.payers.has(invoice.rollsOverFrom)) return failed;
    this.#quotes.add(invoice.quoteId);
    this.invoices.set(invoice.paymentHash, { state: "open", quoteId: invoice.quoteId, rollsOverFrom: invoice.rollsOverFrom });
    return { ok: true };
  }

  forgetInvoice(paymentHash: string): { ok: true; forgotten: boolean } {
    const invoice = this.invoices.get(paymentHash);
    if (invoice?.state !== "open") return { ok: true, forgotten: false };
    invoice.state = "forgotten";
    this.#quotes.delete(invoice.quoteId);
    return { ok: true, forgotten: true };
  }

  creditInvoice(settled: { paymentHash: string; paidMsat: bigint; accountId: string; cursor: bigint | undefined }): CreditExpectation | Failed {
    const invoice = this.invoices.get(settled.paymentHash);
    if (invoice?.state === "open" && (settled.paidMsat === 0n || this.payers.has(settled.accountId))) return failed;
    if (settled.cursor !== undefined && settled.cursor > this.cursor) this.cursor = settled.cursor;
    if (invoice === undefined || invoice.state === "forgotten") return { ok: true, credited: "foreign" };
    if (invoice.state === "credited") return { ok: true, credited: "before", accountId: invoice.accountId!, creditedMsat: invoice.credited! };
    const payer: Payer = { paidIn: settled.paidMsat, movedIn: 0n, movedOut: 0n, charged: 0n, held: 0n };
    this.payers.set(settled.accountId, payer);
    this.paidMsat += settled.paidMsat;
    this.transfers++;
    if (invoice.rollsOverFrom !== undefined) this.#rollOver(this.payers.get(invoice.rollsOverFrom)!, payer);
    Object.assign(invoice, { state: "credited", accountId: settled.accountId, credited: settled.paidMsat });
    return { ok: true, credited: "now", accountId: settled.accountId, creditedMsat: settled.paidMsat };
  }

  #rollOver(from: Payer, to: Payer): void {
    const rest = free(from);
    if (rest === 0n) return;
    from.movedOut += rest;
    to.movedIn += rest;
    this.transfers++;
  }

  reserveCall(r: { id: string; accountId: string; atMostMsat: bigint; atLeastMsat: bigint }): ReserveExpectation | Failed {
    const payer = this.payers.get(r.accountId);
    if (payer === undefined || r.atLeastMsat < 1n || r.atLeastMsat > r.atMostMsat) return failed;
    const before = this.calls.get(r.id);
    if (before) return { ok: true, amountMsat: before.reserved, spendableMsat: free(payer) };
    if (free(payer) < r.atLeastMsat) return { ok: false, reason: "insufficient_balance", spendableMsat: free(payer) };
    const reserved = free(payer) < r.atMostMsat ? free(payer) : r.atMostMsat;
    payer.held += reserved;
    this.calls.set(r.id, { payer: r.accountId, reserved, state: "open", charged: 0n });
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
    this.earnedMsat += call.charged;
    this.transfers++;
    const dayNumber = Math.floor(p.atMs / 86_400_000);
    const day = this.days.get(dayNumber) ?? { calls: 0n, earned: 0n };
    this.days.set(dayNumber, { calls: day.calls + 1n, earned: day.earned + call.charged });
    return { ok: true, posted: true };
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

  /** An account's four figures, each the sum of its reasons. */
  figures(accountId: string): Figures | undefined {
    let held = 0n;
    if (accountId === "revenue") for (const id of this.#openCalls) held += this.calls.get(id)!.reserved;
    if (accountId === "revenue") return { debitsPending: 0n, debitsPosted: 0n, creditsPending: held, creditsPosted: this.earnedMsat };
    if (accountId === "node") return { debitsPending: 0n, debitsPosted: this.paidMsat, creditsPending: 0n, creditsPosted: 0n };
    const payer = this.payers.get(accountId);
    if (payer === undefined) return undefined;
    return { debitsPending: payer.held, debitsPosted: payer.charged + payer.movedOut, creditsPending: 0n, creditsPosted: payer.paidIn + payer.movedIn };
  }
}

function free(payer: Payer): bigint {
  return payer.paidIn + payer.movedIn - payer.movedOut - payer.charged - payer.held;
}
