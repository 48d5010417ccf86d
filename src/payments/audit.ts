/** Holds invoices and payouts against the journal: one credit per payment, of exactly what the payer paid; what left is what a payout says. */
import type { AuditFinding } from "../ledger/audit.ts";
import { opens } from "../lightning/preimage.ts";
import type { Tx } from "../store/command.ts";

/** Each answers rows of one column `what`; no row means that it holds. */
const invoiceChecks = [
  `SELECT 'invoice ' || i.payment_hash || ' is credited without its transfer' AS what FROM invoice i WHERE i.state = 'credited' AND NOT EXISTS
     (SELECT 1 FROM transfer t WHERE t.id = 'credit:' || i.payment_hash AND t.kind = 'plain' AND t.amount_msat = i.credited_msat
       AND t.debit_account = 'node' AND t.credit_account = i.account_id)`,
  `SELECT 'transfer ' || t.id || ' credits no invoice' AS what FROM transfer t WHERE t.debit_account = 'node' AND NOT EXISTS
     (SELECT 1 FROM invoice i WHERE i.payment_hash = substr(t.id, 8) AND t.id = 'credit:' || i.payment_hash AND i.state = 'credited')`,
  `SELECT 'transfer ' || t.id || ' is no cost of a credited invoice' AS what FROM transfer t
     WHERE (t.credit_account = 'node' OR 'liquidity-fees' IN (t.debit_account, t.credit_account)) AND NOT EXISTS
     (SELECT 1 FROM invoice i WHERE i.payment_hash = substr(t.id, 11) AND t.id = 'liquidity:' || i.payment_hash AND i.state = 'credited' AND t.kind = 'plain'
       AND t.debit_account = 'liquidity-fees' AND t.credit_account = 'node')
     AND t.debit_account NOT LIKE 'payout:%' AND t.debit_account <> 'routing-fees'`,
];

const accountOf = "'payout:' || p.id";
const payoutChecks = [
  `SELECT 'payout ' || p.id || ' is ' || p.state || ' and its account is not as it should be' AS what FROM payout p LEFT JOIN account a ON a.id = ${accountOf}
     WHERE a.kind IS NOT 'payout' OR a.credits_posted_msat - a.debits_posted_msat <> iif(p.state IN ('intent', 'sent'), p.amount_msat + p.fee_limit_msat, 0)`,
  `SELECT 'payout ' || p.id || ' is not what was paid out' AS what FROM payout p
     WHERE (SELECT coalesce(sum(t.amount_msat), 0) FROM transfer t WHERE t.id IN (${accountOf} || ':paid', ${accountOf} || ':fee', ${accountOf} || ':excess') AND t.credit_account = 'node')
       <> iif(p.state = 'succeeded', p.amount_msat + p.fee_msat, 0)`,
  `SELECT 'payout ' || p.id || ' cost its account another part of its way than its limit says' AS what FROM payout p WHERE p.state = 'succeeded'
     AND coalesce((SELECT t.amount_msat FROM transfer t WHERE t.id = ${accountOf} || ':excess'), 0) <> max(0, p.fee_msat - p.fee_limit_msat)`,
  `SELECT 'payout ' || p.id || ' did not come from its account or go back to it' AS what FROM payout p JOIN transfer t ON t.id IN (${accountOf}, ${accountOf} || ':again', ${accountOf} || ':back')
     WHERE iif(t.id LIKE '%:back', t.credit_account, t.debit_account) <> p.account_id OR iif(t.id LIKE '%:back', t.debit_account, t.credit_account) <> ${accountOf}`,
  `SELECT 'transfer ' || t.id || ' is of no payout' AS what FROM transfer t
     WHERE (t.debit_account LIKE 'payout:%' OR t.credit_account LIKE 'payout:%' OR 'routing-fees' IN (t.debit_account, t.credit_account)) AND NOT EXISTS
     (SELECT 1 FROM payout p WHERE t.kind = 'plain' AND t.id IN (${accountOf}, ${accountOf} || ':again', ${accountOf} || ':paid', ${accountOf} || ':fee', ${accountOf} || ':excess', ${accountOf} || ':back')
       AND p.id = substr(t.id, 8, 29))`,
];

function findings(tx: Pick<Tx, "all">, rule: string, checks: readonly string[]): AuditFinding[] {
  return checks.flatMap((sql) => tx.all<{ what: string }>(sql).map(({ what }) => ({ rule, what })));
}

/** A payout that succeeded has its proof. */
function unproven(tx: Pick<Tx, "all">): AuditFinding[] {
  const succeeded = tx.all<{ id: string; payment_hash: string; preimage: string }>("SELECT id, payment_hash, preimage FROM payout WHERE state = 'succeeded'");
  return succeeded.filter(({ preimage, payment_hash }) => !opens(preimage, payment_hash)).map(({ id }) => ({ rule: "I8", what: `payout ${id} succeeded without a preimage that fits` }));
}

export function auditPayments(tx: Pick<Tx, "all">): AuditFinding[] {
  return [...findings(tx, "I4", invoiceChecks), ...findings(tx, "I8", payoutChecks), ...unproven(tx)];
}
