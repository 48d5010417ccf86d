/** Money out with everything under it, in one process and on a virtual clock: what `PaymentsHouse` is for money in. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { newId } from "../../src/base/ids.ts";
import { takePayout } from "../../src/accounts/take-payout.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { getAccount } from "../../src/ledger/transfers.ts";
import type { NodeCondition, Payable } from "../../src/lightning/node.ts";
import { msat, type Msat } from "../../src/money/msat.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { feeLimitOf, type OpenPayout, type Payout } from "../../src/payments/payout.ts";
import { Payouts } from "../../src/payments/payouts.ts";
import { PaymentsHouse } from "./payments-house.ts";

export const feeLimit = { percent: 1, baseMsat: msat(10_000n) };
const caps = { dailyMsat: msat(2_000_000_000n), dailyPerAccountMsat: msat(500_000_000n) };

export type TakeOptions = { held?: boolean; expirySeconds?: number; requestKey?: { key: string; bodyHash: string }; invoice?: { bolt11: string; paymentHash: string }; caps?: Partial<typeof caps> };

export class PayoutsHouse extends PaymentsHouse {
  // Made in `restart`, which the first constructor calls.
  declare payouts: Payouts;
  declare boot: bigint;
  declare reserveMsat: Msat | undefined;
  mayPay = true;
  condition: NodeCondition = { kind: "ready" };
  /** Hashes that the node was asked to pay, and asked about. */
  readonly paid: string[] = [];
  readonly asked: string[] = [];
  /** In place of what the node would say. */
  said: Partial<Payable> = {};

  override restart(): void {
    super.restart();
    this.boot = this.writer.tx.get<{ id: bigint }>("SELECT max(id) AS id FROM boot")!.id;
    const payer: Payable = {
      holdings: () => this.#node.holdings(),
      leastFeeLimitMsat: (amountMsat) => this.#node.leastFeeLimitMsat(amountMsat),
      pay: (payment, signal) => (this.paid.push(payment.paymentHash), this.#node.pay(payment, signal)),
      lookupPayment: (paymentHash) => (this.asked.push(paymentHash), this.#node.lookupPayment(paymentHash)),
      listPaidOut: (sinceMs) => this.#node.listPaidOut(sinceMs),
    };
    const house = this;
    const node = { get mayPay() { return house.mayPay; }, payer: async () => payer, condition: async () => this.condition };
    this.payouts = new Payouts({ node, writer: this.writer, reader: this.writer.reader, clock: this.clock, boot: this.boot, reserveMsat: this.reserveMsat ?? msat(0n) });
  }

  get #node(): Payable {
    const { payer } = this.node;
    const { said } = this;
    return {
      holdings: said.holdings ?? (() => payer.holdings()), leastFeeLimitMsat: said.leastFeeLimitMsat ?? (() => payer.leastFeeLimitMsat()),
      pay: said.pay ?? ((payment, signal) => payer.pay(payment, signal)), lookupPayment: said.lookupPayment ?? ((paymentHash) => payer.lookupPayment(paymentHash)),
      listPaidOut: said.listPaidOut ?? ((sinceMs) => payer.listPaidOut(sinceMs)),
    };
  }

  override async stop(): Promise<void> {
    await this.clock.until(this.payouts.stop());
    await super.stop();
  }

  /** Somebody who has paid in so much. */
  async accountWith(sats: bigint): Promise<string> {
    const invoice = await this.openAndPay(sats);
    const answer = await this.payments.confirm(invoice.paymentHash);
    if (answer.kind !== "credited") throw new Error(`the node says ${answer.kind}`);
    return answer.invoice.accountId;
  }

  payee(sats: bigint, held = false, expirySeconds = 3_600): { bolt11: string; paymentHash: string } {
    return this.node.payer.invoice(msat(sats * 1_000n), held, expirySeconds);
  }

  /** As the node's file has it. */
  preimageOf(paymentHash: string): string {
    const line = readFileSync(this.path, "utf8").split("\n").find((text) => text.includes('"kind":"payable"') && text.includes(paymentHash));
    return (JSON.parse(line!) as { preimage: string }).preimage;
  }

  /** Runs the command that sets the money aside; a refusal is its reason. */
  take(accountId: string, sats: bigint, options: TakeOptions = {}): OpenPayout | { reason: string } | { ok: true; before: string } {
    const nowMs = this.clock.nowMs();
    const { bolt11, paymentHash } = options.invoice ?? this.payee(sats, options.held, options.expirySeconds);
    const amountMsat = msat(sats * 1_000n);
    const payout = { id: newId("po", nowMs, this.random), accountId, bolt11, paymentHash, amountMsat, feeLimitMsat: feeLimitOf(amountMsat, feeLimit), expiresAtMs: nowMs + (options.expirySeconds ?? 3_600) * 1_000, createdAtMs: nowMs };
    const outcome = this.writer.run(takePayout, { ...payout, caps: { ...caps, ...options.caps }, boot: this.boot, requestKey: options.requestKey });
    if (!outcome.ok) return { reason: outcome.reason };
    return "before" in outcome ? outcome : { ...payout, state: "intent", known: false };
  }

  intent(accountId: string, sats: bigint, options?: TakeOptions): OpenPayout {
    const taken = this.take(accountId, sats, options);
    if (!("id" in taken)) throw new Error(JSON.stringify(taken));
    return taken;
  }

  send(payout: OpenPayout): Promise<Payout> {
    return this.clock.until(this.payouts.send(payout));
  }

  stateOf({ id }: { id: string }): Payout["state"] {
    return this.payouts.find(id)!.state;
  }

  spendable(accountId: string): Msat {
    return spendable(getAccount(this.writer.tx, accountId));
  }

  /** What the node could pay with now, by its own books. */
  async holds(): Promise<Msat> {
    return (await this.clock.until(this.node.payer.holdings())).spendableMsat;
  }

  expectBooks(): void {
    expect([...auditLedger(this.writer.tx), ...auditPayments(this.writer.tx)]).toEqual([]);
  }
}
