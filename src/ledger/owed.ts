/** What payers have paid in and neither spent nor got back. */
import { type Msat, msat } from "../money/msat.ts";
import type { Tx } from "../store/command.ts";
import { type Account, liquidityFeesAccount, nodeAccount, revenueAccount, routingFeesAccount } from "./account.ts";
import { findAccount, getAccount } from "./transfers.ts";

/** What the node holds and what it spent of the house's own, less all that was earned: double entry leaves nothing else. */
export function owedMsat(tx: Pick<Tx, "get">): Msat {
  return msat(debited(getAccount(tx, nodeAccount)) + cost(tx, liquidityFeesAccount) + cost(tx, routingFeesAccount) + debited(getAccount(tx, revenueAccount)));
}

/** Such an account is opened with the first cost of its kind. */
function cost(tx: Pick<Tx, "get">, account: string): bigint {
  const fees = findAccount(tx, account);
  return fees ? debited(fees) : 0n;
}

function debited({ debitsPostedMsat, creditsPostedMsat }: Account): bigint {
  return debitsPostedMsat - creditsPostedMsat;
}
