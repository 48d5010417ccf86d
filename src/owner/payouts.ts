/** The owner's hand on money out: the switch, what is open, the word on what no node knows, and what left while a backup was away. */
import type { Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { beforeCopyMs, payoutPageSize } from "../base/limits.ts";
import { newId } from "../base/ids.ts";
import type { PaidOut } from "../lightning/node.ts";
import type { Payout } from "../payments/payout.ts";
import { findPayoutByHash, listPayouts } from "../payments/payout-commands.ts";
import type { OwnersDecision, Payouts, PayoutsState } from "../payments/payouts.ts";
import { confirmRestore, restoreToConfirm, switchPayouts } from "../payments/payout-switch.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";

/** `stillOpen`: ours whose end the node does not know. `notKnownHere`: what left since the copy was made, other apps' payments too. */
export type RestoreReview = { restoredAtMs: number; sinceMs: number; stillOpen: Payout[]; notKnownHere: PaidOut[] };

export class OwnerPayouts {
  readonly #payouts: Payouts;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #random: Random;

  constructor(parts: { payouts: Payouts; writer: Writer; reader: Reader; random: Random }) {
    this.#random = parts.random;
    this.#payouts = parts.payouts;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
  }

  get state(): PayoutsState {
    return this.#payouts.state;
  }

  get open(): Payout[] {
    return this.#payouts.open;
  }

  /** Newest first, from before `beforeId`. */
  list(beforeId: string): Payout[] {
    return listPayouts(this.#reader, beforeId, payoutPageSize);
  }

  /** Off: nothing more is sent, and what was sent is asked about as before. */
  async switch(on: boolean): Promise<PayoutsState> {
    await this.#writer.durable(switchPayouts, { on });
    return this.state;
  }

  /** @throws AppError `not_found`, `conflict`, `invalid_request`, `node_unavailable`, `payouts_off`. */
  decide(id: string, decision: OwnersDecision): Promise<Payout> {
    return this.#payouts.decide(id, decision);
  }

  /** Asks the node about each open payout and for all that it paid since. @throws AppError `conflict`, `node_unavailable`, `payouts_off`. */
  async reviewRestore(): Promise<RestoreReview> {
    const restoredAtMs = this.#restored();
    for (const payout of this.#payouts.open) await this.#payouts.ask(payout);
    const last = this.#reader.get<{ at_ms: bigint }>("SELECT at_ms FROM transfer WHERE at_ms <= ? ORDER BY seq DESC LIMIT 1", restoredAtMs);
    const sinceMs = Math.max(0, Number(last?.at_ms ?? 0n) - beforeCopyMs);
    const notKnownHere: PaidOut[] = [];
    for await (const paid of await this.#payouts.listPaidOut(sinceMs)) if (!this.#isBooked(paid.paymentHash)) notKnownHere.push(paid);
    return { restoredAtMs, sinceMs, stillOpen: this.#payouts.open, notKnownHere };
  }

  /** One that was given back is as little booked as one that is not known. */
  #isBooked(paymentHash: string): boolean {
    const payout = findPayoutByHash(this.#reader, paymentHash);
    return payout !== undefined && payout.state !== "failed";
  }

  /** One of those that the review or a comparison lists, as a payout of this account. @throws AppError `not_found`, `conflict`, `node_unavailable`, `payouts_off`. */
  async book(paymentHash: string, accountId: string): Promise<Payout> {
    const paid = await this.#findPaidOut(paymentHash);
    return this.#payouts.book(newId("po", paid.atMs, this.#random), paid, accountId);
  }

  async #findPaidOut(paymentHash: string): Promise<PaidOut> {
    for await (const paid of await this.#payouts.listPaidOut(0)) if (paid.paymentHash === paymentHash) return paid;
    throw new AppError("not_found", "The node has paid nothing with this payment hash.");
  }

  /** The owner has seen the review of this restore: payouts may go on. @throws AppError `conflict`. */
  async confirmRestore(restoredAtMs: number): Promise<PayoutsState> {
    if (!(await this.#writer.durable(confirmRestore, { restoredAtMs })).ok) throw nothingToConfirm();
    return this.state;
  }

  #restored(): number {
    const restoredAtMs = restoreToConfirm(this.#reader);
    if (restoredAtMs === undefined) throw nothingToConfirm();
    return restoredAtMs;
  }
}

function nothingToConfirm(): AppError {
  return new AppError("conflict", "No backup was put back whose payouts wait for your word.");
}
