/**
 * The till. Who pays for this sale, is there enough, and what did it cost in the end. It sells anything that has a
 * quote, and knows neither models nor HTTP.
 */
import { type Accounts, outlived, settlementUnknown } from "../accounts/accounts.ts";
import type { Asker, SingleUseProof } from "../accounts/asker.ts";
import { hashAddress, hasTrial, type TrialRules } from "../accounts/trials.ts";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { pinnedQuoteHours } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { Challenge, ChallengeMint } from "../l402/challenge-mint.ts";
import { type CredentialDesk, type CredentialProof, receiptOf, type Standing } from "../l402/credential.ts";
import { ceilToSat, maxMsatOf, minMsat, type Msat, msat, type Sat } from "../money/msat.ts";
import type { CreditedInvoice } from "../payments/invoice.ts";
import { rateUnknown } from "../pricing/rate.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import { postCall, reserveCall, reserveSingleUse, reserveTrial, voidCall } from "./commands.ts";
import type { CallEnd, Quote, Reservation, Sale, Settled } from "./sale.ts";

/** Why somebody is asked to pay. `insufficient`: a good credential held too little. */
export type Reason =
  | { kind: "required" | "malformed" | "refused" | "unpaid" | "used" }
  | { kind: "insufficient"; /** Undefined where the asker may not know. */ availableMsat: Msat | undefined; requiredMsat: Msat };

export type Bill = { challenge: Challenge; reason: Reason };

export type Opening =
  | { kind: "reserved"; reservation: Reservation; quote: Quote }
  | { kind: "bill"; bill: Bill }
  /** A token that holds too little gets no invoice: it is refilled. */
  | { kind: "too_poor"; availableMsat: Msat; requiredMsat: Msat };

type AccountStanding = Extract<Standing, { kind: "account" }>;
type Answered = Extract<Opening, { kind: "bill" | "reserved" }>;

export class Charge {
  readonly #accounts: Accounts;
  readonly #desk: CredentialDesk;
  readonly #mint: ChallengeMint;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #boot: bigint;
  readonly #minPriceSats: Sat;
  readonly #trial: (TrialRules & { addressKey: Uint8Array }) | undefined;

  constructor(parts: {
    accounts: Accounts; desk: CredentialDesk; mint: ChallengeMint; writer: Writer; reader: Reader; clock: Clock; boot: bigint; minPriceSats: Sat;
    /** Undefined where the house gives nothing away. */
    trial: (TrialRules & { addressKey: Uint8Array }) | undefined;
  }) {
    this.#accounts = parts.accounts;
    this.#desk = parts.desk;
    this.#mint = parts.mint;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#boot = parts.boot;
    this.#minPriceSats = parts.minPriceSats;
    this.#trial = parts.trial;
  }

  /**
   * Reserves the sale's ceiling for whoever asks, or asks for payment. A token is tried before a credential.
   * @throws AppError `invalid_token`, `narrowed_credential`, `duplicate_request`, `already_running`, `settlement_unknown`, and what making an
   * invoice throws. Nothing is reserved then.
   */
  async open(callId: string, asker: Asker, sale: Sale): Promise<Opening> {
    const withToken = asker.token === undefined ? undefined : await this.#openWithToken(callId, asker, asker.token, sale);
    if (withToken?.kind === "reserved") return withToken;
    if (asker.credential !== undefined) return this.#openWithCredential(callId, asker, asker.credential, sale);
    if (asker.singleUse !== undefined) return this.#openOnce(callId, asker, asker.singleUse, sale);
    if (withToken !== undefined) return withToken;
    if (asker.malformed) return this.#bill(sale, asker, { kind: "malformed" });
    return (await this.#openTrial(callId, asker, sale)) ?? this.#bill(sale, asker, { kind: "required" });
  }

  async #openWithToken(callId: string, asker: Asker, token: string, sale: Sale): Promise<Opening> {
    const { accountId } = this.#accounts.token(token, asker.address);
    const quote = quoteOf(sale);
    const atMs = this.#clock.nowMs();
    const outcome = await this.#writer.executed(reserveCall, {
      id: callId, accountId, atMostMsat: quote.ceilingMsat, atLeastMsat: quote.leastMsat, requestKey: asker.idempotencyKey, boot: this.#boot, atMs,
    });
    if (outcome.ok) return reserved({ id: callId, accountId, atMs, quote, ...outcome });
    if (outcome.reason === "duplicate_request") throw duplicateRequest();
    return { kind: "too_poor", availableMsat: outcome.spendableMsat, requiredMsat: quote.leastMsat };
  }

  async #openWithCredential(callId: string, asker: Asker, proof: CredentialProof, sale: Sale): Promise<Opening> {
    const standing = await this.#desk.resolve(proof);
    switch (standing.kind) {
      case "account":
        return this.#reserve(callId, asker, standing, sale);
      case "unpaid":
        return { kind: "bill", bill: { challenge: this.#mint.again(standing.invoice), reason: { kind: "unpaid" } } };
      // Clients throw a dead credential away only on a 402.
      case "refused":
        return this.#bill(sale, asker, { kind: "refused" });
      case "outlived":
        throw outlived();
      case "unsettled":
        throw settlementUnknown();
    }
  }

  async #reserve(callId: string, asker: Asker, standing: AccountStanding, sale: Sale): Promise<Answered> {
    const { invoice, limits } = standing;
    const { accountId } = invoice;
    const atMs = this.#clock.nowMs();
    if (limits.models !== undefined && !limits.models.some((name) => sale.names.includes(name)))
      throw narrowed(`This credential is narrowed to ${limits.models.join(", ") || "no model"}; it does not open ${sale.names[0]}.`);
    const quote = pinnedQuote(invoice, sale, atMs) ?? quoteOf(sale);
    const atMostMsat = limits.maxMsat === undefined ? quote.ceilingMsat : minMsat(quote.ceilingMsat, limits.maxMsat);
    if (atMostMsat < quote.leastMsat) throw narrowed(`This credential is narrowed to ${atMostMsat} msat a call; this one may cost ${quote.leastMsat} msat.`);
    const outcome = await this.#writer.executed(reserveCall, {
      id: callId, accountId, atMostMsat, atLeastMsat: quote.leastMsat, requestKey: asker.idempotencyKey, boot: this.#boot, atMs,
    });
    // Whoever holds a narrowed credential was lent some calls, not the sight of the balance.
    const shown = (balanceMsat: Msat) => (limits.narrowed ? undefined : balanceMsat);
    if (outcome.ok)
      return reserved({ id: callId, accountId, atMs, quote, amountMsat: outcome.amountMsat, spendableMsat: shown(outcome.spendableMsat), receipt: receiptOf(standing) });
    if (outcome.reason === "duplicate_request") throw duplicateRequest();
    // What is left moves to the new invoice's account, but only for somebody who fully owns it; a token's account stays the token's.
    const movesRest = standing.full && invoice.purpose.kind !== "refill";
    return this.#bill(sale, asker, { kind: "insufficient", availableMsat: shown(outcome.spendableMsat), requiredMsat: quoteOf(sale).leastMsat }, movesRest ? accountId : undefined);
  }

  /** A proof that others may know as well: it opens the quoted request, once, and shows no balance. */
  async #openOnce(callId: string, asker: Asker, proof: SingleUseProof, sale: Sale): Promise<Answered> {
    const standing = await this.#desk.resolveSingleUse(proof, sale.fingerprint);
    if (standing.kind === "unpaid") return { kind: "bill", bill: { challenge: this.#mint.invoiceAgain(standing.invoice), reason: { kind: "unpaid" } } };
    if (standing.kind === "refused") return this.#bill(sale, asker, { kind: "refused" });
    if (standing.kind === "unsettled") throw settlementUnknown();
    const { invoice } = standing;
    const { accountId, paymentHash } = invoice;
    const atMs = this.#clock.nowMs();
    const quote = pinnedQuote(invoice, sale, atMs) ?? quoteOf(sale);
    const outcome = await this.#writer.executed(reserveSingleUse, {
      // All or nothing: a cap lowered to what is left would tell what is left.
      id: callId, accountId, paymentHash, atMostMsat: quote.ceilingMsat, atLeastMsat: quote.ceilingMsat, boot: this.#boot, atMs,
    });
    if (outcome.ok) return reserved({ id: callId, accountId, atMs, quote, amountMsat: outcome.amountMsat, spendableMsat: undefined });
    if (outcome.reason === "in_use")
      throw new AppError("already_running", "A request with this payment is being answered; it opens one.", { retryable: true, retryAfterSeconds: 5 });
    return this.#bill(sale, asker, { kind: "used" });
  }

  /** Undefined when there is no free call for this asker: then it is a sale like any other. */
  async #openTrial(callId: string, asker: Asker, sale: Sale): Promise<Opening | undefined> {
    const rules = this.#trial;
    const quote = sale.trialQuote;
    if (rules === undefined || quote === undefined) return undefined;
    const address = asker.address();
    if (address === undefined) return undefined;
    const addressHash = hashAddress(rules.addressKey, address);
    const atMs = this.#clock.nowMs();
    if (!(await this.#hasTrial(addressHash, rules.callsPerDay, atMs))) return undefined;
    const { callsPerDay, dailyBudgetMsat } = rules;
    const outcome = await this.#writer.executed(reserveTrial, {
      id: callId, addressHash, rules: { callsPerDay, dailyBudgetMsat }, atMostMsat: quote.ceilingMsat, atLeastMsat: quote.ceilingMsat, boot: this.#boot, atMs,
    });
    if (!outcome.ok) return undefined;
    return reserved({ id: callId, accountId: "trial", atMs, quote, amountMsat: outcome.amountMsat, spendableMsat: undefined, free: true });
  }

  async #hasTrial(addressHash: string, callsPerDay: number, atMs: number): Promise<boolean> {
    if (hasTrial(this.#reader, addressHash, callsPerDay, atMs)) return true;
    // A call that came to nothing a moment ago is given back by a write nobody waited for.
    await this.#writer.caughtUp();
    return hasTrial(this.#reader, addressHash, callsPerDay, atMs);
  }

  async #bill(sale: Sale, asker: Pick<Asker, "address">, reason: Reason, rollsOverFrom?: string): Promise<Extract<Opening, { kind: "bill" }>> {
    const quote = quoteOf(sale);
    const ceilingSats = ceilToSat(quote.ceilingMsat);
    const challenge = await this.#mint.mint({
      amountSats: ceilingSats > this.#minPriceSats ? ceilingSats : this.#minPriceSats,
      memo: sale.memo, fingerprint: sale.fingerprint(), terms: quote.terms,
      purpose: { kind: "call", rollsOverFrom }, address: asker.address(),
    });
    return { kind: "bill", bill: { challenge, reason } };
  }

  /** A new invoice for this sale, for somebody who has not tried to pay. */
  async bill(sale: Sale, asker: Pick<Asker, "address">): Promise<Bill> {
    return (await this.#bill(sale, asker, { kind: "required" })).bill;
  }

  /**
   * Ends a call. Answers at once what it cost and what the payer can spend from now on; the ledger follows in the
   * background, because nobody waits for it: a crash before it is on the disk costs the owner this one call.
   */
  settle(reservation: Reservation, end: CallEnd): Settled {
    const atMs = this.#clock.nowMs();
    const { id, accountId, amountMsat, terms, free, startedAtMs } = reservation;
    const left = (usedMsat: bigint) => (reservation.spendableMsat === undefined ? undefined : msat(reservation.spendableMsat + amountMsat - usedMsat));
    if (end.act === "void") {
      this.#follow(id, this.#writer.executed(voidCall, { id, reason: end.reason, boot: this.#boot, atMs }));
      return { chargedMsat: msat(0n), spendableMsat: left(0n) };
    }
    const chargedMsat = maxMsatOf(msat(1n), minMsat(end.costMsat, amountMsat));
    if (end.costMsat > amountMsat) log.warn("call.above_reservation", { call: id, cost_msat: end.costMsat, reserved_msat: amountMsat });
    this.#follow(id, this.#writer.durable(postCall, {
      id, accountId, costMsat: end.costMsat, reservedMsat: amountMsat, terms, record: end.record, free, startedAtMs, boot: this.#boot, atMs,
    }));
    return { chargedMsat, spendableMsat: left(chargedMsat) };
  }

  #follow(callId: string, written: Promise<unknown>): void {
    written.catch((error: unknown) => log.error("call.not_written", { call: callId, reason: describeError(error) }));
  }
}

type Held = { id: string; accountId: string; atMs: number; quote: Quote; amountMsat: Msat; spendableMsat: Msat | undefined; free?: boolean; receipt?: Reservation["receipt"] };

function reserved({ id, accountId, atMs, quote, amountMsat, spendableMsat, free, receipt }: Held): Extract<Opening, { kind: "reserved" }> {
  return { kind: "reserved", quote, reservation: { id, accountId, amountMsat, spendableMsat, terms: quote.terms, startedAtMs: atMs, free: free ?? false, receipt } };
}

/**
 * The request an invoice was made for keeps its price and rate for a day after the payment, whatever they do. The pin is
 * the payer's right, not a burden: one that is no cheaper than today's quote is not held against them.
 */
function pinnedQuote(invoice: CreditedInvoice, sale: Sale, nowMs: number): Quote | undefined {
  if (nowMs >= invoice.creditedAtMs + pinnedQuoteHours * 3_600_000) return undefined;
  const pinned = sale.quoteAt(invoice.quoteTerms);
  if (pinned === undefined || (sale.quote !== undefined && pinned.ceilingMsat >= sale.quote.ceilingMsat)) return undefined;
  return invoice.quoteFingerprint === sale.fingerprint() ? pinned : undefined;
}

/** @throws AppError `rate_unknown`. */
function quoteOf(sale: Sale): Quote {
  if (sale.quote === undefined) throw rateUnknown();
  return sale.quote;
}

function duplicateRequest(): AppError {
  return new AppError("duplicate_request", "A request with this Idempotency-Key was sent already; answers are not kept.");
}

function narrowed(message: string): AppError {
  return new AppError("narrowed_credential", message);
}
