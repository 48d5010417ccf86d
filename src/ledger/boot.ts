/**
 * What happens before the first answer: a new boot, the standing accounts, and an end to every reservation of an
 * earlier boot. Those calls died with their process, so their payers keep the money.
 */
import { command } from "../store/command.ts";
import { nodeAccount, revenueAccount } from "./account.ts";
import { type AuditFinding, auditSinceLast } from "./audit.ts";
import { openAccount, voidReservation } from "./transfers.ts";

export type BootOutcome =
  | { ok: true; boot: bigint; voided: number }
  | { ok: false; findings: AuditFinding[] };

/** Refused when what was written since the last audit does not add up; nothing is sold on a broken ledger. */
export const startBoot = command("ledger.startBoot", (tx, input: { atMs: number }): BootOutcome => {
  const { id } = tx.get<{ id: bigint }>("INSERT INTO boot (started_at_ms) VALUES (?) RETURNING id", input.atMs)!;
  openAccount(tx, { id: nodeAccount, kind: "node", atMs: input.atMs });
  openAccount(tx, { id: revenueAccount, kind: "revenue", atMs: input.atMs });
  const left = tx.all<{ id: string }>("SELECT id FROM open_reservation WHERE boot <> ?", id);
  for (const one of left) voidReservation(tx, { pendingId: one.id, code: "crashed", boot: id, atMs: input.atMs });
  const findings = auditSinceLast(tx);
  return findings.length > 0 ? { ok: false, findings } : { ok: true, boot: id, voided: left.length };
});
