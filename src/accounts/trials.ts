/**
 * Free calls for strangers: permission the house gives each day, never money. Taken inside the command that reserves the
 * call; one that is voided, by us or by a restart, has cost the address nothing.
 */
import { hmacSha256, toHex } from "../base/bytes.ts";
import { givenAccount, houseAccount, spendable, trialAccount } from "../ledger/account.ts";
import { getAccount, move, openAccount } from "../ledger/transfers.ts";
import { type Msat, msat } from "../money/msat.ts";
import type { Tx } from "../store/command.ts";

export type TrialRules = { callsPerDay: number; dailyBudgetMsat: Msat };

export type Trial = TrialRules & { callId: string; addressHash: string; boot: bigint; atMs: number };

const dayMs = 86_400_000;
/** Old rows that a new one takes with it. */
const swept = 8;

/** Addresses are stored under a key of the house: the table tells nobody who was here. Hex. */
export function hashAddress(key: Uint8Array, address: string): string {
  return toHex(hmacSha256(key, `trial:${address}`));
}

/** Whether this address has free calls left. */
export function hasTrial(tx: Pick<Tx, "get">, addressHash: string, callsPerDay: number, atMs: number): boolean {
  const { n } = tx.get<{ n: bigint }>(
    `SELECT count(*) AS n FROM trial_call c WHERE address_hash = ? AND at_ms > ?
       AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.pending_id = c.call_id AND t.kind = 'void')`, addressHash, atMs - dayMs)!;
  return Number(n) < callsPerDay;
}

/** Takes one free call. False when there is none left; the budget itself is the account's balance. */
export function takeTrial(tx: Tx, trial: Trial): boolean {
  if (!hasTrial(tx, trial.addressHash, trial.callsPerDay, trial.atMs)) return false;
  tx.run(`DELETE FROM trial_call WHERE call_id IN (SELECT call_id FROM trial_call WHERE at_ms <= ? ORDER BY at_ms LIMIT ${swept})`, trial.atMs - dayMs);
  tx.run("INSERT INTO trial_call (call_id, address_hash, at_ms) VALUES (?, ?, ?)", trial.callId, trial.addressHash, trial.atMs);
  fundToday(tx, trial);
  return true;
}

/** Brings the account to the day's budget, up or down, once a day. */
function fundToday(tx: Tx, { dailyBudgetMsat, boot, atMs }: Trial): void {
  const day = new Date(atMs).toISOString().slice(0, 10);
  const funded = tx.run("INSERT INTO setting (name, value) VALUES ('trial_day', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1 WHERE value < ?1", day);
  if (funded === 0) return;
  openAccount(tx, { id: houseAccount, kind: "house", atMs });
  openAccount(tx, { id: trialAccount, kind: "trial", atMs });
  openAccount(tx, { id: givenAccount, kind: "given", atMs });
  const missing = dailyBudgetMsat - spendable(getAccount(tx, trialAccount));
  const common = { id: `trial:${day}`, code: "trial", boot, atMs };
  if (missing > 0n) move(tx, { ...common, debit: houseAccount, credit: trialAccount, amountMsat: msat(missing) });
  if (missing < 0n) move(tx, { ...common, debit: trialAccount, credit: houseAccount, amountMsat: msat(-missing) });
}
