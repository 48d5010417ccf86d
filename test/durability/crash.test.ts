/**
 * kill -9 at every write to the database. The page cache outlives it, so this proves atomicity and restart, and says
 * nothing about power loss: see power-loss.test.ts.
 */
import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { noShimHere } from "../support/build-shim.ts";
import type { Part } from "../support/crash-script.ts";
import { findFault, Promises } from "../support/image-check.ts";
import { type Ended, type Kill, runToEnd, sweepKills } from "../support/kill-sweep.ts";
import { hashOf, tokenHashOf } from "../support/payments-sample.ts";
import { type Replacement, SourceCopy } from "../support/source-copy.ts";

if (noShimHere) console.warn(noShimHere);

/** Checkpoints and resets of the log happen in this short script too, so that kills land in them. */
const tinyLimits: readonly Replacement[] = [
  { file: "src/base/limits.ts", from: "export const logCheckCommands = 32;", to: "export const logCheckCommands = 2;" },
  { file: "src/base/limits.ts", from: "export const checkpointPages = 1_000;", to: "export const checkpointPages = 20;" },
];

/** What the accounts that the invoices opened hold in the end, however often the way there broke off. */
type End = { accounts: Record<string, bigint>; revenue: bigint; given: bigint | undefined; tokens: { hash: string; ended: string | null }[] };

/** 50,000 paid, 7,000 spent, the rest moved to the second account: 43,000 + 30,000 - 9,000. */
const afterCalls: End = { accounts: { [hashOf(1)]: 0n, [hashOf(2)]: 64_000n }, revenue: 16_000n, given: undefined, tokens: [] };

/**
 * 40,000 paid, 5,000 spent, 20,000 refilled, 10,000 claimed into it, all of it moved on to the sixth: 65,000 + 15,000 - 3,000 - 4,000.
 * The free call earns nothing. The token of the third payment was replaced.
 */
const afterAhead: End = {
  accounts: { ...afterCalls.accounts, [hashOf(3)]: 0n, [hashOf(5)]: 0n, [hashOf(6)]: 73_000n }, revenue: 28_000n, given: 1_000n,
  tokens: [{ hash: tokenHashOf(hashOf(3), 1), ended: "rotated" }, { hash: tokenHashOf(hashOf(3), 2), ended: null }],
};

const copies: SourceCopy[] = [];
const directories: string[] = [];
afterAll(() => {
  for (const copy of copies) copy[Symbol.dispose]();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

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

function readEnd(path: string): End {
  using database = new Database(path, { readonly: true, safeIntegers: true, strict: true });
  const balance = "a.credits_posted_msat - a.debits_posted_msat AS msat";
  const opened = `SELECT i.payment_hash AS hash, ${balance} FROM invoice i JOIN account a ON a.id = i.account_id WHERE i.purpose <> 'refill'`;
  const rows = database.query(opened).all() as { hash: string; msat: bigint }[];
  const ofHouse = (id: string) => (database.query(`SELECT ${balance} FROM account a WHERE id = ?`).get(id) as { msat: bigint } | null)?.msat;
  const tokens = database.query("SELECT hash, ended_by AS ended FROM key ORDER BY payment_hash, generation").all() as End["tokens"];
  return { accounts: Object.fromEntries(rows.map(({ hash, msat }) => [hash, msat])), revenue: ofHouse("revenue")!, given: ofHouse("given"), tokens };
}

/** What a client does, by whom, from where, and what it comes to. */
type Way = { script: string; part: Part; /** What a run before it left and told, to go on with. */ before?: { directory: string; run: Ended }; end: End };

/** What the dead process left keeps its promises, and the client's way goes on to the same end. */
async function judge({ script, part, before, end }: Way, directory: string, crashed: Ended): Promise<void> {
  const earlier = before ? [before.run] : [];
  must(crashed.killed || crashed.exitCode === 0, `it ended by itself with ${crashed.exitCode}: ${crashed.stderr}`);
  if (crashed.stdout.includes("ready")) {
    // A copy, so that the next start finds the log as the crash left it.
    const copy = join(directory, "copy");
    mkdirSync(copy);
    for (const file of ["hearth.db", "hearth.db-wal"])
      if (existsSync(join(directory, file))) cpSync(join(directory, file), join(copy, file));
    const fault = findFault(join(copy, "hearth.db"), promisesOf(...earlier, crashed));
    must(fault === undefined, `after the kill: ${fault}`);
  }
  const path = join(directory, "hearth.db");
  const again = await runToEnd([process.execPath, script, path, part]);
  must(again.exitCode === 0, `the next start ended with ${again.exitCode}: ${again.stderr}`);
  expect(readEnd(path)).toEqual(end);
  const fault = findFault(path, promisesOf(...earlier, crashed, again));
  must(fault === undefined, `after the retry: ${fault}`);
}

function sweep(way: Way, when: Kill["when"]) {
  return sweepKills<Ended>({
    when,
    act: async ({ directory, env }) => {
      const path = join(directory, "hearth.db");
      if (way.before !== undefined) cpSync(join(way.before.directory, "hearth.db"), path);
      const ended = await runToEnd([process.execPath, way.script, path, way.part], env);
      return { killed: ended.killed, seen: ended };
    },
    judge: ({ directory, seen }) => judge(way, directory, seen),
  });
}

describe.skipIf(noShimHere !== undefined)("kill -9", () => {
  const sweepMs = 240_000;

  describe("of one who buys calls", () => {
    const way = (): Way => ({ script: scriptWith(), part: "calls", end: afterCalls });

    test("before any write: what was answered is there, and the client's retry comes to the same balances", async () => {
      const { kills } = await sweep(way(), "before");
      expect(kills).toBeGreaterThan(100);
    }, sweepMs);

    test("after any write, before its answer: the same", async () => {
      const { kills } = await sweep(way(), "after");
      expect(kills).toBeGreaterThan(100);
    }, sweepMs);
  });

  describe("of one who buys ahead", () => {
    async function way(): Promise<Way> {
      const script = scriptWith();
      const directory = mkdtempSync(join(tmpdir(), "hearth-bought-"));
      directories.push(directory);
      const run = await runToEnd([process.execPath, script, join(directory, "hearth.db"), "calls"]);
      expect(`${run.exitCode} ${run.stderr}`).toBe("0 ");
      return { script, part: "ahead", before: { directory, run }, end: afterAhead };
    }

    test("before any write: what was claimed is there, and the client's retry comes to the same balances and the same token", async () => {
      const { kills } = await sweep(await way(), "before");
      expect(kills).toBeGreaterThan(200);
    }, sweepMs);

    test("after any write, before its answer: the same", async () => {
      const { kills } = await sweep(await way(), "after");
      expect(kills).toBeGreaterThan(200);
    }, sweepMs);
  });
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
    return sweep({ script: scriptWith(...replacements), part: "calls", end: afterCalls }, "before").then(() => "nothing was found", (error: Error) => error.message);
  }
});
