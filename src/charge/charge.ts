/**
 * The till. Who pays for this sale, is there enough, and what did it cost in the end. It sells anything that has a
 * quote, and knows neither models nor HTTP.
 */
import { toBase64, toHex } from "../base/bytes.ts";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { pinnedQuoteHours } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { AuthorizationProof } from "../l402/authorization.ts";
import { mintedCaveats } from "../l402/caveats.ts";
import type { CredentialDesk, CredentialProof, Standing } from "../l402/credential.ts";
import { mintMacaroon, rollTokenId } from "../l402/macaroon.ts";
import { findAccount } from "../ledger/transfers.ts";
import { spendable } from "../ledger/account.ts";
import { ceilToSat, maxMsatOf, minMsat, type Msat, msat, type Sat } from "../money/msat.ts";
import type { CreditedInvoice, OpenInvoice } from "../payments/invoice.ts";
import type { InvoiceRequest } from "../payments/payments.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import { postCall, reserveCall, voidCall } from "./commands.ts";
import type { CallEnd, Quote, Reservation, Sale } from "./sale.ts";

/** An invoice somebody may pay, with the credential it pays for. */
export type Challenge = {
  invoice: OpenInvoice;
  /** Standard base64 with padding. */
  macaroon: string;
  /** Set when a good credential held too little: what it holds, in whole sats. */
  insufficient: { availableMsat: Msat; requiredMsat: Msat } | undefined;
};

export type Opening =
  | { kind: "reserved"; reservation: Reservation; quote: Quote }
  | { kind: "challenge"; challenge: Challenge }
  /** The holder narrowed the credential; this sale is outside. */
  | { kind: "narrowed"; message: string };

export type Balance = { spendableMsat: Msat; reservedMsat: Msat; validUntilS: number };
export type BalanceOutcome =
  | { kind: "balance"; balance: Balance }
  | { kind: "unpaid"; challenge: Challenge }
  | { kind: "refused" }
  | { kind: "narrowed"; message: string };

type AccountStanding = Extract<Standing, { kind: "account" }>;

export class Charge {
  readonly #desk: CredentialDesk;
  readonly #payments: { open(request: InvoiceRequest): Promise<OpenInvoice> };
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #master: Uint8Array;
  readonly #boot: bigint;
  readonly #minPriceSats: Sat;

  constructor(parts: {
    desk: CredentialDesk;
    payments: { open(request: InvoiceRequest): Promise<OpenInvoice> };
    writer: Writer;
    reader: Reader;
    clock: Clock;
    random: Random;
    master: Uint8Array;
    boot: bigint;
    minPriceSats: Sat;
  }) {
    this.#desk = parts.desk;
    this.#payments = parts.payments;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#master = parts.master;
    this.#boot = parts.boot;
    this.#minPriceSats = parts.minPriceSats;
  }

  /**
   * Reserves the sale's ceiling for whoever the proof belongs to, or asks for payment.
   * @throws AppError `invalid_token`, `settlement_unknown`, and what making an invoice throws. Nothing is reserved then.
   */
  async open(callId: string, proof: AuthorizationProof, sale: Sale): Promise<Opening> {
    switch (proof.kind) {
      case "credential":
      case "payment":
        return this.#openWithCredential(callId, proof, sale);
      case "token":
        throw unknownToken();
      case "hash":
      case "malformed":
      case "foreign":
      case "none":
        return { kind: "challenge", challenge: await this.challenge(sale) };
    }
  }

  async #openWithCredential(callId: string, proof: CredentialProof, sale: Sale): Promise<Opening> {
    const standing = await this.#desk.resolve(proof);
    switch (standing.kind) {
      case "account":
        return this.#reserve(callId, standing, sale);
      case "unpaid":
        return { kind: "challenge", challenge: this.#challengeOf(standing.invoice) };
      // Clients throw a dead credential away only on a 402.
      case "refused":
        return { kind: "challenge", challenge: await this.challenge(sale) };
      case "unsettled":
        throw settlementUnknown();
    }
  }

  async #reserve(callId: string, standing: AccountStanding, sale: Sale): Promise<Opening> {
    const { invoice, limits } = standing;
    const atMs = this.#clock.nowMs();
    if (limits.models !== undefined && !limits.models.some((name) => sale.names.includes(name)))
      return { kind: "narrowed", message: `This credential is narrowed to ${limits.models.join(", ") || "no model"}; it does not open ${sale.names[0]}.` };
    const quote = pinnedQuote(invoice, sale, atMs) ?? sale.quote;
    const atMost = limits.maxMsat === undefined ? quote.ceilingMsat : minMsat(quote.ceilingMsat, limits.maxMsat);
    if (atMost < quote.leastMsat)
      return { kind: "narrowed", message: `This credential is narrowed to ${atMost} msat a call; this one may cost ${quote.leastMsat} msat.` };
    const outcome = await this.#writer.executed(reserveCall, {
      id: callId, accountId: invoice.accountId, atMostMsat: atMost, atLeastMsat: quote.leastMsat, boot: this.#boot, atMs,
    });
    if (!outcome.ok) return { kind: "challenge", challenge: await this.#insufficient(sale, standing, outcome.spendableMsat) };
    const { quoteId, paymentHash, creditedAtMs } = invoice;
    return {
      kind: "reserved",
      quote,
      reservation: {
        id: callId, accountId: invoice.accountId, amountMsat: outcome.amountMsat, spendableMsat: outcome.spendableMsat,
        terms: quote.terms, startedAtMs: atMs, paidWith: { scheme: standing.scheme, quoteId, paymentHash, creditedAtMs },
      },
    };
  }

  /** Too little left. What is left moves to the new invoice's account, but only for somebody who fully owns it. */
  async #insufficient(sale: Sale, standing: AccountStanding, availableMsat: Msat): Promise<Challenge> {
    const challenge = await this.challenge(sale, standing.full ? standing.invoice.accountId : undefined);
    return { ...challenge, insufficient: { availableMsat, requiredMsat: sale.quote.leastMsat } };
  }

  /** A new invoice for this sale, with a credential, an id and nothing shared with any other asker. */
  async challenge(sale: Sale, rollsOverFrom?: string): Promise<Challenge> {
    const ceilingSats = ceilToSat(sale.quote.ceilingMsat);
    const invoice = await this.#payments.open({
      amountSats: ceilingSats > this.#minPriceSats ? ceilingSats : this.#minPriceSats,
      memo: sale.memo,
      quoteId: newId("q", this.#clock.nowMs(), this.#random),
      quoteFingerprint: sale.fingerprint(),
      quoteTerms: sale.quote.terms,
      rollsOverFrom,
      tokenIdFor: (paymentHash, createdAtMs) =>
        toHex(rollTokenId({ master: this.#master, paymentHash, caveats: mintedCaveats(createdAtMs), random: this.#random })),
    });
    return this.#challengeOf(invoice);
  }

  #challengeOf(invoice: OpenInvoice): Challenge {
    const macaroon = mintMacaroon({
      master: this.#master,
      paymentHash: invoice.paymentHash,
      tokenId: new Uint8Array(Buffer.from(invoice.tokenId, "hex")),
      caveats: mintedCaveats(invoice.createdAtMs),
    });
    return { invoice, macaroon: toBase64(macaroon), insufficient: undefined };
  }

  /**
   * Ends a call. Answers at once what it cost and what the payer can spend from now on; the ledger follows in the
   * background, because nobody waits for it: a crash before it is on the disk costs the owner this one call.
   */
  settle(reservation: Reservation, end: CallEnd): { chargedMsat: Msat; spendableMsat: Msat } {
    const atMs = this.#clock.nowMs();
    const { id, accountId, amountMsat, terms, startedAtMs } = reservation;
    if (end.act === "void") {
      this.#follow(id, this.#writer.executed(voidCall, { id, reason: end.reason, boot: this.#boot, atMs }));
      return { chargedMsat: msat(0n), spendableMsat: msat(reservation.spendableMsat + amountMsat) };
    }
    const chargedMsat = maxMsatOf(msat(1n), minMsat(end.costMsat, amountMsat));
    if (end.costMsat > amountMsat) log.warn("call.above_reservation", { call: id, cost_msat: end.costMsat, reserved_msat: amountMsat });
    this.#follow(id, this.#writer.durable(postCall, {
      id, accountId, costMsat: end.costMsat, reservedMsat: amountMsat, terms, record: end.record, startedAtMs, boot: this.#boot, atMs,
    }));
    return { chargedMsat, spendableMsat: msat(reservation.spendableMsat + amountMsat - chargedMsat) };
  }

  #follow(callId: string, written: Promise<unknown>): void {
    written.catch((error: unknown) => log.error("call.not_written", { call: callId, reason: describeError(error) }));
  }

  /** What a credential still holds. @throws AppError `invalid_token`, `no_account`, `settlement_unknown`. */
  async balance(proof: AuthorizationProof): Promise<BalanceOutcome> {
    if (proof.kind === "token") throw unknownToken();
    if (proof.kind === "malformed") return { kind: "refused" };
    if (proof.kind !== "credential" && proof.kind !== "payment")
      throw new AppError("no_account", "Send the credential whose balance you want to see: Authorization: L402 <macaroon>:<preimage>.");
    const standing = await this.#desk.resolve(proof);
    if (standing.kind === "refused") return standing;
    if (standing.kind === "unsettled") throw settlementUnknown();
    if (standing.kind === "unpaid") return { kind: "unpaid", challenge: this.#challengeOf(standing.invoice) };
    if (standing.limits.narrowed) return { kind: "narrowed", message: "A narrowed credential pays for calls; only the full one shows its balance." };
    await this.#writer.caughtUp();
    const account = findAccount(this.#reader, standing.invoice.accountId)!;
    return {
      kind: "balance",
      balance: { spendableMsat: spendable(account), reservedMsat: account.debitsPendingMsat, validUntilS: standing.limits.validUntilS },
    };
  }
}

/**
 * The request an invoice was made for keeps its price and rate for a day after the payment, whatever they do. The pin is
 * the payer's right, not a burden: one that is no cheaper than today's quote is not held against them.
 */
function pinnedQuote(invoice: CreditedInvoice, sale: Sale, nowMs: number): Quote | undefined {
  if (nowMs >= invoice.creditedAtMs + pinnedQuoteHours * 3_600_000) return undefined;
  const pinned = sale.quoteAt(invoice.quoteTerms);
  if (pinned === undefined || pinned.ceilingMsat >= sale.quote.ceilingMsat) return undefined;
  return invoice.quoteFingerprint === sale.fingerprint() ? pinned : undefined;
}

function settlementUnknown(): AppError {
  return new AppError("settlement_unknown", "The node has not confirmed this payment yet; repeat the same request in a few seconds.", {
    retryable: true, retryAfterSeconds: 3,
  });
}

function unknownToken(): AppError {
  return new AppError("invalid_token", "This token is not known here.");
}
