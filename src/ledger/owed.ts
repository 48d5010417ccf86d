/** What payers have paid in and not spent. */
import { type Msat, msat } from "../money/msat.ts";
import type { Tx } from "../store/command.ts";
import { nodeAccount, revenueAccount } from "./account.ts";
import { getAccount } from "./transfers.ts";

/** All that came in through the node, less all that was earned: double entry leaves nothing else. */
export function owedMsat(tx: Pick<Tx, "get">): Msat {
  const node = getAccount(tx, nodeAccount);
  const revenue = getAccount(tx, revenueAccount);
  return msat(node.debitsPostedMsat - node.creditsPostedMsat - (revenue.creditsPostedMsat - revenue.debitsPostedMsat));
}
