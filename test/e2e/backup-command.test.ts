/** A backup is one moment of a running Hearth, proved; put back it opens the same balances, and overwrites nothing. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { ask, askForBill, balanceOf, buyToken, endHearth, hello, makeDataDir, pay, readLedger, removeDataDir, type RunningHearth, runHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
const dataDir = makeDataDir(), shelf = makeDataDir();
let made = 0;
const newFolder = () => join(shelf, `backup-${++made}`);
const run = (args: string[], directory = dataDir) => runHearth(args, { HOME: directory, HEARTH_DATA_DIR: directory });
beforeAll(async () => {
  hearth = await startHearth({ dataDir, command: "demo" });
  // Commands other than the demo's own look where they are told.
  await buyToken(hearth.url);
});
afterAll(async () => {
  await endHearth(hearth);
  removeDataDir(shelf);
});

test("made while calls are running it adds up, and put back it opens the same tokens with the same balances", async () => {
  const token = await buyToken(hearth.url, 5_000);
  const calls = Promise.all(Array.from({ length: 30 }, async () => (await ask(hearth.url, hello, `Bearer ${token}`)).text()));
  const folder = newFolder();
  const backup = await run(["backup", folder]);
  expect(backup).toEqual({ code: 0, output: expect.stringMatching(/^ok: \d+ accounts equal \d+ transfers\nThe backup is in .*keep it like cash\.\n$/) });
  await calls;
  const spent = (path: string) => readLedger<{ charged: bigint | null }>(path, "SELECT sum(charged_msat) AS charged FROM call")[0]!.charged ?? 0n;
  const other = join(shelf, "other");
  expect((await run(["restore", folder], other)).code).toBe(0);
  const again = await startHearth({ dataDir: other, command: "demo" });
  try {
    // In flight at that moment is void; what was posted by then is posted.
    const { balance_msat, reserved_msat } = await balanceOf(again.url, `Bearer ${token}`);
    expect({ balance_msat, reserved_msat }).toEqual({ balance_msat: 5_000_000 - Number(spent(other)), reserved_msat: 0 });
    expect((await ask(again.url, hello, `Bearer ${token}`)).status).toBe(200);
  } finally {
    await again.stop();
  }
  expect((await run(["audit"], other)).code).toBe(0);
});

test("what was paid after it was made is listed by the first look after it was put back", async () => {
  const folder = newFolder();
  expect((await run(["backup", folder])).code).toBe(0);
  const bill = await askForBill(hearth.url);
  await pay(hearth.url, bill.invoice);
  await balanceOf(hearth.url, `Bearer ${await buyToken(hearth.url)}`);
  const other = join(shelf, "later");
  expect((await run(["restore", folder], other)).code).toBe(0);
  // The node goes on: only the ledger is of yesterday.
  rmSync(join(other, "sandbox-node.jsonl"));
  await Bun.write(join(other, "sandbox-node.jsonl"), Bun.file(join(dataDir, "sandbox-node.jsonl")));
  const again = await startHearth({ dataDir: other, command: "demo" });
  try {
    const env = { HOME: other, HEARTH_DATA_DIR: other, HEARTH_OWNER_PORT: new URL(again.ownerUrl).port };
    const { code, output } = await runHearth(["reconcile"], env);
    expect({ code, named: output.includes(`${bill.payment_hash}  the node was paid`) }).toEqual({ code: 1, named: true });
  } finally {
    await again.stop();
  }
});

test("it holds keys and settings, and only the owner's user reads them", async () => {
  writeFileSync(join(dataDir, "hearth.toml"), "");
  const folder = newFolder();
  await run(["backup", folder]);
  expect(readdirSync(folder).toSorted()).toEqual(["hearth.db", "hearth.toml", "keys", "sandbox-node.jsonl"]);
  expect(readdirSync(join(folder, "keys")).toSorted()).toEqual(["console", "credentials", "tokens"]);
  expect([statSync(folder).mode & 0o777, statSync(join(folder, "keys", "credentials")).mode & 0o777]).toEqual([0o700, 0o600]);
});

test("nothing that is there is overwritten", async () => {
  const folder = newFolder();
  mkdirSync(folder);
  expect(await run(["backup", folder])).toMatchObject({ code: 2, output: expect.stringContaining("is there already") });
  const good = newFolder();
  await run(["backup", good]);
  expect(await run(["restore", good])).toMatchObject({ code: 2, output: expect.stringContaining("has a ledger already, which is not overwritten") });
  expect(await run(["restore", folder], join(shelf, "third"))).toMatchObject({ code: 2, output: expect.stringContaining("is no backup") });
  expect(existsSync(join(shelf, "third", "hearth.db"))).toBe(false);
});

test("one that does not add up is not put back", async () => {
  const folder = newFolder();
  await run(["backup", folder]);
  const database = new Database(join(folder, "hearth.db"));
  database.run("UPDATE account SET credits_posted_msat = credits_posted_msat + 1 WHERE id = 'revenue'");
  database.close();
  const other = join(shelf, "fourth");
  expect(await run(["restore", folder], other)).toMatchObject({ code: 2, output: expect.stringContaining("nothing was put back") });
  expect(existsSync(join(other, "hearth.db"))).toBe(false);
});

test("where there is nothing to copy, or nothing is named, it says so", async () => {
  expect(await run(["backup", newFolder()], join(shelf, tmpdir().replaceAll("/", "")))).toMatchObject({ code: 2, output: expect.stringContaining("There is no ledger") });
  for (const verb of ["backup", "restore"]) expect(await run([verb])).toMatchObject({ code: 2, output: expect.stringContaining(`hearth ${verb} FOLDER`) });
});
