/**
 * What Hearth asks of a Lightning node. An adapter holds only what is called here; optional abilities are small
 * interfaces of their own. Every adapter obeys `test/contract/node.ts`.
 */
import type { Msat } from "../money/msat.ts";

export type Network = "mainnet" | "testnet" | "testnet4" | "signet" | "regtest" | "simnet" | "sandbox";

export type NodeStatus = { network: Network; publicKey: string; alias: string };

/** What the owner has to know of a node. `what` is a sentence with what to do. */
export type NodeCondition =
  | { kind: "ready" }
  | { kind: "locked" | "starting" | "syncing" | "unreachable" | "refused"; what: string };

export type NewInvoice = { paymentHash: string; bolt11: string; expiresAtMs: number };

/**
 * - `open`: may still be paid. - `settled`: the payer's money is ours, `paidMsat` of it. - `dead`: can never be paid
 * any more (cancelled, or expired by the node's own clock). - `unknown`: the node has no such invoice.
 * `feeMsat`: what the node had to pay, out of it or besides, for room to receive it.
 */
export type InvoiceState =
  | { state: "open" }
  | { state: "settled"; paidMsat: Msat; feeMsat?: Msat }
  | { state: "dead" }
  | { state: "unknown" };

/** One settled invoice, in the order of the node's own counting. `cursor` is where to go on after it; 0 where the node does not count. */
export type Settlement = { paymentHash: string; paidMsat: Msat; feeMsat?: Msat; cursor: bigint };

export interface Node {
  /**
   * Makes an invoice that always carries an amount. `reference` is our random id, kept by the node with the invoice.
   * May be retried: an invoice nobody was shown simply expires.
   * @throws AppError `node_unavailable` (retryable) when the node cannot be reached or says no.
   */
  createInvoice(input: { amountMsat: Msat; reference: string; memo: string; expirySeconds: number }): Promise<NewInvoice>;

  /** The node's own word on one invoice. Safe to repeat. @throws AppError `node_unavailable`. */
  lookupInvoice(paymentHash: string): Promise<InvoiceState>;

  /**
   * Every settlement after `since`, first the past ones, then live, until `signal` fires (ends) or the connection
   * breaks (throws AppError `node_unavailable`). May repeat, reorder or omit: the caller credits by payment hash and
   * looks up open invoices besides.
   */
  settlements(since: bigint, signal: AbortSignal): AsyncIterable<Settlement>;

  /** @throws AppError `node_unavailable`. */
  status(): Promise<NodeStatus>;
}

/** A node that can say how it is. Never throws. */
export interface Diagnosable {
  condition(): Promise<NodeCondition>;
}

/** A node that knows how much it can still be paid. */
export interface Liquid {
  /** Over all channels together; a single payment may find less. @throws AppError `node_unavailable`. */
  receivableMsat(): Promise<Msat>;
}

/** A node that can be rid of invoices nobody can pay any more. */
export interface Cleanable {
  /** @throws AppError `node_unavailable`, also where its version cannot. */
  discardInvoice(paymentHash: string): Promise<void>;
}

/** `reference`: our own id, where the node keeps one with the invoice. */
export type SettledInvoice = { paymentHash: string; paidMsat: Msat; feeMsat?: Msat; reference: string | undefined };

/** A node that can list what it was paid. */
export interface Listable {
  /** All settled invoices made since then, other apps' too, in any order. @throws AppError `node_unavailable`. */
  listSettled(sinceMs: number): AsyncIterable<SettledInvoice>;
}

/**
 * What the node says of one payment out, by its hash.
 * - `pending`: it has it, and it may still arrive. - `succeeded`: with the proof, and what was paid on the way. - `failed`: it has ended and
 * will never arrive. - `unknown`: the node has no payment with this hash.
 */
export type PaymentState =
  | { state: "pending" }
  | { state: "succeeded"; preimage: string; feeMsat: Msat }
  | { state: "failed"; reason: string }
  | { state: "unknown" };

export type NewPayment = { bolt11: string; paymentHash: string; amountMsat: Msat; /** The most that its way may cost. */ feeLimitMsat: Msat };

/** A payment that has left, or is on its way. */
export type PaidOut = { paymentHash: string; amountMsat: Msat; atMs: number; state: "pending" | "succeeded" };

/** `leavingMsat`: on its way out, and back if it fails; for a moment after it has arrived too. */
export type Holdings = { spendableMsat: Msat; leavingMsat: Msat };

/** A node that may pay, because the owner gave it the right to. */
export interface Payable {
  /** @throws AppError `node_unavailable`. */
  holdings(): Promise<Holdings>;
  /** The least `feeLimitMsat` for this amount that it can keep to. */
  leastFeeLimitMsat(amountMsat: Msat): Msat;
  /**
   * Asks the node to pay, once, and waits for the end, or until `signal` fires: the payment goes on without us. `pending` is the node's own
   * word. Never to be repeated: whatever it throws, also when `signal` has fired, leaves open whether the node was asked.
   */
  pay(payment: NewPayment, signal: AbortSignal): Promise<PaymentState>;
  /** The node's own word on one payment. Safe to repeat. @throws AppError `node_unavailable`. */
  lookupPayment(paymentHash: string): Promise<PaymentState>;
  /** All payments begun since then, other apps' too, but for those that failed. @throws AppError `node_unavailable`. */
  listPaidOut(sinceMs: number): AsyncIterable<PaidOut>;
}

/** What an adapter may be able to do besides. */
export type NodeAbilities = Partial<Liquid & Cleanable & Listable & Diagnosable> & { /** Where the owner allows payouts. */ payer?: Payable };
