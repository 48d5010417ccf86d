/** The check that judges disks is shown to see what it is there for: each loss, and each command that was applied by half. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFault, Promises } from "../support/image-check.ts";
import { runToEnd } from "../support/kill-sweep.ts";
import { hashOf, tokenHashOf } from "../support/payments-sample.ts";

const script = new URL("../support/crash-script.ts", import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), "hearth-forged-"));
const whole = join(directory, "whole.db");
const told: string[] = [];
afterAll(() => rmSync(directory, { recursive: true, force: true }));

beforeAll(async () => {
  for (const part of ["calls", "ahead"]) {
    const ended = await runToEnd([process.execPath, script, whole, part]);
    expect(`${ended.exitCode} ${ended.stderr}`).toBe("0 ");
    told.push(...ended.stdout.split("\n"));
  }
});

function faultAfter(statements: readonly string[], promises: Promises): string | undefined {
  const path = join(directory, "forged.db");
  for (const end of ["", "-wal", "-shm"]) rmSync(path + end, { force: true });
  cpSync(whole, path);
  {
    using database = new Database(path);
    for (const forbidding of ["PRAGMA foreign_keys=OFF", "DROP TRIGGER transfer_keeps_rows", "DROP TRIGGER transfer_keeps_values"]) database.run(forbidding);
    for (const sql of statements) expect(database.run(sql).changes).toBeGreaterThan(0);
  }
  return findFault(path, promises);
}

function allTold(): Promises {
  const promises = new Promises();
  for (const line of told) promises.take(line);
  return promises;
}

test("a disk with everything on it has no fault", () => {
  const promises = allTold();
  expect(promises.size).toBeGreaterThan(25);
  expect(faultAfter(["INSERT INTO setting VALUES ('nothing', 'changed')"], promises)).toBeUndefined();
});

const [third, fourth, fifth, sixth] = [hashOf(3), hashOf(4), hashOf(5), hashOf(6)];
const moved = `FROM transfer WHERE id = 'claim:${fifth}:1'`;

test.each([
  { fault: "lost: an invoice that was shown", forge: `DELETE FROM invoice WHERE payment_hash = '${third}'` },
  { fault: "lost: a credit", forge: `UPDATE invoice SET credited_msat = credited_msat - 1 WHERE payment_hash = '${fourth}'` },
  { fault: "lost: a credit's transfer", forge: `DELETE FROM transfer WHERE id = 'credit:${fourth}'` },
  { fault: "lost: a roll-over", forge: `DELETE FROM transfer WHERE id = 'rollover:${sixth}'` },
  { fault: "lost: a posted call", forge: "DELETE FROM call WHERE account_id = 'trial'" },
  { fault: "lost: a claim", forge: `DELETE FROM claim WHERE payment_hash = '${fourth}'` },
  { fault: "lost: what a claim moved", forge: `DELETE ${moved}` },
  { fault: "lost: a token", forge: `DELETE FROM key WHERE hash = '${tokenHashOf(third, 2)}'` },
  { fault: "lost: the end of a token", forge: `UPDATE key SET ended_by = NULL, ended_at_ms = NULL, payment_hash = 'other' WHERE hash = '${tokenHashOf(third, 1)}'` },
  { fault: "lost: a payment that was used up", forge: "DELETE FROM single_use" },
  { fault: "lost: a request key", forge: "DELETE FROM request_key WHERE purpose = 'call'" },
  { fault: "lost: a request key", forge: "UPDATE request_key SET reference = 'other' WHERE purpose = 'topup'" },
  { fault: "lost: a free call that was used", forge: "DELETE FROM trial_call" },
])("what a client was told and is not there is found: $fault", ({ fault, forge }) => {
  expect(faultAfter([forge], allTold())).toBe(fault);
});

test.each([
  { fault: "claim whose transfers are not all there", forge: `DELETE ${moved}` },
  { fault: "claim whose transfers are not all there", forge: `UPDATE claim SET moved_msat = 1 WHERE payment_hash = '${fifth}'` },
  { fault: "claim transfer without its claim", forge: `DELETE FROM claim WHERE payment_hash = '${fifth}'` },
  { fault: "claim of what is not credited", forge: `UPDATE claim SET payment_hash = 'none' WHERE payment_hash = '${fourth}'` },
  { fault: "claim of a token without the token", forge: "DELETE FROM key" },
  { fault: "token without its claim, or of another account", forge: `DELETE FROM claim WHERE payment_hash = '${third}'` },
  { fault: "token without its claim, or of another account", forge: "UPDATE key SET account_id = 'revenue' WHERE generation = 2" },
  { fault: "replaced token without the next, or the other way round", forge: "DELETE FROM key WHERE generation = 2" },
  { fault: "replaced token without the next, or the other way round", forge: "DELETE FROM key WHERE generation = 1" },
  { fault: "payment used for a call that was not reserved", forge: "UPDATE single_use SET call_id = 'none'" },
  { fault: "request key of a call that was not reserved", forge: "UPDATE request_key SET reference = 'none' WHERE purpose = 'call'" },
  { fault: "free call that was not reserved", forge: "UPDATE trial_call SET call_id = 'none'" },
  { fault: "free call that the address does not miss", forge: "DELETE FROM trial_call" },
  { fault: "days of an account that do not equal its calls", forge: "UPDATE account_day SET charged_msat = charged_msat + 1 WHERE account_id = 'trial'" },
  { fault: "call that its account counts on no day", forge: "DELETE FROM account_day WHERE account_id = 'trial'" },
])("a command that was applied by half is found though nobody was told of it: $fault", ({ fault, forge }) => {
  expect(faultAfter([forge], new Promises())).toBe(`half applied: ${fault}`);
});
