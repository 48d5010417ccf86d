/** Those whom the fake phoenixd can pay, and what it keeps of its payments: as Api.kt of 0.8.0 tells of them. */
import { createHash } from "node:crypto";
import { readInvoice, signInvoice } from "../../src/lightning/bolt11.ts";
import { msat } from "../../src/money/msat.ts";

type Payee = { preimage: string; bolt11: string; sats: number; held: boolean };
type Outgoing = { paymentHash: string; payee: Payee; createdAt: number; completedAt: number | undefined; isPaid: boolean };

const randomHex = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
const feeMsatOf = (sats: number) => sats * 4 + 4_000;

export class FakePayees {
  readonly #privateKey = crypto.getRandomValues(new Uint8Array(32));
  readonly #payees = new Map<string, Payee>();
  readonly #outgoing = new Map<string, Outgoing>();
  readonly #waiting = new Set<() => void>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  invoice(sats: number, held = false): { bolt11: string; paymentHash: string } {
    const preimage = randomHex();
    const paymentHash = createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");
    const bolt11 = signInvoice({ privateKey: this.#privateKey, amountMsat: msat(BigInt(sats) * 1_000n), paymentHash, paymentSecret: randomHex(), memo: "", timestampS: Math.floor(this.#nowMs() / 1_000), expirySeconds: 3_600 });
    this.#payees.set(paymentHash, { preimage, bolt11, sats, held });
    return { bolt11, paymentHash };
  }

  decide(paymentHash: string, isPaid: boolean): void {
    Object.assign(this.#outgoing.get(paymentHash)!, { completedAt: this.#nowMs(), isPaid });
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Of what was held at first: on its way or paid. */
  get spentMsat(): number {
    let sum = 0;
    for (const { payee, completedAt, isPaid } of this.#outgoing.values()) if (isPaid || completedAt === undefined) sum += payee.sats * 1_000 + feeMsatOf(payee.sats);
    return sum;
  }

  /** `POST /payinvoice`: answered when it has ended. */
  async pay(bolt11: string, balanceSat: number): Promise<object> {
    const paymentHash = readInvoice(bolt11)?.paymentHash ?? "";
    const payee = this.#payees.get(paymentHash), before = this.#outgoing.get(paymentHash);
    const failed = (reason: string) => ({ type: "payment_failed", paymentHash, reason });
    if (before?.isPaid) return failed("this invoice has already been paid");
    if (before?.completedAt === undefined && before) return failed("another payment is in progress for that invoice");
    // Of this one nothing is kept.
    if (balanceSat * 1_000 < (payee?.sats ?? 0) * 1_000 + feeMsatOf(payee?.sats ?? 0)) return failed("not enough funds in wallet to afford payment");
    const one: Outgoing = { paymentHash, payee: payee ?? { preimage: "", bolt11, sats: 1, held: false }, createdAt: this.#nowMs(), completedAt: undefined, isPaid: false };
    this.#outgoing.set(paymentHash, one);
    if (payee === undefined) this.decide(paymentHash, false);
    else if (!payee.held) this.decide(paymentHash, true);
    while (one.completedAt === undefined) await new Promise<void>((wake) => void this.#waiting.add(wake));
    if (!one.isPaid) return failed("recipient node rejected the payment");
    return { type: "payment_sent", recipientAmountSat: one.payee.sats, routingFeeSat: Math.floor(feeMsatOf(one.payee.sats) / 1_000), paymentId: crypto.randomUUID(), paymentHash, paymentPreimage: one.payee.preimage };
  }

  /** `GET /payments/outgoingbyhash/{paymentHash}`; undefined is its 404. */
  find(paymentHash: string): object | undefined {
    const one = this.#outgoing.get(paymentHash);
    return one && toWire(one);
  }

  /** `GET /payments/outgoing`: newest first; with `all` by when they began, else those that succeeded since (SqlitePaymentsDb.kt). */
  list(all: boolean, fromMs: number, limit: number, offset: number): object[] {
    const kept = [...this.#outgoing.values()].filter(({ createdAt, completedAt, isPaid }) => (all ? createdAt >= fromMs : isPaid && completedAt! >= fromMs));
    return kept.reverse().slice(offset, offset + limit).map(toWire);
  }
}

function toWire({ paymentHash, payee, createdAt, completedAt, isPaid }: Outgoing): object {
  const fees = isPaid ? feeMsatOf(payee.sats) : 0;
  return {
    type: "outgoing_payment", subType: "lightning", paymentId: crypto.randomUUID(), paymentHash, isPaid, sent: Math.floor((payee.sats * 1_000 + fees) / 1_000), fees, invoice: payee.bolt11,
    ...(isPaid && { preimage: payee.preimage }), ...(completedAt !== undefined && { completedAt }), createdAt,
  };
}
