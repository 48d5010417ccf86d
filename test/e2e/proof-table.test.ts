/** Every form in which a request may prove a payment, row by row of wire section 3: what it opens, what it is told, and who is asked to pay instead. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, balanceOf, type Bill, buyToken, endHearth, hello, misbehave, pay, readLedger, type RunningHearth, startHearth, steepPrices, until,
} from "../support/hearth.ts";

/** `hello` takes 6 tokens in and 33 out. */
const helloMsat = 6 * 1_000 + 33 * 3_000;
const defaultCap = 1_024, leastCap = 256;
const poorSats = 100;
const wrong = "ab".repeat(32), nobodys = "cd".repeat(32);

let model: SandboxModel;
let recorder: ReturnType<typeof startRecorder>;
let hearth: RunningHearth;
let token: string, poorToken: string;
beforeAll(async () => {
  model = startSandboxModel();
  recorder = startRecorder(model.url);
  hearth = await startHearth({ command: "serve", config: `${steepPrices}[limits]\ndefault_output_tokens = ${defaultCap}\n`, env: { HEARTH_UPSTREAM_URL: recorder.url } });
  [token, poorToken] = await Promise.all([buyToken(hearth.url, 1_000_000), buyToken(hearth.url, poorSats)]);
});
afterAll(async () => {
  await endHearth(hearth);
  await recorder.stop();
  await model.stop();
});

/** Stands before the model and keeps what comes, as it comes. */
function startRecorder(modelUrl: string) {
  const received: { head: string; body: string }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const body = await request.text();
      received.push({ head: JSON.stringify([pathname, search, ...request.headers]), body });
      return fetch(new URL(pathname, modelUrl), { method: request.method, ...(body !== "" && { body }) });
    },
  });
  return { url: `http://127.0.0.1:${server.port}/v1`, received, stop: () => server.stop(true) };
}

type Offer = Record<"id" | "realm" | "method" | "intent" | "request" | "expires", string>;
/** What somebody who asked for `hello` may know of the invoice. */
type Own = { bill: Bill; mac: string; preimage: string; hash: string; id: string; offer: Offer };
type Sent = { method?: string; query?: string; headers?: Record<string, string>; body?: object | string };

/** A bill for `hello`; a preimage that opens nothing while it is not paid. */
async function billed(): Promise<Own> {
  const answer = await ask(hearth.url, hello);
  const header = /Payment (.*)$/.exec(answer.headers.get("www-authenticate")!)![1]!;
  const offer = Object.fromEntries([...header.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])) as Offer;
  const bill = (await answer.json()) as Bill;
  return { bill, mac: bill.macaroon, preimage: wrong, hash: bill.payment_hash, id: bill.quote_id, offer };
}

async function bought(): Promise<Own> {
  const own = await billed();
  return { ...own, preimage: await pay(hearth.url, own.bill.invoice) };
}

function send({ method = "POST", query = "", headers = {}, body = hello }: Sent): Promise<Response> {
  const content = method === "POST" && { body: typeof body === "string" ? body : JSON.stringify(body) };
  return fetch(`${hearth.url}/v1/chat/completions${query}`, { method, headers: { "content-type": "application/json", ...headers }, ...content });
}

const by = (authorization: string): Sent => ({ headers: { authorization } });
const urlSafe = (macaroon: string) => macaroon.replaceAll("+", "-").replaceAll("/", "_");
const withoutPadding = (base64: string) => base64.replaceAll("=", "");
const payment = (challenge: object, preimage: string) => `Payment ${Buffer.from(JSON.stringify({ challenge, payload: { preimage } })).toString("base64url")}`;
const invoices = () => readLedger(hearth.dataDir, "SELECT 1 FROM invoice").length;
const balance = async (authorization: string) => (await balanceOf(hearth.url, authorization)).balance_msat;

type Row = [proof: string, write: (own: Own) => Sent];
type Expected = { payer: "credential" | "token"; balance: "shown" | "hidden"; receipt?: true };

/** The request is answered, paid for by the named one alone, and tells its asker what is theirs to know and no more. */
async function expectServed(write: (own: Own) => Sent, stream: boolean, expected: Expected): Promise<void> {
  const own = await bought();
  const tokens = [token, poorToken];
  const [rich, poor] = await Promise.all(tokens.map((one) => balance(`Bearer ${one}`))) as [number, number];
  const asked = recorder.received.length;
  const sent = write(own);
  const answer = await send({ ...sent, body: { ...(sent.body as object | undefined ?? hello), stream } });
  const text = await answer.text();
  expect([answer.status, text]).toEqual([200, expect.stringContaining("chat.completion")]);
  const ofToken = expected.payer === "token" ? helloMsat : 0;
  const left = expected.payer === "token" ? rich - helloMsat : own.bill.amount_msat - helloMsat;
  const told = stream
    ? /^: hearth cost_msat=(\d+)(?: balance_msat=(\d+))?$/m.exec(text)!.slice(1).map((one) => one ?? null)
    : [answer.headers.get("x-hearth-cost-msat"), answer.headers.get("x-hearth-balance-msat")];
  expect(told).toEqual([String(helloMsat), expected.balance === "shown" ? String(left) : null]);
  for (const absent of ["www-authenticate", "x-hearth-dropped"]) expect(answer.headers.get(absent)).toBeNull();
  expect(answer.headers.get("cache-control")).toContain("no-store");
  expectReceipt(answer, expected.receipt ? own : undefined);
  const all = JSON.stringify([...answer.headers]) + text;
  for (const secret of [own.preimage, own.mac, ...tokens]) expect(all).not.toContain(secret);
  expect(await balance(`L402 ${own.mac}:${own.preimage}`)).toBe(own.bill.amount_msat - helloMsat + ofToken);
  expect(await balance(`Bearer ${token}`)).toBe(rich - ofToken);
  expect(await balance(`Bearer ${poorToken}`)).toBe(poor);
  const received = recorder.received.slice(asked);
  expect(received.map((one) => JSON.parse(one.body))).toEqual([
    { model: hello.model, messages: hello.messages, max_tokens: defaultCap, ...(stream && { stream, stream_options: { include_usage: true } }) },
  ]);
  for (const secret of [own.hash, own.preimage, own.mac, own.id, ...tokens, "payment"]) expect(received[0]!.head.toLowerCase()).not.toContain(secret.toLowerCase());
}

function expectReceipt(answer: Response, own: Own | undefined): void {
  const receipt = answer.headers.get("payment-receipt");
  expect(receipt !== null).toBe(own !== undefined);
  expect(answer.headers.get("cache-control")!.includes("private")).toBe(own !== undefined);
  if (receipt === null) return;
  const text = Buffer.from(receipt, "base64url").toString();
  expect(JSON.parse(text)).toEqual({ challengeId: own!.id, method: "lightning", reference: own!.hash, status: "success", timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) });
  expect(text).not.toContain(own!.preimage);
}

function served(rows: Row[], expected: Expected): void {
  for (const stream of [false, true])
    test.each(rows)(`%s (stream: ${stream})`, (_, write) => expectServed(write, stream, expected));
}

describe("rows 1 to 3: the credential of the quoted request pays, and its holder is told what is left", () => {
  served([
    ["L402 macaroon:preimage", ({ mac, preimage }) => by(`L402 ${mac}:${preimage}`)],
    ["l402, the preimage in capitals", ({ mac, preimage }) => by(`l402 ${mac}:${preimage.toUpperCase()}`)],
    ["LSAT", ({ mac, preimage }) => by(`LSAT ${mac}:${preimage}`)],
    ["lsat", ({ mac, preimage }) => by(`lsat ${mac}:${preimage}`)],
    ["LsAt in mixed case", ({ mac, preimage }) => by(`LsAt ${mac}:${preimage}`)],
    ["url-safe base64", ({ mac, preimage }) => by(`L402 ${urlSafe(mac)}:${preimage}`)],
    ["url-safe base64 without padding", ({ mac, preimage }) => by(`L402 ${withoutPadding(urlSafe(mac))}:${preimage}`)],
    ["standard base64 without padding", ({ mac, preimage }) => by(`L402 ${withoutPadding(mac)}:${preimage}`)],
    ["comma-joined macaroons, of which the first counts", ({ mac, preimage }) => by(`L402 ${mac},AgEEbHNhdA:${preimage}`)],
    ["comma-joined macaroons with a blank between", ({ mac, preimage }) => by(`LSAT ${mac}, AgEEbHNhdA:${preimage}`)],
    ["behind a key of another house", ({ mac, preimage }) => by(`Bearer sk-of-another-house, L402 ${mac}:${preimage}`)],
    ["before a key of another house", ({ mac, preimage }) => by(`L402 ${mac}:${preimage}, Bearer sk-of-another-house`)],
    ["Bearer macaroon:preimage, as an api_key", ({ mac, preimage }) => by(`Bearer ${mac}:${preimage}`)],
    ["x-api-key macaroon:preimage", ({ mac, preimage }) => ({ headers: { "x-api-key": `${mac}:${preimage}` } })],
    ["x-api-key macaroon:preimage beside a foreign Bearer key", ({ mac, preimage }) => ({ headers: { "X-Api-Key": `${mac}:${preimage}`, authorization: "Bearer sk-of-another-house" } })],
    ["beside a payment hash of nobody's", ({ mac, preimage }) => ({ headers: { authorization: `L402 ${mac}:${preimage}`, "x-payment-hash": nobodys } })],
    ["L402 macaroon alone", ({ mac }) => by(`L402 ${mac}`)],
    ["LSAT macaroon alone", ({ mac }) => by(`LSAT ${mac}`)],
    ["L402 macaroon and an empty preimage", ({ mac }) => by(`L402 ${mac}:`)],
  ], { payer: "credential", balance: "shown" });
});

describe("row 4: a Payment charge pays from the same balance and gets a receipt that no cache may share", () => {
  served([
    ["its challenge echoed whole", ({ offer, preimage }) => by(payment(offer, preimage))],
    ["with nothing of the challenge but its id", ({ id, preimage }) => by(payment({ id }, preimage))],
    ["without expires and request, which some clients drop", ({ offer: { id, realm, method, intent }, preimage }) => by(payment({ id, realm, method, intent }, preimage))],
    ["payment in lower case", ({ offer, preimage }) => by(payment(offer, preimage).replace("Payment", "payment"))],
    ["L402 <challenge id>:<preimage>, where elsewhere the macaroon is the id", ({ id, preimage }) => by(`L402 ${id}:${preimage}`)],
  ], { payer: "credential", balance: "shown", receipt: true });
});

describe("row 5: a bare preimage opens the quoted request and shows no balance", () => {
  served([
    ['Payment method="lightning", preimage="..."', ({ preimage }) => by(`Payment method="lightning", preimage="${preimage}"`)],
    ["the other way round, the preimage in capitals", ({ preimage }) => by(`Payment preimage="${preimage.toUpperCase()}", method="lightning"`)],
    ["without quotes", ({ preimage }) => by(`payment method=lightning, preimage=${preimage}`)],
  ], { payer: "credential", balance: "hidden" });
});

describe("row 6: a token pays", () => {
  served([
    ["X-Token", () => ({ headers: { "X-Token": token } })],
    ["Bearer", () => by(`Bearer ${token}`)],
    ["x-api-key", () => ({ headers: { "x-api-key": token } })],
    ["x-api-key beside a foreign Bearer key", () => ({ headers: { "X-Api-Key": token, authorization: "Bearer sk-of-another-house" } })],
    ["X-Token before the credential it comes with", ({ mac, preimage }) => ({ headers: { "X-Token": token, authorization: `L402 ${mac}:${preimage}` } })],
    ["Bearer before the credential it is joined with", ({ mac, preimage }) => by(`L402 ${mac}:${preimage}, Bearer ${token}`)],
    ["X-Token before the payment hash it comes with", ({ hash }) => ({ headers: { "X-Token": token, "X-Payment-Hash": hash } })],
    ["X-Token beside a credential that cannot be read", () => ({ headers: { "X-Token": token, authorization: "L402 garbage:garbage" } })],
  ], { payer: "token", balance: "shown" });
});

describe("row 6: a token too poor lets the credential pay that comes with it", () => {
  served([
    ["X-Token and L402", ({ mac, preimage }) => ({ headers: { "X-Token": poorToken, authorization: `L402 ${mac}:${preimage}` } })],
    ["x-api-key and L402", ({ mac, preimage }) => ({ headers: { "x-api-key": poorToken, authorization: `L402 ${mac}:${preimage}` } })],
    ["X-Token and the macaroon alone", ({ mac }) => ({ headers: { "X-Token": poorToken, authorization: `L402 ${mac}` } })],
  ], { payer: "credential", balance: "shown" });
  served([
    ["X-Token and Payment", ({ offer, preimage }) => ({ headers: { "X-Token": poorToken, authorization: payment(offer, preimage) } })],
  ], { payer: "credential", balance: "shown", receipt: true });
  served([
    ["X-Token and X-Payment-Hash", ({ hash }) => ({ headers: { "X-Token": poorToken, "X-Payment-Hash": hash } })],
    ["X-Token and the bare preimage", ({ preimage }) => ({ headers: { "X-Token": poorToken, authorization: `Payment method="lightning", preimage="${preimage}"` } })],
  ], { payer: "credential", balance: "hidden" });
});

test("a token and a credential that are both too poor get a challenge, and are told of the credential's shortfall", async () => {
  const { bill, mac, preimage } = await bought();
  const requiredSats = bill.amount_sats + 3 * defaultCap;
  const answer = await send({ headers: { "X-Token": poorToken, authorization: `L402 ${mac}:${preimage}` }, body: { ...hello, max_tokens: 2 * defaultCap } });
  expect(answer.headers.get("www-authenticate")).toMatch(/^L402 macaroon="/);
  expect([answer.status, await answer.json()]).toEqual([402, expect.objectContaining({
    error: expect.objectContaining({ code: "insufficient_balance" }), available_sats: bill.amount_sats, required_sats: requiredSats, amount_sats: requiredSats,
  })]);
});

/** Where a payment hash may stand. */
const places: [place: string, write: (hash: string) => Sent][] = [
  ["X-Payment-Hash", (hash) => ({ headers: { "X-Payment-Hash": hash } })],
  ["?payment_hash=", (hash) => ({ query: `?payment_hash=${hash}` })],
  ["body payment_hash", (hash) => ({ body: { ...hello, payment_hash: hash } })],
  ["Authorization: L402 <hash>", (hash) => by(`L402 ${hash}`)],
];
const both = (a: Sent, b: Sent): Sent => ({ ...a, ...b, headers: { ...a.headers, ...b.headers } });

describe("row 7: a payment hash opens the quoted request, shows no balance and goes no further than us", () => {
  served([
    ...places.map(([place, write]): Row => [place, ({ hash }) => write(hash)]),
    ["in capitals", ({ hash }) => ({ headers: { "X-Payment-Hash": hash.toUpperCase() } })],
    ["Authorization: LSAT <hash>", ({ hash }) => by(`LSAT ${hash}`)],
    ["Authorization: 64 hex digits alone", ({ hash }) => by(hash)],
    ["beside a key of another house", ({ hash }) => ({ headers: { authorization: "Bearer sk-of-another-house", "X-Payment-Hash": hash } })],
    ["in the header and the body, as MaximumSats' client repeats", ({ hash }) => both(by(`L402 ${hash}`), { body: { ...hello, payment_hash: hash } })],
    ["in all four places, in both cases", ({ hash }) => places.map(([, write], at) => write(at % 2 === 0 ? hash : hash.toUpperCase())).reduce(both)],
  ], { payer: "credential", balance: "hidden" });

  const pairs = places.flatMap(([first, one], at) => places.slice(at + 1).map(([second, other]) => ({ first, second, one, other })));
  test.each(pairs)("is a 400 when $first and $second differ, and neither payment is touched", async ({ one, other }) => {
    const [a, b] = [await bought(), await bought()];
    const answer = await send(both(one(a.hash), other(b.hash)));
    expect([answer.status, await answer.json()]).toEqual([400, { error: expect.objectContaining({ code: "invalid_request", param: "payment_hash" }) }]);
    for (const { bill, mac, preimage } of [a, b]) expect(await balance(`L402 ${mac}:${preimage}`)).toBe(bill.amount_msat);
  });

  test.each(places)("of an unpaid invoice gets that invoice again, and no second one (%s)", async (_, write) => {
    const { bill, hash } = await billed();
    const made = invoices();
    for (let times = 0; times < 3; times++) {
      const answer = await send(write(hash));
      expect([answer.status, await answer.json()]).toEqual([402, expect.objectContaining({ invoice: bill.invoice, payment_hash: hash })]);
    }
    expect(invoices()).toBe(made);
  });

  test("or a bare preimage is answered 503 while the node cannot be asked, never 402, and served when it is back", async () => {
    const proofs: ((own: Own) => Sent)[] = [({ hash }) => by(`L402 ${hash}`), ({ preimage }) => by(`Payment method="lightning", preimage="${preimage}"`)];
    for (const write of proofs) {
      const own = await billed();
      await misbehave(hearth.url, "node", { down: true });
      try {
        own.preimage = await pay(hearth.url, own.bill.invoice);
        const answer = await send(write(own));
        expect([answer.status, await answer.json()]).toEqual([503, { error: expect.objectContaining({ code: "settlement_unknown" }) }]);
        expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      } finally {
        await misbehave(hearth.url, "node", { down: false });
      }
      await until("it is served", async () => (await send(write(own))).status === 200);
    }
  });

  test("asks the node at most once a second, however often it is sent", async () => {
    const { bill, hash } = await billed();
    await misbehave(hearth.url, "node", { dropSettlements: 1, openAfterPreimage: 3 });
    await pay(hearth.url, bill.invoice);
    const startedMs = performance.now();
    try {
      await until("the payment is seen", async () => (await send(places[0]![1](hash))).status === 200);
    } finally {
      await misbehave(hearth.url, "node", { openAfterPreimage: 0 });
    }
    // Three look-ups that say open; the regular look at all open invoices may have been one of them.
    expect(performance.now() - startedMs).toBeGreaterThan(1_500);
  }, 20_000);
});

type Refused = [what: string, write: (own: Own) => Sent];

describe("row 8 and refused credentials: 402 with a challenge of their own, as a stranger gets", () => {
  test.each<Refused>([
    ["nothing", () => ({})],
    ["an empty body", () => ({ body: "" })],
    ["an empty object", () => ({ body: {} })],
    ["GET", () => ({ method: "GET" })],
    ["HEAD", () => ({ method: "HEAD" })],
    ["GET with a payment hash, which opens a question only", ({ hash }) => ({ method: "GET", headers: { "X-Payment-Hash": hash } })],
    ["a payment hash and no question", ({ hash }) => ({ body: {}, headers: { "X-Payment-Hash": hash } })],
    ["an empty Authorization", () => by("")],
    ["L402", () => by("L402")],
    ["L402 :", () => by("L402 :")],
    ["Bearer of another house", () => by("Bearer sk-proj-0123456789abcdef")],
    ["Bearer of another house with a colon in it", () => by("Bearer sk-proj:0123456789abcdef")],
    ["x-api-key of another house", () => ({ headers: { "x-api-key": "sk-ant-0123456789abcdef" } })],
    ["X-Token that is none of ours in shape", () => ({ headers: { "X-Token": "tok_0123456789abcdef" } })],
    ["Basic", () => by("Basic dXNlcjpwYXNzd29yZA==")],
    ["a word alone", () => by("open-sesame")],
    ["L402 with nothing of a macaroon", () => by("L402 garbage:garbage")],
    ["L402 with half a preimage", ({ mac, preimage }) => by(`L402 ${mac}:${preimage.slice(1)}`)],
    ["L402 with a wrong preimage", ({ mac }) => by(`L402 ${mac}:${wrong}`)],
    ["L402 with a macaroon cut short", ({ mac, preimage }) => by(`L402 ${mac.slice(0, -8)}:${preimage}`)],
    ["L402 with nobody's challenge id", ({ preimage }) => by(`L402 q_${"0".repeat(26)}:${preimage}`)],
    ["Payment that is no JSON", () => by("Payment e30x")],
    ["Payment with a wrong preimage", ({ offer }) => by(payment(offer, wrong))],
    ["Payment with another amount", ({ offer, preimage }) => by(payment({ ...offer, request: Buffer.from('{"amount":"1"}').toString("base64url") }, preimage))],
    ["Payment of another method", ({ preimage }) => by(`Payment method="stripe", preimage="${preimage}"`)],
    ["Payment without a preimage", () => by('Payment method="lightning"')],
    ["a preimage of nobody's", () => by(`Payment method="lightning", preimage="${wrong}"`)],
    ["a payment hash of nobody's", () => by(`L402 ${nobodys}`)],
    ["more than 4 KB of credential", ({ mac, preimage }) => by(`L402 ${mac},${"A".repeat(4_096)}:${preimage}`)],
  ])("%s", async (_, write) => {
    const own = await bought();
    await until("the payment is credited", () => readLedger(hearth.dataDir, "SELECT 1 FROM invoice WHERE payment_hash = ? AND state = 'credited'", own.hash).length > 0);
    const asked = recorder.received.length, made = invoices();
    const sent = write(own);
    const answer = await send(sent);
    const text = await answer.text();
    expect(answer.status).toBe(402);
    expect(answer.headers.get("www-authenticate")).toMatch(/^L402 macaroon="[^"]+", invoice="lnbc[^"]+", Payment id="q_/);
    expect(answer.headers.get("x-payment-hash")).not.toBe(own.hash);
    if (sent.method !== "HEAD") expect(JSON.parse(text)).toMatchObject({ error: { code: "payment_required" }, payment_hash: answer.headers.get("x-payment-hash") });
    for (const shown of [own.bill.invoice, own.mac, own.preimage, own.id]) expect(JSON.stringify([...answer.headers]) + text).not.toContain(shown);
    expect(invoices()).toBe(made + 1);
    expect(recorder.received.length).toBe(asked);
    expect(await balance(`L402 ${own.mac}:${own.preimage}`)).toBe(own.bill.amount_msat);
  });
});

describe("an answer that asks for no payment makes no invoice", () => {
  const unknown = `abl_${"A".repeat(43)}`;
  const rows: [what: string, sent: Sent, status: number, code: string][] = [
    ["X-Token that nobody has", { headers: { "X-Token": unknown } }, 401, "invalid_token"],
    ["Bearer abl_ that nobody has", by(`Bearer ${unknown}`), 401, "invalid_token"],
    ["x-api-key abl_ that nobody has", { headers: { "x-api-key": unknown } }, 401, "invalid_token"],
    ["abl_ and nothing behind it", by("Bearer abl_"), 401, "invalid_token"],
    ["X-Payment-Hash of 63 digits", { headers: { "X-Payment-Hash": wrong.slice(1) } }, 400, "invalid_request"],
    ["two hashes in one X-Payment-Hash", { headers: { "X-Payment-Hash": `${wrong}, ${nobodys}` } }, 400, "invalid_request"],
    ["?payment_hash= that is no hash", { query: "?payment_hash=1" }, 400, "invalid_request"],
    ["?payment_hash= twice, of two payments", { query: `?payment_hash=${wrong}&payment_hash=${nobodys}` }, 400, "invalid_request"],
    ["body payment_hash that is a number", { body: { ...hello, payment_hash: 1 } }, 400, "invalid_request"],
  ];
  test.each(rows)("%s", async (_, sent, status, code) => {
    const asked = recorder.received.length, made = invoices();
    const answer = await send(sent);
    const text = await answer.text();
    expect([answer.status, JSON.parse(text)]).toEqual([status, { error: expect.objectContaining({ code }) }]);
    expectNoBill(answer, text);
    for (const echoed of [unknown, wrong, nobodys]) expect(text).not.toContain(echoed);
    expect([recorder.received.length, invoices()]).toEqual([asked, made]);
  });

  test.each([["X-Token", () => ({ headers: { "X-Token": poorToken } })], ["Bearer", () => by(`Bearer ${poorToken}`)], ["x-api-key", () => ({ headers: { "x-api-key": poorToken } })]])(
    "a token too poor alone is told what it has, what it takes and where to refill, and is shown nothing it could pay (%s)", async (_, write: () => Sent) => {
      const inputMsat = (await askForBill(hearth.url)).amount_msat - defaultCap * 3_000;
      const made = invoices();
      for (const [body, requiredMsat] of [[hello, inputMsat + leastCap * 3_000], [{ ...hello, max_tokens: 500 }, inputMsat + 500 * 3_000]] as const) {
        const answer = await send({ ...write(), body });
        const text = await answer.text();
        expect(answer.status).toBe(402);
        expect(JSON.parse(text)).toMatchObject({
          error: { type: "insufficient_quota", code: "insufficient_balance", param: null }, message: expect.stringContaining("Pay"), status: 402,
          balance_sats: poorSats, available_sats: poorSats, required_sats: requiredMsat / 1_000, required_msat: requiredMsat, topup_url: "/api/v1/topup",
        });
        expect(answer.headers.get("x-topup-url")).toBe("/api/v1/topup");
        expectNoBill(answer, text);
      }
      expect(invoices()).toBe(made);
    });
});

function expectNoBill(answer: Response, text: string): void {
  for (const header of ["www-authenticate", "x-lightning-invoice", "x-payment-hash", "x-price-sats"]) expect(answer.headers.get(header)).toBeNull();
  for (const member of ["lnbc", '"invoice"', '"macaroon"', '"payment_request"', '"payment_hash":', '"claim_secret"']) expect(text).not.toContain(member);
}
