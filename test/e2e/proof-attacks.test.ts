/**
 * What somebody tries who knows less than the payer: every hop of a payment knows its hash and, once it is settled, its
 * preimage; a neighbour shares the payer's address; anybody may have read the invoice off a screen (money sections 3 and 4).
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, balanceOf, type Bill, buyToken, type ChatBody, claim, endHearth, hello, orderTopup, pay, readLedger, type RunningHearth, startHearth, steepPrices, type TopupBill,
} from "../support/hearth.ts";

/** `hello` takes 6 tokens in and 33 out. */
const helloMsat = 6 * 1_000 + 33 * 3_000;
const defaultCap = 1_024;
const config = `trusted_proxies = ["127.0.0.0/8", "::1"]\n${steepPrices}[limits]\ndefault_output_tokens = ${defaultCap}\n`;

let hearth: RunningHearth;
let model: SandboxModel;
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url } });
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

type Headers = Record<string, string>;
type Paid<B extends Bill> = { bill: B; preimage: string; /** The payer's own, which no hop has. */ full: string };

async function paid<B extends Bill>(bill: B): Promise<Paid<B>> {
  const preimage = await pay(hearth.url, bill.invoice);
  return { bill, preimage, full: `L402 ${bill.macaroon}:${preimage}` };
}
const bought = async () => paid(await askForBill(hearth.url));
const toppedUp = async (order: object = {}, headers: Headers = {}) => paid(await orderTopup(hearth.url, { amount_sats: 10_000, ...order }, headers));

const call = (body: object, headers: Headers) => ask(hearth.url, body, undefined, { headers: { "content-type": "application/json", ...headers } });
const get = (path: string, headers: Headers = {}) => fetch(`${hearth.url}/api/v1${path}`, { headers });
const topup = (headers: Headers, body: object = { amount_sats: 1_000 }) => fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers, body: JSON.stringify(body) });
const balance = async (full: string) => (await balanceOf(hearth.url, full)).balance_msat;
const everything = async (answer: Response) => JSON.stringify([...answer.headers]) + (await answer.text());

async function expectServed(answer: Response): Promise<void> {
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("chat.completion")]);
}

async function expectRefused(answer: Response, status: number, code: string): Promise<void> {
  expect([answer.status, await answer.json()]).toEqual([status, expect.objectContaining({ error: expect.objectContaining({ code }) })]);
}

/** A bill of the asker's own: nothing in it is the payer's. */
async function expectFreshBill(answer: Response, bill: Bill): Promise<void> {
  const text = await everything(answer.clone() as Response);
  await expectRefused(answer, 402, "payment_required");
  for (const shown of [bill.invoice, bill.macaroon, bill.quote_id, bill.payment_hash]) expect(text).not.toContain(shown);
}

const hops: [knows: string, write: (paid: Paid<Bill>) => Headers][] = [
  ["only the preimage", ({ preimage }) => ({ authorization: `Payment method="lightning", preimage="${preimage}"` })],
  ["only the payment hash", ({ bill }) => ({ "X-Payment-Hash": bill.payment_hash })],
];

describe.each(hops)("a hop that knows %s", (_, write) => {
  const others: [what: string, body: ChatBody][] = [
    ["another question", { ...hello, messages: [{ role: "user", content: "Hello?" }] }], ["another role", { ...hello, messages: [{ role: "system", content: "Hello!" }] }],
    ["one more message", { ...hello, messages: [...hello.messages, ...hello.messages] }], ["another model", { ...hello, model: "sandbox-loop" }], ["a cap", { ...hello, max_tokens: defaultCap }],
    ["two answers", { ...hello, n: 2 }], ["another temperature", { ...hello, temperature: 1 }], ["tools", { ...hello, tools: [] }], ["a field we drop", { ...hello, user: "hop" }],
  ];
  test("cannot use it with another body, and the payer's request stays paid", async () => {
    const own = await bought();
    const calls = model.calls.length;
    for (const [, body] of others) await expectFreshBill(await call(body, write(own)), own.bill);
    expect(model.calls.length).toBe(calls);
    await expectServed(await call(hello, write(own)));
  });

  test.each([false, true])("cannot use it twice, in whatever form and however the answer is delivered (stream: %p)", async (stream) => {
    const own = await bought();
    await expectServed(await call({ ...hello, stream }, write(own)));
    for (const [, again] of hops)
      for (const other of [false, true]) await expectFreshBill(await call({ ...hello, stream: other }, again(own)), own.bill);
    expect(await balance(own.full)).toBe(own.bill.amount_msat - helloMsat);
    await expectServed(await call(hello, { authorization: own.full }));
  });

  test("cannot run it twice at once", async () => {
    const own = await bought();
    model.misbehave({ tokenDelayMs: 5 });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => call({ ...hello, stream: index % 2 === 0 }, write(own))));
    const codes = await Promise.all(answers.map(async (answer) => [answer.status, /"code":"(\w+)"/.exec(await answer.text())?.[1]].join(" ").trim()));
    expect(codes.filter((one) => one === "200")).toHaveLength(1);
    expect(codes.filter((one) => one !== "200" && one !== "429 already_running" && one !== "402 payment_required")).toEqual([]);
    expect(await balance(own.full)).toBe(own.bill.amount_msat - helloMsat);
  });

  test("who repeats the body while its answer is still running waits (429), and is then asked to pay (402)", async () => {
    const own = await bought();
    model.misbehave({ tokenDelayMs: 20, times: 1 });
    const known = model.calls.length;
    const first = await call({ ...hello, stream: true }, write(own));
    await model.until((calls) => calls.length > known && calls.at(-1)!.tokensSent > 1);
    const second = await call(hello, write(own));
    expect(second.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
    expect(second.headers.has("www-authenticate")).toBe(false);
    await expectRefused(second, 429, "already_running");
    expect(model.calls.at(-1)!.finished).toBe(false);
    await expectServed(first);
    await expectFreshBill(await call(hello, write(own)), own.bill);
  });

  test.each([["answers 500", { status: 500 }], ["resets the connection", { drop: true }], ["sends no answer", { notJson: true }], ["breaks before a word", { breakAfterTokens: 0 }]])(
    "has not used it up when the upstream %s", async (_, fault) => {
      const own = await bought();
      model.misbehave({ ...fault, times: 1 });
      await expectRefused(await call(hello, write(own)), 503, "upstream_unavailable");
      await expectServed(await call(hello, write(own)));
      await expectFreshBill(await call(hello, write(own)), own.bill);
      expect(await balance(own.full)).toBe(own.bill.amount_msat - helloMsat);
    });

  test.each([false, true])("does not see the balance: not by asking, not beside an answer (stream: %p)", async (stream) => {
    const own = await bought();
    for (const path of ["/balance", "/key"]) await expectRefused(await get(path, write(own)), 401, "no_account");
    const answer = await call({ ...hello, stream }, write(own));
    const text = await everything(answer);
    expect(answer.status).toBe(200);
    expect(text).toMatch(stream ? new RegExp(`: hearth cost_msat=${helloMsat}\n`) : new RegExp(`"x-hearth-cost-msat","${helloMsat}"`));
    for (const told of ["balance-msat\"", "balance_msat", "_sats", String(own.bill.amount_msat - helloMsat)]) expect(text).not.toContain(told);
  });

  test.each([false, true])("does not learn what is left from a cap that was lowered to it (stream: %p)", async (stream) => {
    const own = await bought();
    const loop = { ...hello, model: "sandbox-loop", max_tokens: 724 };
    await expectServed(await call(loop, { authorization: own.full }));
    const answer = await call({ ...hello, stream }, write(own));
    await answer.text();
    expect(answer.headers.get("x-hearth-max-tokens")).toBeNull();
    expect(answer.headers.get("x-hearth-reserved-msat")).not.toBe(String(own.bill.amount_msat - 6_000 - 724 * 3_000));
  });

  test("gets no refill, no account and no other call out of a topup", async () => {
    const own = await toppedUp();
    await expectFreshBill(await call(hello, write(own)), own.bill);
    for (const path of ["/balance", "/key"]) await expectRefused(await get(path, write(own)), 401, "no_account");
    const answer = await topup(write(own));
    expect(await everything(answer.clone() as Response)).not.toContain(own.bill.claim_secret);
    await expectFreshBill(answer, own.bill);
    expect(await balance(own.full)).toBe(10_000_000);
  });

  test("cannot claim the change of a call, before or after it is answered", async () => {
    const own = await bought();
    const token = await buyToken(hearth.url, 100);
    for (const answered of [false, true]) {
      if (answered) await expectServed(await call(hello, write(own)));
      for (const body of [{}, { preimage: own.preimage }, { token }, { preimage: own.preimage, token }]) await expectRefused(await claim(hearth.url, body, write(own)), 400, "invalid_payment");
    }
    expect(await balance(`Bearer ${token}`)).toBe(100_000);
    expect(await balance(own.full)).toBe(own.bill.amount_msat - helloMsat);
  });
});

describe("a hop with the preimage of a topup", () => {
  /** Everything a hop can put into a claim: alone, or into a token of its own. */
  async function expectNothing(own: Paid<TopupBill>, status: number, code: string): Promise<void> {
    const token = await buyToken(hearth.url, 100);
    const tries: [body: object, headers: Headers][] = [
      [{ preimage: own.preimage }, {}], [{ preimage: own.preimage.toUpperCase() }, {}], [{ preimage: own.preimage, token }, {}], [{ preimage: own.preimage }, { "X-Token": token }],
      [{}, { authorization: `Payment method="lightning", preimage="${own.preimage}"` }], [{ token }, { authorization: `Payment method="lightning", preimage="${own.preimage}"` }],
    ];
    for (const [body, headers] of tries) await expectRefused(await claim(hearth.url, body, headers), status, code);
    expect(await balance(`Bearer ${token}`)).toBe(100_000);
    expect(await balance(own.full)).toBe(10_000_000);
  }

  const holders: [how: string, claims: (own: Paid<TopupBill>) => Promise<Response>][] = [
    ["the secret", ({ bill }) => claim(hearth.url, { claim_secret: bill.claim_secret })],
    ["the credential", ({ full }) => claim(hearth.url, {}, { authorization: full })],
    ["the macaroon alone", ({ bill }) => claim(hearth.url, {}, { authorization: `L402 ${bill.macaroon}` })],
  ];
  test.each(holders)("cannot claim after the holder has claimed by %s, who can again", async (_, claims) => {
    const own = await toppedUp();
    const first = (await (await claims(own)).json()) as { token: string };
    expect(first.token).toMatch(/^abl_/);
    await expectNothing(own, 409, "already_claimed");
    expect(await (await claims(own)).json()).toEqual(first);
  });

  test("cannot move the money into a token of its own after the holder has claimed by preimage as well", async () => {
    const own = await toppedUp();
    const { token } = (await (await claim(hearth.url, { preimage: own.preimage })).json()) as { token: string };
    const mine = await buyToken(hearth.url, 100);
    await expectRefused(await claim(hearth.url, { preimage: own.preimage, token: mine }), 409, "already_claimed");
    expect([await balance(`Bearer ${mine}`), await balance(`Bearer ${token}`)]).toEqual([100_000, 10_000_000]);
  });

  test("cannot claim after the holder has moved it into a token by preimage as well, and learns no token and no balance", async () => {
    const own = await toppedUp();
    const holders = await buyToken(hearth.url, 100);
    expect((await claim(hearth.url, { preimage: own.preimage, token: holders })).status).toBe(200);
    const mine = await buyToken(hearth.url, 100);
    for (const body of [{ preimage: own.preimage }, { preimage: own.preimage, token: mine }]) await expectRefused(await claim(hearth.url, body), 409, "already_claimed");
    expect([await balance(`Bearer ${mine}`), await balance(`Bearer ${holders}`)]).toEqual([100_000, 10_100_000]);
  });

  test("cannot claim one that was opened with claim: secret; its secret still does", async () => {
    const own = await toppedUp({ claim: "secret" });
    await expectNothing(own, 403, "claim_secret_required");
    expect(await (await claim(hearth.url, { claim_secret: own.bill.claim_secret })).json()).toMatchObject({ balance_sats: 10_000 });
  });

  test("cannot spoil the holder's Idempotency-Key with a claim of its own that is refused", async () => {
    const own = await toppedUp({ claim: "secret" });
    const key = { "Idempotency-Key": own.bill.payment_hash };
    await expectRefused(await claim(hearth.url, { preimage: own.preimage }, key), 403, "claim_secret_required");
    const answer = await claim(hearth.url, { claim_secret: own.bill.claim_secret }, key);
    expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ token: expect.stringMatching(/^abl_/) })]);
  });

  test("cannot turn a refill towards a token of its own, nor learn what it refilled", async () => {
    const holders = await buyToken(hearth.url, 10_000), mine = await buyToken(hearth.url, 100);
    const own = await toppedUp({}, { "X-Token": holders });
    await expectRefused(await claim(hearth.url, { preimage: own.preimage, token: mine }), 403, "wrong_token");
    const answer = await claim(hearth.url, { preimage: own.preimage });
    expect([answer.status, await answer.json()]).toEqual([200, { credited_sats: 10_000 }]);
    expect([await balance(`Bearer ${mine}`), await balance(`Bearer ${holders}`)]).toEqual([100_000, 20_000_000]);
  });
});

describe("who knows the payment hash of an invoice that is not paid yet", () => {
  const hash = ({ payment_hash }: Bill): [place: string, headers: Headers, body: object][] => [
    ["X-Payment-Hash", { "X-Payment-Hash": payment_hash }, {}], ["Authorization", { authorization: `L402 ${payment_hash}` }, {}], ["the body", {}, { payment_hash }],
  ];

  test("gets neither macaroon nor claim secret for another body, another kind of request, or by watching", async () => {
    for (const bill of [await askForBill(hearth.url), await orderTopup(hearth.url), await orderTopup(hearth.url, { amount_sats: 1_000, claim: "secret" })]) {
      const secrets = [bill.macaroon, "claim_secret" in bill ? bill.claim_secret : bill.quote_id];
      const shown: string[] = [];
      for (const [, headers, body] of hash(bill)) {
        const answers = [await call({ ...hello, max_tokens: 7, ...body }, headers), await call(body, headers), await topup(headers, { amount_sats: 1_000, ...body }), await claim(hearth.url, body, headers)];
        for (const answer of [...answers, await get("/balance", headers), await get("/chat/completions", headers)]) shown.push(await everything(answer));
      }
      shown.push(await everything(await get(`/topup/${bill.payment_hash}`)));
      for (const text of shown) for (const secret of secrets) expect(text).not.toContain(secret);
    }
  });

  // The macaroon opens the whole account once the payer has paid, and with it all that is left.
  test("and guesses the body too, is given nothing that takes the payer's change once it is paid", async () => {
    const bill = await askForBill(hearth.url);
    const shown = await everything(await call(hello, { "X-Payment-Hash": bill.payment_hash }));
    const keys = new Set(shown.match(/\bq_[0-9a-z]{26}\b|\bAgE[A-Za-z0-9+/]+=*/g));
    const own = await paid(bill);
    for (const key of keys)
      for (const authorization of [`L402 ${key}`, `L402 ${key}:${own.preimage}`]) expect((await claim(hearth.url, {}, { authorization })).status).not.toBe(200);
    expect(await balance(own.full)).toBe(bill.amount_msat);
  });
});

describe("a neighbour behind the same address", () => {
  const address = { "X-Forwarded-For": "203.0.113.7" };
  const secretsOf = (bill: Bill & Partial<TopupBill>) => [bill.invoice, bill.payment_hash, bill.macaroon, bill.quote_id, ...(bill.claim_secret === undefined ? [] : [bill.claim_secret])];
  const requests: [what: string, send: (headers: Headers) => Promise<Response>][] = [["a chat", (headers) => call(hello, headers)], ["a topup", (headers) => topup(headers)]];
  const keys: [which: string, headers: Headers][] = [["without an Idempotency-Key", {}], ["with the same Idempotency-Key", { "Idempotency-Key": "key-1" }]];

  for (const [what, send] of requests)
    test.each(keys)(`is never shown somebody's challenge for ${what}: the same request twice is two invoices, before and after one is paid (%s)`, async (_, key) => {
      const made = readLedger(hearth.dataDir, "SELECT 1 FROM invoice").length;
      const first = (await (await send({ ...address, ...key })).json()) as TopupBill;
      const second = await send({ ...address, ...key });
      const secondText = await everything(second);
      await pay(hearth.url, first.invoice);
      const third = await send({ ...address, ...key });
      const thirdText = await everything(third);
      expect([second.status, third.status]).toEqual([402, 402]);
      for (const secret of secretsOf(first)) for (const text of [secondText, thirdText]) expect(text).not.toContain(secret);
      expect(readLedger(hearth.dataDir, "SELECT 1 FROM invoice").length).toBe(made + 3);
    });

  test("who sends a payer's Idempotency-Key is asked to pay like anybody: not told that it was used, and nothing of the payer's", async () => {
    const own = await bought();
    const token = await buyToken(hearth.url, 10_000);
    const key = { ...address, "Idempotency-Key": "key-of-a-payer" };
    for (const payer of [{ authorization: own.full }, { "X-Token": token }] as Headers[]) {
      await expectServed(await call(hello, { ...key, ...payer }));
      await expectRefused(await call(hello, { ...key, ...payer }), 409, "duplicate_request");
      await expectFreshBill(await call(hello, key), own.bill);
    }
    const refill = (await (await topup({ ...key, "X-Token": token })).json()) as TopupBill;
    expect((await (await topup({ ...key, "X-Token": token })).json()) as TopupBill).toMatchObject({ invoice: refill.invoice });
    const neighbours = await everything(await topup(key));
    for (const secret of secretsOf(refill)) expect(neighbours).not.toContain(secret);
  });
});
