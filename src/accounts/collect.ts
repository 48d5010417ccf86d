/** Money out to whoever owns it: an account's balance, or a part of it, to a Lightning invoice. Section 8 of the design's money. */
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import { maxPayoutExpiryMs, maxPayoutFinalCltvBlocks, minPayoutExpiryMs } from "../base/limits.ts";
import { readInvoice } from "../lightning/bolt11.ts";
import type { Network } from "../lightning/node.ts";
import { type Msat, type Sat, satToMsat } from "../money/msat.ts";
import { findInvoice } from "../payments/commands.ts";
import { type FeeLimit, feeLimitOf, maxCollectableSats, type OpenPayout, type Payout, payoutsOff } from "../payments/payout.ts";
import type { PayoutCaps } from "../payments/payout-commands.ts";
import type { Payouts } from "../payments/payouts.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import type { Accounts } from "./accounts.ts";
import type { Asker } from "./asker.ts";
import { findRequest, idempotencyMismatch } from "./request-keys.ts";
import { type TakeOutcome, takePayout } from "./take-payout.ts";

export type CollectOrder = { bolt11: string; amountSats: Sat; /** SHA-256 of the canonical body, hex. */ bodyHash: string };

export type CollectRules = { minSats: Sat; feeLimit: FeeLimit; caps: PayoutCaps };

export type CollectOutcome = { kind: "payout"; payout: Payout } | { kind: "insufficient_balance"; spendableMsat: Msat; maxCollectableSats: bigint };

export class Collect {
  readonly #accounts: Accounts;
  readonly #payouts: Payouts;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #boot: bigint;
  readonly #node: () => { network: Network; publicKey: string } | undefined;
  readonly #rules: CollectRules;

  constructor(parts: {
    accounts: Accounts; payouts: Payouts; writer: Writer; reader: Reader; clock: Clock; random: Random; boot: bigint;
    /** Undefined where it has never answered. */
    node(): { network: Network; publicKey: string } | undefined;
    rules: CollectRules;
  }) {
    this.#accounts = parts.accounts;
    this.#payouts = parts.payouts;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#boot = parts.boot;
    this.#node = parts.node;
    this.#rules = parts.rules;
  }

  /**
   * Pays the invoice from what the asker's account holds.
   * @throws AppError `payouts_off`, `invalid_invoice`, `amount_mismatch`, `own_invoice`, `invoice_already_used`, `payout_limit`, `idempotency_mismatch`,
   * `node_unavailable`, and what `Accounts.own` throws. Whatever it throws, nothing has left.
   */
  async collect(asker: Asker, parseOrder: () => CollectOrder): Promise<CollectOutcome> {
    const accountId = await this.#accounts.own(asker);
    const order = parseOrder();
    const requestKey = asker.idempotencyKey === undefined ? undefined : { key: asker.idempotencyKey, bodyHash: order.bodyHash };
    // Before anything is judged anew: by now the invoice may have expired, while the payment that was asked for is on its way.
    const before = requestKey && this.#asked(accountId, requestKey);
    if (before) return { kind: "payout", payout: before };
    if (!this.#payouts.mayTry) throw payoutsOff();
    const payout = this.#draft(accountId, order);
    const taken = await this.#writer.durable(takePayout, { ...payout, caps: this.#rules.caps, boot: this.#boot, requestKey });
    if (!taken.ok) return this.#refusal(taken);
    if ("before" in taken) return { kind: "payout", payout: this.#payouts.find(taken.before)! };
    return { kind: "payout", payout: await this.#payouts.send({ ...payout, state: "intent", known: false }) };
  }

  /** One of the asker's own. @throws AppError `not_found`, and what `Accounts.own` throws. */
  async find(asker: Asker, id: string): Promise<Payout> {
    const accountId = await this.#accounts.own(asker);
    const payout = this.#payouts.find(id);
    if (payout?.accountId !== accountId) throw new AppError("not_found", "This account has no such payout.");
    return payout;
  }

  /** What this key stands for already; nothing where that never left. @throws AppError `idempotency_mismatch`. */
  #asked(accountId: string, { key, bodyHash }: { key: string; bodyHash: string }): Payout | undefined {
    const before = findRequest(this.#reader, { accountId, purpose: "collect", key, atMs: this.#clock.nowMs() });
    if (before === undefined) return undefined;
    if (before.bodyHash !== bodyHash) throw idempotencyMismatch();
    const payout = this.#payouts.find(before.reference);
    return payout?.state === "returned" ? undefined : payout;
  }

  #draft(accountId: string, { bolt11, amountSats }: CollectOrder): Omit<OpenPayout, "state" | "known"> {
    const nowMs = this.#clock.nowMs();
    const amountMsat = satToMsat(amountSats);
    const { paymentHash, expiresAtMs } = this.#checkInvoice(bolt11, amountMsat, nowMs);
    if (amountSats < this.#rules.minSats) throw new AppError("invalid_amount", `amount_sats: this house pays out ${this.#rules.minSats} sats or more.`, { param: "amount_sats" });
    return { id: newId("po", nowMs, this.#random), accountId, paymentHash, bolt11: bolt11.toLowerCase(), amountMsat, feeLimitMsat: feeLimitOf(amountMsat, this.#rules.feeLimit), expiresAtMs, createdAtMs: nowMs };
  }

  #checkInvoice(bolt11: string, amountMsat: Msat, nowMs: number): { paymentHash: string; expiresAtMs: number } {
    const text = readInvoice(bolt11);
    if (text === undefined) throw invalidInvoice("this is no Lightning invoice (BOLT 11) that can be read.");
    const node = this.#node();
    if (node === undefined) throw new AppError("node_unavailable", "The node has never answered.", { retryable: true });
    const network = node.network === "sandbox" ? "regtest" : node.network;
    // Invoices of both test networks begin alike.
    if (text.network !== network && !(text.network === "testnet" && network === "testnet4")) throw invalidInvoice(`this invoice is of ${text.network}, this house is on ${network}.`);
    if (text.payee === node.publicKey || findInvoice(this.#reader, text.paymentHash) !== undefined)
      throw new AppError("own_invoice", "invoice: this is an invoice of this house itself; send one of your own wallet.", { param: "invoice" });
    if (text.amountMsat === undefined) throw invalidInvoice("this invoice names no amount; make one over amount_sats.");
    if (text.amountMsat !== amountMsat) throw new AppError("amount_mismatch", `amount_sats: the invoice asks for ${text.amountMsat} msat, not for ${amountMsat}.`, { param: "amount_sats" });
    // Some nodes pay these by another hash than their own, others refuse them only after they have said yes.
    if (text.asksForMore || text.finalCltvBlocks > maxPayoutFinalCltvBlocks) throw invalidInvoice("this invoice asks for more than a plain payment (such as AMP); make a usual one.");
    const leftMs = text.expiresAtMs - nowMs;
    if (leftMs < minPayoutExpiryMs) throw invalidInvoice("this invoice has expired or does so within a minute; make a new one.");
    if (leftMs > maxPayoutExpiryMs) throw invalidInvoice("this invoice is good for more than a day; make one that expires within 24 hours.");
    return text;
  }

  /** None where it is less than the least that is paid out. */
  #mostOf(spendableMsat: Msat): bigint {
    const most = maxCollectableSats(spendableMsat, this.#rules.feeLimit);
    return most < this.#rules.minSats ? 0n : most;
  }

  #refusal(refused: Extract<TakeOutcome, { ok: false }>): CollectOutcome {
    switch (refused.reason) {
      case "insufficient_balance":
        return { kind: "insufficient_balance", spendableMsat: refused.spendableMsat, maxCollectableSats: this.#mostOf(refused.spendableMsat) };
      case "payout_limit":
        throw limited(`This house pays out only so much in 24 hours${refused.ownLeftMsat === undefined ? "" : `; ${refused.ownLeftMsat / 1000n} sats are left of that for you`}.`);
      case "too_many_open":
        throw limited("Too many payouts are on their way; ask again when some of them have ended.");
      case "invoice_already_used":
        throw new AppError("invoice_already_used", "invoice: this invoice was sent before; make a new one.", { param: "invoice" });
      case "idempotency_mismatch":
        throw idempotencyMismatch();
      case "payouts_off":
        throw payoutsOff();
    }
  }
}

function limited(message: string): AppError {
  return new AppError("payout_limit", message, { retryable: true, retryAfterSeconds: 3_600 });
}

function invalidInvoice(what: string): AppError {
  return new AppError("invalid_invoice", `invoice: ${what}`, { param: "invoice" });
}
