/**
 * Money in, as the rest of the house sees it: make an invoice, ask whether one is paid. *Settled* is the node's word,
 * never a preimage's.
 */
import { BoundedMap } from "../base/bounded-map.ts";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { invoiceExpirySeconds, maxCachedCredentials, settlementPatienceMs, settlementRetryMs, strangersLookupMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { owedMsat } from "../ledger/owed.ts";
import type { Node } from "../lightning/node.ts";
import { type Msat, type Sat, satToMsat } from "../money/msat.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import type { Inbound } from "./inbound.ts";
import { OpenInvoices } from "./open-invoices.ts";
import { countOpenInvoices, type CreditOutcome, creditInvoice, findInvoice, findInvoiceByClaimSecret, findInvoiceByQuote, forgetInvoice, openInvoice } from "./commands.ts";
import type { CreditedInvoice, Invoice, OpenInvoice, Purpose } from "./invoice.ts";

export type InvoiceRequest = {
  amountSats: Sat;
  memo: string;
  quoteId: string;
  quoteFingerprint: string;
  quoteTerms: string;
  purpose: Purpose;
  /** Who asks, where addresses mean something: a stranger may hold only so many unpaid invoices. */
  address: string | undefined;
  /** Chooses the credential's id once the payment hash is known. Hex. */
  tokenIdFor(paymentHash: string, createdAtMs: number): string;
  /** SHA-256 of the secret that claims it, hex; undefined where there is none. */
  claimSecretHashFor(paymentHash: string): string | undefined;
};

/** Unpaid invoices the node may hold for us, and what all payers together may have paid in and not spent. */
export type PaymentLimits = { inAll: number; perAddress: number; owedMsat: Msat };

/** The node's answer about one invoice, already credited where it says settled. */
export type Confirmation =
  | { kind: "credited"; invoice: CreditedInvoice }
  | { kind: "open" }
  | { kind: "dead" }
  | { kind: "unknown" }
  | { kind: "unreachable" };

export class Payments {
  readonly #node: Node;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #boot: bigint;
  readonly #limits: PaymentLimits;
  readonly #inbound: Inbound;
  readonly #open: OpenInvoices;
  /** A credited invoice never changes again. */
  readonly #credited = new BoundedMap<CreditedInvoice>(maxCachedCredentials);
  readonly #lookups = new Map<string, Promise<Confirmation>>();
  /** What the node said lately of invoices that strangers ask about again and again. */
  readonly #answers = new BoundedMap<{ atMs: number; answer: Confirmation }>(maxCachedCredentials);
  readonly #listeners = new Map<string, Set<() => void>>();

  constructor(parts: { node: Node; writer: Writer; reader: Reader; clock: Clock; random: Random; boot: bigint; limits: PaymentLimits; inbound: Inbound }) {
    this.#node = parts.node;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#boot = parts.boot;
    this.#limits = parts.limits;
    this.#inbound = parts.inbound;
    this.#open = new OpenInvoices(countOpenInvoices(parts.reader));
  }

  get openInvoices(): number {
    return this.#open.count;
  }

  find(paymentHash: string): Invoice | undefined {
    const known = this.#credited.get(paymentHash);
    if (known) return known;
    const found = findInvoice(this.#reader, paymentHash);
    if (found?.state === "credited") this.#credited.set(paymentHash, found);
    return found;
  }

  findByQuote(quoteId: string): Invoice | undefined {
    return findInvoiceByQuote(this.#reader, quoteId);
  }

  findByClaimSecret(secretHash: string): Invoice | undefined {
    return findInvoiceByClaimSecret(this.#reader, secretHash);
  }

  /**
   * An invoice of the node, with its row on the disk before anybody sees it.
   * @throws AppError `too_many_invoices`, `topups_paused`, `no_inbound`, `node_unavailable`, `busy`, `storage_full`: all before any money moves.
   */
  async open(request: InvoiceRequest): Promise<OpenInvoice> {
    const { address } = request;
    if (this.#open.count >= this.#limits.inAll)
      throw tooMany(`${this.#open.count} invoices wait for payment`);
    if (address !== undefined && this.#open.countOf(address, this.#clock.nowMs()) >= this.#limits.perAddress)
      throw tooMany(`${this.#limits.perAddress} invoices for your address wait for payment; pay one, or present its macaroon or payment hash to see it again`);
    const amountMsat = satToMsat(request.amountSats);
    if (owedMsat(this.#reader) + amountMsat > this.#limits.owedMsat) throw paused();
    this.#open.begin(address);
    try {
      await this.#inbound.check(amountMsat);
      const invoice = await this.#make(request);
      this.#open.made(invoice.paymentHash, address, invoice.expiresAtMs);
      return invoice;
    } catch (error) {
      this.#open.undo(address);
      throw error;
    }
  }

  async #make(request: InvoiceRequest): Promise<OpenInvoice> {
    const createdAtMs = this.#clock.nowMs();
    const reference = newId("i", createdAtMs, this.#random);
    const amountMsat = satToMsat(request.amountSats);
    const made = await this.#node.createInvoice({ amountMsat, reference, memo: request.memo, expirySeconds: invoiceExpirySeconds });
    const invoice: OpenInvoice = {
      state: "open",
      paymentHash: made.paymentHash,
      reference,
      bolt11: made.bolt11,
      amountMsat,
      tokenId: request.tokenIdFor(made.paymentHash, createdAtMs),
      quoteId: request.quoteId,
      quoteFingerprint: request.quoteFingerprint,
      quoteTerms: request.quoteTerms,
      purpose: request.purpose,
      claimSecretHash: request.claimSecretHashFor(made.paymentHash),
      createdAtMs,
      expiresAtMs: made.expiresAtMs,
    };
    await this.#writer.durable(openInvoice, invoice);
    return invoice;
  }

  /** Books a settlement the node has told us of. Resolves when it is on the disk. */
  async credit(paymentHash: string, paidMsat: Msat, cursor?: bigint, feeMsat?: Msat): Promise<CreditOutcome> {
    const atMs = this.#clock.nowMs();
    const outcome = await this.#writer.durable(creditInvoice, {
      paymentHash, paidMsat, feeMsat, accountId: newId("a", atMs, this.#random), cursor, boot: this.#boot, atMs,
    });
    if (outcome.credited === "now") {
      this.#open.ended(paymentHash);
      log.info("invoice.credited", { payment_hash: paymentHash, amount_msat: paidMsat, ...(feeMsat !== undefined && { fee_msat: feeMsat }) });
      for (const listener of this.#listeners.get(paymentHash) ?? []) listener();
    }
    return outcome;
  }

  async forget(paymentHash: string): Promise<void> {
    const { forgotten } = await this.#writer.durable(forgetInvoice, { paymentHash });
    if (forgotten) this.#open.ended(paymentHash);
  }

  /** Calls `listener` when this payment is credited. Answers how to stop listening. */
  onCredited(paymentHash: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(paymentHash) ?? new Set();
    this.#listeners.set(paymentHash, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(paymentHash);
    };
  }

  /** For whoever proves nothing yet: the node is asked at most once a second about one invoice. */
  async confirmCalmly(paymentHash: string): Promise<Confirmation> {
    const last = this.#answers.get(paymentHash);
    if (last !== undefined && this.#clock.nowMs() < last.atMs + strangersLookupMs) return last.answer;
    const answer = await this.confirm(paymentHash);
    if (answer.kind !== "credited") this.#answers.set(paymentHash, { atMs: this.#clock.nowMs(), answer });
    return answer;
  }

  /** Asks the node once. Askers of the same invoice share one question. */
  confirm(paymentHash: string): Promise<Confirmation> {
    const running = this.#lookups.get(paymentHash);
    if (running) return running;
    const lookup = this.#lookUp(paymentHash).finally(() => this.#lookups.delete(paymentHash));
    this.#lookups.set(paymentHash, lookup);
    return lookup;
  }

  /** For whoever holds the right preimage: the node may be a moment late, so it is asked again for 3 s. */
  async confirmPaid(paymentHash: string): Promise<Confirmation> {
    const giveUpAtMs = this.#clock.nowMs() + settlementPatienceMs;
    for (;;) {
      const answer = await this.confirm(paymentHash);
      if (answer.kind !== "open" || this.#clock.nowMs() >= giveUpAtMs) return answer;
      await this.#clock.sleep(settlementRetryMs);
    }
  }

  async #lookUp(paymentHash: string): Promise<Confirmation> {
    const known = this.find(paymentHash);
    if (known?.state === "credited") return { kind: "credited", invoice: known };
    try {
      const answer = await this.#node.lookupInvoice(paymentHash);
      if (answer.state !== "settled") return { kind: answer.state };
      const outcome = await this.credit(paymentHash, answer.paidMsat, undefined, answer.feeMsat);
      return outcome.credited === "foreign" ? { kind: "unknown" } : { kind: "credited", invoice: outcome.invoice };
    } catch (error) {
      log.warn("invoice.lookup_failed", { payment_hash: paymentHash, reason: describeError(error) });
      return { kind: "unreachable" };
    }
  }
}

function paused(): AppError {
  return new AppError("topups_paused", "This house holds as much of its payers' money as it wants to; spend what you have here, or try again later.", { retryable: true, retryAfterSeconds: 3_600 });
}

function tooMany(what: string): AppError {
  return new AppError("too_many_invoices", `${what}; try again when some have expired.`, { retryable: true, retryAfterSeconds: 60 });
}
