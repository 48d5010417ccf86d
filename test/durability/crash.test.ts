/**
 * kill -9 at every write to the database. The page cache outlives it, so this proves atomicity and restart, and says
 * nothing about power loss: see power-loss.test.ts.
 */
import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { noShimHere } from "../support/build-shim.ts";
import type { CrashBalances } from "../support/crash-script.ts";
import { findFault, Promises } from "../support/image-check.ts";
import { type Ended, type Kill, runToEnd, sweepKills } from "../support/kill-sweep.ts";
import { hashOf } from "../support/payments-sample.ts";
import { type Replacement, SourceCopy } from "../support/source-copy.ts";

if (noShimHere) console.warn(noShimHere);

/** Checkpoints and resets of the log happen in this short script too, so that kills land in them. */
const tinyLimits: readonly Replacement[] = [
  { file: "src/base/limits.ts", from: "export const logCheckCommands = 32;", to: "export const logCheckCommands = 2;" },
  { file: "src/base/limits.ts", from: "export const checkpointPages = 1_000;", to: "export const checkpointPages = 20;" },
];

/** 50,000 paid, 7,000 spent, the rest moved to the second account: 43,000 + 30,000 - 9,000. */
const finalBalances: CrashBalances = { first: 0n, second: 64_000n, revenue: 16_000n };

const copies: SourceCopy[] = [];
afterAll(() => copies.forEach((copy) => copy[Symbol.dispose]()));

function scriptWith(...replacements: Replacement[]): string {
  const copy = new SourceCopy([...tinyLimits, ...replacements]);
  copies.push(copy);
  return copy.program("crash-script.ts");
}

function promisesOf(...runs: Ended[]): Promises {
  const promises = new Promises();
  for (const run of runs) for (const line of run.stdout.split("\n")) promises.take(line);
  return promises;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function readBalances(path: string): CrashBalances {
  using database = new Database(path, { readonly: true, safeIntegers: true, strict: true });
  const balance = "credits_posted_msat - debits_posted_msat AS msat FROM account";
  const ofInvoice = (n: number) => database.query(`SELECT ${balance} WHERE id = (SELECT account_id FROM invoice WHERE payment_hash = ?)`).get(hashOf(n));
  const msatOf = (row: unknown) => (row as { msat: bigint }).msat;
  return { first: msatOf(ofInvoice(1)), second: msatOf(ofInvoice(2)), revenue: msatOf(database.query(`SELECT ${balance} WHERE id = 'revenue'`).get()) };
}

/** What the dead process left keeps its promises, and the client's way goes on to the same end. */
async function judge(script: string, directory: string, crashed: Ended): Promise<void> {
  must(crashed.killed || crashed.exitCode === 0, `it ended by itself with ${crashed.exitCode}: ${crashed.stderr}`);
  if (crashed.stdout.includes("ready")) {
    // A copy, so that the next start finds the log as the crash left it.
    const copy = join(directory, "copy");
    mkdirSync(copy);
    for (const file of ["hearth.db", "hearth.db-wal"])
      if (existsSync(join(directory, file))) cpSync(join(directory, file), join(copy, file));
    const fault = findFault(join(copy, "hearth.db"), promisesOf(crashed));
    must(fault === undefined, `after the kill: ${fault}`);
  }
  const path = join(directory, "hearth.db");
  const again = await runToEnd([process.execPath, script, path]);
  must(again.exitCode === 0, `the next start ended with ${again.exitCode}: ${again.stderr}`);
  expect(readBalances(path)).toEqual(finalBalances);
  const fault = findFault(path, promisesOf(crashed, again));
  must(fault === undefined, `after the retry: ${fault}`);
}

function sweep(script: string, when: Kill["when"], from = 1) {
  return sweepKills<Ended>({
    when,
    from,
    act: async ({ directory, env }) => {
      const ended = await runToEnd([process.execPath, script, join(directory, "hearth.db")], env);
      return { killed: ended.killed, seen: ended };
    },
    judge: ({ directory, seen }) => judge(script, directory, seen),
  });
}

describe.skipIf(noShimHere !== undefined)("kill -9", () => {
  const sweepMs = 240_000;

  test("before any write: what was answered is there, and the client's retry comes to the same balances", async () => {
    const { kills } = await sweep(scriptWith(), "before");
    expect(kills).toBeGreaterThan(100);
  }, sweepMs);

  test("after any write, before its answer: the same", async () => {
    const { kills } = await sweep(scriptWith(), "after");
    expect(kills).toBeGreaterThan(100);
  }, sweepMs);
});

/** The test of the test: each of these loses something, and the sweep must see it. */
describe.skipIf(noShimHere !== undefined)("kill -9 of a broken writer", () => {
  const statementByStatement: Replacement[] = [
    { file: "src/store/batch.ts", from: 'tx.run("BEGIN IMMEDIATE");', to: "" },
    { file: "src/store/batch.ts", from: 'tx.run("COMMIT");', to: "" },
    { file: "src/store/batch.ts", from: 'tx.run("SAVEPOINT command");', to: "" },
    { file: "src/store/batch.ts", from: 'if (!outcome.ok) tx.run("ROLLBACK TO command");\n    tx.run("RELEASE command");\n    return { request, outcome };', to: "return { request, outcome };" },
  ];
  const forgetsReservations: Replacement[] = [
    { file: "src/ledger/boot.ts", from: "for (const one of left) voidReservation(", to: "for (const one of left.slice(1)) voidReservation(" },
  ];

  test("commands that are not one transaction are caught half applied", async () => {
    expect(await failureOf(statementByStatement)).toContain("after the kill: half applied");
  }, 60_000);

  test("a start that leaves a reservation of the dead process open is caught", async () => {
    expect(await failureOf(forgetsReservations)).toContain("the boot was refused");
  }, 60_000);

  async function failureOf(replacements: Replacement[]): Promise<string> {
    return sweep(scriptWith(...replacements), "before").then(() => "nothing was found", (error: Error) => error.message);
  }
});
