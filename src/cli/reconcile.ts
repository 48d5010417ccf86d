/** `hearth reconcile`: node and ledger against each other, now. Speaks to the Hearth that runs. */
import { AppError } from "../base/errors.ts";
import { maxReconcileDays } from "../base/limits.ts";
import { askOwnersDoor, type OwnersDoor } from "./owners-door.ts";

const usage = "hearth reconcile [--days N]   compares what the node was paid and paid out with what the ledger says (30 days where nothing is said)";

type Found = { kind: string; payment_hash: string; payout?: string; account_id?: string; paid_out_msat?: string; fee_msat?: string; booked_fee_msat?: string; credited_msat?: string; paid_msat?: string; node_says?: string; reference?: string };
type Said = { settled_on_node: number; credited_here: number; repaired: number; payouts?: { paid_out_here: number; ended_now: number; still_open: number }; discrepancies: Found[] };

/** The process's exit code: 1 where something does not agree. @throws AppError with what to do. */
export async function reconcileCommand(args: readonly string[], door: OwnersDoor, print: (line: string) => void): Promise<number> {
  const [flag, text, ...rest] = args;
  if (rest.length > 0 || (flag !== undefined && flag !== "--days")) {
    print(usage);
    return 2;
  }
  const days = text === undefined ? undefined : Number(text);
  if (flag !== undefined && (days === undefined || !Number.isInteger(days) || days < 1 || days > maxReconcileDays))
    throw new AppError("invalid_flag", `--days ${text ?? ""} must be a whole number from 1 to ${maxReconcileDays}.`);
  const said = (await askOwnersDoor(door, "/reconcile", days === undefined ? {} : { days })) as Said;
  for (const found of said.discrepancies) print(sentence(found));
  print(`${said.settled_on_node} settled on the node, ${said.credited_here} credited here, ${said.repaired} credited now, ${said.discrepancies.length} that do not agree.`);
  const { paid_out_here: paidOut = 0, ended_now: ended = 0, still_open: open = 0 } = said.payouts ?? {};
  if (paidOut + ended + open > 0) print(`${paidOut} paid out here, ${ended} ended now, ${open} still open.`);
  return said.discrepancies.length === 0 ? 0 : 1;
}

function sentence({ kind, payment_hash: hash, credited_msat: credited, paid_msat: paid, node_says: says, reference, ...payout }: Found): string {
  switch (kind) {
    case "not_paid_out":
      return `${hash}  ${payout.payout} paid out ${payout.paid_out_msat} msat, but the node says ${says}`;
    case "paid_all_the_same":
      return `${hash}  ${payout.payout} over ${payout.paid_out_msat} msat was given back, but the node has paid it; hearth payouts book ${hash} ${payout.account_id} takes it again`;
    case "fee_differs":
      return `${hash}  the way of ${payout.payout} was booked with ${payout.booked_fee_msat} msat, but the node says ${payout.fee_msat}`;
    case "amount_differs":
      return `${hash}  credited ${credited} msat, but the node was paid ${paid} msat`;
    case "not_settled":
      return `${hash}  credited ${credited} msat, but the node says ${says}`;
    default:
      return `${hash}  the node was paid ${paid} msat for ${reference}, which is not known here: was a backup put back?`;
  }
}
