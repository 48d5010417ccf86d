/** A whole Hearth that sells through phoenixd: the program as an owner starts it, and what owner and buyers see when phoenixd fails. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { FakePhoenixd } from "../support/fake-phoenixd.ts";
import { ask, askForBill, balanceOf, type Bill, endHearth, eventually, hello, makeDataDir, openOwnersDoor, readLedger, removeDataDir, type RunningHearth, runHearth, startHearth, until } from "../support/hearth.ts";

const slowMs = 60_000;
const fake = new FakePhoenixd();
const upstream = startSandboxModel();
const directories: string[] = [];
afterAll(async () => {
  await fake.stop();
  await upstream.stop();
  directories.forEach(removeDataDir);
});

function newDataDir(): string {
  const path = makeDataDir();
  directories.push(path);
  return path;
}

const config = `usd_per_btc = 100000\nlisten = "127.0.0.1"\n[[upstreams]]\nname = "sandbox"\nurl = "${upstream.url}"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n`;
const env = (password = fake.limitedPassword) => ({ HEARTH_NODE: "phoenixd", HEARTH_PHOENIXD_URL: fake.url, HEARTH_PHOENIXD_PASSWORD: password });
const start = (dataDir: string, password?: string) => startHearth({ command: "serve", dataDir, config, env: env(password) });

type NodeSeen = { state: string; what?: string; receivable_sats?: number };
const nodeSeenBy = async (owner: Awaited<ReturnType<typeof openOwnersDoor>>) => ((await owner.status()) as unknown as { node: NodeSeen }).node;

function pay(bill: Bill): string {
  const paid = fake.pay(bill.invoice);
  if ("error" in paid) throw new Error(paid.error);
  return paid.preimage;
}

describe("a Hearth with phoenixd", () => {
  const dataDir = newDataDir();
  let hearth: RunningHearth;
  beforeAll(async () => void (hearth = await start(dataDir)));
  afterAll(() => endHearth(hearth));
  const credited = (bill: Bill) => eventually("it is credited", () => (hearth.output().includes(`payment_hash=${bill.payment_hash} amount_msat=`) ? true : undefined), slowMs);
  const debited = (id: string) => Number(readLedger<{ msat: bigint }>(dataDir, "SELECT debits_posted_msat - credits_posted_msat AS msat FROM account WHERE id = ?", id)[0]?.msat ?? 0n);
  const balance = async (bill: Bill, preimage: string) => (await balanceOf(hearth.url, `L402 ${bill.macaroon}:${preimage}`)).balance_msat;

  test("sells: 402, paid, answered, change kept", async () => {
    const bill = await askForBill(hearth.url);
    const preimage = pay(bill);
    const answer = await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`);
    expect(answer.status).toBe(200);
    expect(await balance(bill, preimage)).toBe(bill.amount_msat - Number(answer.headers.get("x-hearth-cost-msat")));
  });

  test("notices a payment that nobody comes back for", async () => {
    await until("it listens", () => fake.listening === 1);
    const bill = await askForBill(hearth.url);
    pay(bill);
    await credited(bill);
  });

  test("an unpaid invoice's preimage, read from phoenixd, buys nothing", async () => {
    const bill = await askForBill(hearth.url);
    expect((await ask(hearth.url, hello, `L402 ${bill.macaroon}:${fake.preimageOf(bill.payment_hash)}`)).status).toBe(503);
  });

  test("sells before there is a channel, and the owner bears what the first one costs", async () => {
    const before = { ...fake.liquidity }, held = debited("node");
    Object.assign(fake.liquidity, { balance: 0, inbound: 0, feeCredit: 21_000, cost: 21_219 });
    const [first, second] = [await askForBill(hearth.url), await askForBill(hearth.url)];
    fake.liquidity.cost = 21_000 + first.amount_sats + 1;
    const preimages = [pay(first), pay(second)];
    await Promise.all([credited(first), credited(second)]);
    expect([await balance(first, preimages[0]!), await balance(second, preimages[1]!)]).toEqual([first.amount_msat, second.amount_msat]);
    const cost = fake.liquidity.cost * 1_000;
    expect([debited("liquidity-fees"), debited("node") - held]).toEqual([cost, first.amount_msat + second.amount_msat - cost]);
    const owner = await openOwnersDoor(hearth);
    expect(await nodeSeenBy(owner)).not.toHaveProperty("receivable_sats");
    const owed = readLedger<{ msat: bigint }>(dataDir, "SELECT sum(credits_posted_msat - debits_posted_msat) AS msat FROM account WHERE kind = 'buyer'")[0]!.msat;
    expect((await owner.status()).owed_to_payers.msat).toBe(String(owed));
    Object.assign(fake.liquidity, before);
  });

  test("what is paid while Hearth is down is credited when it is back", async () => {
    const bill = await askForBill(hearth.url);
    await hearth.stop();
    const preimage = pay(bill);
    hearth = await start(dataDir);
    await credited(bill);
    expect(await balance(bill, preimage)).toBe(bill.amount_msat);
  }, slowMs);

  test("a phoenixd that ends and comes back: the owner sees it, buyers get a 503, and selling goes on", async () => {
    const owner = await openOwnersDoor(hearth);
    expect(await nodeSeenBy(owner)).toMatchObject({ state: "ready" });
    const bill = await askForBill(hearth.url);
    await fake.stop();
    expect((await ask(hearth.url, hello)).status).toBe(503);
    expect(await nodeSeenBy(owner)).toMatchObject({ state: "unreachable", what: expect.stringContaining("cannot be reached") });
    fake.start();
    expect((await ask(hearth.url, hello, `L402 ${bill.macaroon}:${pay(bill)}`)).status).toBe(200);
    expect(await nodeSeenBy(owner)).toMatchObject({ state: "ready" });
    await until("it listens again", () => fake.listening === 1, slowMs);
  }, 2 * slowMs);

  test("never asked for more than selling needs, and never shows the password", () => {
    const needed = /^(POST \/createinvoice|GET \/(getinfo|websocket|payments\/incoming(\/[0-9a-f]{64})?))$/;
    expect(fake.asked.filter((one) => !needed.test(one))).toEqual([]);
    expect(hearth.output()).not.toContain(fake.limitedPassword);
  });
});

describe("a wrong password", () => {
  test("is a state that the owner sees, and a 503 for buyers", async () => {
    const hearth = await start(newDataDir(), "hunter2");
    expect((await ask(hearth.url, hello)).status).toBe(503);
    expect(await nodeSeenBy(await openOwnersDoor(hearth))).toMatchObject({ state: "refused", what: expect.stringContaining("http-password-limited-access") });
    expect(await hearth.stop()).toBe(0);
    expect(hearth.output()).not.toContain("hunter2");
  }, slowMs);
});

describe("the settings", () => {
  const doctor = async (more: Record<string, string>, text = config) => {
    const dataDir = newDataDir();
    await Bun.write(`${dataDir}/hearth.toml`, text);
    return runHearth(["doctor"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir, ...more });
  };

  test("doctor tells the owner of the room there is, and what the first channel takes", async () => {
    const { inbound, balance, feeCredit } = fake.liquidity;
    expect((await doctor(env())).output).toMatch(new RegExp(`ok +node: ${fake.nodeId.slice(0, 16)} on regtest\nok +password: it can sell and cannot spend\nok +inbound: ${inbound} sats in its channels and ${feeCredit} sats of fee credit`));
    Object.assign(fake.liquidity, { inbound: 0, balance: 0, feeCredit: 391 });
    expect((await doctor(env())).output).toMatch(/ok +inbound: no channel yet; .*fee credit \(391 now\), which is not paid back/);
    Object.assign(fake.liquidity, { inbound, balance, feeCredit });
  }, slowMs);

  test("doctor knows the limited password from the full one, and whether payouts work", async () => {
    const limited = (await doctor(env())).output;
    expect(limited).toMatch(/ok +password: it can sell and cannot spend\n/);
    expect(limited).toMatch(/ok +payouts: off; /);
    const full = (await doctor({ ...env(fake.password), HEARTH_PHOENIXD_PAYOUT_PASSWORD: fake.password })).output;
    expect(full).toMatch(/FIX +password: it is the full one, which can spend/);
    expect(full).toMatch(/ok +payouts: the node may pay; it holds \d+ sats/);
    expect(full).not.toContain(fake.password);
    expect((await doctor({ ...env(), HEARTH_PHOENIXD_PAYOUT_PASSWORD: "hunter2" })).output).toMatch(/FIX +payouts: the node cannot be asked for them/);
  }, slowMs);

  test("doctor says what is wrong with the password, and does not show it", async () => {
    const { output } = await doctor(env("hunter2"));
    expect(output).toMatch(/FIX +node: phoenixd refuses the password/);
    expect(output).not.toContain("hunter2");
  }, slowMs);

  const refused: [what: string, env: Record<string, string>, table: string, words: RegExp][] = [
    ["the internet over plain http", { HEARTH_PHOENIXD_URL: "http://phoenixd.example.org:9740", HEARTH_PHOENIXD_PASSWORD: "hunter2" }, "", /phoenixd\.url is "http:\/\/phoenixd\.example\.org:9740".*it needs https/],
    ["no password", {}, "", /phoenixd is missing.*HEARTH_PHOENIXD_PASSWORD/],
    ["an address without a password", { HEARTH_PHOENIXD_URL: "http://127.0.0.1:9740" }, "", /phoenixd\.password is missing/],
    ["a password in the address", { HEARTH_PHOENIXD_URL: "http://:hunter2@127.0.0.1:9740", HEARTH_PHOENIXD_PASSWORD: "x" }, "", /HEARTH_PHOENIXD_URL is .*without a user/],
    ["a password that is no text", {}, "\n[phoenixd]\npassword = 5\n", /phoenixd\.password is 5: .*expected string/],
    ["an unknown setting", {}, '\n[phoenixd]\npasswort = "hunter2"\n', /phoenixd\.passwort is a text \(not shown\), but there is no such setting; there are url, password/],
  ];
  test.each(refused)("%s is refused at the start, with what would be right", async (_what, more, table, words) => {
    const { code, output } = await doctor({ HEARTH_NODE: "phoenixd", ...more }, config + table);
    expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(words) });
    expect(output).not.toContain("hunter2");
  }, slowMs);
});
