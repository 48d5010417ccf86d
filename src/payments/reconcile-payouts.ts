/**
 * Holds the node's payments and the ledger's payouts against each other. What the node knows of a payout that is open here ends it; what was
 * booked and the node does not bear out is listed for the owner.
 */
import { payoutPageSize } from "../base/limits.ts";
import { nextTurn } from "../base/turns.ts";
import type { PaymentState } from "../lightning/node.ts";
import type { Msat } from "../money/msat.ts";
import type { Reader } from "../store/reader.ts";
import { isEnded, type SucceededPayout } from "./payout.ts";
import { listFailedPayouts, listSucceededPayouts } from "./payout-commands.ts";
import type { Payouts } from "./payouts.ts";

export type PayoutDiscrepancy =
  /** It was booked as paid out, and the node does not call it so. */
  | { kind: "not_paid_out"; paymentHash: string; payout: string; paidOutMsat: Msat; nodeSays: Exclude<PaymentState["state"], "succeeded"> }
  /** It was given back, and the node has paid it all the same: `hearth payouts book` takes it again. */
  | { kind: "paid_all_the_same"; paymentHash: string; payout: string; paidOutMsat: Msat; accountId: string }
  /** Its way cost more or less than was booked. */
  | { kind: "fee_differs"; paymentHash: string; payout: string; bookedFeeMsat: Msat; feeMsat: Msat };

export type PayoutReconciliation = { paidOutHere: number; endedNow: number; stillOpen: number; discrepancies: PayoutDiscrepancy[] };

export type ReconcilePayoutsParts = { payouts: Pick<Payouts, "open" | "ask" | "find" | "lookUp">; reader: Pick<Reader, "all"> };

/** @param sinceMs Payouts made before are not looked at. @throws AppError `node_unavailable`, `payouts_off`. */
export async function reconcilePayouts({ payouts, reader }: ReconcilePayoutsParts, sinceMs: number): Promise<PayoutReconciliation> {
  const result: PayoutReconciliation = { paidOutHere: 0, endedNow: 0, stillOpen: 0, discrepancies: [] };
  for (const payout of payouts.open) {
    // An intent is on its way through this process.
    if (payout.state === "sent") await payouts.ask(payout);
    if (isEnded(payouts.find(payout.id)!)) result.endedNow++;
    else result.stillOpen++;
  }
  for await (const payout of pagesOf((after) => listSucceededPayouts(reader, after, payoutPageSize))) {
    if (payout.createdAtMs < sinceMs) continue;
    result.paidOutHere++;
    const found = compareSucceeded(payout, await payouts.lookUp(payout.paymentHash));
    if (found) result.discrepancies.push(found);
  }
  for await (const payout of pagesOf((after) => listFailedPayouts(reader, after, payoutPageSize))) {
    if (payout.createdAtMs < sinceMs) continue;
    const { state } = await payouts.lookUp(payout.paymentHash);
    // On its way counts: it may arrive.
    if (state === "succeeded" || state === "pending") result.discrepancies.push({ kind: "paid_all_the_same", paymentHash: payout.paymentHash, payout: payout.id, paidOutMsat: payout.amountMsat, accountId: payout.accountId });
  }
  return result;
}

async function* pagesOf<One extends { id: string }>(read: (after: string) => One[]): AsyncGenerator<One> {
  for (let after = ""; ; ) {
    const page = read(after);
    yield* page;
    if (page.length < payoutPageSize) return;
    after = page.at(-1)!.id;
    await nextTurn();
  }
}

function compareSucceeded({ id: payout, paymentHash, amountMsat, feeMsat: bookedFeeMsat, endedBy }: SucceededPayout, said: PaymentState): PayoutDiscrepancy | undefined {
  if (said.state !== "succeeded") {
    // What the owner has said of it, because the node did not know.
    return endedBy === "owner" ? undefined : { kind: "not_paid_out", paymentHash, payout, paidOutMsat: amountMsat, nodeSays: said.state };
  }
  return said.feeMsat === bookedFeeMsat ? undefined : { kind: "fee_differs", paymentHash, payout, bookedFeeMsat, feeMsat: said.feeMsat };
}
