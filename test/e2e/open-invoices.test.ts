/**
 * Unpaid invoices are bounded, for each address that means one asker and in all (money 3); whoever has one is shown it again.
 * And what any page may read of any answer (wire 1).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { billResponse } from "../../src/http/challenge-body.ts";
import { corsHeaders } from "../../src/http/public-context.ts";
import { msat } from "../../src/money/msat.ts";
import type { OpenInvoice } from "../../src/payments/invoice.ts";
import {
  askForBill, askRaw, type Bill, buyCredential, buyToken, claim, endHearth, hello, misbehave, openOwnersDoor, orderTopup, pay, type RawAnswer, readLedger, type RunningHearth, startHearth, type TopupBill, until,
} from "../support/hearth.ts";

const chat = "/v1/chat/completions";
const perAddress = 3, inAll = 400;
const config = `trusted_proxies = ["127.0.0.1"]\n[limits]\nmax_open_invoices_per_address = ${perAddress}\nmax_open_invoices = `;

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth({ config: config + inAll })));
afterAll(() => endHearth(hearth));

let people = 0;
const somebody = () => `198.51.100.${++people}`;

type Sent = { method?: string; path?: string; headers?: Record<string, string>; body?: unknown };

/** A request as the proxy hands it on; without an address it is nobody's. */
function from(address: string | undefined, { method, path, headers, body }: Sent = {}, house = hearth): Promise<RawAnswer> {
  const named: Record<string, string> = address === undefined ? {} : { "X-Forwarded-For": address };
  const text = method === undefined || method === "POST" ? { body: typeof body === "string" ? body : JSON.stringify(body ?? hello) } : {};
  return askRaw(house.url, { method: method ?? "POST", path: path ?? chat, headers: { "Content-Type": "application/json", ...named, ...headers }, ...text });
}

const billOf = (answer: RawAnswer) => JSON.parse(answer.body) as Bill;
const invoices = (house = hearth) => readLedger(house.dataDir, "SELECT 1 FROM invoice").length;

async function fill(address: string | undefined, count = perAddress, house = hearth): Promise<Bill[]> {
  const bills: Bill[] = [];
  for (let i = 0; i < count; i++) {
    const answer = await from(address, {}, house);
    expect({ address, i, status: answer.status }).toEqual({ address, i, status: 402 });
    bills.push(billOf(answer));
  }
  return bills;
}

function expectTooMany(answer: RawAnswer): void {
  const wait = Number(answer.header("retry-after")) > 0;
  expect({ status: answer.status, retry: answer.header("x-should-retry"), wait, offer: answer.header("www-authenticate"), page: answer.header("access-control-allow-origin") })
    .toEqual({ status: 429, retry: undefined, wait: true, offer: undefined, page: "*" });
  if (answer.body !== "") expect(JSON.parse(answer.body)).toEqual({ error: { code: "too_many_invoices", type: "rate_limit_error", param: null, message: expect.stringMatching(/\w/) } });
}

/** Pays, and waits until that has freed its place: the log says so when it has. */
async function settle(bill: Bill, house = hearth): Promise<string> {
  const preimage = await pay(house.url, bill.invoice);
  await until("it is credited", () => house.output().includes(`invoice.credited payment_hash=${bill.payment_hash}`));
  return preimage;
}

describe(`an address with ${perAddress} unpaid invoices`, () => {
  const dead = `L402 Ag${"A".repeat(200)}:${"00".repeat(32)}`;
  const ways: [what: string, request: Sent][] = [
    ["a chat", {}], ["a probe by GET", { method: "GET" }], ["a probe by HEAD", { method: "HEAD" }],
    ["a probe by an empty body", { body: "" }], ["a topup", { path: "/api/v1/topup", body: { amount_sats: 500 } }],
    ["a dead credential", { headers: { Authorization: dead } }], ["the balance of a dead credential", { method: "GET", path: "/api/v1/balance", headers: { Authorization: dead } }],
    ["an unknown payment hash", { headers: { "X-Payment-Hash": nobodys } }],
    ["a key of another house", { headers: { Authorization: "Bearer sk-1" } }], ["another prefix", { path: "/openai/v1/chat/completions" }],
  ];
  test.each(ways)("is asked to wait, and no invoice is made: %s", async (_what, request) => {
    const address = somebody();
    await fill(address);
    const before = invoices();
    expectTooMany(await from(address, request));
    expect(invoices()).toBe(before);
  });

  test.each(ways)("may have had them in any way: each counts as one, %s", async (_what, request) => {
    const address = somebody();
    for (let i = 0; i < perAddress; i++) expect((await from(address, request)).status).toBe(402);
    expectTooMany(await from(address));
  });

  test("is one /64, and its neighbours are others", async () => {
    await fill("2001:db8:1:1::1");
    expectTooMany(await from("2001:db8:1:1:ffff::2"));
    await fill("2001:db8:1:2::1", 1);
  });

  test("keeps nobody else out: not another address, not the unknown", async () => {
    const address = somebody();
    await fill(address);
    await fill(somebody(), 1);
    await fill(undefined, perAddress * 4);
    expectTooMany(await from(address));
    expectTooMany(await from(`${somebody()}, ${address}`));
  });

  test("gets one place back for each that it pays, and only one", async () => {
    const address = somebody();
    const bills = await fill(address);
    for (const bill of bills.slice(0, 2)) {
      await settle(bill);
      await fill(address, 1);
      expectTooMany(await from(address));
    }
  });

  test("is still sold what it has paid for", async () => {
    const address = somebody();
    const [bill] = await fill(address);
    const preimage = await settle(bill!);
    await fill(address, 1);
    expectTooMany(await from(address));
    const answer = await from(address, { headers: { Authorization: `L402 ${bill!.macaroon}:${preimage}` } });
    expect([answer.status, Number(answer.header("x-hearth-cost-msat")) > 0]).toEqual([200, true]);
    expect((await from(address, { headers: { Authorization: `Bearer ${await buyToken(hearth.url)}` } })).status).toBe(200);
  });

  test("is told the truth about bad requests, which make none", async () => {
    const address = somebody();
    await fill(address);
    expect((await from(address, { body: "{" })).status).toBe(400);
    expect((await from(address, { headers: { Authorization: "Bearer abl_unknown" } })).status).toBe(401);
    expect((await from(address, { path: "/api/v1/topup", body: { amount_sats: 1 } })).status).toBe(400);
  });

  test("has had them one by one or all at once: a burst gets no more", async () => {
    const address = somebody(), before = invoices();
    const answers = await Promise.all(Array.from({ length: 20 }, () => from(address)));
    const refused = answers.filter((answer) => answer.status === 429);
    for (const answer of refused) expectTooMany(answer);
    expect({ shown: answers.filter((answer) => answer.status === 402).length, refused: refused.length, made: invoices() - before })
      .toEqual({ shown: perAddress, refused: 20 - perAddress, made: perAddress });
  });

  const troubles = [["down", { down: true }, { down: false }], ["losing its answers", { loseReplies: 5 }, { loseReplies: 0 }]] as const;
  test.each(troubles)("did not get one while the node was %s", async (_what, fault, end) => {
    const address = somebody();
    await misbehave(hearth.url, "node", fault);
    for (let i = 0; i < perAddress + 2; i++) {
      const answer = await from(address);
      expect([answer.status, billOf(answer).error.code, Number(answer.header("retry-after")) > 0, answer.header("x-should-retry")]).toEqual([503, "node_unavailable", true, undefined]);
    }
    await misbehave(hearth.url, "node", end);
    await fill(address);
    expectTooMany(await from(address));
  });
});

describe("whoever names an invoice of their own is shown it again at the limit", () => {
  const none = "00".repeat(32);
  const base64Json = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const byCredential: [how: string, ask: (bill: Bill) => Sent][] = [
    ["its macaroon", (bill) => ({ headers: { Authorization: `L402 ${bill.macaroon}` } })],
    ["its macaroon and an empty preimage", (bill) => ({ headers: { Authorization: `LSAT ${bill.macaroon}:` } })],
    ["its macaroon and a placeholder", (bill) => ({ headers: { Authorization: `L402 ${bill.macaroon}:${none}` } })],
    ["its macaroon, for another question", (bill) => ({ headers: { Authorization: `L402 ${bill.macaroon}` }, body: { ...hello, max_tokens: 7 } })],
    ["its macaroon, at the balance", (bill) => ({ method: "GET", path: "/api/v1/balance", headers: { Authorization: `L402 ${bill.macaroon}` } })],
    ["its challenge id", (bill) => ({ headers: { Authorization: `L402 ${bill.quote_id}:${none}` } })],
    ["its challenge id in the Payment scheme", (bill) => ({ headers: { Authorization: `Payment ${base64Json({ challenge: { id: bill.quote_id }, payload: { preimage: none } })}` } })],
  ];
  const byHash: [how: string, ask: (bill: Bill) => Sent][] = [
    ["its payment hash in a header", (bill) => ({ headers: { "X-Payment-Hash": bill.payment_hash } })],
    ["its payment hash in capitals", (bill) => ({ headers: { "X-Payment-Hash": bill.payment_hash.toUpperCase() } })],
    ["its payment hash in the query", (bill) => ({ path: `${chat}?payment_hash=${bill.payment_hash}` })],
    ["its payment hash in the body", (bill) => ({ body: { ...hello, payment_hash: bill.payment_hash } })],
    ["its payment hash as a credential", (bill) => ({ headers: { Authorization: `L402 ${bill.payment_hash}` } })],
    ["its payment hash, the question streamed and written anew", (bill) =>
      ({ headers: { "X-Payment-Hash": bill.payment_hash }, body: `{ "stream":true, "messages":${JSON.stringify(hello.messages)}, "model":"sandbox" }` })],
  ];
  let address: string, bills: Bill[];
  beforeAll(async () => void (bills = await fill((address = somebody()))));
  async function expectShown(askIt: (bill: Bill) => Sent, also: (bill: Bill) => object): Promise<void> {
    const before = invoices();
    for (const bill of bills) {
      const answer = await from(address, askIt(bill));
      expect([answer.status, answer.status === 402 && billOf(answer).invoice]).toEqual([402, bill.invoice]);
      expect(billOf(answer)).toMatchObject({ payment_hash: bill.payment_hash, error: { code: "payment_required" }, ...also(bill) });
    }
    expect(invoices()).toBe(before);
    expectTooMany(await from(address));
  }
  test.each(byCredential)("with its credential: %s", (_how, askIt) => expectShown(askIt, ({ macaroon, quote_id }) => ({ macaroon, quote_id })));
  test.each(byHash)("%s", (_how, askIt) => expectShown(askIt, () => ({})));

  const elsewhere: [what: string, ask: (bill: Bill) => Sent][] = [
    ["another question", (bill) => ({ headers: { "X-Payment-Hash": bill.payment_hash }, body: { ...hello, max_tokens: 7 } })],
    ["no question", (bill) => ({ method: "GET", headers: { "X-Payment-Hash": bill.payment_hash } })],
  ];
  test.each(elsewhere)("but by its payment hash not for %s: hops know it too", async (_what, askIt) => expectTooMany(await from(address, askIt(bills[0]!))));

  test("a topup by its own macaroon", async () => {
    const other = somebody();
    const order = { path: "/api/v1/topup", body: { amount_sats: 500 } };
    const topups = [await from(other, order), await from(other, order), await from(other, order)].map((answer) => JSON.parse(answer.body) as TopupBill);
    expectTooMany(await from(other, order));
    const again = await from(other, { ...order, headers: { Authorization: `L402 ${topups[1]!.macaroon}` } });
    expect([again.status, JSON.parse(again.body)]).toEqual([402, expect.objectContaining({ invoice: topups[1]!.invoice, claim_secret: topups[1]!.claim_secret })]);
  });

  test("a refill by its Idempotency-Key", async () => {
    const other = somebody(), headers = { "X-Token": await buyToken(hearth.url), "Idempotency-Key": "refill-1" };
    const order = { path: "/api/v1/topup", body: { amount_sats: 500 } };
    const refill = billOf(await from(other, { ...order, headers }));
    await fill(other, perAddress - 1);
    expectTooMany(await from(other, order));
    const again = await from(other, { ...order, headers });
    expect([again.status, billOf(again).invoice]).toEqual([402, refill.invoice]);
  });
});

describe("all unpaid invoices together are bounded too", () => {
  const most = 6;

  test("for everybody, in a burst, over a restart; what the node did not make is no invoice, and paying frees a place", async () => {
    let house = await startHearth({ config: config + most });
    const full = async () => {
      for (const address of [undefined, somebody(), "2001:db8:7::1"]) expectTooMany(await from(address, {}, house));
      expectTooMany(await from(undefined, { path: "/api/v1/topup", body: { amount_sats: 500 } }, house));
    };
    await misbehave(house.url, "node", { down: true });
    for (let i = 0; i < 3; i++) expect((await from(undefined, {}, house)).status).toBe(503);
    await misbehave(house.url, "node", { down: false });
    const answers = await Promise.all(Array.from({ length: 20 }, () => from(undefined, {}, house)));
    expect([answers.filter((answer) => answer.status === 402).length, answers.filter((answer) => answer.status === 429).length, invoices(house)]).toEqual([most, 20 - most, most]);
    const bills = answers.filter((answer) => answer.status === 402).map(billOf);
    await full();
    expect((await (await openOwnersDoor(house)).status()).open_invoices).toBe(most);
    expect(billOf(await from(undefined, { headers: { Authorization: `L402 ${bills[0]!.macaroon}` } }, house)).invoice).toBe(bills[0]!.invoice);

    await house.stop();
    house = await startHearth({ config: config + most, dataDir: house.dataDir });
    await full();
    expect(billOf(await from(undefined, { headers: { "X-Payment-Hash": bills[1]!.payment_hash } }, house)).invoice).toBe(bills[1]!.invoice);

    const preimage = await settle(bills[0]!, house);
    const [bill] = await fill(somebody(), 1, house);
    await full();
    await settle(bill!, house);
    const credential = { headers: { Authorization: `L402 ${bills[0]!.macaroon}:${preimage}` } };
    expect((await from(undefined, credential, house)).status).toBe(200);
    await fill(undefined, 1, house);
    await full();
    await endHearth(house);
  });
});

const allowed = "Authorization, Content-Type, Accept-Payment, Accept-Authenticate, X-Token, X-Payment-Hash, Idempotency-Key, x-api-key, anthropic-version";
const prefixes = ["/v1", "/api/v1", "/openai/v1", "/api/v1/openai/v1"];
const nobodys = "ab".repeat(32);
const routes = ["/chat/completions", "/chat/completions/sandbox", "/models", "/models/sandbox", "/topup", "/topup/claim", `/topup/${nobodys}`, `/topup/${nobodys}/events`, "/balance", "/key"];

describe("any page may ask, and may read every answer", () => {
  const page = { Origin: "https://shop.example" };
  test.each([...prefixes.flatMap((prefix) => routes.map((route) => prefix + route)), "/", "/healthz", "/nothing/here"])("OPTIONS %s", async (path) => {
    const headers = { ...page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-token" };
    const answer = await askRaw(hearth.url, { method: "OPTIONS", path, headers });
    expect({ status: answer.status, body: answer.body, origin: answer.header("access-control-allow-origin"), headers: answer.header("access-control-allow-headers") })
      .toEqual({ status: 204, body: "", origin: "*", headers: allowed });
    expect(answer.header("access-control-allow-methods")?.split(", ")).toEqual(expect.arrayContaining(["GET", "HEAD", "POST"]));
    expect(answer.header("access-control-allow-credentials")).toBeUndefined();
  });

  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    askRaw(hearth.url, { method: "POST", path, headers: { ...page, ...headers }, body: typeof body === "string" ? body : JSON.stringify(body) });
  const get = (path: string, headers: Record<string, string> = {}, method = "GET") => askRaw(hearth.url, { method, path, headers: { ...page, ...headers } });
  const token = async () => ({ Authorization: `Bearer ${await buyToken(hearth.url)}` });
  const answers: [status: number, what: string, ask: () => Promise<RawAnswer>][] = [
    [200, "a sale", async () => post(chat, hello, await token())], [200, "a stream", async () => post(chat, { ...hello, stream: true }, await token())],
    [200, "the balance", async () => get("/api/v1/balance", await token())], [200, "the key", async () => get("/api/v1/key", await token())],
    [200, "a topup's state", async () => get(`/api/v1/topup/${(await orderTopup(hearth.url)).payment_hash}`)], [200, "a claim", async () => post("/api/v1/topup/claim", await paidTopup())],
    [200, "a topup's events", async () => get(`/api/v1/topup/${(await settledTopup()).payment_hash}/events`)],
    [400, "no JSON for a topup", () => post("/api/v1/topup", "{")], [400, "no amount", () => post("/api/v1/topup", {})],
    [400, "a claim of nothing", () => post("/api/v1/topup/claim", {})], [400, "a bad hash", () => get("/api/v1/balance", { "X-Payment-Hash": "x" })],
    [401, "an unknown token at the key", () => get("/api/v1/key", { "X-Token": "abl_x" })],
    [401, "a topup for an unknown token", () => post("/api/v1/topup", { amount_sats: 500 }, { "X-Token": "abl_x" })],
    [402, "a topup", () => post("/api/v1/topup", { amount_sats: 500 })], [402, "a probe by HEAD", () => get(chat, {}, "HEAD")],
    [402, "a token that holds too little", async () => post(chat, { ...hello, model: "sandbox-loop", max_tokens: 16_000, n: 16 }, { Authorization: `Bearer ${await buyToken(hearth.url, 100)}` })],
    [403, "a claim that wants its secret", async () => post("/api/v1/topup/claim", { preimage: (await paidTopup("secret")).preimage })],
    [404, "no such topup", () => get(`/api/v1/topup/${nobodys}`)], [404, "nothing", () => get("/nothing")], [405, "a wrong method", () => askRaw(hearth.url, { method: "PUT", path: chat })],
    [409, "a claim that is not paid", async () => post("/api/v1/topup/claim", { claim_secret: (await orderTopup(hearth.url)).claim_secret })],
    [413, "5 MB", () => post("/api/v1/topup", `{"x":"${"x".repeat(5_000_000)}"}`)],
    [422, "another order under one key", anotherOrder],
    [429, "too many invoices", async () => post(chat, hello, { "X-Forwarded-For": await somebodyFull() })], [503, "a node that is down", withNodeDown],
  ];

  async function anotherOrder(): Promise<RawAnswer> {
    const headers = { ...(await token()), "Idempotency-Key": "k" };
    await post("/api/v1/topup", { amount_sats: 500 }, headers);
    return post("/api/v1/topup", { amount_sats: 501 }, headers);
  }
  async function somebodyFull(): Promise<string> {
    const address = somebody();
    await fill(address);
    return address;
  }
  async function withNodeDown(): Promise<RawAnswer> {
    await misbehave(hearth.url, "node", { down: true });
    const answer = await post("/api/v1/topup", { amount_sats: 500 });
    await misbehave(hearth.url, "node", { down: false });
    return answer;
  }
  async function paidTopup(how?: "secret"): Promise<{ preimage: string }> {
    const order = await orderTopup(hearth.url, { amount_sats: 500, claim: how });
    return { preimage: await settle(order) };
  }
  async function settledTopup(): Promise<TopupBill> {
    const order = await orderTopup(hearth.url);
    await settle(order);
    expect((await claim(hearth.url, { claim_secret: order.claim_secret })).status).toBe(200);
    return order;
  }

  test.each(answers)("%i: %s", async (status, _what, askIt) => {
    const answer = await askIt();
    expect({ status: answer.status, origin: answer.header("access-control-allow-origin"), credentials: answer.header("access-control-allow-credentials") })
      .toEqual({ status, origin: "*", credentials: undefined });
    expect(answer.headers.filter(([name]) => name.toLowerCase() === "access-control-allow-origin")).toHaveLength(1);
    const readable = answer.header("access-control-expose-headers")!.toLowerCase().split(/, */);
    const challenge = answer.header("www-authenticate") !== undefined;
    expect(readable).toEqual(expect.arrayContaining(challenge ? ["www-authenticate", "x-lightning-invoice", "x-payment-hash", "x-price-sats", "payment-receipt"] : ["retry-after", "x-request-id"]));
  });
});

describe("the head of a 402 stays under 4 KB", () => {
  const most = 4_096;
  const bytesOf = (answer: RawAnswer) => Buffer.byteLength(answer.head, "latin1") + 4;

  test("with all that a topup, a refill or a routed model adds", async () => {
    const order = { path: "/api/v1/topup", body: { amount_sats: 1_000_000 } };
    const refill = { ...order, headers: { Authorization: await buyCredential(hearth.url), "Idempotency-Key": "k".repeat(255) } };
    for (const request of [order, refill, { body: { ...hello, model: "auto" } }]) {
      const answer = await from(undefined, request);
      expect([answer.status, bytesOf(answer) < most]).toEqual([402, true]);
      const names = answer.headers.map(([name]) => name.toLowerCase());
      expect(names).toEqual(expect.arrayContaining(["x-topup-url", "x-lightning-invoice", ...("path" in request ? ["x-topup-claim-url"] : ["x-route-model"])]));
      expect(answer.header("www-authenticate")).toContain(", Payment id=");
    }
  });

  test("whatever the length of the node's invoices, as long as the invoice itself has room", async () => {
    const bill = await askForBill(hearth.url);
    /** What the server writes by itself. */
    const ofServer = "HTTP/1.1 402 Payment Required\r\nDate: Sat, 21 Nov 2026 15:23:11 GMT\r\nContent-Length: 12345\r\n\r\n".length;
    const left = { offers: 0, invoices: 0, all: 0 };
    for (let length = 200; length <= 2_600; length += 7) {
      const invoice: OpenInvoice = {
        state: "open", paymentHash: bill.payment_hash, reference: "i", bolt11: "lnbc1".padEnd(length, "q"), amountMsat: msat(1_000_000_000n), tokenId: "",
        quoteId: bill.quote_id, quoteFingerprint: "", quoteTerms: "",
        purpose: { kind: "topup", claimNeedsSecret: true }, claimSecretHash: "", createdAtMs: 0, expiresAtMs: 600_000,
      };
      const headers = { ...corsHeaders, "x-request-id": `c_${"0".repeat(26)}`, "Cache-Control": "no-store", "X-Route-Model": "m".repeat(64) };
      const challenge = { invoice, macaroon: bill.macaroon, claimSecret: `cs_${"A".repeat(43)}` };
      const setting = { offerPayment: true, paymentNetwork: () => "mainnet", rate: () => undefined, discountPercent: 0 };
      const answer = billResponse({ challenge, reason: { kind: "required" } }, {}, { setting, nowMs: 0, headers, asProblem: true });
      const bytes = [...answer.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, ofServer);
      expect({ length, fits: bytes < most }).toEqual({ length, fits: true });
      left.offers += Number(answer.headers.get("www-authenticate")!.includes("Payment id="));
      left.invoices += Number(answer.headers.has("x-lightning-invoice"));
      left.all++;
    }
    // First the invoice's own header goes, then the offer; neither before it must.
    expect(left.invoices).toBeGreaterThan(30);
    expect(left.offers).toBeGreaterThan(left.invoices);
    expect(left.all).toBeGreaterThan(left.offers);
  });
});
