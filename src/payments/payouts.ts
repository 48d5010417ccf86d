/**
 * Money out, as the rest of the house sees it: carries an intent to its end, or as far as is known. The node is asked to pay once; after that
 * its word on the payment hash counts and nothing else does.
 */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { insolventMs, payoutStreamMs, payoutWaitMs, stuckPayoutAfterMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { owedMsat } from "../ledger/owed.ts";
import type { NodeCondition, PaidOut, Payable, PaymentState } from "../lightning/node.ts";
import { opens } from "../lightning/preimage.ts";
import { maxMsatOf, minMsat, type Msat, msat } from "../money/msat.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import { type EndedBy, isEnded, type OpenPayout, type Payout, type PayoutEnd, payoutsOff } from "./payout.ts";
import { bookPayout, type BookPayoutOutcome, endPayout, findPayout, knowPayout, listOpenPayouts, sendPayout, startPayouts } from "./payout-commands.ts";
import { isPayoutSwitchOn, restoreToConfirm } from "./payout-switch.ts";
import { PayoutTracker } from "./payout-tracker.ts";

export type PayingNode = {
  readonly mayPay: boolean;
  /** @throws AppError `payouts_off`, `node_unavailable`. */
  payer(): Promise<Payable>;
  condition(): Promise<NodeCondition>;
};

/** Why nothing is paid out; `insolvent`: at the last try the node held less than is owed. */
export type PayoutsState = { on: true } | { on: false; why: "no_right" | "switched_off" | "restored" | "insolvent" };

export type OwnersDecision = { paid: false } | { paid: true; preimage: string; feeMsat: Msat };

export class Payouts {
  readonly #node: PayingNode;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #boot: bigint;
  readonly #reserveMsat: Msat;
  readonly #tracker: PayoutTracker;
  readonly #stop = new AbortController();
  /** By id: what the node is being asked for now. */
  readonly #paying = new Map<string, Promise<void>>();
  /** When it was last found so. */
  #insolventAtMs: number | undefined;

  /** @param parts.reserveMsat What the node must keep besides all that is owed. */
  constructor(parts: { node: PayingNode; writer: Writer; reader: Reader; clock: Clock; boot: bigint; reserveMsat: Msat }) {
    this.#node = parts.node;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#boot = parts.boot;
    this.#reserveMsat = parts.reserveMsat;
    this.#tracker = new PayoutTracker({
      clock: parts.clock,
      find: (id) => this.find(id),
      lookUp: (payout) => this.#lookUpOpen(payout),
      condition: () => parts.node.condition(),
      endBy,
      end: (payout, end) => this.#end(payout, end, "node"),
    });
  }

  get state(): PayoutsState {
    if (!this.#node.mayPay) return { on: false, why: "no_right" };
    if (!isPayoutSwitchOn(this.#reader)) return { on: false, why: "switched_off" };
    if (restoreToConfirm(this.#reader) !== undefined) return { on: false, why: "restored" };
    return this.#insolventAtMs === undefined ? { on: true } : { on: false, why: "insolvent" };
  }

  /** A want of money may have passed: it is looked at again after some seconds. */
  get mayTry(): boolean {
    const { state } = this;
    return state.on || (state.why === "insolvent" && this.#clock.nowMs() >= this.#insolventAtMs! + insolventMs);
  }

  find(id: string): Payout | undefined {
    return findPayout(this.#reader, id);
  }

  /** Those whose end is not known. */
  get open(): OpenPayout[] {
    return listOpenPayouts(this.#reader);
  }

  /** What an earlier process left: intents go back, what was sent is asked about. */
  async start(): Promise<void> {
    const { returned, unknown } = await this.#writer.durable(startPayouts, { boot: this.#boot, atMs: this.#clock.nowMs() });
    if (returned > 0) log.warn("payout.intents_returned", { payouts: returned });
    if (unknown > 0) log.warn("payout.intents_of_a_restored_backup", { payouts: unknown });
    for (const { id } of this.open) this.#tracker.follow(id);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#tracker.stop(), ...this.#paying.values()]);
  }

  /**
   * Carries an intent on, and waits for its end for a while. Whatever this throws, the money is back.
   * @throws AppError `payouts_off`, `node_unavailable`, `invoice_already_used`.
   */
  async send(payout: OpenPayout): Promise<Payout> {
    const payer = await this.#mayBeSent(payout);
    const paying = this.#pay(payer, payout).finally(() => this.#paying.delete(payout.id));
    this.#paying.set(payout.id, paying);
    const waited = new AbortController();
    await Promise.race([paying, this.#clock.sleep(payoutWaitMs, waited.signal)]);
    waited.abort();
    return this.find(payout.id)!;
  }

  async #mayBeSent(payout: OpenPayout): Promise<Payable> {
    try {
      const payer = await this.#node.payer();
      await this.#checkNode(payer, payout);
      // Whoever stops asks the node for nothing more.
      if (this.#stop.signal.aborted || !(await this.#writer.durable(sendPayout, { id: payout.id })).ok) throw payoutsOff();
      // Outside the ledger too: a backup that is put back does not know whose payment this was.
      log.info("payout.sent", { payout: payout.id, account: payout.accountId, payment_hash: payout.paymentHash, amount_msat: payout.amountMsat });
      return payer;
    } catch (error) {
      await this.#end(payout, { state: "returned", reason: error instanceof AppError ? error.message : "Hearth made a mistake." }, "hearth");
      throw error;
    }
  }

  async #checkNode(payer: Payable, { paymentHash, amountMsat, feeLimitMsat }: OpenPayout): Promise<void> {
    if (feeLimitMsat < payer.leastFeeLimitMsat(amountMsat)) throw new AppError("payouts_off", "This house allows less for a payment's way than its node takes.");
    const before = await this.#owed();
    // What another app of the node has paid cannot be told from what we pay.
    const [known, { spendableMsat, leavingMsat }] = await Promise.all([payer.lookupPayment(paymentHash), payer.holdings()]);
    if (known.state !== "unknown") throw new AppError("invoice_already_used", "This invoice was paid, or tried, before; ask for a new one.");
    // What ended while the node was asked is in one of the two.
    const owed = maxMsatOf(before, await this.#owed());
    // Of what leaves only our own is owed still, and what has arrived is not.
    const holds = spendableMsat + minMsat(leavingMsat, this.#sentMsat());
    const isInsolvent = owed + this.#reserveMsat > holds;
    this.#insolventAtMs = isInsolvent ? this.#clock.nowMs() : undefined;
    if (!isInsolvent) return;
    log.error("payout.insolvent", { owed_msat: owed, holds_msat: holds, reserve_msat: this.#reserveMsat });
    throw payoutsOff();
  }

  #sentMsat(): Msat {
    return msat(this.open.reduce((sum, { state, amountMsat, feeLimitMsat }) => (state === "sent" ? sum + amountMsat + feeLimitMsat : sum), 0n));
  }

  async #owed(): Promise<Msat> {
    await this.#writer.caughtUp();
    return owedMsat(this.#reader);
  }

  /** Never throws: what is not known is asked about. */
  async #pay(payer: Payable, payout: OpenPayout): Promise<void> {
    const { id, bolt11, paymentHash, amountMsat, feeLimitMsat } = payout;
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    this.#stop.signal.addEventListener("abort", leave, { once: true });
    if (this.#stop.signal.aborted) leave();
    void this.#clock.sleep(payoutStreamMs, leaving.signal).then(leave);
    try {
      const said = await payer.pay({ bolt11, paymentHash, amountMsat, feeLimitMsat }, leaving.signal);
      await this.#remember(payout, said);
      const end = endBy(payout, said);
      if (end) return await this.#end(payout, end, "node");
    } catch (error) {
      log.warn("payout.end_unknown", { payout: id, reason: describeError(error) });
    } finally {
      leave();
      this.#stop.signal.removeEventListener("abort", leave);
    }
    this.#tracker.follow(id);
  }

  async #end({ id, amountMsat, feeLimitMsat }: OpenPayout, end: PayoutEnd, by: EndedBy): Promise<void> {
    const { ended } = await this.#writer.durable(endPayout, { id, end, by, boot: this.#boot, atMs: this.#clock.nowMs() });
    if (!ended) return;
    const fee = end.state === "succeeded" ? { fee_msat: end.feeMsat } : { reason: end.reason };
    log.info(`payout.${end.state}`, { payout: id, amount_msat: amountMsat, by, ...fee });
    if (end.state === "succeeded" && end.feeMsat > feeLimitMsat) log.error("payout.fee_above_limit", { payout: id, fee_msat: end.feeMsat, limit_msat: feeLimitMsat });
  }

  /** What the node has paid out or is paying, which the owner is shown after a backup was put back. */
  async listPaidOut(sinceMs: number): Promise<AsyncIterable<PaidOut>> {
    return (await this.#node.payer()).listPaidOut(sinceMs);
  }

  /**
   * Books what the node has paid, and this ledger does not know or took for unpaid, as a payout of this account.
   * @throws AppError `not_found`, `conflict`, `node_unavailable`, `payouts_off`.
   */
  async book(id: string, { paymentHash, amountMsat }: Pick<PaidOut, "paymentHash" | "amountMsat">, accountId: string): Promise<Payout> {
    const said = await this.lookUp(paymentHash);
    if (said.state !== "succeeded" || !opens(said.preimage, paymentHash)) throw new AppError("conflict", `The node says that this payment is ${said.state}; only one that has succeeded, with its proof, can be booked.`);
    const booked = await this.#writer.durable(bookPayout, { id, accountId, paymentHash, amountMsat, feeMsat: said.feeMsat, preimage: said.preimage, boot: this.#boot, atMs: this.#clock.nowMs() });
    if (!booked.ok) throw notBooked(booked);
    log.info("payout.booked", { payout: booked.id, account: accountId, amount_msat: amountMsat });
    return this.find(booked.id)!;
  }

  /** @throws AppError `node_unavailable`, `payouts_off`. */
  async lookUp(paymentHash: string): Promise<PaymentState> {
    return (await this.#node.payer()).lookupPayment(paymentHash);
  }

  /** The node's word on one that is sent, which ends it where it can. @throws AppError `node_unavailable`, `payouts_off`. */
  async ask(payout: OpenPayout): Promise<PaymentState> {
    const said = await this.#lookUpOpen(payout);
    const end = payout.state === "sent" ? endBy(payout, said) : undefined;
    if (end) await this.#end(payout, end, "node");
    return said;
  }

  async #lookUpOpen(payout: OpenPayout): Promise<PaymentState> {
    const said = await this.lookUp(payout.paymentHash);
    await this.#remember(payout, said);
    return said;
  }

  /** A node that has had it once may lose it, and the payment still arrives. */
  async #remember(payout: OpenPayout, said: PaymentState): Promise<void> {
    if (said.state !== "unknown" && !payout.known) await this.#writer.durable(knowPayout, { id: payout.id });
  }

  /**
   * The owner's word on one whose end the node does not know. The node is asked first, and what it knows counts.
   * @throws AppError `not_found`, `conflict`, `invalid_request`, `node_unavailable`.
   */
  async decide(id: string, decision: OwnersDecision): Promise<Payout> {
    const payout = this.find(id);
    if (payout === undefined) throw new AppError("not_found", "There is no such payout.");
    if (isEnded(payout) || payout.state === "intent") throw new AppError("conflict", `This payout is ${payout.state}; there is nothing to decide.`);
    if (decision.paid && !opens(decision.preimage, payout.paymentHash)) throw new AppError("invalid_request", "This preimage does not belong to the payout's payment hash; only the right one proves that it was paid.", { param: "preimage" });
    const said = await this.ask(payout);
    if (!isEnded(this.find(id)!)) {
      if (!decision.paid) this.#checkUndecided(payout, said);
      const end: PayoutEnd = decision.paid
        ? { state: "succeeded", preimage: decision.preimage.toLowerCase(), feeMsat: decision.feeMsat }
        : { state: "failed", reason: "The owner says that it was not paid." };
      await this.#end(payout, end, "owner");
    }
    return this.find(id)!;
  }

  /** What may still leave is not given back, whoever says so. */
  #checkUndecided({ id, createdAtMs, expiresAtMs }: OpenPayout, said: PaymentState): void {
    const nowMs = this.#clock.nowMs();
    if (said.state === "succeeded") throw new AppError("conflict", "The node says that this was paid, if without a proof that fits; it cannot be called unpaid.");
    // Our request may be on its way to the node for as long as the invoice can be paid.
    const untilMs = said.state === "unknown" ? expiresAtMs : createdAtMs + stuckPayoutAfterMs;
    if (nowMs >= untilMs && !this.#paying.has(id)) return;
    const what = said.state === "unknown" ? "The node does not know this payment yet, but its invoice can still be paid" : "The node says that this payment is on its way";
    throw new AppError("conflict", `${what}; it can be called unpaid from ${new Date(untilMs).toISOString()} on.`);
  }
}

/** What the node's word ends a sent payout with; undefined where it does not. */
function endBy({ id, paymentHash }: OpenPayout, said: PaymentState): PayoutEnd | undefined {
  if (said.state === "failed") return { state: "failed", reason: said.reason };
  if (said.state !== "succeeded") return undefined;
  if (opens(said.preimage, paymentHash)) return { state: "succeeded", preimage: said.preimage, feeMsat: said.feeMsat };
  log.error("payout.wrong_preimage", { payout: id, payment_hash: paymentHash });
  return undefined;
}

function notBooked(refused: Extract<BookPayoutOutcome, { ok: false }>): AppError {
  switch (refused.reason) {
    case "known":
      return new AppError("conflict", "This payment is a payout of this ledger already.");
    case "no_account":
      return new AppError("not_found", "No payer has this account; hearth key list and GET /admin/api/keys name them.");
    case "another_account":
      return new AppError("conflict", "This payment was a payout of another account, or of another amount.");
    case "insufficient_balance":
      return new AppError("conflict", `This account holds ${refused.spendableMsat} msat, less than was paid out and its fee.`);
  }
}
