/** Another node for this data directory. What the old one still had open is written off: nobody will ever hear of it again. */
import { command, type Tx } from "../store/command.ts";
import { listOpenPayouts, resolvePayout } from "./payout-commands.ts";
import { restoreToConfirm } from "./payout-switch.ts";

/** What waits for the old node's word: invoices that it has not called dead, paid or not, and payouts whose end is not known. */
export type Unfinished = { invoices: number; payouts: number; /** A backup was put back, and only the old node knows what left meanwhile. */ restored: boolean };

export function unfinished(tx: Pick<Tx, "get" | "all">): Unfinished {
  const { invoices } = tx.get<{ invoices: bigint }>("SELECT count(*) AS invoices FROM invoice WHERE state = 'open'")!;
  return { invoices: Number(invoices), payouts: listOpenPayouts(tx).length, restored: restoreToConfirm(tx) !== undefined };
}

/** From when on the node of today is the one; what is older only the one before it knew. */
export function nodeSinceMs(tx: Pick<Tx, "get">): number {
  return Number(tx.get<{ value: string }>("SELECT value FROM setting WHERE name = 'node_since_ms'")?.value ?? 0);
}

export type ReplaceNodeInput = { from: string; to: string; /** Else it is refused while anything is unfinished. */ writeOff: boolean; boot: bigint; atMs: number };

export type ReplaceNodeOutcome = { ok: true; forgotten: number; returned: number } | { ok: false; reason: "unfinished" | "another_node" };

/**
 * From now on the data directory belongs to the node `to`. Its settlements are told from the beginning; open invoices are forgotten, and the
 * money of open payouts goes back, whatever the old node has done with them: that is the owner's loss, never the payer's.
 */
export const replaceNode = command("payments.replaceNode", (tx, { from, to, writeOff, boot, atMs }: ReplaceNodeInput): ReplaceNodeOutcome => {
  const { invoices, payouts, restored } = unfinished(tx);
  if (!writeOff && (invoices + payouts > 0 || restored)) return { ok: false, reason: "unfinished" };
  if (tx.run("UPDATE setting SET value = ? WHERE name = 'node_public_key' AND value = ?", to, from) === 0) return { ok: false, reason: "another_node" };
  tx.run("DELETE FROM setting WHERE name = 'settle_cursor'");
  tx.run("INSERT INTO setting (name, value) VALUES ('node_since_ms', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", String(atMs));
  const open = listOpenPayouts(tx);
  for (const { id, state } of open) {
    const reason = "Its node was replaced before its end was known.";
    resolvePayout(tx, { id, end: { state: state === "sent" ? "failed" : "returned", reason }, by: "owner", boot, atMs });
  }
  return { ok: true, forgotten: tx.run("DELETE FROM invoice WHERE state = 'open'"), returned: open.length };
});
