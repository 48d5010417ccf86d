/** Money ahead under load and over time: claims and refills at once, repeated, told twice, guessed at and watched; it is in one place only (money 5 and 9). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { noFaults } from "../../src/lightning/sandbox.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, type BalanceBody, balanceOf, buyCredential, buyToken, claim, endHearth, hello, misbehave, orderTopup, pay, readLedger, type RunningHearth, startHearth,
  steepPrices, type TopupBill, until,
} from "../support/hearth.ts";
import { SourceCopy } from "../support/source-copy.ts";

const crowd = 100;
const small = { ...hello, max_tokens: 10 };

let hearth: RunningHearth;
let model: SandboxModel;
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await startHearth({ command: "serve", config: `trusted_proxies = ["127.0.0.1"]\n${steepPrices}`, env: { HEARTH_UPSTREAM_URL: model.url } });
});
afterEach(async () => {
  model.misbehave({});
  await misbehave(hearth.url, "node", { ...noFaults });
});
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

const atOnce = <T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const msatOf = async (token: string) => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;
const read = (path: string, headers: Record<string, string> = {}, url = hearth.url) => fetch(`${url}/api/v1/${path}`, { headers });
const proofsOf = ({ bill, preimage }: Paid): [body: object, headers: Record<string, string>][] => [
  [{ preimage }, {}], [{ claim_secret: bill.claim_secret }, {}], [{}, { authorization: `L402 ${bill.macaroon}:${preimage}` }], [{}, { authorization: `L402 ${bill.macaroon}` }],
];

type Paid = { bill: TopupBill; preimage: string };
type ClaimBody = { token?: string; balance_msat?: number; credited_sats?: number; error?: { code: string } };

async function paid(headers: Record<string, string> = {}, body: object = { amount_sats: 1_000 }): Promise<Paid> {
  const bill = await orderTopup(hearth.url, body, headers);
  return { bill, preimage: await pay(hearth.url, bill.invoice) };
}

async function claimed(body: object, headers: Record<string, string> = {}): Promise<{ status: number; body: ClaimBody }> {
  const answer = await claim(hearth.url, body, headers);
  return { status: answer.status, body: (await answer.json()) as ClaimBody };
}

/** What the books say of one payment: its credits, its tokens, its claims. */
function booked({ bill }: Paid) {
  const [row] = readLedger<{ credits: bigint; msat: bigint; tokens: bigint; claims: bigint }>(
    hearth.dataDir,
    `SELECT (SELECT count(*) FROM transfer WHERE id LIKE 'credit:' || ?1 || '%') AS credits, (SELECT sum(amount_msat) FROM transfer WHERE id LIKE 'credit:' || ?1 || '%') AS msat,
     (SELECT count(*) FROM key WHERE payment_hash = ?1) AS tokens, (SELECT count(*) FROM claim WHERE payment_hash = ?1) AS claims`,
    bill.payment_hash,
  );
  return { credits: Number(row!.credits), msat: Number(row!.msat), tokens: Number(row!.tokens), claims: Number(row!.claims) };
}

describe("100 claims of one payment at once", () => {
  const faults = [["that the node tells once", {}], ["that the node tells twice", { duplicateSettlements: true }], ["that the node never tells", { dropSettlements: 1 }], ["that the node tells late", { settleLateMs: 300 }]] as const;
  test.each(faults)("%s, by every proof, give one token and one credit", async (_, fault) => {
    await misbehave(hearth.url, "node", fault);
    const one = await paid();
    const proofs = proofsOf(one);
    // After another proof a preimage would be refused: first only these, then all.
    const first = await atOnce(crowd, () => claimed(...proofs[0]!));
    const answers = [...first, ...(await atOnce(crowd, (index) => claimed(...proofs[index % proofs.length]!)))];
    const token = first[0]!.body.token!;
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.token} ${body.balance_msat}`))).toEqual(new Set([`200 ${token} 1000000`]));
    expect(booked(one)).toEqual({ credits: 1, msat: 1_000_000, tokens: 1, claims: 1 });
    expect(await msatOf(token)).toBe(1_000_000);
  });

  test.each(["preimage", "secret"] as const)("into two tokens, by %s: the money is in one of them and nowhere else", async (proof) => {
    const [left, right, one] = [await buyToken(hearth.url), await buyToken(hearth.url), await paid()];
    const body = proof === "preimage" ? { preimage: one.preimage } : { claim_secret: one.bill.claim_secret };
    const answers = await atOnce(crowd, (index) => claimed({ ...body, token: index % 2 === 0 ? left : right }));
    const balances = [await msatOf(left), await msatOf(right)].sort();
    expect(balances).toEqual([1_000_000, 2_000_000]);
    expect((await balanceOf(hearth.url, `L402 ${one.bill.macaroon}:${one.preimage}`)).balance_msat).toBe(0);
    const told = answers.filter(({ body }) => body.credited_sats === 1_000);
    const others = answers.filter(({ body }) => body.credited_sats !== 1_000);
    expect([told.length, others.length]).toEqual([50, 50]);
    const expected = proof === "preimage" ? { status: 409, body: { error: { code: "already_claimed" } } } : { status: 200, body: { credited_sats: 0, balance_msat: 1_000_000 } };
    for (const other of others) expect(other).toMatchObject(expected);
    expect(booked(one)).toEqual({ credits: 1, msat: 1_000_000, tokens: 0, claims: 1 });
  });

  test("into a token and into one of its own: what was paid is there once", async () => {
    const [into, one] = [await buyToken(hearth.url), await paid()];
    const answers = await atOnce(crowd, (index) => claimed({ claim_secret: one.bill.claim_secret, ...(index % 2 === 0 && { token: into }) }));
    const own = answers.map(({ body }) => body.token).filter((token) => token !== undefined);
    expect(new Set(own).size).toBe(1);
    expect([await msatOf(into), await msatOf(own[0]!)]).toEqual([2_000_000, 0]);
  });
});

describe("refills at once", () => {
  test("with 50 calls and 50 claims: what was paid in less what the calls cost is there, to the millisatoshi", async () => {
    const token = await buyToken(hearth.url, 300);
    const bills = await atOnce(10, () => orderTopup(hearth.url, { amount_sats: 500 }, bearer(token)));
    await misbehave(hearth.url, "node", { duplicateSettlements: true, reorderSettlements: true });
    const calls = atOnce(50, async (index) => {
      const answer = await ask(hearth.url, { ...small, stream: index % 2 === 0 }, `Bearer ${token}`);
      const cost = answer.headers.get("x-hearth-cost-msat") ?? /: hearth cost_msat=(\d+) /.exec(await answer.text())?.[1];
      return { status: answer.status, cost: Number(cost ?? "0") };
    });
    const claims = atOnce(50, async (index) => {
      const bill = bills[index % bills.length]!;
      return claimed({ preimage: await pay(hearth.url, bill.invoice) }, index % 3 === 0 ? {} : { "x-token": token });
    });
    expect((await claims).map(({ status, body }) => [status, body.credited_sats])).toEqual(Array.from({ length: 50 }, () => [200, 500]));
    const outcomes = await calls;
    const served = outcomes.filter(({ status }) => status === 200);
    expect(served.length).toBeGreaterThan(0);
    expect(outcomes.filter(({ status }) => status !== 200 && status !== 402)).toEqual([]);
    const spent = served.reduce((sum, { cost }) => sum + cost, 0);
    expect(await balanceOf(hearth.url, `Bearer ${token}`)).toMatchObject({ balance_msat: 5_300_000 - spent, reserved_msat: 0 });
    for (const bill of bills) expect(booked({ bill, preimage: "" })).toEqual({ credits: 1, msat: 500_000, tokens: 0, claims: 1 });
  });

  test("with one Idempotency-Key are one refill: one invoice, whatever the spelling of the body, and what it brought once it is paid", async () => {
    const token = await buyToken(hearth.url);
    const headers = { ...bearer(token), "idempotency-key": "refill-1" };
    const bills = await atOnce(50, (index) => orderTopup(hearth.url, index % 2 === 0 ? { amount_sats: 500, claim: "secret" } : { claim: "secret", amount_sats: 500 }, headers));
    expect(new Set(bills.map((bill) => bill.invoice)).size).toBe(1);
    const order = (body: object, more: Record<string, string> = headers) => fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers: more, body: JSON.stringify(body) });
    const other = await order({ amount_sats: 501, claim: "secret" });
    expect([other.status, await other.json()]).toEqual([422, { error: expect.objectContaining({ code: "idempotency_mismatch" }) }]);
    await pay(hearth.url, bills[0]!.invoice);
    await until("the refill has arrived", async () => (await msatOf(token)) === 1_500_000);
    const again = await order({ amount_sats: 500, claim: "secret" });
    expect([again.status, await again.json()]).toEqual([200, { credited_sats: 500, balance_sats: 1_500, balance_msat: 1_500_000 }]);
    expect((await order({ amount_sats: 500, claim: "secret" }, { ...headers, ...bearer(await buyToken(hearth.url)) })).status).toBe(402);
  });
});

test("a claim with an Idempotency-Key is answered again with the same body; with another it is a 422 and nothing moves", async () => {
  const [token, one] = [await buyToken(hearth.url), await paid()];
  const headers = { "idempotency-key": "claim-1" };
  const body = { claim_secret: one.bill.claim_secret };
  const answers = await atOnce(20, () => claimed(body, headers));
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  const own = answers[0]!.body.token!;
  expect(await claimed({ ...body, token }, headers)).toMatchObject({ status: 422, body: { error: { code: "idempotency_mismatch" } } });
  expect([await msatOf(own), await msatOf(token)]).toEqual([1_000_000, 1_000_000]);
  expect((await claimed({ claim_secret: (await paid()).bill.claim_secret }, headers)).status).toBe(200);
});

describe("a call's credential claimed into a token", () => {
  test("while a call runs on it: what is free moves now, the change when it is claimed again", async () => {
    const [token, credential] = [await buyToken(hearth.url), await buyCredential(hearth.url)];
    const headers = { ...bearer(token), authorization: credential, "x-token": token };
    model.misbehave({ tokenDelayMs: 5 });
    const running = await ask(hearth.url, { ...hello, max_tokens: 200, stream: true }, credential);
    const { balance_msat: free, reserved_msat: held } = await balanceOf(hearth.url, credential);
    expect(held).toBeGreaterThan(0);
    expect((await claimed({}, headers)).body).toMatchObject({ balance_msat: 1_000_000 + free });
    const cost = Number(/: hearth cost_msat=(\d+) /.exec(await running.text())![1]);
    await until("the call is booked", async () => (await balanceOf(hearth.url, credential)).reserved_msat === 0);
    const all = { balance_msat: 1_000_000 + free + held - cost };
    expect((await claimed({}, headers)).body).toMatchObject(all);
    expect((await claimed({}, headers)).body).toMatchObject(all);
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(0);
  });

  test("after its rest went to the next credential moves nothing; the next one moves all of it", async () => {
    const [token, old] = [await buyToken(hearth.url), await buyCredential(hearth.url, small)];
    const { balance_msat: rest } = await balanceOf(hearth.url, old);
    const bill = await askForBill(hearth.url, hello, old);
    const next = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    expect((await balanceOf(hearth.url, next)).balance_msat).toBe(bill.amount_msat + rest);
    for (const [authorization, credited_sats, balance_msat] of [[old, 0, 1_000_000], [next, Math.floor((bill.amount_msat + rest) / 1_000), 1_000_000 + bill.amount_msat + rest]] as const)
      expect(await claimed({}, { authorization, "x-token": token })).toMatchObject({ status: 200, body: { credited_sats, balance_msat } });
  });
});

describe("the state of a topup", () => {
  const facts = (bill: TopupBill, state: string) => ({ payment_hash: bill.payment_hash, state, amount_sats: 1_000, expires_in: expect.any(Number) as number });

  test("is told to anybody who has its payment hash, and no secret with it", async () => {
    const bill = await orderTopup(hearth.url);
    const state = async () => (await read(`topup/${bill.payment_hash.toUpperCase()}`)).json();
    expect(await state()).toEqual(facts(bill, "open"));
    await pay(hearth.url, bill.invoice);
    await until("it is paid", async () => ((await state()) as { state: string }).state !== "open");
    expect(await state()).toEqual(facts(bill, "paid"));
    await claim(hearth.url, { claim_secret: bill.claim_secret });
    expect(await state()).toEqual(facts(bill, "claimed"));
  });

  test("is a 404 for a hash of nothing, of no hash, and of a call's payment, paid or not, as a stream too", async () => {
    const [unpaid, bought] = [await askForBill(hearth.url), await askForBill(hearth.url)];
    await pay(hearth.url, bought.invoice);
    for (const hash of [unpaid.payment_hash, bought.payment_hash, "ab".repeat(32), "nonsense"])
      for (const answer of [await read(`topup/${hash}`), await read(`topup/${hash}/events`), await read(`topup/${hash}`, { accept: "text/event-stream" })])
        expect([answer.status, await answer.json()]).toEqual([404, { error: expect.objectContaining({ code: "not_found" }) }]);
  });

  const eventsOf = (text: string) => [...text.matchAll(/^event: state\ndata: (.*)$/gm)].map((match) => JSON.parse(match[1]!) as object);
  const ways: [string, (hash: string) => Promise<Response>][] = [
    ["/events", (hash) => read(`topup/${hash}/events`)], ["Accept: text/event-stream", (hash) => read(`topup/${hash}`, { accept: "text/event-stream" })],
  ];
  test.each(ways)("is streamed by %s: once now, once when it is paid, and then it ends", async (_, listen) => {
    const token = await buyToken(hearth.url);
    for (const headers of [{}, bearer(token)]) {
      const bill = await orderTopup(hearth.url, { amount_sats: 1_000 }, headers);
      const streams = await atOnce(3, () => listen(bill.payment_hash));
      for (const stream of streams) expect([stream.status, stream.headers.get("content-type")]).toEqual([200, expect.stringContaining("text/event-stream")]);
      const whole = streams.map((stream) => stream.text());
      await pay(hearth.url, bill.invoice);
      for (const text of await Promise.all(whole)) expect(eventsOf(text)).toEqual([facts(bill, "open"), facts(bill, "paid")]);
      expect(eventsOf(await (await listen(bill.payment_hash)).text())).toEqual([facts(bill, "paid")]);
    }
  });
});

describe("what is told of a token", () => {
  test("by /balance and /key is what it holds and has used, and not the token", async () => {
    const token = await buyToken(hearth.url, 2_000);
    const costs = await atOnce(3, async () => Number((await ask(hearth.url, small, `Bearer ${token}`)).headers.get("x-hearth-cost-msat")));
    const used = costs.reduce((sum, cost) => sum + cost, 0), left = 2_000_000 - used;
    expect(used).toBeGreaterThan(0);
    for (const headers of [bearer(token), { "x-token": token }, { "x-api-key": token }] as Record<string, string>[]) {
      const balance = await (await read("balance", headers)).json();
      expect(balance).toEqual({ kind: "token", balance_sats: Math.floor(left / 1_000), balance_msat: left, reserved_msat: 0, topup_url: "/api/v1/topup" });
      const answer = await read("key", headers);
      const text = await answer.text();
      expect([answer.status, answer.headers.get("cache-control"), text.includes(token)]).toEqual([200, "no-store", false]);
      // A bitcoin of play money is 100,000 dollars: a msat is a millionth of one.
      const usd = (msat: number) => msat / 1e6;
      expect(JSON.parse(text)).toEqual({
        data: {
          label: `${token.slice(0, 8)}...${token.slice(-4)}`, limit: usd(2_000_000), limit_remaining: usd(left), limit_reset: null, usage: usd(used), usage_daily: usd(used),
          usage_weekly: usd(used), usage_monthly: usd(used), is_free_tier: false, is_management_key: false, is_provisioning_key: false, include_byok_in_limit: false,
          byok_usage: 0, byok_usage_daily: 0, byok_usage_weekly: 0, byok_usage_monthly: 0, limit_msat: 2_000_000, limit_remaining_msat: left, usage_msat: used,
          usage_daily_msat: used, usage_weekly_msat: used, usage_monthly_msat: used, topup_url: "/api/v1/topup",
        },
      });
    }
  });

  test("is nothing without a key: 401, and no bill", async () => {
    for (const path of ["balance", "key"])
      for (const [headers, code] of [[{}, "no_account"], [{ "x-payment-hash": "ab".repeat(32) }, "no_account"], [bearer(`abl_${"x".repeat(43)}`), "invalid_token"]] as const) {
        const answer = await read(path, headers as Record<string, string>);
        expect([answer.status, answer.headers.has("www-authenticate"), await answer.json()]).toEqual([401, false, { error: expect.objectContaining({ code }) }]);
      }
  });
});

describe("who guesses tokens", () => {
  const guess = (index: number) => `abl_${String(index).padStart(43, "g")}`;
  const doors: ((token: string, headers: Record<string, string>) => Promise<Response>)[] = [
    (token, headers) => ask(hearth.url, hello, undefined, { headers: { ...headers, "x-token": token } }),
    (token, headers) => read("balance", { ...headers, ...bearer(token) }),
    (token, headers) => read("key", { ...headers, "x-api-key": token }),
    (token, headers) => fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers: { ...headers, "x-token": token }, body: JSON.stringify({ amount_sats: 500 }) }),
    (token, headers) => claim(hearth.url, { preimage: "ab".repeat(32), token }, headers),
  ];

  test.each([["one address", 20, { "x-forwarded-for": "203.0.113.5" }], ["clients nobody can tell apart", 600, {}]])("from %s, at every door, is stopped after %i tries a minute; a token that is right is served all the while", async (_, allowed, who) => {
    const headers = who as Record<string, string>;
    const token = await buyToken(hearth.url);
    const answers = await atOnce(allowed + crowd, (index) => doors[index % doors.length]!(guess(index), headers));
    const by = (status: number) => answers.filter((answer) => answer.status === status);
    // Other tests of this minute may have presented unknown tokens without an address.
    expect(by(401).length).toBeLessThanOrEqual(allowed);
    expect(by(401).length).toBeGreaterThan(allowed - 10);
    expect(by(429).length).toBe(allowed + crowd - by(401).length);
    for (const answer of by(429)) {
      expect(Number(answer.headers.get("retry-after"))).toBeWithin(1, 61);
      expect(answer.headers.has("www-authenticate")).toBe(false);
    }
    expect(await by(429)[0]!.json()).toMatchObject({ error: { code: "too_many_tries" } });
    expect((await read("balance", { ...headers, ...bearer(token) })).status).toBe(200);
    expect((await ask(hearth.url, small, undefined, { headers: { ...headers, ...bearer(token) } })).status).toBe(200);
    expect((await read("balance", { "x-forwarded-for": `203.0.113.${allowed % 200}`, ...bearer(guess(0)) })).status).toBe(401);
  });
});

test("what was claimed, refilled and ordered is there after a kill -9, and is claimed again by the same proofs", async () => {
  const start = (dataDir?: string) => startHearth({ command: "serve", config: steepPrices, env: { HEARTH_UPSTREAM_URL: model.url }, dataDir });
  const before = await start();
  const bills = [await orderTopup(before.url), await orderTopup(before.url)] as const;
  const preimages = [await pay(before.url, bills[0].invoice), await pay(before.url, bills[1].invoice)] as const;
  const { token } = (await (await claim(before.url, { preimage: preimages[0] })).json()) as { token: string };
  const refill = await orderTopup(before.url, { amount_sats: 500 }, bearer(token));
  const moved = (await (await claim(before.url, { preimage: preimages[1], token })).json()) as object;
  expect(moved).toEqual({ balance_sats: 2_000, balance_msat: 2_000_000, credited_sats: 1_000 });
  before.kill("SIGKILL");
  await before.exited;
  const after = await start(before.dataDir);
  const again = async (body: object) => (await claim(after.url, body)).json();
  expect(await again({ preimage: preimages[1], token })).toEqual(moved);
  await pay(after.url, refill.invoice);
  expect(await again({ claim_secret: refill.claim_secret })).toEqual({ balance_sats: 2_500, balance_msat: 2_500_000, credited_sats: 500 });
  expect(await again({ preimage: preimages[0] })).toEqual({ token, balance_sats: 2_500, balance_msat: 2_500_000 });
  await endHearth(after);
});

test("an amount in dollars beyond all the bitcoin there is is a 400, not our mistake", async () => {
  const cheap = await startHearth({ command: "serve", config: `usd_per_btc = 1\n${steepPrices}`, env: { HEARTH_UPSTREAM_URL: model.url } });
  const answer = await fetch(`${cheap.url}/api/v1/topup`, { method: "POST", body: '{"amount_usd":999999999.99}' });
  const body = (await answer.json()) as object;
  await endHearth(cheap);
  expect([answer.status, body]).toEqual([400, { error: expect.objectContaining({ code: "invalid_amount" }) }]);
});

describe.skipIf(process.env.HEARTH_BINARY !== undefined)("with other limits", () => {
  /** The same program, with these lines of its limits written otherwise. */
  async function withLimits(lines: [from: string, to: string][], work: (house: RunningHearth) => Promise<void>): Promise<void> {
    using copy = new SourceCopy(lines.map(([from, to]) => ({ file: "src/base/limits.ts", from: `export const ${from};`, to: `export const ${to};` })));
    symlinkSync(join(import.meta.dir, "../../node_modules"), join(copy.directory, "node_modules"));
    const house = await startHearth({ command: "serve", config: steepPrices, env: { HEARTH_UPSTREAM_URL: model.url }, main: join(copy.directory, "src/main.ts") });
    await work(house);
    await endHearth(house);
  }

  test("a credential that buys no calls any more still shows and claims its money; the token buys calls", () =>
    withLimits([["credentialDays = 365", "credentialDays = 0"]], async ({ url }) => {
      for (const bill of [await orderTopup(url), await askForBill(url)]) {
        const authorization = `L402 ${bill.macaroon}:${await pay(url, bill.invoice)}`;
        const refused = await ask(url, small, authorization);
        expect([refused.status, ((await refused.json()) as TopupBill).invoice === bill.invoice]).toEqual([402, false]);
        const balance = (await (await read("balance", { authorization }, url)).json()) as BalanceBody & { valid_until: string };
        expect([balance.balance_msat, Date.parse(balance.valid_until) <= Date.now()]).toEqual([bill.amount_msat, true]);
        const { token } = (await (await claim(url, {}, { authorization })).json()) as { token: string };
        expect((await ask(url, small, `Bearer ${token}`)).status).toBe(200);
      }
    }));

  test("no more pages wait for payments than there is room for: 429, and room again when one leaves", () =>
    withLimits([["maxPaymentStreams = 1_000", "maxPaymentStreams = 3"], ["keepAliveMs = 10_000", "keepAliveMs = 200"]], async ({ url }) => {
      const bill = await orderTopup(url);
      const leaving = new AbortController();
      const open = (signal?: AbortSignal) => fetch(`${url}/api/v1/topup/${bill.payment_hash}/events`, { signal: signal ?? null });
      const waiting = [await open(leaving.signal), await open(), await open()];
      const refused = await open();
      expect([refused.status, refused.headers.has("retry-after"), await refused.json()]).toEqual([429, true, { error: expect.objectContaining({ code: "too_many_streams" }) }]);
      leaving.abort();
      await until("there is room", async () => (await open()).status === 200);
      await pay(url, bill.invoice);
      for (const stream of waiting.slice(1)) expect(await stream.text()).toContain('"paid"');
      const next = await orderTopup(url);
      const streams = [];
      for (let pages = 0; pages < 4; pages++) streams.push(await fetch(`${url}/api/v1/topup/${next.payment_hash}/events`));
      expect(streams.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
      await pay(url, next.invoice);
      for (const stream of streams.slice(0, 3)) await stream.text();
    }));

  test("a topup that nobody pays expires: its stream says so and ends", () =>
    withLimits([["invoiceExpirySeconds = 600", "invoiceExpirySeconds = 1"], ["keepAliveMs = 10_000", "keepAliveMs = 200"]], async ({ url }) => {
      const bill = await orderTopup(url);
      const text = await (await fetch(`${url}/api/v1/topup/${bill.payment_hash}/events`)).text();
      expect([...text.matchAll(/"state":"(\w+)"/g)].map((match) => match[1])).toEqual(["open", "expired"]);
      expect((await claim(url, { claim_secret: bill.claim_secret })).status).toBe(409);
    }));
});
