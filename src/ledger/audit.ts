/**
 * Proves the cached balances from the journal. `auditLedger` recomputes everything and only reads; `auditSinceLast`
 * checks what was written since the audit before and remembers how far it came.
 */
import type { Tx } from "../store/command.ts";

/** `rule` is the invariant's number in the design, `what` names the row and both figures. */
export type AuditFinding = { rule: string; what: string };

type Check = { rule: string; sql: string };

const journal = `
  SELECT debit_account AS account, CASE WHEN kind IN ('plain', 'post') THEN amount_msat ELSE 0 END AS debit, 0 AS credit,
    CASE kind WHEN 'pending' THEN amount_msat ELSE 0 END AS debit_pending, 0 AS credit_pending FROM transfer
  UNION ALL
  SELECT credit_account, 0, CASE WHEN kind IN ('plain', 'post') THEN amount_msat ELSE 0 END, 0,
    CASE kind WHEN 'pending' THEN amount_msat ELSE 0 END FROM transfer
  UNION ALL
  SELECT p.debit_account, 0, 0, -p.amount_msat, 0 FROM transfer r JOIN transfer p ON p.id = r.pending_id
  UNION ALL
  SELECT p.credit_account, 0, 0, 0, -p.amount_msat FROM transfer r JOIN transfer p ON p.id = r.pending_id`;

/** Each answers rows of one column `what`; no row means the rule holds. */
const checks: readonly Check[] = [
  { rule: "I1", sql: `SELECT 'debits less credits are ' || d || ' msat posted, ' || p || ' msat pending' AS what FROM
      (SELECT sum(debits_posted_msat) - sum(credits_posted_msat) AS d, sum(debits_pending_msat) - sum(credits_pending_msat) AS p FROM account)
      WHERE d <> 0 OR p <> 0` },
  { rule: "I2", sql: `SELECT 'account ' || id || ' is below zero' AS what FROM account
      WHERE may_go_below_zero = 0 AND credits_posted_msat - debits_posted_msat - debits_pending_msat < 0` },
  { rule: "I3", sql: `SELECT 'account ' || a.id || ' does not equal its transfers' AS what FROM account a LEFT JOIN
      (SELECT account, sum(debit) AS d, sum(credit) AS c, sum(debit_pending) AS dp, sum(credit_pending) AS cp FROM (${journal}) GROUP BY account) j
      ON j.account = a.id WHERE a.debits_posted_msat <> coalesce(j.d, 0) OR a.credits_posted_msat <> coalesce(j.c, 0)
      OR a.debits_pending_msat <> coalesce(j.dp, 0) OR a.credits_pending_msat <> coalesce(j.cp, 0)` },
  { rule: "I6", sql: `SELECT 'transfer ' || r.id || ' took more than was reserved' AS what FROM transfer r JOIN transfer p ON p.id = r.pending_id
      WHERE r.amount_msat > p.amount_msat OR (r.kind = 'void' AND r.amount_msat <> p.amount_msat) OR p.kind <> 'pending'
      OR r.debit_account <> p.debit_account OR r.credit_account <> p.credit_account` },
  { rule: "I6", sql: `SELECT 'transfer ' || r.id || ' answers no reservation' AS what FROM transfer r
      WHERE r.pending_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM transfer p WHERE p.id = r.pending_id)` },
  { rule: "I7", sql: `SELECT 'reservation ' || id || ' of boot ' || boot || ' is still open' AS what FROM open_reservation
      WHERE boot <> (SELECT max(id) FROM boot)` },
  { rule: "I7", sql: `SELECT 'reservation ' || p.id || ' is not in the list of open ones' AS what FROM transfer p
      WHERE p.kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer r WHERE r.pending_id = p.id)
      AND NOT EXISTS (SELECT 1 FROM open_reservation o WHERE o.id = p.id AND o.amount_msat = p.amount_msat
        AND o.debit_account = p.debit_account AND o.credit_account = p.credit_account AND o.boot = p.boot)` },
  { rule: "I7", sql: `SELECT 'open reservation ' || o.id || ' has been answered' AS what FROM open_reservation o
      WHERE EXISTS (SELECT 1 FROM transfer r WHERE r.pending_id = o.id) OR NOT EXISTS (SELECT 1 FROM transfer p WHERE p.id = o.id)` },
  { rule: "I12", sql: `SELECT 'the journal has ' || count(*) || ' rows and ends at ' || max(seq) AS what FROM transfer HAVING count(*) <> coalesce(max(seq), 0)` },
];

export function auditLedger(tx: Pick<Tx, "all">): AuditFinding[] {
  return checks.flatMap(({ rule, sql }) => tx.all<{ what: string }>(sql).map(({ what }) => ({ rule, what })));
}

const touched = `SELECT account, sum(debit) AS debit, sum(credit) AS credit FROM (
    SELECT debit_account AS account, amount_msat AS debit, 0 AS credit FROM transfer WHERE seq > ?1 AND kind IN ('plain', 'post')
    UNION ALL
    SELECT credit_account, 0, amount_msat FROM transfer WHERE seq > ?1 AND kind IN ('plain', 'post')) GROUP BY account`;

/** Run where nothing is pending (at start). Cost: what was written since the last time. */
export function auditSinceLast(tx: Tx): AuditFinding[] {
  const mark = BigInt(tx.get<{ value: string }>("SELECT value FROM setting WHERE name = 'audited_seq'")?.value ?? "0");
  const findings = tx
    .all<{ what: string }>(
      `SELECT 'account ' || a.id || ' does not equal its transfers' AS what FROM (${touched}) t JOIN account a ON a.id = t.account
       WHERE a.debits_posted_msat <> a.audited_debits_msat + t.debit OR a.credits_posted_msat <> a.audited_credits_msat + t.credit
       OR a.debits_pending_msat <> 0 OR a.credits_pending_msat <> 0`,
      mark,
    )
    .map(({ what }) => ({ rule: "I3", what }));
  if (findings.length > 0) return findings;
  tx.run(
    `UPDATE account SET audited_debits_msat = debits_posted_msat, audited_credits_msat = credits_posted_msat
     WHERE id IN (SELECT account FROM (${touched}))`,
    mark,
  );
  tx.run(
    `INSERT INTO setting (name, value) SELECT 'audited_seq', coalesce(max(seq), 0) FROM transfer WHERE true
     ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
  );
  return [];
}
