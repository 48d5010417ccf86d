/**
 * Money out of the sandbox node: somebody else's invoices, which it can pay, and how that goes wrong. Kept in the node's own file, so that
 * a payment survives kill -9 as it would on a real node.
 */
import { assert } from "../base/assert.ts";
import { decodeHex32, sha256, toHex } from "../base/bytes.ts";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { News } from "../base/news.ts";
import { msat, type Msat } from "../money/msat.ts";
import { signInvoice } from "./bolt11.ts";
import type { Holdings, NewPayment, PaidOut, Payable, PaymentState } from "./node.ts";
import type { Entry, PayeeEntry } from "./sandbox-file.ts";

/** How paying goes wrong. Counts go down as they are used. */
export type PayoutFaults = {
  /** So many of the next payments fail on their way. */
  failPayments: number;
  /** So many of the next payments begin, then fail as if the reply was lost. */
  losePayments: number;
  /** What a way costs; above the limit there is no way. */
  paymentFeeMsat: number;
};

export const noPayoutFaults: PayoutFaults = { failPayments: 0, losePayments: 0, paymentFeeMsat: 1_000 };

type Payment = { paymentHash: string; preimage: string; bolt11: string; amountMsat: Msat; expiresAtMs: number; held: boolean; sending: { feeMsat: Msat; atMs: number } | undefined; taken: boolean | undefined };

export type SandboxPayerParts = {
  clock: Clock;
  random: Random;
  faults: PayoutFaults;
  /** Puts the entry in the file, then hands it to `restore`. */
  write(entry: Entry): void;
  /** As a call to the node: late, or not at all. */
  answerable(): Promise<void>;
  /** What was paid in. */
  receivedMsat(): Msat;
};

export class SandboxPayer implements Payable {
  readonly #parts: SandboxPayerParts;
  readonly #byHash = new Map<string, Payment>();
  #payeeKey: Uint8Array | undefined;
  readonly #news = new News();

  constructor(parts: SandboxPayerParts) {
    this.#parts = parts;
  }

  /** An invoice of somebody else. `held`: its payment stays on its way until they decide. */
  invoice(amountMsat: Msat, held: boolean, expirySeconds: number): { paymentHash: string; bolt11: string } {
    const { clock, random, write } = this.#parts;
    if (this.#payeeKey === undefined) write({ kind: "payee", privateKey: toHex(random.bytes(32)) });
    const preimage = random.bytes(32);
    const paymentHash = toHex(sha256(preimage));
    const timestampS = Math.floor(clock.nowMs() / 1000);
    const bolt11 = signInvoice({ privateKey: this.#payeeKey!, amountMsat, paymentHash, paymentSecret: toHex(random.bytes(32)), memo: "Somebody else", timestampS, expirySeconds });
    write({ kind: "payable", paymentHash, preimage: toHex(preimage), bolt11, amountMsat: String(amountMsat), expiresAtMs: (timestampS + expirySeconds) * 1000, held });
    return { paymentHash, bolt11 };
  }

  /** Whoever held a payment takes it, or sends it back. */
  decide(paymentHash: string, taken: boolean): { error: string } | undefined {
    const payment = this.#byHash.get(paymentHash);
    if (!payment?.held || payment.taken !== undefined) return { error: "There is no held invoice with this payment hash." };
    this.#parts.write({ kind: "ended", paymentHash, taken });
    this.#news.tell();
    return undefined;
  }

  async holdings(): Promise<Holdings> {
    await this.#parts.answerable();
    let spendable: bigint = this.#parts.receivedMsat(), leaving = 0n;
    for (const payment of this.#byHash.values()) {
      const { state } = stateOf(payment);
      if (state !== "pending" && state !== "succeeded") continue;
      const cost = payment.amountMsat + payment.sending!.feeMsat;
      spendable -= cost;
      if (state === "pending") leaving += cost;
    }
    return { spendableMsat: msat(spendable), leavingMsat: msat(leaving) };
  }

  leastFeeLimitMsat(): Msat {
    return msat(0n);
  }

  async pay({ bolt11, paymentHash, feeLimitMsat }: NewPayment, signal: AbortSignal): Promise<PaymentState> {
    await this.#parts.answerable();
    const payment = this.#byHash.get(paymentHash);
    if (payment?.bolt11 !== bolt11.toLowerCase()) return { state: "failed", reason: "The sandbox node finds no way to this payee." };
    if (payment.sending !== undefined) throw new AppError("node_unavailable", "The sandbox node has paid this invoice before.");
    this.#begin(payment, feeLimitMsat);
    while (stateOf(payment).state === "pending" && !signal.aborted) await this.#news.wait(signal);
    return stateOf(payment);
  }

  async lookupPayment(paymentHash: string): Promise<PaymentState> {
    await this.#parts.answerable();
    const payment = this.#byHash.get(paymentHash);
    return payment ? stateOf(payment) : { state: "unknown" };
  }

  async *listPaidOut(sinceMs: number): AsyncGenerator<PaidOut> {
    await this.#parts.answerable();
    for (const payment of this.#byHash.values()) {
      const { state } = stateOf(payment);
      if (payment.sending === undefined || payment.sending.atMs < sinceMs || (state !== "pending" && state !== "succeeded")) continue;
      yield { paymentHash: payment.paymentHash, amountMsat: payment.amountMsat, atMs: payment.sending.atMs, state };
    }
  }

  #begin(payment: Payment, feeLimitMsat: Msat): void {
    const { faults, clock, write } = this.#parts;
    const { paymentHash } = payment;
    const feeMsat = BigInt(faults.paymentFeeMsat);
    write({ kind: "sending", paymentHash, feeMsat: String(feeMsat), atMs: clock.nowMs() });
    const fails = faults.failPayments > 0 || feeMsat > feeLimitMsat || clock.nowMs() >= payment.expiresAtMs;
    if (faults.failPayments > 0) faults.failPayments--;
    if (fails) write({ kind: "ended", paymentHash, taken: false });
    else if (!payment.held) write({ kind: "ended", paymentHash, taken: true });
    if (faults.losePayments === 0) return;
    faults.losePayments--;
    throw new AppError("node_unavailable", "The sandbox node's reply was lost, as it was told to be", { retryable: true });
  }

  /** Takes in what was written. False for an entry that is none of its own. */
  restore(entry: Entry): entry is PayeeEntry {
    switch (entry.kind) {
      case "payee":
        this.#payeeKey = decodeHex32(entry.privateKey);
        return true;
      case "payable": {
        const { kind, ...facts } = entry;
        this.#byHash.set(entry.paymentHash, { ...facts, amountMsat: msat(BigInt(entry.amountMsat)), sending: undefined, taken: undefined });
        return true;
      }
      case "sending":
        this.#known(entry.paymentHash).sending = { feeMsat: msat(BigInt(entry.feeMsat)), atMs: entry.atMs };
        return true;
      case "ended":
        this.#known(entry.paymentHash).taken = entry.taken;
        return true;
      default:
        return false;
    }
  }

  #known(paymentHash: string): Payment {
    const payment = this.#byHash.get(paymentHash);
    assert(payment, "the sandbox's file names a payee's invoice before its payment");
    return payment;
  }
}

function stateOf({ sending, taken, held, preimage }: Payment): PaymentState {
  if (sending === undefined) return { state: "unknown" };
  // Killed between the two entries: nobody holds it, so it arrived.
  if (taken === true || (taken === undefined && !held)) return { state: "succeeded", preimage, feeMsat: sending.feeMsat };
  return taken === false ? { state: "failed", reason: "The payee did not take it." } : { state: "pending" };
}
