/** `hearth node`: another node takes the place of the one this data directory belongs to, and nothing is lost without a word. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { collect } from "../support/collecting.ts";
import { FakePhoenixd } from "../support/fake-phoenixd.ts";
import { ask, balanceOf, eventually, hello, makeDataDir, orderTopup, readLedger, removeDataDir, type RunningHearth, runHearth, startHearth } from "../support/hearth.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";

/** Each starts several processes. */
const slowMs = 30_000;

let model: SandboxModel;
beforeAll(() => void (model = startSandboxModel()));
afterAll(() => model.stop());

let dataDir: string, old: FakePhoenixd, other: FakePhoenixd;
const made: (() => unknown)[] = [];
beforeEach(() => {
  dataDir = makeDataDir();
  [old, other] = [new FakePhoenixd(), new FakePhoenixd()];
  const [directory, fakes] = [dataDir, [old, other]];
  made.push(() => removeDataDir(directory), ...fakes.map((fake) => () => fake.stop()));
});
afterAll(async () => void (await Promise.all(made.map((end) => end()))));

const envOf = (node: FakePhoenixd) => ({ HEARTH_NODE: "phoenixd", HEARTH_PHOENIXD_URL: node.url, HEARTH_PHOENIXD_PASSWORD: node.limitedPassword, HEARTH_PHOENIXD_PAYOUT_PASSWORD: node.password });
const config = () => `listen = "127.0.0.1"\nusd_per_btc = 100000\n[[upstreams]]\nname = "sandbox"\nurl = "${model.url}"\nprice = { input_sats_per_mtok = 1000, output_sats_per_mtok = 3000 }\n`;
const start = (node: FakePhoenixd) => startHearth({ command: "serve", dataDir, config: config(), env: envOf(node) });
const nodeCommand = (node: FakePhoenixd, ...args: string[]) => runHearth(["node", ...args], { HOME: dataDir, HEARTH_DATA_DIR: dataDir, ...envOf(node) });

/** A token of 1,000 sats on a Hearth with this node. */
async function tokenOn(hearth: RunningHearth, node: FakePhoenixd): Promise<string> {
  const bill = await orderTopup(hearth.url, { amount_sats: 1_000 });
  node.pay(bill.invoice);
  return eventually("it is claimed", async () => {
    const answer = await fetch(`${hearth.url}/api/v1/topup/claim`, { method: "POST", body: JSON.stringify({ claim_secret: bill.claim_secret }) });
    return answer.ok ? ((await answer.json()) as { token: string }).token : undefined;
  });
}

test("where nothing is open the new one takes its place, and every balance is as it was", async () => {
  let hearth = await start(old);
  const token = await tokenOn(hearth, old);
  await hearth.stop();
  expect(await nodeCommand(old)).toEqual({ code: 0, output: `This data directory belongs to ${old.nodeId} on regtest.\n` });
  expect((await nodeCommand(old, "replace")).output).toContain("is the same; there is nothing to replace");
  const { code, output } = await nodeCommand(other, "replace");
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining(`It belongs to ${other.nodeId} now. 0 open invoices are forgotten`) });
  hearth = await start(other);
  expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  expect((await ask(hearth.url, hello, `Bearer ${token}`)).status).toBe(200);
  await tokenOn(hearth, other);
  await hearth.stop();
}, slowMs);

test("while an invoice can be paid or a payout is open it is refused, and given up only on the owner's word", async () => {
  const hearth = await start(old);
  const token = await tokenOn(hearth, old);
  await orderTopup(hearth.url, { amount_sats: 700 });
  const { bolt11: invoice } = old.payees.invoice(400, true);
  void collect(hearth.url, token, { invoice, amount_sats: 400 }).catch(() => undefined);
  await eventually("it is sent", () => readLedger(dataDir, "SELECT id FROM payout WHERE state = 'sent'")[0]);
  expect((await nodeCommand(other, "replace")).output).toContain("Another Hearth already runs");
  hearth.kill("SIGKILL");
  await hearth.exited;
  const refused = await nodeCommand(other, "replace");
  expect(refused).toMatchObject({ code: 2, output: expect.stringContaining("1 invoices may have been paid to it, 1 payouts are open") });
  expect(readLedger(dataDir, "SELECT id FROM payout WHERE state = 'sent'")).toHaveLength(1);
  const done = await nodeCommand(other, "replace", "--write-off");
  expect(done).toMatchObject({ code: 0, output: expect.stringContaining("1 open invoices are forgotten, the money of 1 open payouts is back") });
  const again = await start(other);
  expect((await balanceOf(again.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  await again.stop();
  expect((await runHearth(["audit"], { HEARTH_DATA_DIR: dataDir })).code).toBe(0);
}, slowMs);

test("an invoice that was paid while nobody looked is not thrown away, however old it is", async () => {
  const hearth = await start(old);
  const bill = await orderTopup(hearth.url, { amount_sats: 700 });
  hearth.kill("SIGKILL");
  await hearth.exited;
  old.pay(bill.invoice);
  using database = new Database(join(dataDir, "hearth.db"));
  database.run("UPDATE invoice SET expires_at_ms = 1 WHERE payment_hash = ?", [bill.payment_hash]);
  expect(await nodeCommand(other, "replace")).toMatchObject({ code: 2, output: expect.stringContaining("1 invoices may have been paid to it") });
}, slowMs);

test("a backup that was put back is looked through with the old node first", async () => {
  const hearth = await start(old);
  await tokenOn(hearth, old);
  await hearth.stop();
  using database = new Database(join(dataDir, "hearth.db"));
  database.run("INSERT INTO setting (name, value) VALUES ('restored_at_ms', '1')");
  expect(await nodeCommand(other, "replace")).toMatchObject({ code: 2, output: expect.stringContaining("only the old node knows what left") });
  expect((await nodeCommand(other, "replace", "--write-off")).code).toBe(0);
}, slowMs);

test("what the old node was paid is no discrepancy of the new one", async () => {
  let hearth = await start(old);
  await tokenOn(hearth, old);
  await hearth.stop();
  await nodeCommand(other, "replace");
  hearth = await start(other);
  await tokenOn(hearth, other);
  const reconcile = () => runHearth(["reconcile"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port });
  expect(await reconcile()).toEqual({ code: 0, output: "1 settled on the node, 1 credited here, 0 credited now, 0 that do not agree.\n" });
  await hearth.stop();
}, slowMs);

test("nothing is paid out of a new node that holds less than is owed", async () => {
  let hearth = await start(old);
  const token = await tokenOn(hearth, old);
  await hearth.stop();
  await nodeCommand(other, "replace");
  other.liquidity.balance = 900;
  hearth = await start(other);
  const order = () => ({ invoice: other.payees.invoice(200).bolt11, amount_sats: 200 });
  expect(await collect(hearth.url, token, order())).toMatchObject({ status: 503, body: { error: { code: "payouts_off" } } });
  other.liquidity.balance = 1_000;
  await eventually("it is paid", async () => ((await collect(hearth.url, token, order())).status === 200 ? true : undefined));
  await hearth.stop();
}, slowMs);

test("a node of another network never takes its place", async () => {
  const hearth = await start(old);
  await hearth.stop();
  other.chain = "mainnet";
  expect((await nodeCommand(other, "replace")).output).toContain("money of one network is worth nothing on another");
}, slowMs);

test.each([["nonsense"], ["replace --all"], ["replace --write-off now"]])("wrong words are answered with the right ones: %s", async (words) => {
  const hearth = await start(old);
  await hearth.stop();
  expect(await nodeCommand(old, ...words.split(" "))).toMatchObject({ code: 2, output: expect.stringContaining("hearth node replace") });
}, slowMs);
