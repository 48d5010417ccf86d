/** Free calls for strangers (surface 5): one a day for each real address, on chosen models, never money, and never the buyers' loss. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, askRaw, balanceOf, type Bill, buyCredential, buyToken, type ChatBody, claim, endHearth, hello, openOwnersDoor, type OwnersDoor, pay, type RawAnswer, RawConnection,
  rawRequest, readLedger, type RunningHearth, startHearth, steepPrices, until,
} from "../support/hearth.ts";

const path = "/v1/chat/completions";
const trialCap = 40;
/** `hello` takes 6 tokens in and 33 out, at the steep prices. */
const helloMsat = 6 * 1_000 + 33 * 3_000;
const proxied = 'trusted_proxies = ["127.0.0.1"]\n';
const offering = (more = "") => `[trial]\nmodels = ["sandbox", "sandbox-loop"]\nmax_output_tokens = ${trialCap}\n${more}`;
const generous = "daily_budget_sats = 1000000\n";

let model: SandboxModel;
let hearth: RunningHearth;
let owner: OwnersDoor;
const serve = (config: string, dataDir?: string) => startHearth({ command: "serve", config: config + steepPrices, dataDir, env: { HEARTH_UPSTREAM_URL: model.url } });
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await serve(proxied + offering(generous));
  owner = await openOwnersDoor(hearth);
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

let people = 0;
/** An address nobody has had in this run. */
const somebody = () => `198.51.${100 + Math.floor(people / 250)}.${1 + (people++ % 250)}`;

type Sent = { method?: string; path?: string; headers?: Record<string, string>; body?: unknown };

/** A request as the proxy hands it on; without `forwardedFor` it names nobody. */
function from(forwardedFor: string | undefined, { method, path: at, headers, body }: Sent = {}, house = hearth): Promise<RawAnswer> {
  const text = method === "GET" || method === "HEAD" ? {} : { body: typeof body === "string" ? body : JSON.stringify(body ?? hello) };
  const named: Record<string, string> = forwardedFor === undefined ? {} : { "X-Forwarded-For": forwardedFor };
  return askRaw(house.url, { method: method ?? "POST", path: at ?? path, headers: { "Content-Type": "application/json", ...named, ...headers }, ...text });
}

const isFree = (answer: RawAnswer) => answer.status === 200 && answer.header("x-hearth-free") === "1";
const codeOf = (answer: RawAnswer) => (JSON.parse(answer.body) as { error?: { code: string } }).error?.code;
const asksForMoney = (answer: RawAnswer) =>
  answer.status === 402 && codeOf(answer) === "payment_required" && answer.header("www-authenticate") !== undefined && answer.header("x-hearth-free") === undefined;

async function expectFree(address: string, why: string): Promise<void> {
  const answer = await from(address);
  expect({ why, address, status: answer.status, free: isFree(answer) }).toEqual({ why, address, status: 200, free: true });
}

const openTrials = (house = hearth) => readLedger(house.dataDir, "SELECT 1 FROM open_reservation WHERE debit_account = 'trial'").length;

describe("the first call of an address", () => {
  test("is free, says so, is cut to the trial's length and says that too; the second is for sale", async () => {
    const address = somebody();
    const answer = await from(address);
    expect(isFree(answer)).toBe(true);
    expect(JSON.parse(answer.body)).toMatchObject({ object: "chat.completion" });
    expect(answer.header("x-hearth-max-tokens")).toBe(String(trialCap));
    expect(model.calls.at(-1)!.body).toMatchObject({ max_tokens: trialCap });
    for (const name of ["x-hearth-balance-msat", "www-authenticate", "payment-receipt"]) expect(answer.header(name)).toBeUndefined();
    for (let again = 0; again < 2; again++) expect(asksForMoney(await from(address))).toBe(true);
  });

  test("that ends in a bill leads to a sale like any other", async () => {
    const address = somebody();
    await expectFree(address, "first");
    const bill = JSON.parse((await from(address)).body) as Bill;
    const bought = await from(address, { headers: { Authorization: `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}` } });
    expect([bought.status, bought.header("x-hearth-free"), bought.header("x-hearth-cost-msat")]).toEqual([200, undefined, String(helloMsat)]);
  });

  const lengths = [["longer than the trial", 1_000, trialCap, String(trialCap)], ["as long", trialCap, trialCap, undefined], ["shorter", 7, 7, undefined]] as const;
  test.each(lengths)("that asks for an answer %s", async (_what, wanted, cap, told) => {
    const answer = await from(somebody(), { body: { ...hello, model: "sandbox-loop", max_tokens: wanted } });
    expect([isFree(answer), answer.header("x-hearth-max-tokens")]).toEqual([true, told]);
    expect(model.calls.at(-1)!.body).toMatchObject({ max_tokens: cap });
    expect((JSON.parse(answer.body) as { usage: { completion_tokens: number } }).usage.completion_tokens).toBe(cap);
  });

  test("may be streamed", async () => {
    const address = somebody();
    const answer = await from(address, { body: { ...hello, stream: true } });
    expect(isFree(answer)).toBe(true);
    expect(answer.body).toContain("data: [DONE]");
    expect(answer.body).not.toContain("balance_msat");
    expect(asksForMoney(await from(address))).toBe(true);
  });

  test("on another prefix is the same call", async () => {
    const address = somebody();
    expect(isFree(await from(address, { path: "/openai/v1/chat/completions" }))).toBe(true);
    expect(asksForMoney(await from(address))).toBe(true);
  });

  const notGiven: [what: string, body: ChatBody][] = [["a model that is not given away", { ...hello, model: "sandbox-think" }], ["several choices", { ...hello, n: 2 }]];
  test.each(notGiven)("is for sale where it is for %s, and uses no free one", async (_what, body) => {
    const address = somebody();
    expect(asksForMoney(await from(address, { body }))).toBe(true);
    await expectFree(address, "nothing was given yet");
  });
});

describe("an address is one /32, or one /64", () => {
  const pairs: [first: string, second: string, one: boolean][] = [
    ["203.0.113.1", "203.0.113.1", true], ["203.0.113.2", "203.0.113.3", false], ["203.0.113.4", "::ffff:203.0.113.4", true], ["203.0.113.5", "203.0.113.5:51234", true],
    ["2001:db8:1:1::1", "2001:db8:1:1:ffff:ffff:ffff:ffff", true], ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8:1:4::1", "[2001:DB8:1:4::9]:443", true], ["172.31.207.11", "172.31.207.12", false],
  ];
  test.each(pairs)("%s, then %s: one client is %p", async (first, second, one) => {
    await expectFree(first, "first");
    const answer = await from(second);
    expect([isFree(answer), asksForMoney(answer)]).toEqual([!one, one]);
  });
});

describe("no free call is used", () => {
  const looks: [what: string, request: Sent][] = [
    ["GET", { method: "GET" }], ["HEAD", { method: "HEAD" }], ["an empty body", { body: "" }], ["white space", { body: " \n" }], ["{}", { body: "{}" }], ["OPTIONS", { method: "OPTIONS" }],
    ["no JSON", { body: "{" }], ["an unknown model", { body: { ...hello, model: "gpt-9" } }], ["a wrong field", { body: { ...hello, n: 99 } }],
    ["a refused field", { body: { ...hello, store: true } }], ["a wrong method", { method: "DELETE" }],
    ["a topup", { path: "/api/v1/topup", body: { amount_sats: 500 } }], ["the models", { method: "GET", path: "/v1/models" }], ["the balance of nobody", { method: "GET", path: "/api/v1/balance" }],
    ["a payment hash that is none", { headers: { "X-Payment-Hash": "x" } }], ["a bad Idempotency-Key", { headers: { "Idempotency-Key": "a b" } }],
  ];
  test.each(looks)("by %s", async (_what, request) => {
    const address = somebody(), calls = model.calls.length;
    for (let times = 0; times < 2; times++) expect((await from(address, request)).header("x-hearth-free")).toBeUndefined();
    expect(model.calls.length).toBe(calls);
    await expectFree(address, "it was only looked at");
  });

  const holders: [what: string, status: number, headers: () => Promise<Record<string, string>>][] = [
    ["a token", 200, async () => ({ Authorization: `Bearer ${await buyToken(hearth.url, 10_000)}` })],
    ["a token in X-Token", 200, async () => ({ "X-Token": await buyToken(hearth.url, 10_000) })],
    ["a token that holds too little", 402, async () => ({ Authorization: `Bearer ${await buyToken(hearth.url, 100)}` })],
    ["an unknown token", 401, async () => ({ Authorization: "Bearer abl_unknown" })],
    ["a credential", 200, async () => ({ Authorization: await buyCredential(hearth.url) })],
    ["a credential as a Bearer key", 200, async () => ({ Authorization: (await buyCredential(hearth.url)).replace("L402", "Bearer") })],
    ["a payment hash", 200, async () => ({ "X-Payment-Hash": await paidHash() })],
    ["a credential that is not paid", 402, async () => ({ Authorization: `L402 ${(await askForBill(hearth.url)).macaroon}` })],
    ["a dead credential", 402, async () => ({ Authorization: (await buyCredential(hearth.url)).replace(/.{64}$/, "00".repeat(32)) })],
    ["a malformed credential", 402, async () => ({ Authorization: "L402 !!!:!!!" })],
    ["an unknown payment hash", 402, async () => ({ "X-Payment-Hash": "ab".repeat(32) })],
    ["a key of another house beside a dead credential", 402, async () => ({ Authorization: "Bearer sk-proj-1, L402 !!!:!!!" })],
  ];
  test.each(holders)("by %s", async (_what, status, headersOf) => {
    const address = somebody(), headers = await headersOf();
    const answer = await from(address, { headers });
    expect([answer.status, answer.header("x-hearth-free"), answer.header("x-hearth-cost-msat")]).toEqual([status, undefined, status === 200 ? String(helloMsat) : undefined]);
    await expectFree(address, "who pays or tries to is no stranger");
  });

  async function paidHash(): Promise<string> {
    const bill = await askForBill(hearth.url);
    await pay(hearth.url, bill.invoice);
    return bill.payment_hash;
  }

  const strangers: Record<string, string>[] = [
    { Authorization: "Bearer sk-proj-0123" }, { Authorization: "Bearer dummy" }, { "x-api-key": "sk-ant-0123" }, { "X-Token": "sk-0123" },
    { Authorization: "Basic dTpw" }, { Authorization: "L402 :" }, { "Idempotency-Key": "k1" }, { "x-x402": "true" },
  ];
  test.each(strangers)("but by a key of another house it is: %p", async (headers) => {
    const address = somebody();
    expect(isFree(await from(address, { headers }))).toBe(true);
    expect(asksForMoney(await from(address, { headers }))).toBe(true);
  });
});

describe("who is nobody has no free call", () => {
  const nobodies = [undefined, "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.3.4", "fe80::1", "unknown", "", "localhost", "203.0.113.9.example", "203.0.113.999", "_hidden", ","];
  test.each(nobodies.map((forwardedFor) => ({ forwardedFor })))("behind the proxy: %p", async ({ forwardedFor }) => {
    for (let times = 0; times < 2; times++) expect(asksForMoney(await from(forwardedFor))).toBe(true);
  });

  test("left of what the proxy saw a client may write what it likes: it is still itself, and nobody else pays for it", async () => {
    const address = somebody(), victim = somebody();
    expect(isFree(await from(`${victim}, ${address}`))).toBe(true);
    for (const invented of ["1.1.1.1", victim, "2001:db8:77::1", "unknown", "x".repeat(3_000), "127.0.0.1", "1.1.1.1,".repeat(100)])
      expect({ invented, free: isFree(await from(`${invented}, ${address}`)) }).toEqual({ invented, free: false });
    await expectFree(victim, "it was only named by somebody else");
  });

  test("an entry that cannot be read hides those left of it", async () => {
    expect(asksForMoney(await from(`${somebody()}, unknown`))).toBe(true);
    expect(asksForMoney(await from(`${somebody()}, garbage, 127.0.0.1`))).toBe(true);
  });

  test("the proxy's own entry is passed over", async () => {
    const address = somebody();
    expect(isFree(await from(`${address}, 127.0.0.1`))).toBe(true);
    expect(asksForMoney(await from(address))).toBe(true);
  });

  test.each(["X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"])("%s names nobody", async (name) => {
    const value = name === "Forwarded" ? `for=${somebody()}` : somebody();
    expect(asksForMoney(await from(undefined, { headers: { [name]: value } }))).toBe(true);
  });

  test("without a proxy everybody on loopback is nobody, whatever they write", async () => {
    const house = await serve(offering(generous));
    for (const forwardedFor of [undefined, somebody(), "2001:db8:5::1"]) expect(asksForMoney(await from(forwardedFor, {}, house))).toBe(true);
    await endHearth(house);
  });

  test("where the house gives nothing away, nobody has one", async () => {
    const house = await serve(proxied);
    expect(asksForMoney(await from(somebody(), {}, house))).toBe(true);
    await endHearth(house);
  });
});

describe("a free call that came to nothing", () => {
  const failures: [what: string, faults: Parameters<SandboxModel["misbehave"]>[0], status: number][] = [
    ["the model server answers 500", { status: 500 }, 503], ["it is busy", { status: 429 }, 503], ["it wants the owner's money", { status: 402 }, 503],
    ["it refuses the request", { status: 400 }, 400], ["it hangs up", { drop: true }, 503], ["it sends a page", { notJson: true }, 503],
  ];
  test.each(failures)("is given back: %s", async (_what, faults, status) => {
    const address = somebody();
    model.misbehave({ ...faults, times: 1 });
    const failed = await from(address);
    expect([failed.status, failed.header("x-hearth-free")]).toEqual([status, undefined]);
    await until("the call is void", () => openTrials() === 0);
    await expectFree(address, "nothing was given");
    expect(asksForMoney(await from(address))).toBe(true);
  });

  test("is given back before the error is sent: who repeats at once is served", async () => {
    for (let round = 0; round < 5; round++) {
      const address = somebody();
      model.misbehave({ status: 500, times: 1 });
      expect((await from(address)).status).toBe(503);
      await expectFree(address, "the call before it was void");
    }
  });
});

describe("a free call that its client leaves is used, or leaving would make every call free", () => {
  const leavings: [when: string, faults: Parameters<SandboxModel["misbehave"]>[0], stream: boolean][] = [
    ["in the middle of a stream", { stallAfterTokens: 5 }, true], ["before the first byte", { hang: true }, false],
  ];
  test.each(leavings)("%s", async (_when, faults, stream) => {
    const address = somebody(), leave = new AbortController(), calls = model.calls.length;
    model.misbehave({ ...faults, times: 1 });
    const asking = fetch(`${hearth.url}${path}`, { method: "POST", headers: { "X-Forwarded-For": address }, body: JSON.stringify({ ...hello, stream }), signal: leave.signal });
    asking.catch(() => {});
    await model.until((all) => all.length > calls);
    if (stream) await (await asking).body!.getReader().read();
    leave.abort();
    await model.until((all) => all.at(-1)!.aborted);
    await until("the call is booked", () => openTrials() === 0);
    expect(asksForMoney(await from(address))).toBe(true);
  });
});

describe("many at once", () => {
  const crowd = 20;

  /** On connections that stand already, so that all of it is read in one turn, before anything is written. */
  async function atOnce(names: string[]): Promise<RawAnswer[]> {
    const connections = names.map(() => new RawConnection(hearth.url));
    for (const connection of connections) connection.send(rawRequest(hearth.url, { path: "/healthz" }));
    await Promise.all(connections.map((connection) => connection.answer()));
    const requests = names.map((name) => rawRequest(hearth.url, { method: "POST", path, headers: { "X-Forwarded-For": name }, body: JSON.stringify(hello) }));
    connections.forEach((connection, i) => connection.send(requests[i]!));
    const answers = await Promise.all(connections.map((connection) => connection.answer()));
    for (const connection of connections) connection.close();
    return answers;
  }

  const names: [who: string, nameOf: (round: number, i: number) => string][] = [["one address", (round) => `203.0.114.${1 + round}`], ["one /64", (round, i) => `2001:db8:9:${round}::${i + 1}`]];
  test.each(names)("%s gets exactly one, every time", async (_who, nameOf) => {
    for (let round = 0; round < 10; round++) {
      const calls = model.calls.length;
      const answers = await atOnce(Array.from({ length: crowd }, (_, i) => nameOf(round, i)));
      expect([answers.filter(isFree).length, answers.filter(asksForMoney).length]).toEqual([1, crowd - 1]);
      expect(model.calls.length).toBe(calls + 1);
    }
  });

  test("each of many addresses gets its own", async () => {
    const answers = await atOnce(Array.from({ length: crowd }, somebody));
    expect(answers.filter(isFree).length).toBe(crowd);
  });
});

describe("what is given", () => {
  type Amounts = { earned: unknown; owed_to_payers: unknown; calls_today: number };
  const report = async (door: OwnersDoor) => (await (await door.get("/admin/api/status")).json()) as Amounts;

  test("is never earned and never owed: the owner's status counts the call and no money", async () => {
    await until("all before them are posted", () => readLedger(hearth.dataDir, "SELECT 1 FROM open_reservation").length === 0);
    const before = await report(owner);
    for (let i = 0; i < 3; i++) await expectFree(somebody(), "one of three");
    await until("they are posted", async () => openTrials() === 0 && (await report(owner)).calls_today === before.calls_today + 3);
    const { earned, owed_to_payers } = await report(owner);
    expect({ earned, owed_to_payers }).toEqual({ earned: before.earned, owed_to_payers: before.owed_to_payers });
  });

  test("moves between permission accounts only", () => {
    const accounts = readLedger<{ pair: string }>(hearth.dataDir, `SELECT DISTINCT debit_account || ' -> ' || credit_account AS pair FROM transfer
      WHERE 'house' IN (debit_account, credit_account) OR 'trial' IN (debit_account, credit_account) OR 'given' IN (debit_account, credit_account) ORDER BY 1`).map((row) => row.pair);
    expect(accounts).toEqual(["house -> trial", "trial -> given"]);
  });

  test("nobody can claim, and nobody's key opens it", async () => {
    const answer = await from(undefined, { method: "GET", path: "/api/v1/balance", headers: { Authorization: "Bearer trial" } });
    expect([answer.status, codeOf(answer)]).toEqual([401, "no_account"]);
    expect((await claim(hearth.url, {}, { "X-Forwarded-For": somebody() })).status).toBe(400);
  });

  test("to whom is nowhere to be read", () => {
    const kept = ["hearth.db", "hearth.db-wal"].map((name) => readFileSync(join(hearth.dataDir, name), "latin1")).join("") + hearth.output();
    expect(people).toBeGreaterThan(50);
    expect(kept).not.toMatch(/198\.51\.10[0-9]\.\d|203\.0\.11[34]\.|2001:db8/i);
  });
});

describe("the day's budget", () => {
  test("lasts for as many calls as it pays for at their longest; then everybody pays, also after a restart", async () => {
    const longestSats = (await askForBill(hearth.url, { ...hello, max_tokens: trialCap })).amount_sats;
    const usedSats = helloMsat / 1_000;
    const config = proxied + offering(`calls = 2\ndaily_budget_sats = ${2 * usedSats + longestSats - 1}\n`);
    const house = await serve(config);
    const [first, second, third] = [somebody(), somebody(), somebody()];
    expect(isFree(await from(first, {}, house))).toBe(true);
    expect(isFree(await from(second, {}, house))).toBe(true);
    await until("both are posted", () => openTrials(house) === 0);
    for (const address of [first, second, third, somebody()]) expect(asksForMoney(await from(address, {}, house))).toBe(true);
    const credential = await buyCredential(house.url);
    expect((await ask(house.url, hello, credential)).status).toBe(200);
    await house.stop();
    const again = await serve(config, house.dataDir);
    for (const address of [first, third]) expect(asksForMoney(await from(address, {}, again))).toBe(true);
    expect((await balanceOf(again.url, credential)).balance_msat).toBeGreaterThanOrEqual(0);
    await endHearth(again);
  });

  test("is shared by those who come at once: what runs is counted at its longest", async () => {
    const longestSats = (await askForBill(hearth.url, { ...hello, max_tokens: trialCap })).amount_sats;
    const house = await serve(proxied + offering(`daily_budget_sats = ${3 * longestSats}\n`));
    model.misbehave({ firstByteDelayMs: 1_000 });
    const answers = await Promise.all(Array.from({ length: 10 }, () => from(somebody(), {}, house)));
    expect([answers.filter(isFree).length, answers.filter(asksForMoney).length]).toEqual([3, 7]);
    await endHearth(house);
  });

  test("of an owner who gives several calls to one address: they are that many, and what is used stays used after a restart", async () => {
    const config = `${proxied}${offering(`calls = 3\n${generous}`)}`;
    const house = await serve(config);
    const [address, other] = [somebody(), somebody()];
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => from(address, {}, house)));
    expect([answers.filter(isFree).length, answers.filter(asksForMoney).length]).toEqual([3, 2]);
    expect(isFree(await from(other, {}, house))).toBe(true);
    await house.stop();
    const again = await serve(config, house.dataDir);
    expect(asksForMoney(await from(address, {}, again))).toBe(true);
    const left = await Promise.all([1, 2, 3].map(() => from(other, {}, again)));
    expect([left.filter(isFree).length, left.filter(asksForMoney).length]).toEqual([2, 1]);
    await endHearth(again);
  });
});
