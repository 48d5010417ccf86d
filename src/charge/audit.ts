/** Holds the log of calls against the journal: every posted call has its row, and neither says more than the other. */
import type { AuditFinding } from "../ledger/audit.ts";
import type { Tx } from "../store/command.ts";

const checks = [
  { rule: "I12", sql: `SELECT 'call ' || c.id || ' was not posted as it is logged' AS what FROM call c WHERE NOT EXISTS
      (SELECT 1 FROM transfer t WHERE t.id = c.id || ':post' AND t.amount_msat = c.charged_msat AND t.debit_account = c.account_id)` },
  { rule: "I12", sql: `SELECT 'transfer ' || t.id || ' posts a call that is not in the log' AS what FROM transfer t
      WHERE t.kind = 'post' AND t.code = 'call' AND NOT EXISTS (SELECT 1 FROM call c WHERE c.id = t.pending_id)` },
  { rule: "I6", sql: `SELECT 'call ' || id || ' was charged more than it cost or was reserved' AS what FROM call
      WHERE charged_msat > reserved_msat OR charged_msat > max(cost_msat, 1)` },
  { rule: "I12", sql: `SELECT 'calls of ' || account_id || ' and its days differ' AS what FROM
      (SELECT account_id, count(*) AS calls, sum(charged_msat) AS charged FROM call GROUP BY 1) c
      FULL JOIN (SELECT account_id, sum(calls) AS calls, sum(charged_msat) AS charged FROM account_day GROUP BY 1) d USING (account_id)
      WHERE c.calls IS NOT d.calls OR c.charged IS NOT d.charged` },
];

export function auditCalls(tx: Pick<Tx, "all">): AuditFinding[] {
  return checks.flatMap(({ rule, sql }) => tx.all<{ what: string }>(sql).map(({ what }) => ({ rule, what })));
}
