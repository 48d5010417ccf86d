/** What payers have paid in and not spent. */
import { type Msat, msat } from "../money/msat.ts";
import type { Tx } from "../store/command.ts";
import { type Account, liquidityFeesAccount, nodeAccount, revenueAccount } from "./account.ts";
import { findAccount, getAccount } from "./transfers.ts";

/** What the node holds and what it spent on room, less all that was earned: double entry leaves nothing else. */
export function owedMsat(tx: Pick<Tx, "get">): Msat {
  // Opened with the first cost of its kind.
  const fees = findAccount(tx, liquidityFeesAccount);
  return msat(debited(getAccount(tx, nodeAccount)) + (fees ? debited(fees) : 0n) + debited(getAccount(tx, revenueAccount)));
}

function debited({ debitsPostedMsat, creditsPostedMsat }: Account): bigint {
  return debitsPostedMsat - creditsPostedMsat;
}
