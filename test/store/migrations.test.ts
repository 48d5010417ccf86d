/** Data directories of every version that was ever released open with this one, and nothing in them is lost. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { auditAccounts } from "../../src/accounts/audit.ts";
import { claimPayment } from "../../src/accounts/claim.ts";
import { auditCalls } from "../../src/charge/audit.ts";
import { reserveCall } from "../../src/charge/commands.ts";
import { spendable } from "../../src/ledger/account.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { getAccount } from "../../src/ledger/transfers.ts";
import { msat } from "../../src/money/msat.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { creditInvoice, findInvoice, listOpenInvoices, openInvoice } from "../../src/payments/commands.ts";
import type { Tx } from "../../src/store/command.ts";
import { migrate } from "../../src/store/migrations.ts";
import { spine } from "../../src/store/migrations/0001-spine.ts";
import { DirectWriter } from "../support/direct-writer.ts";
import { atMs, hashOf, sampleClaim, sampleInvoice, tokenHashOf } from "../support/payments-sample.ts";

const directory = mkdtempSync(join(tmpdir(), "hearth-migrations-"));
const writers: DirectWriter[] = [];
afterAll(() => {
  for (const writer of writers) writer.close();
  rmSync(directory, { recursive: true, force: true });
});

const [paid, rolled, unpaid] = [hashOf(1), hashOf(2), hashOf(3)];
/** The last second of a day, so that a day that is not UTC's shows. */
const lateMs = atMs + 86_399_999;
let made = 0;

const invoiceColumns = `payment_hash, state, reference, bolt11, amount_msat, token_id, quote_id, quote_fingerprint, quote_terms, rolls_over_from,
  account_id, credited_msat, created_at_ms, expires_at_ms, credited_at_ms`;

/**
 * As the first version left it: `a` paid 50,000, spent 7,000 + 2,000 on one day and 1 on the next, was given a call back, had the rest
 * moved to `b` but for 5,000 that are set aside for a call in flight; `b` paid 30,000; a third invoice is open and takes `b` over.
 */
const firstVersion: readonly string[] = [
  "INSERT INTO setting VALUES ('settle_cursor', '17'), ('audited_seq', '3'), ('network', 'regtest')",
  `INSERT INTO boot VALUES (1, ${atMs}), (2, ${lateMs})`,
  `INSERT INTO account VALUES ('node', 'node', 1, 0, 80000, 0, 0, 50000, 0, ${atMs}), ('revenue', 'revenue', 0, 0, 0, 5000, 9001, 0, 7000, ${atMs}),
     ('a', 'buyer', 0, 5000, 45000, 0, 50000, 7000, 50000, ${atMs}), ('b', 'buyer', 0, 0, 0, 0, 65999, 0, 0, ${atMs})`,
  `INSERT INTO transfer VALUES (1, 'credit:${paid}', 'plain', 'node', 'a', 50000, 'invoice', NULL, 1, ${atMs}),
     (2, 'c1', 'pending', 'a', 'revenue', 20000, 'call', NULL, 1, ${atMs}), (3, 'c1:post', 'post', 'a', 'revenue', 7000, 'call', 'c1', 1, ${atMs}),
     (4, 'c2', 'pending', 'a', 'revenue', 9000, 'call', NULL, 1, ${lateMs}), (5, 'c2:post', 'post', 'a', 'revenue', 2000, 'call', 'c2', 1, ${lateMs}),
     (6, 'c3', 'pending', 'a', 'revenue', 100, 'call', NULL, 1, ${lateMs}), (7, 'c3:void', 'void', 'a', 'revenue', 100, 'upstream_failed', 'c3', 1, ${lateMs}),
     (8, 'c4', 'pending', 'a', 'revenue', 10, 'call', NULL, 1, ${lateMs}), (9, 'c4:post', 'post', 'a', 'revenue', 1, 'call', 'c4', 1, ${lateMs + 1}),
     (10, 'c5', 'pending', 'a', 'revenue', 5000, 'call', NULL, 2, ${lateMs}), (11, 'credit:${rolled}', 'plain', 'node', 'b', 30000, 'invoice', NULL, 2, ${lateMs}),
     (12, 'rollover:${rolled}', 'plain', 'a', 'b', 35999, 'rollover', NULL, 2, ${lateMs})`,
  "INSERT INTO open_reservation VALUES ('c5', 'a', 'revenue', 5000, 2)",
  `INSERT INTO invoice (purpose, ${invoiceColumns}) VALUES
     ('credential', '${paid}', 'credited', 'i_1', 'lnbc1', 50000, 't1', 'q_1', 'f1', '{"m":1}', NULL, 'a', 50000, ${atMs}, ${atMs + 600_000}, ${atMs + 5}),
     ('credential', '${rolled}', 'credited', 'i_2', 'lnbc2', 29000, 't2', 'q_2', 'f2', '{}', 'a', 'b', 30000, ${lateMs}, ${lateMs + 600_000}, ${lateMs + 5}),
     ('credential', '${unpaid}', 'open', 'i_3', 'lnbc3', 10000, 't3', 'q_3', 'f3', '{}', 'b', NULL, NULL, ${lateMs}, ${lateMs + 600_000}, NULL)`,
  `INSERT INTO call VALUES ('c1', 'a', 'chat', 'm', 'u', 'completed', 10, 20, 0, '{}', 20000, 7000, 7000, 100, ${atMs}),
     ('c2', 'a', 'chat', 'm', 'u', 'client_left', 5, 6, 1, '{}', 9000, 2000, 2000, 100, ${lateMs}),
     ('c4', 'a', 'chat', 'm', 'u', 'completed', 1, 0, 0, '{}', 10, 0, 1, 100, ${lateMs + 1})`,
  "INSERT INTO daily_total VALUES ('2026-01-01', 2, 9000, 15, 26), ('2026-01-02', 1, 1, 1, 0)",
];

/** Everything but the table that gets other columns. */
const keptTables = ["setting", "boot", "account", "transfer", "open_reservation", "call", "daily_total"];

function dump(all: (sql: string) => unknown[]): Record<string, unknown[]> {
  const rows = keptTables.map((table) => [table, all(`SELECT * FROM ${table} ORDER BY 1`)] as const);
  return { ...Object.fromEntries(rows), invoice: all(`SELECT ${invoiceColumns} FROM invoice ORDER BY 1`) };
}

function leaveFirstVersion(): { path: string; left: Record<string, unknown[]> } {
  const path = join(directory, `v1-${++made}.db`);
  using database = new Database(path, { create: true, strict: true, safeIntegers: true });
  for (const sql of ["PRAGMA journal_mode=WAL", "PRAGMA foreign_keys=ON", spine, ...firstVersion, "PRAGMA user_version=1"]) database.run(sql);
  return { path, left: dump((sql) => database.query(sql).all()) };
}

function open(path: string): DirectWriter {
  const writer = new DirectWriter(path);
  writers.push(writer);
  return writer;
}

function audit(tx: Tx): unknown[] {
  return [...auditLedger(tx), ...auditPayments(tx), ...auditCalls(tx), ...auditAccounts(tx), ...tx.all("PRAGMA foreign_key_check"), ...tx.all("PRAGMA integrity_check")];
}

const sound = [{ integrity_check: "ok" }];

test("the first version's data directory opens with every row it had", () => {
  const { path, left } = leaveFirstVersion();
  const { tx } = open(path);
  // What earlier versions did not know is unknown, not nothing.
  const call = left.call!.map((row) => ({ ...(row as object), upstream_cost_micros: null }));
  expect(dump((sql) => tx.all(sql))).toEqual({ ...left, call });
  expect(audit(tx)).toEqual(sound);
});

test("its invoices were all for calls, and are found by every name as before", () => {
  const { tx } = open(leaveFirstVersion().path);
  expect([paid, rolled, unpaid].map((hash) => findInvoice(tx, hash))).toMatchObject([
    { state: "credited", purpose: { kind: "call", rollsOverFrom: undefined }, claimSecretHash: undefined, accountId: "a", creditedMsat: 50_000n, creditedAtMs: atMs + 5 },
    { state: "credited", purpose: { kind: "call", rollsOverFrom: "a" }, claimSecretHash: undefined, accountId: "b", creditedMsat: 30_000n },
    { state: "open", purpose: { kind: "call", rollsOverFrom: "b" }, claimSecretHash: undefined },
  ]);
  expect(listOpenInvoices(tx, "", 10).map((invoice) => invoice.paymentHash)).toEqual([unpaid]);
  // A stranger who has only the preimage of a call claims nothing by it.
  expect(tx.get("SELECT min(claim_needs_secret) AS least FROM invoice")).toEqual({ least: 1n });
});

test("its calls are counted for their account on the days they ended", () => {
  const { tx } = open(leaveFirstVersion().path);
  expect(tx.all("SELECT account_id, day, calls, charged_msat FROM account_day ORDER BY day")).toEqual([
    { account_id: "a", day: "2026-01-01", calls: 2n, charged_msat: 9_000n }, { account_id: "a", day: "2026-01-02", calls: 1n, charged_msat: 1n },
  ]);
});

test("it starts, takes up where it was, and its buyers can do what they can today", () => {
  const writer = open(leaveFirstVersion().path);
  const { tx } = writer;
  expect(writer.run(startBoot, { atMs: lateMs + 10 })).toEqual({ ok: true, boot: 3n, voided: 1 });
  const credit = { paymentHash: unpaid, paidMsat: msat(10_000n), accountId: "c", cursor: 18n, boot: 3n, atMs: lateMs };
  expect(writer.run(creditInvoice, credit)).toMatchObject({ ok: true, credited: "now" });
  expect(["a", "b", "c"].map((id) => spendable(getAccount(tx, id)))).toEqual([5_000n, 0n, 75_999n].map(msat));
  expect(writer.run(claimPayment, sampleClaim(paid, "credential", undefined, 3n))).toEqual({ ok: true, kind: "token", generation: 1, balanceMsat: msat(5_000n) });
  expect(tx.get("SELECT account_id FROM key WHERE hash = ?", tokenHashOf(paid, 1))).toEqual({ account_id: "a" });
  expect(writer.run(claimPayment, sampleClaim(rolled, "preimage", undefined, 3n))).toEqual({ ok: false, reason: "not_a_topup" });
  const refill = sampleInvoice(4, { amountMsat: 8_000n, purpose: { kind: "refill", claimNeedsSecret: false, accountId: "a", keyHash: tokenHashOf(paid, 1) } });
  writer.run(openInvoice, refill);
  expect(writer.run(creditInvoice, { ...credit, paymentHash: refill.paymentHash, paidMsat: msat(8_000n), accountId: "d" })).toMatchObject({ invoice: { accountId: "a" } });
  const call = { id: "c6", accountId: "a", atMostMsat: msat(13_000n), atLeastMsat: msat(13_000n), requestKey: "k", boot: 3n, atMs: lateMs };
  expect(writer.run(reserveCall, call)).toMatchObject({ ok: true });
  expect(audit(tx)).toEqual(sound);
});

test("opened again it is left as it is", () => {
  const { path } = leaveFirstVersion();
  const first = open(path);
  const tables = () => first.tx.all("SELECT name, sql FROM sqlite_schema ORDER BY name");
  const before = { schema: tables(), rows: dump((sql) => first.tx.all(sql)) };
  open(path);
  expect({ schema: tables(), rows: dump((sql) => first.tx.all(sql)) }).toEqual(before);
});

test("a data directory of a newer version is refused, and left alone", () => {
  const { path } = leaveFirstVersion();
  using database = new Database(path, { strict: true, safeIntegers: true });
  database.run("PRAGMA user_version=999");
  expect(() => migrate(database)).toThrow("newer");
  expect(database.query("SELECT sum(purpose = 'credential') AS untouched FROM invoice").get()).toEqual({ untouched: 3n });
});
