/** Whoever can pay, and where money stands. Pure. */
import { type Msat, msat } from "../money/msat.ts";

/**
 * `node`: what the Lightning node holds for us; it is the other side of every credit, so it alone goes below zero.
 * `buyer`: a payer's money. `revenue`: what calls have earned.
 * `payout`: what is on its way out to somebody, with the most that the way may cost.
 * `liquidity-fees`: what the node spent on room to receive; a cost, so it goes below zero by it. `routing-fees`: what a way out cost above
 * its limit, which is the house's, never the payer's.
 * Permission, which is never money: `house` grants it and goes below zero by it, `trial` holds the day's free calls,
 * `given` is what was used of it.
 */
export type AccountKind = "node" | "buyer" | "payout" | "revenue" | "liquidity-fees" | "routing-fees" | "house" | "trial" | "given";

export type Account = {
  id: string;
  kind: AccountKind;
  debitsPendingMsat: Msat;
  debitsPostedMsat: Msat;
  creditsPendingMsat: Msat;
  creditsPostedMsat: Msat;
};

export type AccountRow = {
  id: string;
  kind: AccountKind;
  debits_pending_msat: bigint;
  debits_posted_msat: bigint;
  credits_pending_msat: bigint;
  credits_posted_msat: bigint;
};

export const nodeAccount = "node";
export const revenueAccount = "revenue";
export const liquidityFeesAccount = "liquidity-fees";
export const routingFeesAccount = "routing-fees";
export const houseAccount = "house";
export const trialAccount = "trial";
export const givenAccount = "given";

export function mayGoBelowZero(kind: AccountKind): boolean {
  return kind === "node" || kind === "liquidity-fees" || kind === "routing-fees" || kind === "house";
}

export function toAccount(row: AccountRow): Account {
  return {
    id: row.id,
    kind: row.kind,
    debitsPendingMsat: msat(row.debits_pending_msat),
    debitsPostedMsat: msat(row.debits_posted_msat),
    creditsPendingMsat: msat(row.credits_pending_msat),
    creditsPostedMsat: msat(row.credits_posted_msat),
  };
}

/** What a new reservation may still take. Not for `node`, which owes by design. */
export function spendable(account: Account): Msat {
  return msat(account.creditsPostedMsat - account.debitsPostedMsat - account.debitsPendingMsat);
}
