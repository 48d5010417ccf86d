/** Many at once: one balance is never spent twice, one payment never credited twice, and no two strangers share a bill (money 9). */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, askForBill, balanceOf, type Bill, buyCredential, endHearth, hello, pay, readLedger, type RunningHearth, startHearth, steepPrices, until } from "../support/hearth.ts";

const crowd = 100;
/** `hello` with a cap of 10, and what it can cost at most. */
const small = { ...hello, max_tokens: 10 };
let smallMsat = 0;

let hearth: RunningHearth;
let model: SandboxModel;
beforeAll(async () => {
  model = startSandboxModel();
  const config = `${steepPrices}[limits]\ndefault_output_tokens = 1024\n`;
  hearth = await startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url } });
  smallMsat = (await askForBill(hearth.url, small)).amount_msat;
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

type Outcome = { status: number; costMsat: number; code: string | undefined; headers: Headers };

/** One call to its end; of a stream the closing comment says the cost. */
async function use(credential: string, body: object): Promise<Outcome> {
  const answer = await ask(hearth.url, body, credential);
  const text = await answer.text();
  const told = answer.headers.get("x-hearth-cost-msat") ?? /: hearth cost_msat=(\d+) /.exec(text)?.[1];
  return { status: answer.status, costMsat: Number(told ?? "0"), code: /"code":"(\w+)"/.exec(text)?.[1], headers: answer.headers };
}

function atOnce<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(index)));
}

const sum = (outcomes: Outcome[]) => outcomes.reduce((total, one) => total + one.costMsat, 0);

function accountOf(bill: Bill): { credited: number; spent: number; calls: number } {
  const [row] = readLedger<{ credited: bigint; spent: bigint | null; calls: bigint }>(
    hearth.dataDir,
    `SELECT (SELECT sum(amount_msat) FROM transfer WHERE id LIKE 'credit:' || i.payment_hash || '%') AS credited, sum(c.charged_msat) AS spent, count(c.id) AS calls
     FROM invoice i LEFT JOIN call c ON c.account_id = i.account_id WHERE i.payment_hash = ? GROUP BY i.payment_hash`,
    bill.payment_hash,
  );
  return { credited: Number(row!.credited), spent: Number(row!.spent ?? 0n), calls: Number(row!.calls) };
}

test.each([["with caps of their own", { max_tokens: 40 }], ["that leave the cap to what is left", {}]])("100 uses of one credential at once, %s, streamed and not, spend at most its balance, and all of it adds up", async (_, fields) => {
  const bill = await askForBill(hearth.url);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  model.misbehave({ tokenDelayMs: 1 });
  const outcomes = await atOnce(crowd, (index) => use(credential, { ...hello, ...fields, stream: index % 2 === 0 }));
  const served = outcomes.filter((one) => one.status === 200);
  const refused = outcomes.filter((one) => one.status === 402);
  expect(served.length + refused.length).toBe(crowd);
  expect(served.length).toBeGreaterThan(0);
  expect(new Set(refused.map((one) => one.code))).toEqual(new Set(refused.length > 0 ? ["insufficient_balance"] : []));
  const left = await balanceOf(hearth.url, credential);
  expect(left).toMatchObject({ balance_msat: bill.amount_msat - sum(served), reserved_msat: 0 });
  expect(left.balance_msat).toBeGreaterThanOrEqual(0);
  expect(accountOf(bill)).toEqual({ credited: bill.amount_msat, spent: sum(served), calls: served.length });
});

test("the last sat raced by 100 admits exactly as many as it can pay", async () => {
  const bill = await askForBill(hearth.url);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  const affordable = Math.floor(bill.amount_msat / smallMsat);
  expect(affordable).toBeGreaterThan(10);
  // A model that always uses all that was reserved.
  model.misbehave({ usage: { prompt_tokens: (smallMsat - 10 * 3_000) / 1_000, completion_tokens: 10 } });
  // Spent down to three calls and a little: then all come at once.
  for (let spent = 0; spent < affordable - 3; spent++) expect((await use(credential, small)).costMsat).toBe(smallMsat);
  const outcomes = await atOnce(crowd, () => use(credential, small));
  expect(outcomes.filter((one) => one.status === 200)).toHaveLength(3);
  expect(outcomes.filter((one) => one.code === "insufficient_balance")).toHaveLength(crowd - 3);
  expect(await balanceOf(hearth.url, credential)).toMatchObject({ balance_msat: bill.amount_msat - affordable * smallMsat, reserved_msat: 0 });
});

test("what failed calls had reserved can be spent by others: 100 at once, every other one broken by the upstream", async () => {
  const bill = await askForBill(hearth.url);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  model.misbehave({ status: 500, times: 25 });
  const outcomes = await atOnce(50, () => use(credential, small));
  expect(outcomes.filter((one) => one.code === "upstream_unavailable")).toHaveLength(25);
  expect(outcomes.filter((one) => one.status === 200)).toHaveLength(25);
  expect(await balanceOf(hearth.url, credential)).toMatchObject({ balance_msat: bill.amount_msat - sum(outcomes), reserved_msat: 0 });
});

test("50 first uses of a freshly paid credential at once credit it once", async () => {
  for (const form of ["credential", "macaroon alone", "both"]) {
    const bill = await askForBill(hearth.url);
    const preimage = await pay(hearth.url, bill.invoice);
    const proof = (index: number) => (form === "credential" || (form === "both" && index % 2 === 0) ? `:${preimage}` : "");
    const outcomes = await atOnce(50, (index) => use(`L402 ${bill.macaroon}${proof(index)}`, { ...hello, max_tokens: 1 }));
    expect(outcomes.map((one) => one.status)).toEqual(outcomes.map(() => 200));
    expect((await balanceOf(hearth.url, `L402 ${bill.macaroon}:${preimage}`)).balance_msat).toBe(bill.amount_msat - sum(outcomes));
    expect(accountOf(bill)).toEqual({ credited: bill.amount_msat, spent: sum(outcomes), calls: 50 });
  }
});

test("100 who pay the new invoices of one poor credential move its rest once", async () => {
  const poor = await buyCredential(hearth.url, small);
  const { balance_msat: rest } = await balanceOf(hearth.url, poor);
  const bills = await atOnce(crowd, () => askForBill(hearth.url, hello, poor));
  const credentials = await Promise.all(bills.map(async (bill) => `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`));
  const balances = await Promise.all(credentials.map(async (credential) => (await balanceOf(hearth.url, credential)).balance_msat));
  expect(balances.reduce((total, one) => total + one, 0)).toBe(bills.reduce((total, one) => total + one.amount_msat, rest));
  expect(balances.filter((one) => one !== bills[0]!.amount_msat)).toEqual([bills[0]!.amount_msat + rest]);
  expect((await balanceOf(hearth.url, poor)).balance_msat).toBe(0);
});

test("200 strangers with the same question get 200 different invoices, macaroons and quotes, and each pays for one only", async () => {
  const bills = await atOnce(200, () => askForBill(hearth.url));
  for (const name of ["invoice", "payment_hash", "macaroon", "quote_id"] as const) expect(new Set(bills.map((bill) => bill[name])).size).toBe(200);
  const [first, second] = bills as [Bill, Bill];
  const preimage = await pay(hearth.url, first.invoice);
  expect((await use(`L402 ${first.macaroon}:${preimage}`, hello)).status).toBe(200);
  expect(await askForBill(hearth.url, hello, `L402 ${second.macaroon}:${preimage}`)).toMatchObject({ invoice: second.invoice });
});

test("no more than max_open_invoices wait for payment: 429 with Retry-After, also after a restart, and room again once they are paid", async () => {
  const config = `${steepPrices}[limits]\nmax_open_invoices = 5\n`;
  const env = { HEARTH_UPSTREAM_URL: model.url };
  const start = (dataDir?: string) => startHearth({ command: "serve", config, env, dataDir });
  let narrow = await start();
  const answers = await atOnce(20, () => ask(narrow.url, hello));
  const bills = await Promise.all(answers.filter((one) => one.status === 402).map(async (one) => (await one.json()) as Bill));
  expect(bills).toHaveLength(5);
  for (const answer of answers.filter((one) => one.status !== 402)) {
    expect([answer.status, await answer.json()]).toEqual([429, { error: expect.objectContaining({ code: "too_many_invoices" }) }]);
    expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
  }
  await narrow.stop();
  narrow = await start(narrow.dataDir);
  expect((await ask(narrow.url, hello)).status).toBe(429);
  expect(await askForBill(narrow.url, hello, `L402 ${bills[0]!.macaroon}`)).toMatchObject({ invoice: bills[0]!.invoice });
  for (const bill of bills) await pay(narrow.url, bill.invoice);
  await until("all are credited", () => narrow.output().match(/invoice\.credited/g)?.length === 5);
  const again = await atOnce(20, () => ask(narrow.url, hello));
  expect(again.filter((one) => one.status === 402)).toHaveLength(5);
  await endHearth(narrow);
});
