/**
 * Holds the node and the ledger against each other, both ways. What is certain is repaired: a payment the node calls settled is credited.
 * What is not is listed for the owner and left alone: no balance is ever taken back by it.
 */
import { nextTurn } from "../base/turns.ts";
import type { InvoiceState, Listable, Node, SettledInvoice } from "../lightning/node.ts";
import type { Msat } from "../money/msat.ts";
import type { Reader } from "../store/reader.ts";
import { findInvoice, listCreditedInvoices } from "./commands.ts";
import type { CreditedInvoice } from "./invoice.ts";
import type { Payments } from "./payments.ts";

export type Discrepancy =
  /** The node was paid more or less than was credited. */
  | { kind: "amount_differs"; paymentHash: string; creditedMsat: Msat; paidMsat: Msat }
  /** It was credited, and the node does not call it settled. */
  | { kind: "not_settled"; paymentHash: string; creditedMsat: Msat; nodeSays: Exclude<InvoiceState["state"], "settled"> }
  /** It carries our mark and we have no row of it: a backup was put back, or we stopped between the node's answer and our own. */
  | { kind: "not_known_here"; paymentHash: string; paidMsat: Msat; reference: string };

export type Reconciliation = { settledOnNode: number; creditedHere: number; repaired: number; discrepancies: Discrepancy[] };

export type ReconcileParts = { node: Pick<Node, "lookupInvoice"> & Listable; payments: Pick<Payments, "credit">; reader: Pick<Reader, "get" | "all"> };

const pageSize = 200;

/** @param sinceMs Invoices made before are not looked at. @throws AppError `node_unavailable`. */
export async function reconcile({ node, payments, reader }: ReconcileParts, sinceMs: number): Promise<Reconciliation> {
  const result: Reconciliation = { settledOnNode: 0, creditedHere: 0, repaired: 0, discrepancies: [] };
  const settled = new Set<string>();
  for await (const one of node.listSettled(sinceMs)) {
    const found = await compareSettled(one, payments, reader);
    if (found === "foreign") continue;
    result.settledOnNode++;
    settled.add(one.paymentHash);
    if (found === "repaired") result.repaired++;
    else if (found !== "agrees") result.discrepancies.push(found);
  }
  for (let after = ""; ; ) {
    const page = listCreditedInvoices(reader, after, pageSize);
    for (const invoice of page) {
      if (invoice.createdAtMs < sinceMs) continue;
      result.creditedHere++;
      const found = settled.has(invoice.paymentHash) ? undefined : await compareCredited(invoice, node);
      if (found) result.discrepancies.push(found);
    }
    if (page.length < pageSize) return result;
    after = page.at(-1)!.paymentHash;
    await nextTurn();
  }
}

async function compareSettled({ paymentHash, paidMsat, feeMsat, reference }: SettledInvoice, payments: Pick<Payments, "credit">, reader: Pick<Reader, "get">): Promise<Discrepancy | "agrees" | "repaired" | "foreign"> {
  const invoice = findInvoice(reader, paymentHash);
  if (invoice === undefined) return reference === undefined ? "foreign" : { kind: "not_known_here", paymentHash, paidMsat, reference };
  if (invoice.state === "open") {
    await payments.credit(paymentHash, paidMsat, undefined, feeMsat);
    return "repaired";
  }
  return invoice.creditedMsat === paidMsat ? "agrees" : { kind: "amount_differs", paymentHash, creditedMsat: invoice.creditedMsat, paidMsat };
}

/** The listing may have missed it; the node is asked for this one before it is called a discrepancy. */
async function compareCredited({ paymentHash, creditedMsat }: CreditedInvoice, node: Pick<Node, "lookupInvoice">): Promise<Discrepancy | undefined> {
  const answer = await node.lookupInvoice(paymentHash);
  if (answer.state !== "settled") return { kind: "not_settled", paymentHash, creditedMsat, nodeSays: answer.state };
  return answer.paidMsat === creditedMsat ? undefined : { kind: "amount_differs", paymentHash, creditedMsat, paidMsat: answer.paidMsat };
}
