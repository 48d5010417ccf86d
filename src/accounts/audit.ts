/** Holds claims and tokens against the journal: what moved by a claim is in its row, and nothing free was ever earned. */
import type { AuditFinding } from "../ledger/audit.ts";
import type { Tx } from "../store/command.ts";

const checks = [
  { rule: "I12", sql: `SELECT 'claim ' || c.payment_hash || ' moved ' || c.moved_msat || ' msat, its transfers ' || coalesce(t.moved, 0) AS what FROM claim c
      LEFT JOIN (SELECT substr(id, 7, 64) AS payment_hash, sum(amount_msat) AS moved, count(*) AS moves FROM transfer WHERE code = 'claim' GROUP BY 1) t
      ON t.payment_hash = c.payment_hash WHERE coalesce(t.moved, 0) <> c.moved_msat OR coalesce(t.moves, 0) <> c.moves` },
  { rule: "I12", sql: `SELECT 'transfer ' || t.id || ' belongs to no claim' AS what FROM transfer t
      WHERE t.code = 'claim' AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.payment_hash = substr(t.id, 7, 64))` },
  { rule: "I4", sql: `SELECT 'a token of ' || k.payment_hash || ' opens another account than its payment' AS what FROM key k
      JOIN invoice i ON i.payment_hash = k.payment_hash WHERE i.account_id IS NOT k.account_id` },
  { rule: "I12", sql: `SELECT 'transfer ' || t.id || ' turns permission into money' AS what FROM transfer t
      JOIN account d ON d.id = t.debit_account JOIN account c ON c.id = t.credit_account
      WHERE (d.kind IN ('house', 'trial', 'given')) <> (c.kind IN ('house', 'trial', 'given'))` },
];

export function auditAccounts(tx: Pick<Tx, "all">): AuditFinding[] {
  return checks.flatMap(({ rule, sql }) => tx.all<{ what: string }>(sql).map(({ what }) => ({ rule, what })));
}
