/** Sets money aside for one payout. By itself, since the writer thread reads no invoices. */
import { openPayout, type OpenPayoutInput, type OpenPayoutOutcome } from "../payments/payout-commands.ts";
import { command } from "../store/command.ts";
import { findRequest, keepRequest } from "./request-keys.ts";

export type TakePayout = OpenPayoutInput & { requestKey: { key: string; bodyHash: string } | undefined };
export type TakeOutcome = OpenPayoutOutcome | { ok: true; before: string } | { ok: false; reason: "idempotency_mismatch" };

/** A request that repeats its `Idempotency-Key` gets the payout it stands for. */
export const takePayout = command("accounts.takePayout", (tx, { requestKey, ...payout }: TakePayout): TakeOutcome => {
  const key = requestKey && { accountId: payout.accountId, purpose: "collect" as const, ...requestKey, atMs: payout.createdAtMs };
  const before = key && findRequest(tx, key);
  if (key && before && before.bodyHash !== key.bodyHash) return { ok: false, reason: "idempotency_mismatch" };
  // One that never left is no answer: it is tried again.
  const left = before && tx.get("SELECT 1 FROM payout WHERE id = ? AND state <> 'returned'", before.reference) !== undefined;
  if (before && left) return { ok: true, before: before.reference };
  const opened = openPayout(tx, payout);
  if (opened.ok && key) keepRequest(tx, { ...key, reference: payout.id });
  return opened;
}, { sheds: true });
