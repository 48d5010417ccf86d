/** `hearth payouts ...`: the owner's hand on money out. Speaks to the Hearth that runs, through the owner's door. */
import { AppError } from "../base/errors.ts";
import { askOwnersDoor, type OwnersDoor } from "./owners-door.ts";

type Line = { id: string; state: string; amount: { sats: number }; fee?: { msat: string }; created_at: string; reason?: string; payment_hash: string };
type State = { on: boolean; why?: string };
type Review = { restored_at: string; since: string; open: Line[]; not_known_here: { payment_hash: string; amount: { sats: number }; at: string; state: string }[] };

const usage = `hearth payouts list                      what was paid out, newest first, and what is open
hearth payouts off | on                  whether anything may leave
hearth payouts unpaid ID                 your word on one whose end the node does not know: it was not paid, and goes back
hearth payouts paid ID PREIMAGE          it was paid; the preimage proves it
hearth payouts restored                  after a backup was put back: what left meanwhile
hearth payouts book PAYMENT_HASH ACCOUNT one of those was a payout of this account (accounts: hearth key list)
hearth payouts confirm RESTORED_AT       you have seen that list; payouts go on`;

/** What `why` means to an owner, and what to do. */
const reasons: Record<string, string> = {
  no_right: "the node gave no right to pay; set payout_macaroon of [lnd], payouts of [lnc] or payout_password of [phoenixd]",
  switched_off: "you have switched them off; hearth payouts on",
  restored: "a backup was put back; see hearth payouts restored",
  insolvent: "the node holds less than is owed to payers and the reserve; at the next request it is looked at again",
};

/** The process's exit code. @throws AppError with what to do. */
export async function payoutsCommand(args: readonly string[], door: OwnersDoor, print: (line: string) => void): Promise<number> {
  const [verb = "", first, second, ...rest] = args;
  const ask = (path: string, body?: object) => askOwnersDoor(door, `/payouts${path}`, body);
  const given = [first, second].filter((one) => one !== undefined).length;
  const wanted: Record<string, number> = { list: 0, on: 0, off: 0, unpaid: 1, paid: 2, restored: 0, book: 2, confirm: 1 };
  if (rest.length > 0 || wanted[verb] !== given) {
    print(usage);
    return 2;
  }
  switch (verb) {
    case "list":
      return list((await ask("")) as State & { payouts: Line[]; open: Line[] }, print);
    case "on":
    case "off":
      print(stateText((await ask("/switch", { on: verb === "on" })) as State));
      return 0;
    case "restored":
      return review((await ask("/restored")) as Review, print);
    case "book":
      print(line((await ask("/book", { payment_hash: first, account_id: second })) as Line));
      return 0;
    case "confirm":
      print(stateText((await ask("/restored", { restored_at: asTime(first!) })) as State));
      return 0;
    default:
      print(line((await ask("/decide", verb === "paid" ? { id: first, paid: true, preimage: second } : { id: first, paid: false })) as Line));
      return 0;
  }
}

function asTime(text: string): string {
  if (Number.isNaN(Date.parse(text))) throw new AppError("invalid_flag", `${text} is no time; hearth payouts restored shows it.`);
  return new Date(text).toISOString();
}

function list({ payouts, open, ...state }: State & { payouts: Line[]; open: Line[] }, print: (line: string) => void): number {
  const shown = new Set(payouts.map(({ id }) => id));
  for (const one of [...payouts, ...open.filter(({ id }) => !shown.has(id))]) print(line(one));
  print(`${stateText(state)} ${open.length} open.`);
  return 0;
}

function review({ restored_at, since, open, not_known_here }: Review, print: (line: string) => void): number {
  for (const one of open) print(line(one));
  for (const one of not_known_here) print(`${one.payment_hash}  ${String(one.amount.sats).padStart(10)} sats  ${one.at}  ${one.state}: not in this ledger`);
  print(`A backup was put back at ${restored_at}. Since ${since} the node has paid ${not_known_here.length} that this ledger does not know: yours, another app's, or payouts that the copy has not got. ${open.length} payouts are open.`);
  print(`When you have looked through them: hearth payouts confirm ${restored_at}`);
  return 0;
}

function stateText({ on, why = "" }: State): string {
  return on ? "Payouts are on." : `Payouts are off: ${reasons[why] ?? why}.`;
}

function line({ id, state, amount, fee, created_at, reason, payment_hash }: Line): string {
  return `${id}  ${state.padEnd(9)}  ${String(amount.sats).padStart(10)} sats${fee ? ` + ${fee.msat} msat` : ""}  ${created_at}  ${payment_hash}${reason ? `  ${reason}` : ""}`;
}
