/** Whether a database that was left behind keeps its promises. Changes the file: it ends with a new start. */
import { Database } from "bun:sqlite";
import { startBoot } from "../../src/ledger/boot.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { SqliteTx } from "../../src/store/sqlite-tx.ts";
import { accountWholeness, findLostOfAccounts } from "./account-promises.ts";
import { Promises } from "./durable-effects.ts";
import { atMs } from "./payments-sample.ts";

export { Promises };

type InvoiceRow = { hash: string; state: string; account: string | null; msat: bigint | null };
type CallRow = { id: string; account: string; msat: bigint };
type TransferRow = { id: string; account: string; msat: bigint };

/** Each answers rows of one column `what` where a command was half applied, or a refused one left something. */
const wholeness: readonly string[] = [
  `SELECT 'credited invoice without its account or transfer' AS what FROM invoice i LEFT JOIN account a ON a.id = i.account_id
   LEFT JOIN transfer t ON t.id = 'credit:' || i.payment_hash WHERE i.state = 'credited' AND
   (a.id IS NULL OR t.id IS NULL OR t.credit_account <> i.account_id OR t.debit_account <> 'node' OR t.amount_msat <> i.credited_msat)`,
  `SELECT 'credit transfer without its credited invoice' AS what FROM transfer t LEFT JOIN invoice i ON t.id = 'credit:' || i.payment_hash
   WHERE t.code IN ('invoice', 'refill') AND coalesce(i.state, '') <> 'credited'`,
  `SELECT 'buyer account without its credited invoice' AS what FROM account a WHERE a.kind = 'buyer'
   AND NOT EXISTS (SELECT 1 FROM invoice i WHERE i.account_id = a.id)`,
  `SELECT 'roll-over without its credit, or from another account' AS what FROM transfer t LEFT JOIN invoice i ON t.id = 'rollover:' || i.payment_hash
   WHERE t.code = 'rollover' AND (i.account_id IS NULL OR i.account_id <> t.credit_account OR i.rolls_over_from <> t.debit_account)`,
  `SELECT 'the cursor is at ' || s || ' and the last credit at ' || c AS what FROM
   (SELECT coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE name = 'settle_cursor'), 0) AS s,
     (SELECT coalesce(max(CAST(quote_terms AS INTEGER)), 0) FROM invoice WHERE state = 'credited') AS c) WHERE s <> c`,
  `SELECT 'call without its post' AS what FROM call c LEFT JOIN transfer t ON t.id = c.id || ':post' WHERE t.id IS NULL OR t.amount_msat <> c.charged_msat`,
  `SELECT 'post without its call' AS what FROM transfer t WHERE t.kind = 'post' AND NOT EXISTS (SELECT 1 FROM call c WHERE c.id = t.pending_id)`,
  `SELECT 'the day does not equal its calls' AS what FROM (SELECT coalesce(sum(calls), 0) AS n, coalesce(sum(earned_msat), 0) AS m FROM daily_total) d,
   (SELECT count(*) AS n, coalesce(sum(CASE WHEN account_id <> 'trial' THEN charged_msat END), 0) AS m FROM call) c
   WHERE d.n <> c.n OR d.m <> c.m`,
  `SELECT 'a refused command left ' || id AS what FROM transfer WHERE id >= 'refused' AND id < 'refusee'
   UNION ALL SELECT 'a failed command left ' || id FROM account WHERE id >= 'failed' AND id < 'failee'
   UNION ALL SELECT 'a refused command left ' || call_id FROM trial_call WHERE call_id >= 'refused' AND call_id < 'refusee'`,
  ...accountWholeness,
];

/** The first promise that is broken, or undefined. `lost` is the family of what a client was told and is not there. */
function findLost(tx: SqliteTx, promises: Promises): string | undefined {
  const invoices = new Map(tx.all<InvoiceRow>("SELECT payment_hash AS hash, state, account_id AS account, credited_msat AS msat FROM invoice").map((row) => [row.hash, row]));
  for (const hash of promises.opened) if (!invoices.has(hash)) return "lost: an invoice that was shown";
  for (const hash of promises.forgotten) if (invoices.has(hash)) return "lost: a deletion that was answered";
  const moved = new Map(tx.all<TransferRow>("SELECT id, credit_account AS account, amount_msat AS msat FROM transfer WHERE code IN ('invoice', 'refill', 'rollover')").map((row) => [row.id, row]));
  for (const [hash, told] of promises.credited) {
    const invoice = invoices.get(hash);
    if (invoice?.state !== "credited" || invoice.account !== told.account || invoice.msat !== told.msat) return "lost: a credit";
    if (moved.get(`credit:${hash}`)?.msat !== told.msat) return "lost: a credit's transfer";
    if ((moved.get(`rollover:${hash}`)?.msat ?? 0n) !== told.rolledMsat) return "lost: a roll-over";
  }
  const calls = new Map(tx.all<CallRow>("SELECT id, account_id AS account, charged_msat AS msat FROM call").map((row) => [row.id, row]));
  for (const [id, told] of promises.posted) {
    const call = calls.get(id);
    if (call?.account !== told.account || call.msat !== told.chargedMsat) return "lost: a posted call";
  }
  return findLostOfAccounts(tx, promises);
}

function findBroken(tx: SqliteTx, promises: Promises): string | undefined {
  const { integrity_check: integrity } = tx.get<{ integrity_check: string }>("PRAGMA integrity_check")!;
  if (integrity !== "ok") return "corrupt: integrity_check";
  const lost = findLost(tx, promises);
  if (lost) return lost;
  for (const sql of wholeness) {
    const found = tx.get<{ what: string }>(`${sql} LIMIT 1`);
    if (found) return `half applied: ${found.what}`;
  }
  return findUnbalanced(tx) ?? findNotStarting(tx);
}

function findUnbalanced(tx: SqliteTx): string | undefined {
  const [finding] = [...auditLedger(tx), ...auditPayments(tx)];
  return finding && `audit: ${finding.rule} ${finding.what}`;
}

/** The next start must succeed and end every reservation of the boot that died. */
function findNotStarting(tx: SqliteTx): string | undefined {
  tx.run("BEGIN IMMEDIATE");
  const outcome = startBoot.run(tx, { atMs });
  tx.run("COMMIT");
  if (!outcome.ok) return "audit: the next start is refused";
  if (tx.get("SELECT 1 FROM open_reservation") !== undefined) return "audit: a reservation survives the start";
  return findUnbalanced(tx);
}

/** What is wrong with the database at `path`, in a few words, or undefined. */
export function findFault(path: string, promises: Promises): string | undefined {
  const database = new Database(path, { safeIntegers: true, strict: true });
  const tx = new SqliteTx(database);
  try {
    return findBroken(tx, promises);
  } catch (error) {
    return `cannot be read: ${String((error as { code?: unknown }).code ?? error)}`;
  } finally {
    tx.finalize();
    database.close();
  }
}
