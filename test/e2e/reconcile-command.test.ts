/** `hearth reconcile` beside a running Hearth, and what is done by itself at the start. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { askForBill, balanceOf, buyToken, endHearth, eventually, makeDataDir, misbehave, openOwnersDoor, pay, removeDataDir, type RunningHearth, runHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
const dataDir = makeDataDir();
beforeAll(async () => void (hearth = await startHearth({ dataDir, command: "demo" })));
afterAll(() => endHearth(hearth));

const env = () => ({ HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port });

test("says how many agree", async () => {
  await buyToken(hearth.url);
  expect(await runHearth(["reconcile"], env())).toEqual({ code: 0, output: "1 settled on the node, 1 credited here, 0 credited now, 0 that do not agree.\n" });
  expect((await runHearth(["reconcile", "--days", "7"], env())).code).toBe(0);
});

test.each(["--days", "--days 0", "--days soon", "now", "--days 1 2"])("wrong words are answered with the right ones: %s", async (words) => {
  const { code, output } = await runHearth(["reconcile", ...words.split(" ")], env());
  expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining("--days") });
});

test("at the start what was paid before is credited, and what cannot be explained is told to the owner", async () => {
  // Paid, and the node says so to nobody while this Hearth runs.
  await misbehave(hearth.url, "node", { dropSettlements: 2, openAfterPreimage: 1_000_000 });
  const [kept, lost] = [await askForBill(hearth.url), await askForBill(hearth.url)];
  const preimage = await pay(hearth.url, kept.invoice);
  await pay(hearth.url, lost.invoice);
  await hearth.stop();
  // As a backup from before leaves it.
  using database = new Database(join(dataDir, "hearth.db"));
  expect(database.run("DELETE FROM invoice WHERE payment_hash = ? AND state = 'open'", [lost.payment_hash]).changes).toBe(1);
  hearth = await startHearth({ dataDir, command: "demo" });
  const owner = await openOwnersDoor(hearth);
  const reconciled = await eventually("it is done", async () => ((await owner.status()) as unknown as { reconciled?: { discrepancies: number } }).reconciled);
  expect(reconciled).toMatchObject({ discrepancies: 1 });
  expect((await balanceOf(hearth.url, `L402 ${kept.macaroon}:${preimage}`)).balance_msat).toBe(kept.amount_msat);
  const { code, output } = await runHearth(["reconcile"], env());
  expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(new RegExp(`^${lost.payment_hash}  the node was paid \\d+ msat for i_\\w+, which is not known here`)) });
});

test("without a running Hearth it says so", async () => {
  const other = makeDataDir();
  expect(await runHearth(["reconcile"], { HOME: other, HEARTH_DATA_DIR: other })).toEqual({ code: 2, output: "hearth: Hearth does not run here; start it, then ask again.\n" });
  removeDataDir(other);
});
