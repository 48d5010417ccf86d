/** Holds invoices against the journal: one credit per payment, of exactly what the payer paid, and costs of those only. */
import type { AuditFinding } from "../ledger/audit.ts";
import type { Tx } from "../store/command.ts";

const checks = [
  `SELECT 'invoice ' || i.payment_hash || ' is credited without its transfer' AS what FROM invoice i WHERE i.state = 'credited' AND NOT EXISTS
     (SELECT 1 FROM transfer t WHERE t.id = 'credit:' || i.payment_hash AND t.kind = 'plain' AND t.amount_msat = i.credited_msat
       AND t.debit_account = 'node' AND t.credit_account = i.account_id)`,
  `SELECT 'transfer ' || t.id || ' credits no invoice' AS what FROM transfer t WHERE t.debit_account = 'node' AND NOT EXISTS
     (SELECT 1 FROM invoice i WHERE i.payment_hash = substr(t.id, 8) AND t.id = 'credit:' || i.payment_hash AND i.state = 'credited')`,
  `SELECT 'transfer ' || t.id || ' is no cost of a credited invoice' AS what FROM transfer t
     WHERE (t.credit_account = 'node' OR 'liquidity-fees' IN (t.debit_account, t.credit_account)) AND NOT EXISTS
     (SELECT 1 FROM invoice i WHERE i.payment_hash = substr(t.id, 11) AND t.id = 'liquidity:' || i.payment_hash AND i.state = 'credited' AND t.kind = 'plain'
       AND t.debit_account = 'liquidity-fees' AND t.credit_account = 'node')`,
];

export function auditInvoices(tx: Pick<Tx, "all">): AuditFinding[] {
  return checks.flatMap((sql) => tx.all<{ what: string }>(sql).map(({ what }) => ({ rule: "I4", what })));
}
