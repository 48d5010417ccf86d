/** Holds node and ledger against each other: once when the node answers first, and whenever the owner asks. */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { dayMs, reconcileDays, reconcileRetryMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { NodeGuard } from "../payments/node-guard.ts";
import type { Payments } from "../payments/payments.ts";
import type { Payouts } from "../payments/payouts.ts";
import { type PayoutDiscrepancy, type PayoutReconciliation, reconcilePayouts } from "../payments/reconcile-payouts.ts";
import { type Discrepancy, reconcile, type Reconciliation } from "../payments/reconcile.ts";
import { nodeSinceMs } from "../payments/replace-node.ts";
import type { Reader } from "../store/reader.ts";

export type AnyDiscrepancy = Discrepancy | PayoutDiscrepancy;

export type ReconcileReport = Omit<Reconciliation, "discrepancies"> & {
  discrepancies: AnyDiscrepancy[];
  /** Undefined where the node may not pay, or cannot be asked for it. */
  payouts: Omit<PayoutReconciliation, "discrepancies"> | undefined;
  atMs: number;
  days: number;
};

export class Reconciler {
  readonly #node: NodeGuard;
  readonly #payments: Payments;
  readonly #payouts: Payouts;
  readonly #reader: Pick<Reader, "get" | "all">;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #running: Promise<ReconcileReport> | undefined;
  #last: ReconcileReport | undefined;

  constructor(parts: { node: NodeGuard; payments: Payments; payouts: Payouts; reader: Pick<Reader, "get" | "all">; clock: Clock }) {
    this.#node = parts.node;
    this.#payments = parts.payments;
    this.#payouts = parts.payouts;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
  }

  /** Undefined until the first one has ended. */
  get last(): ReconcileReport | undefined {
    return this.#last;
  }

  /** Who asks while one runs gets that one's result. @throws AppError `node_unavailable`, `cannot_reconcile`. */
  run(days = reconcileDays): Promise<ReconcileReport> {
    this.#running ??= this.#run(days).finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #run(days: number): Promise<ReconcileReport> {
    const listSettled = await this.#node.listing();
    if (listSettled === undefined) throw new AppError("cannot_reconcile", "This node cannot list what it was paid.");
    const atMs = this.#clock.nowMs();
    // What an earlier node did this one knows nothing of.
    const sinceMs = Math.max(atMs - days * dayMs, nodeSinceMs(this.#reader));
    // Asked one by one through the guard, listed by the node itself.
    const node = { lookupInvoice: this.#node.lookupInvoice.bind(this.#node), listSettled };
    const result = await reconcile({ node, payments: this.#payments, reader: this.#reader }, sinceMs);
    const payouts = await this.#comparePayouts(sinceMs);
    const discrepancies = [...result.discrepancies, ...(payouts?.discrepancies ?? [])];
    for (const one of discrepancies) log.error("reconcile.discrepancy", describe(one));
    log.info("reconcile.done", { days, settled: result.settledOnNode, credited: result.creditedHere, repaired: result.repaired, ...(payouts && { paid_out: payouts.paidOutHere }), discrepancies: discrepancies.length });
    return (this.#last = { ...result, discrepancies, payouts, atMs, days });
  }

  /** A right to pay that does not work is no reason not to look at what came in. */
  async #comparePayouts(sinceMs: number): Promise<PayoutReconciliation | undefined> {
    if (!this.#node.mayPay) return undefined;
    try {
      return await reconcilePayouts({ payouts: this.#payouts, reader: this.#reader }, sinceMs);
    } catch (error) {
      log.warn("reconcile.payouts_failed", { reason: describeError(error) });
      return undefined;
    }
  }

  /** Tries until it has worked once. */
  async start(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.run();
        return;
      } catch (error) {
        if (error instanceof AppError && error.code === "cannot_reconcile") return;
        log.warn("reconcile.failed", { reason: describeError(error) });
      }
      await this.#clock.sleep(reconcileRetryMs, this.#stop.signal);
    }
  }

  stop(): void {
    this.#stop.abort();
  }
}

function describe(one: AnyDiscrepancy): Record<string, string | bigint> {
  return Object.fromEntries(Object.entries(one).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]));
}
