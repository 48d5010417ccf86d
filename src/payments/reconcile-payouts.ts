/**
 * Holds the node's payments and the ledger's payouts against each other. What the node knows of a payout that is open here ends it; what was
 * booked and the node does not bear out is listed for the owner.
 */
import { nextTurn } from "../base/turns.ts";
import type { PaymentState } from "../lightning/node.ts";
import type { Msat } from "../money/msat.ts";
import type { Reader } from "../store/reader.ts";
import { isEnded, type SucceededPayout } from "./payout.ts";
import { listSucceededPayouts } from "./payout-commands.ts";
import type { Payouts } from "./payouts.ts";

export type PayoutDiscrepancy =
  /** It was booked as paid out, and the node does not call it so. */
  | { kind: "not_paid_out"; paymentHash: string; payout: string; paidOutMsat: Msat; nodeSays: Exclude<PaymentState["state"], "succeeded"> }
  /** Its way cost more or less than was booked. */
  | { kind: "fee_differs"; paymentHash: string; payout: string; bookedFeeMsat: Msat; feeMsat: Msat };

export type PayoutReconciliation = { paidOutHere: number; endedNow: number; stillOpen: number; discrepancies: PayoutDiscrepancy[] };

export type ReconcilePayoutsParts = { payouts: Pick<Payouts, "open" | "ask" | "find" | "lookUp">; reader: Pick<Reader, "all"> };

const pageSize = 200;

/** @param sinceMs Payouts made before are not looked at. @throws AppError `node_unavailable`, `payouts_off`. */
export async function reconcilePayouts({ payouts, reader }: ReconcilePayoutsParts, sinceMs: number): Promise<PayoutReconciliation> {
  const result: PayoutReconciliation = { paidOutHere: 0, endedNow: 0, stillOpen: 0, discrepancies: [] };
  for (const payout of payouts.open) {
    // An intent is on its way through this process.
    if (payout.state === "sent") await payouts.ask(payout);
    if (isEnded(payouts.find(payout.id)!)) result.endedNow++;
    else result.stillOpen++;
  }
  for (let after = ""; ; ) {
    const page = listSucceededPayouts(reader, after, pageSize);
    for (const payout of page) {
      if (payout.createdAtMs < sinceMs) continue;
      result.paidOutHere++;
      const found = compare(payout, await payouts.lookUp(payout.paymentHash));
      if (found) result.discrepancies.push(found);
    }
    if (page.length < pageSize) return result;
    after = page.at(-1)!.id;
    await nextTurn();
  }
}

function compare({ id: payout, paymentHash, amountMsat, feeMsat: bookedFeeMsat, endedBy }: SucceededPayout, said: PaymentState): PayoutDiscrepancy | undefined {
  if (said.state !== "succeeded") {
    // What the owner has said of it, because the node did not know.
    return endedBy === "owner" ? undefined : { kind: "not_paid_out", paymentHash, payout, paidOutMsat: amountMsat, nodeSays: said.state };
  }
  return said.feeMsat === bookedFeeMsat ? undefined : { kind: "fee_differs", paymentHash, payout, bookedFeeMsat, feeMsat: said.feeMsat };
}
