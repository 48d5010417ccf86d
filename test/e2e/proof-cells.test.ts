/**
 * The table of money section 4, cell by cell: what each proof opens of the quoted request, other calls, the claim, the
 * balance and the collection. Member keys are not there yet, and so is their row.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hmacSha256 } from "../../src/base/bytes.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, balanceOf, type Bill, buyToken, type ChatBody, claim, endHearth, hello, orderTopup, pay, type RunningHearth, runHearth, startHearth, steepPrices, type TopupBill,
} from "../support/hearth.ts";
import { collect, orderOf, payeesInvoice } from "../support/collecting.ts";

/** `hello` takes 6 tokens in and 33 out. */
const helloMsat = 6 * 1_000 + 33 * 3_000;
const other: ChatBody = { ...hello, model: "sandbox-loop", max_tokens: 5 };
/** Free calls are for addresses that mean one client: those that a proxy names. */
const config = `trusted_proxies = ["127.0.0.0/8", "::1"]
${steepPrices}[limits]
default_output_tokens = 1024
[trial]
models = ["sandbox", "sandbox-loop"]
calls = 4
daily_budget_sats = 1000000
`;

let hearth: RunningHearth;
let model: SandboxModel;
/** What is paid for `hello`. */
let quotedMsat = 0;
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url } });
  quotedMsat = (await askForBill(hearth.url)).amount_msat;
});
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

type Headers = Record<string, string>;
/** What somebody holds: how a request shows it, and what a claim says besides. */
type Held = { headers: Headers; claims?: object };

const by = (authorization: string): Held => ({ headers: { authorization } });
const call = (body: object, headers: Headers) => ask(hearth.url, body, undefined, { headers: { "content-type": "application/json", ...headers } });
const get = (path: string, headers: Headers) => fetch(`${hearth.url}/api/v1${path}`, { headers });
const payment = (id: string, preimage: string) => `Payment ${Buffer.from(JSON.stringify({ challenge: { id }, payload: { preimage } })).toString("base64url")}`;

/** A paid bill for `hello`. */
async function bought(): Promise<{ bill: Bill; preimage: string; full: string }> {
  const bill = await askForBill(hearth.url);
  const preimage = await pay(hearth.url, bill.invoice);
  return { bill, preimage, full: `L402 ${bill.macaroon}:${preimage}` };
}

/** A paid topup; with headers a refill of whose they are. */
async function toppedUp(order: object = {}, headers: Headers = {}): Promise<{ bill: TopupBill; preimage: string; full: string }> {
  const bill = await orderTopup(hearth.url, { amount_sats: 10_000, ...order }, headers);
  const preimage = await pay(hearth.url, bill.invoice);
  return { bill, preimage, full: `L402 ${bill.macaroon}:${preimage}` };
}

/** A caveat appended as any holder can: no secret but the macaroon's own signature is needed. */
function narrow(credential: string, caveat: string): string {
  const [, macaroon, preimage] = /^L402 ([^:]+):?(.*)$/.exec(credential)!;
  const bytes = Buffer.from(macaroon!, "base64"), condition = Buffer.from(caveat);
  const signature = hmacSha256(bytes.subarray(-32), condition);
  // V2: each caveat is an identifier (2, length) and an end (0); an end closes the list; then the signature (6, 32).
  const narrowed = Buffer.concat([bytes.subarray(0, -35), Buffer.from([2, condition.length]), condition, Buffer.from([0, 0, 6, 32]), signature]);
  return `L402 ${narrowed.toString("base64")}${preimage && `:${preimage}`}`;
}

type Refusal = readonly [status: number, code: string];

async function expectServed(answer: Response): Promise<void> {
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("chat.completion")]);
}

/** Refused by name, and nothing that a refusal is not to say. */
async function expectRefused(answer: Response, [status, code]: Refusal): Promise<void> {
  const text = await answer.text();
  expect([answer.status, JSON.parse(text)]).toEqual([status, expect.objectContaining({ error: expect.objectContaining({ code }) })]);
  expect(answer.headers.has("www-authenticate")).toBe(status === 402);
  for (const member of ['"token"', '"balance_sats"', '"balance_msat"', '"available_sats"', '"credited_sats"']) expect(text).not.toContain(member);
  expect(answer.headers.has("x-hearth-balance-msat")).toBe(false);
}

type Row = {
  proof: string;
  /** Makes a fresh payment for `hello`, or whatever opens it. */
  hold(): Promise<Held>;
  quoted: "always" | "once";
  /** Another model, another cap. */
  others: "served" | Refusal;
  claim: "token" | Refusal;
  balance: "shown" | Refusal;
  collect: "paid" | Refusal;
};

const once = { quoted: "once", others: [402, "payment_required"], balance: [401, "no_account"], collect: [401, "no_account"] } as const;
const everything = { quoted: "always", others: "served", claim: "token", balance: "shown", collect: "paid" } as const;
const notHere: Refusal = [400, "invalid_payment"];

const rows: Row[] = [
  { proof: "macaroon and preimage", hold: async () => by((await bought()).full), ...everything },
  { proof: "challenge id and preimage (MPP)", ...everything, async hold() {
    const { bill, preimage } = await bought();
    return by(payment(bill.quote_id, preimage));
  } },
  { proof: "macaroon alone, once settled", hold: async () => by((await bought()).full.split(":")[0]!), ...everything, collect: [403, "claim_first"] },
  { proof: "preimage alone, in a header", hold: async () => by(`Payment method="lightning", preimage="${(await bought()).preimage}"`), ...once, claim: notHere },
  { proof: "payment hash alone", hold: async () => ({ headers: { "X-Payment-Hash": (await bought()).bill.payment_hash } }), ...once, claim: notHere },
  { proof: "payment hash alone, as a credential", hold: async () => by(`L402 ${(await bought()).bill.payment_hash}`), ...once, claim: notHere },
  {
    proof: "narrowed macaroon and preimage", hold: async () => by(narrow((await bought()).full, "llm_models=sandbox")),
    quoted: "always", others: [403, "narrowed_credential"], claim: [403, "narrowed_credential"], balance: [403, "narrowed_credential"], collect: [403, "narrowed_credential"],
  },
  {
    proof: "narrowed macaroon alone", hold: async () => by(narrow((await bought()).full.split(":")[0]!, "llm_models=sandbox")),
    quoted: "always", others: [403, "narrowed_credential"], claim: [403, "narrowed_credential"], balance: [403, "narrowed_credential"], collect: [403, "narrowed_credential"],
  },
];

for (const { proof, hold, quoted, others, claim: claiming, balance, collect: collecting } of rows) {
  describe(proof, () => {
    test(`the quoted request: ${quoted}`, async () => {
      const { headers } = await hold();
      await expectServed(await call(hello, headers));
      const again = await call({ ...hello, stream: true }, headers);
      if (quoted === "always") await expectServed(again);
      else await expectRefused(again, [402, "payment_required"]);
    });

    test(`other calls: ${others}`, async () => {
      const { headers } = await hold();
      const calls = model.calls.length;
      const answer = await call(other, headers);
      if (others === "served") await expectServed(answer);
      else await expectRefused(answer, others);
      expect(model.calls.length - calls).toBe(others === "served" ? 1 : 0);
      await expectServed(await call(hello, headers));
    });

    test(`claim: ${claiming}`, async () => {
      const { headers, claims = {} } = await hold();
      const answer = await claim(hearth.url, claims, headers);
      if (claiming !== "token") return expectRefused(answer, claiming);
      const { token, balance_msat } = (await answer.json()) as { token: string; balance_msat: number };
      expect([answer.status, token]).toEqual([200, expect.stringMatching(/^abl_/)]);
      await expectServed(await call(hello, { "X-Token": token }));
      expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(balance_msat - helloMsat);
    });

    test(`collect: ${collecting}`, async () => {
      const { headers } = await hold();
      const { invoice } = await payeesInvoice(hearth.url, 200);
      const answer = await fetch(`${hearth.url}/api/v1/collect`, { method: "POST", headers, body: JSON.stringify({ invoice, amount_sats: 200 }) });
      if (collecting !== "paid") return expectRefused(answer, collecting);
      expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ status: "paid", amount_sats: 200 })]);
      expect(await (await get("/balance", headers)).json()).toMatchObject({ balance_msat: quotedMsat - 200_000 - 1_000 });
    });

    test(`balance: ${balance}`, async () => {
      const { headers } = await hold();
      for (const path of ["/balance", "/key"]) {
        const answer = await get(path, headers);
        if (balance !== "shown") await expectRefused(answer, balance);
        else expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining(`"${path === "/balance" ? "balance_msat" : "limit_remaining_msat"}":${quotedMsat},`)]);
      }
    });
  });
}

describe("abl_ token", () => {
  test("the quoted request and other calls: always", async () => {
    const token = await buyToken(hearth.url, 10_000);
    for (const body of [hello, hello, other]) await expectServed(await call(body, { "X-Token": token }));
  });

  test("claim: the refill it was opened with, and nothing by itself", async () => {
    const token = await buyToken(hearth.url, 10_000);
    const { preimage } = await toppedUp({}, { "X-Token": token });
    const answer = await claim(hearth.url, { preimage }, { "X-Token": token });
    expect([answer.status, await answer.json()]).toEqual([200, { balance_sats: 20_000, balance_msat: 20_000_000, credited_sats: 10_000 }]);
    await expectRefused(await claim(hearth.url, {}, { "X-Token": token }), notHere);
  });

  test("collect: paid, and not after the owner has revoked it", async () => {
    const token = await buyToken(hearth.url, 10_000);
    const collectTo = async () => collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 200)));
    expect(await collectTo()).toMatchObject({ status: 200 });
    expect((await runHearth(["key", "revoke", token], { HEARTH_DATA_DIR: hearth.dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port })).code).toBe(0);
    expect(await collectTo()).toMatchObject({ status: 401, body: { error: { code: "invalid_token" } } });
  });

  test("balance: shown", async () => {
    const token = await buyToken(hearth.url, 10_000);
    expect(await balanceOf(hearth.url, `Bearer ${token}`)).toMatchObject({ kind: "token", balance_msat: 10_000_000 });
  });
});

describe("claim_secret", () => {
  test("claim, and with it every call and the balance: the token it opens", async () => {
    for (const order of [{}, { claim: "secret" }]) {
      const { bill } = await toppedUp(order);
      const answer = await claim(hearth.url, { claim_secret: bill.claim_secret });
      const { token, ...shown } = (await answer.json()) as { token: string };
      expect([answer.status, shown]).toEqual([200, { balance_sats: 10_000, balance_msat: 10_000_000 } as object]);
      for (const body of [hello, other]) await expectServed(await call(body, { "X-Token": token }));
    }
  });

  test("of a refill it shows what the token has now", async () => {
    const token = await buyToken(hearth.url, 10_000);
    const { bill } = await toppedUp({}, { "X-Token": token });
    const answer = await claim(hearth.url, { claim_secret: bill.claim_secret });
    expect([answer.status, await answer.json()]).toEqual([200, { balance_sats: 20_000, balance_msat: 20_000_000, credited_sats: 10_000 }]);
  });
});

describe("preimage alone, of a topup", () => {
  const inHeader = (preimage: string): Held => by(`Payment method="lightning", preimage="${preimage}"`);

  test.each([["in the body", (preimage: string): Held => ({ headers: {}, claims: { preimage } })], ["in a header", inHeader]])(
    "claim: one opened without claim: secret (%s)", async (_, write) => {
      const { headers, claims = {} } = write((await toppedUp()).preimage);
      const answer = await claim(hearth.url, claims, headers);
      expect([answer.status, await answer.json()]).toEqual([200, { token: expect.stringMatching(/^abl_/), balance_sats: 10_000, balance_msat: 10_000_000 }]);
    });

  test("claim: none that was opened with claim: secret", async () => {
    const { preimage, bill } = await toppedUp({ claim: "secret" });
    await expectRefused(await claim(hearth.url, { preimage }), [403, "claim_secret_required"]);
    await expectRefused(await claim(hearth.url, {}, inHeader(preimage).headers), [403, "claim_secret_required"]);
    expect((await claim(hearth.url, { claim_secret: bill.claim_secret })).status).toBe(200);
  });

  test("claim: of a refill it says what was paid in and nothing of what is there", async () => {
    const { preimage } = await toppedUp({}, { "X-Token": await buyToken(hearth.url, 10_000) });
    const answer = await claim(hearth.url, { preimage });
    expect([answer.status, await answer.json()]).toEqual([200, { credited_sats: 10_000 }]);
  });

  test("calls and balance: no", async () => {
    const { preimage, full } = await toppedUp();
    const { headers } = inHeader(preimage);
    await expectRefused(await call(hello, headers), [402, "payment_required"]);
    for (const path of ["/balance", "/key"]) await expectRefused(await get(path, headers), [401, "no_account"]);
    expect((await balanceOf(hearth.url, full)).balance_msat).toBe(10_000_000);
  });
});

describe("trial", () => {
  const stranger = { "X-Forwarded-For": "203.0.113.7" };

  test("every call of its models until it is used up, then a bill; nobody's balance beside it", async () => {
    for (const body of [hello, other, hello, other]) {
      const answer = await call(body, stranger);
      expect([answer.headers.get("x-hearth-free"), answer.headers.get("x-hearth-balance-msat")]).toEqual(["1", null]);
      await expectServed(answer);
    }
    await expectRefused(await call(hello, stranger), [402, "payment_required"]);
    await expectServed(await call(hello, { "X-Forwarded-For": "203.0.113.8" }));
  });

  test("claim, balance and collection: no", async () => {
    const body = JSON.stringify(orderOf(await payeesInvoice(hearth.url, 200)));
    await expectRefused(await fetch(`${hearth.url}/api/v1/collect`, { method: "POST", headers: stranger, body }), [401, "no_account"]);
    await expectRefused(await claim(hearth.url, {}, stranger), notHere);
    for (const path of ["/balance", "/key"]) await expectRefused(await get(path, stranger), [401, "no_account"]);
  });
});

describe("a delegate, who holds a credential that its holder narrowed", () => {
  const narrowings = ["llm_models=sandbox", "llm_max_msat=999999999", "llm_valid_until=4102444800"];

  test.each(narrowings)("moves no money and sees none: balance, key, claim and refill are 403, with or without a token of their own (%s)", async (caveat) => {
    const { full } = await bought();
    const headers = by(narrow(full, caveat)).headers;
    const refused: Refusal = [403, "narrowed_credential"];
    for (const path of ["/balance", "/key"]) await expectRefused(await get(path, headers), refused);
    const token = await buyToken(hearth.url, 100);
    for (const body of [{}, { token }]) await expectRefused(await claim(hearth.url, body, headers), refused);
    const refill = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers, body: JSON.stringify({ amount_sats: 1_000 }) });
    await expectRefused(refill, refused);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(100_000);
    const claimed = await claim(hearth.url, {}, by(full).headers);
    expect([claimed.status, await claimed.json()]).toEqual([200, expect.objectContaining({ token: expect.stringMatching(/^abl_/) })]);
  });

  test("of a topup cannot claim it by its credential either", async () => {
    for (const caveat of narrowings) {
      const { full } = await toppedUp({ claim: "secret" });
      await expectRefused(await claim(hearth.url, {}, by(narrow(full, caveat)).headers), [403, "narrowed_credential"]);
      const again = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers: by(narrow(full, caveat)).headers, body: JSON.stringify({ amount_sats: 1_000 }) });
      await expectRefused(again, [403, "narrowed_credential"]);
    }
  });

  test.each([false, true])("is told what its call cost, and not what its holder has left (stream: %p)", async (stream) => {
    const { full } = await bought();
    const answer = await call({ ...hello, stream }, by(narrow(full, "llm_models=sandbox")).headers);
    const text = await answer.text();
    expect(answer.status).toBe(200);
    expect(stream ? /cost_msat=(\d+)/.exec(text)![1] : answer.headers.get("x-hearth-cost-msat")).toBe(String(helloMsat));
    expect(answer.headers.get("x-hearth-balance-msat")).toBeNull();
    expect(text).not.toContain("balance_msat");
  });

  test("is not told what its holder has left when that is too little", async () => {
    const { bill, full } = await bought();
    const answer = await call({ ...hello, max_tokens: 2_000 }, by(narrow(full, "llm_models=sandbox")).headers);
    const text = await answer.text();
    expect([402, 403]).toContain(answer.status);
    for (const told of ["available_sats", `holds ${bill.amount_msat} msat`]) expect(text).not.toContain(told);
  });

  test("who comes before the payment does not get the credential as it was before it was narrowed, nor the claim secret", async () => {
    const bills = [await askForBill(hearth.url), await orderTopup(hearth.url, { amount_sats: 1_000, claim: "secret" })];
    for (const bill of bills) {
      const headers = by(narrow(`L402 ${bill.macaroon}`, "llm_max_msat=1")).headers;
      const answers = [await call(hello, headers), await get("/balance", headers), await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", headers, body: '{"amount_sats":1000}' })];
      for (const answer of answers) {
        const text = JSON.stringify([...answer.headers]) + (await answer.text());
        expect(text).not.toContain(bill.macaroon);
        if ("claim_secret" in bill) expect(text).not.toContain(bill.claim_secret);
      }
    }
  });
});
