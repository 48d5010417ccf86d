/** Money ahead on the wire: ordered, paid, claimed into a token or refilled, and who is told what (money 4 and 5, shapes 2 to 4). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hmacSha256 } from "../../src/base/bytes.ts";
import { noFaults } from "../../src/lightning/sandbox.ts";
import {
  ask, askForBill, balanceOf, buyCredential, buyToken, claim, endHearth, hello, misbehave, openOwnersDoor, orderTopup, type OwnersDoor, pay, readLedger, type RunningHearth,
  startHearth, steepPrices, type TopupBill, until,
} from "../support/hearth.ts";

/** At this rate a cent is 100.01 sats: what is asked for in dollars is rounded up. */
const config = `usd_per_btc = 9999\ntrusted_proxies = ["127.0.0.1"]\n${steepPrices}[limits]\nmin_topup_sats = 101\nmax_topup_sats = 1000000\n`;
const prefixes = ["/v1", "/api/v1", "/openai/v1", "/api/v1/openai/v1"];
const unknownToken = `abl_${"x".repeat(43)}`;
const nobodysPreimage = "ab".repeat(32);
const small = { ...hello, max_tokens: 10 };

let hearth: RunningHearth;
let door: OwnersDoor;
const secrets: string[] = [];
beforeAll(async () => {
  hearth = await startHearth({ config });
  door = await openOwnersDoor(hearth);
});
afterAll(() => endHearth(hearth));

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${hearth.url}${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: typeof body === "string" ? body : JSON.stringify(body) });
const topup = (body: unknown, headers: Record<string, string> = {}) => post("/api/v1/topup", body, headers);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const msatOf = async (token: string) => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;

type Paid = { bill: TopupBill; preimage: string; credential: string };

async function paid(body: unknown = { amount_sats: 1_500 }, headers: Record<string, string> = {}): Promise<Paid> {
  const bill = await orderTopup(hearth.url, body, headers);
  const preimage = await pay(hearth.url, bill.invoice);
  secrets.push(bill.claim_secret, preimage);
  return { bill, preimage, credential: `L402 ${bill.macaroon}:${preimage}` };
}

async function holder(sats = 1_000): Promise<string> {
  const token = await buyToken(hearth.url, sats);
  secrets.push(token);
  return token;
}

async function expectRefused(answer: Response, status: number, code: string): Promise<string> {
  const { error } = (await answer.json()) as { error?: { code: string; message: string } };
  expect([answer.status, error?.code]).toEqual([status, code]);
  expect(answer.headers.has("www-authenticate")).toBe(false);
  return error!.message;
}

async function expectAnswer(answer: Response, body: object): Promise<void> {
  expect([answer.status, await answer.json()]).toEqual([200, body]);
}

/** A caveat as any holder can append it. */
function narrow({ bill, preimage }: Paid, caveat: string): string {
  const bytes = Buffer.from(bill.macaroon, "base64"), condition = Buffer.from(caveat);
  const parts = [bytes.subarray(0, -35), Buffer.from([2, condition.length]), condition, Buffer.from([0, 0, 6, 32]), hmacSha256(bytes.subarray(-32), condition)];
  return `L402 ${Buffer.concat(parts).toString("base64")}:${preimage}`;
}

const mpp = ({ bill, preimage }: Paid) => `Payment ${Buffer.from(JSON.stringify({ challenge: { id: bill.quote_id }, payload: { preimage } })).toString("base64url")}`;

describe("an order", () => {
  test.each(prefixes)("under %s is answered with everything it takes to pay and to claim", async (prefix) => {
    const answer = await post(`${prefix}/topup`, { amount_sats: 1500 });
    const bill = (await answer.json()) as TopupBill & Record<string, unknown>;
    expect(answer.status).toBe(402);
    expect(bill).toMatchObject({
      amount_sats: 1500, price: 1500, amount_msat: 1_500_000, payment_method: "topup", purpose: "new", claim_url: "/api/v1/topup/claim", status: 402,
      error: { code: "payment_required", type: "insufficient_quota", param: null }, payment: { accepted: [{ l402Token: bill.macaroon, amount: "1500" }] },
    });
    expect([599, 600]).toContain(bill.expires_in);
    expect(bill.claim_secret).toMatch(/^cs_[A-Za-z0-9_-]{43}$/);
    expect(bill.message).toBe("Pay 1500 sats, then claim.");
    for (const name of ["token", "model", "null"]) expect(JSON.stringify({ ...bill, error: "" })).not.toContain(`"${name}"`);
    expect(answer.headers.get("www-authenticate")).toStartWith(`L402 macaroon="${bill.macaroon}", invoice="${bill.invoice}"`);
    const shown = ["x-lightning-invoice", "x-payment-hash", "x-price-sats", "x-topup-claim-url", "cache-control"].map((name) => answer.headers.get(name));
    expect(shown).toEqual([bill.invoice, bill.payment_hash, "1500", "/api/v1/topup/claim", "no-store"]);
    expect((await post(`${prefix}/topup/claim`, { claim_secret: bill.claim_secret })).status).toBe(409);
  });

  const good: [body: string, sats: number][] = [
    ['{"amount_usd":1.20}', 12_002], ['{"amount_usd":1.2}', 12_002], ['{"amount_usd":"1.20"}', 12_002], ['{"amount_usd":1}', 10_002], ['{"amount_usd":0.01}', 101],
    ['{"amount_usd":99.99}', 1_000_000], ['{"amount_sats":101}', 101], ['{"amount_sats":1000000}', 1_000_000], ['{"amount_sats":1e3}', 1_000], ['{"amount_sats":200,"amount_usd":null}', 200],
  ];
  test.each(good)("of %s asks for %i sats", async (body, sats) => expect(((await (await topup(body)).json()) as TopupBill).amount_sats).toBe(sats));

  const bad: [body: string, code: string][] = [
    ...["1.201", "1.2000000001", "1e2", "1.2e0", "-1", "0", "0.00", "100.00", "true", "[1.2]", '"1,20"', '"1e2"', '""', '" 1.20"', '"-1.20"', '{"amount_usd":1.2}'].map(
      (amount): [string, string] => [`{"amount_usd":${amount}}`, "invalid_amount"]),
    ...["100", "1000001", "0", "-5", "150.5", '"200"', "1e15", "1e400", "null"].map((amount): [string, string] => [`{"amount_sats":${amount}}`, "invalid_amount"]),
    ["{}", "invalid_amount"], ["", "invalid_amount"], ['{"amount_sats":200,"amount_usd":1.20}', "invalid_amount"], ['{"amount_sats":200,"claim":"always"}', "invalid_request"],
    ['{"amount_sats":', "invalid_json"],
  ];
  test.each(bad)("of %s is a 400 %s and makes no invoice", async (body, code) => {
    const count = () => readLedger<{ n: bigint }>(hearth.dataDir, "SELECT count(*) AS n FROM invoice")[0]!.n;
    const before = count();
    await expectRefused(await topup(body), 400, code);
    expect(count()).toBe(before);
  });

  test("that is JSON but no object is a 400 invalid_request", async () => {
    for (const body of ["[1500]", '"1500"', "1500", "null"]) await expectRefused(await topup(body), 400, "invalid_request");
  });

  test("finds no invoice while the node is down: 503 with Retry-After", async () => {
    await misbehave(hearth.url, "node", { down: true });
    const answer = await topup({ amount_sats: 1500 });
    await misbehave(hearth.url, "node", { ...noFaults });
    await expectRefused(answer, 503, "node_unavailable");
    expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
  });

  test("by two strangers with one Idempotency-Key is two orders; a key with blanks is a 400", async () => {
    const headers = { "idempotency-key": "one" };
    const bills = [await orderTopup(hearth.url, { amount_sats: 200 }, headers), await orderTopup(hearth.url, { amount_sats: 200 }, headers)];
    expect(bills[0]!.invoice).not.toBe(bills[1]!.invoice);
    await expectRefused(await topup({ amount_sats: 200 }, { "idempotency-key": "a b" }), 400, "invalid_request");
  });
});

describe("a paid topup is turned into a token by", () => {
  const forms: [string, (paid: Paid) => Promise<Response>][] = [
    ["its preimage", ({ preimage }) => claim(hearth.url, { preimage })],
    ["its preimage in upper case", ({ preimage }) => claim(hearth.url, { preimage: preimage.toUpperCase(), token: "" })],
    ["its preimage as Lightning Enable writes it", ({ preimage }) => claim(hearth.url, {}, { authorization: `Payment method="lightning", preimage="${preimage}"` })],
    ["its claim secret", ({ bill }) => claim(hearth.url, { claim_secret: bill.claim_secret, token: null })],
    ["its credential and no body", ({ credential }) => fetch(`${hearth.url}/api/v1/topup/claim`, { method: "POST", headers: { authorization: credential } })],
    ["its credential as an api_key", ({ bill, preimage }) => claim(hearth.url, {}, { authorization: `Bearer ${bill.macaroon}:${preimage}` })],
    ["lnget's credential with the preimage in it", (paid) => claim(hearth.url, {}, { authorization: narrow(paid, `preimage=${paid.preimage}`) })],
    ["its macaroon alone", ({ bill }) => claim(hearth.url, {}, { authorization: `L402 ${bill.macaroon}` })],
    ["its Payment credential", (paid) => claim(hearth.url, {}, { authorization: mpp(paid) })],
    ["its challenge id and preimage", ({ bill, preimage }) => claim(hearth.url, {}, { authorization: `L402 ${bill.quote_id}:${preimage}` })],
    ["the order repeated with the credential", ({ credential }) => topup({ amount_sats: 1_500 }, { authorization: credential })],
    ["the order repeated as LSAT, without a body", ({ credential }) => topup("", { authorization: credential.replace("L402", "LSAT") })],
    ["the order repeated with the Payment credential", (paid) => topup({ amount_sats: 1_500 }, { authorization: mpp(paid) })],
  ];
  test.each(forms)("%s, and again by the same: the same token", async (_, present) => {
    const one = await paid();
    const answers = [await present(one), await present(one)];
    const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as { token: string }[];
    expect(answers.map((answer) => [answer.status, answer.headers.get("cache-control")?.includes("no-store")])).toEqual([[200, true], [200, true]]);
    const { token } = bodies[0]!;
    expect(token).toMatch(/^abl_[A-Za-z0-9_-]{43}$/);
    secrets.push(token);
    expect(bodies).toEqual([{ token, balance_sats: 1500, balance_msat: 1_500_000 }, { token, balance_sats: 1500, balance_msat: 1_500_000 }] as never);
    const call = await ask(hearth.url, small, `Bearer ${token}`);
    expect(call.status).toBe(200);
    expect(await msatOf(token)).toBe(1_500_000 - Number(call.headers.get("x-hearth-cost-msat")));
  });

  test("whoever buys by the Payment scheme, with a receipt", async () => {
    const one = await paid();
    const receipt = (await topup({ amount_sats: 1_500 }, { authorization: mpp(one) })).headers.get("payment-receipt");
    expect(JSON.parse(Buffer.from(receipt ?? "", "base64url").toString() || "null")).toMatchObject({ status: "success", reference: one.bill.payment_hash });
  });

  test("who has the secret or the credential only, where it was ordered so", async () => {
    const one = await paid({ amount_sats: 200, claim: "secret" });
    await expectRefused(await claim(hearth.url, { preimage: one.preimage }), 403, "claim_secret_required");
    const { token } = (await (await claim(hearth.url, {}, { authorization: one.credential })).json()) as { token: string };
    await expectAnswer(await claim(hearth.url, { claim_secret: one.bill.claim_secret }), { token, balance_sats: 200, balance_msat: 200_000 });
  });

  test("nobody who lent it out narrowed: 403, and the whole of it stays", async () => {
    const one = await paid();
    const narrowed = { authorization: narrow(one, "llm_models=sandbox") };
    for (const answer of [await claim(hearth.url, {}, narrowed), await topup({ amount_sats: 200 }, narrowed)]) await expectRefused(answer, 403, "narrowed_credential");
    expect((await balanceOf(hearth.url, one.credential)).balance_msat).toBe(1_500_000);
  });

  test("a call's payment too, by its credential; its preimage claims nothing", async () => {
    const credential = await buyCredential(hearth.url);
    await expectRefused(await claim(hearth.url, { preimage: credential.split(":")[1] }), 400, "invalid_payment");
    const { balance_msat } = await balanceOf(hearth.url, credential);
    expect(await (await claim(hearth.url, {}, { authorization: credential })).json()).toMatchObject({ balance_msat, token: expect.stringMatching(/^abl_/) });
  });
});

describe("a claim is refused", () => {
  const rows: [what: string, body: unknown, headers: Record<string, string>, status: number, code: string][] = [
    ["without a proof", {}, {}, 400, "invalid_payment"],
    ["by a payment hash", {}, { "x-payment-hash": nobodysPreimage }, 400, "invalid_payment"],
    ["by a preimage that is too short", { preimage: "ab" }, {}, 400, "invalid_payment"],
    ["by a preimage of no topup", { preimage: nobodysPreimage }, {}, 400, "invalid_payment"],
    ["by a secret of another shape", { claim_secret: "cs_1" }, {}, 400, "invalid_payment"],
    ["by a secret of no topup", { claim_secret: `cs_${"x".repeat(43)}` }, {}, 400, "invalid_payment"],
    ["by a preimage that is a number", { preimage: 5 }, {}, 400, "invalid_request"],
    ["by a credential that cannot be read", {}, { authorization: "L402 nonsense" }, 400, "invalid_payment"],
    ["into an unknown token", { preimage: nobodysPreimage, token: unknownToken }, {}, 401, "invalid_token"],
    ["into something that is no token", { preimage: nobodysPreimage, token: "mine" }, {}, 401, "invalid_token"],
    ["with an unknown token in a header", { preimage: nobodysPreimage }, { "x-token": unknownToken }, 401, "invalid_token"],
  ];
  test.each(rows)("%s", async (_, body, headers, status, code) => void (await expectRefused(await claim(hearth.url, body, headers), status, code)));

  test("never by a 402: not for an unpaid topup, not by a wrong preimage, not by a macaroon that was tampered with", async () => {
    const bill = await orderTopup(hearth.url);
    for (const [body, headers] of [[{ claim_secret: bill.claim_secret }, {}], [{}, { authorization: `L402 ${bill.macaroon}` }], [{}, { authorization: `L402 ${bill.macaroon}:${nobodysPreimage}` }]])
      await expectRefused(await claim(hearth.url, body, headers as Record<string, string>), 409, "not_paid");
    const one = await paid();
    await balanceOf(hearth.url, one.credential);
    for (const authorization of [`L402 ${one.bill.macaroon}:${nobodysPreimage}`, narrow(one, "nonsense"), `L402 ${one.bill.macaroon.replace(/.{4}$/, "AAAA")}:${one.preimage}`])
      await expectRefused(await claim(hearth.url, {}, { authorization }), 400, "invalid_payment");
  });

  test("for now, with Retry-After, while the node cannot be asked; then it is served", async () => {
    const bill = await orderTopup(hearth.url);
    await misbehave(hearth.url, "node", { down: true });
    const preimage = await pay(hearth.url, bill.invoice);
    const proofs: [unknown, Record<string, string>][] = [[{ preimage }, {}], [{ claim_secret: bill.claim_secret }, {}], [{}, { authorization: `L402 ${bill.macaroon}:${preimage}` }]];
    const answers = await Promise.all([...proofs.map(([body, headers]) => claim(hearth.url, body, headers)), topup({}, { authorization: `L402 ${bill.macaroon}:${preimage}` })]);
    await misbehave(hearth.url, "node", { ...noFaults });
    for (const answer of answers) {
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      await expectRefused(answer, 503, "settlement_unknown");
    }
    expect((await claim(hearth.url, { preimage })).status).toBe(200);
  });
});

describe("a claim into a token", () => {
  const places: [string, (token: string) => { body: object; headers: Record<string, string> }][] = [
    ["the body", (token) => ({ body: { token }, headers: {} })],
    ["X-Token", (token) => ({ body: {}, headers: { "x-token": token } })],
    ["Authorization", (token) => ({ body: {}, headers: bearer(token) })],
    ["x-api-key", (token) => ({ body: {}, headers: { "x-api-key": token } })],
    ["the body and a header", (token) => ({ body: { token }, headers: { "x-token": token } })],
  ];
  test.each(places)("named in %s moves all of it there, once, and answers no token", async (_, name) => {
    const [token, one] = [await holder(), await paid()];
    const { body, headers } = name(token);
    const claimed = { balance_sats: 2_500, balance_msat: 2_500_000, credited_sats: 1_500 };
    for (let times = 0; times < 3; times++) await expectAnswer(await claim(hearth.url, { preimage: one.preimage, ...body }, headers), claimed);
    await expectAnswer(await claim(hearth.url, { claim_secret: one.bill.claim_secret, ...body }, headers), claimed);
    expect([await msatOf(token), (await balanceOf(hearth.url, one.credential)).balance_msat]).toEqual([2_500_000, 0]);
  });

  test("by the credential, the token beside it", async () => {
    const [token, one] = [await holder(), await paid()];
    await expectAnswer(await claim(hearth.url, {}, { authorization: one.credential, "x-token": token }), { balance_sats: 2_500, balance_msat: 2_500_000, credited_sats: 1_500 });
  });

  test("with another one in the header, or an unknown one beside it, is refused and moves nothing", async () => {
    const [token, other, one] = [await holder(), await holder(), await paid()];
    const by = (inBody: string, inHeader: string) => claim(hearth.url, { preimage: one.preimage, token: inBody }, { "x-token": inHeader });
    await expectRefused(await by(token, other), 403, "wrong_token");
    await expectRefused(await by(token, unknownToken), 401, "invalid_token");
    await expectRefused(await by(unknownToken, token), 401, "invalid_token");
    expect([await msatOf(token), await msatOf(other), (await balanceOf(hearth.url, one.credential)).balance_msat]).toEqual([1_000_000, 1_000_000, 1_500_000]);
  });

  test("by a hop that comes after the payer gets nothing: 409", async () => {
    const [token, hops, one] = [await holder(), await holder(), await paid()];
    await claim(hearth.url, { preimage: one.preimage, token });
    for (const body of [{ preimage: one.preimage, token: hops }, { preimage: one.preimage }]) await expectRefused(await claim(hearth.url, body), 409, "already_claimed");
    expect(await msatOf(hops)).toBe(1_000_000);
  });
});

describe("a refill", () => {
  const headers: [string, (token: string) => Record<string, string>][] = [["X-Token", (token) => ({ "x-token": token })], ["Bearer", bearer], ["x-api-key", (token) => ({ "x-api-key": token })]];
  test.each(headers)("is ordered with %s, arrives without a claim, and is claimed by whoever holds the token: its balance and no token", async (_, header) => {
    const token = await holder();
    const { bill, preimage, credential } = await paid({ amount_usd: 1.2 }, header(token));
    expect([bill.purpose, bill.amount_sats]).toEqual(["refill", 12_002]);
    await until("the refill has arrived", async () => (await msatOf(token)) === 13_002_000);
    const full = { balance_sats: 13_002, balance_msat: 13_002_000, credited_sats: 12_002 };
    for (let times = 0; times < 2; times++) {
      await expectAnswer(await claim(hearth.url, { preimage }, header(token)), full);
      await expectAnswer(await claim(hearth.url, { preimage, token }), full);
      await expectAnswer(await claim(hearth.url, { claim_secret: bill.claim_secret }), full);
      await expectAnswer(await claim(hearth.url, {}, { authorization: credential }), full);
      await expectAnswer(await topup({ amount_usd: 1.2 }, { authorization: credential }), full);
      await expectAnswer(await claim(hearth.url, { preimage }), { credited_sats: 12_002 });
    }
    expect(await msatOf(token)).toBe(13_002_000);
  });

  test("is never another token's: 403 wrong_token; an unknown one is a 401, before an invoice is made", async () => {
    const [token, other] = [await holder(), await holder()];
    const { bill, preimage, credential } = await paid({ amount_sats: 500 }, bearer(token));
    for (const body of [{ preimage }, { claim_secret: bill.claim_secret }]) await expectRefused(await claim(hearth.url, { ...body, token: other }), 403, "wrong_token");
    await expectRefused(await claim(hearth.url, {}, { authorization: credential, "x-token": other }), 403, "wrong_token");
    for (const [, header] of headers) await expectRefused(await topup({ amount_sats: 500 }, header(unknownToken)), 401, "invalid_token");
    expect([await msatOf(token), await msatOf(other)]).toEqual([1_500_000, 1_000_000]);
  });

  test("opened with a secret is claimed by preimage only with its token", async () => {
    const token = await holder();
    const { preimage } = await paid({ amount_sats: 500, claim: "secret" }, bearer(token));
    await expectRefused(await claim(hearth.url, { preimage }), 403, "claim_secret_required");
    await expectAnswer(await claim(hearth.url, { preimage }, bearer(token)), { balance_sats: 1_500, balance_msat: 1_500_000, credited_sats: 500 });
  });

  test("is what a client buys that pays and repeats its order, token and all: what was credited, and never a second bill", async () => {
    const token = await holder();
    const { credential } = await paid({ amount_sats: 500 }, { "x-token": token });
    await expectAnswer(await topup({ amount_sats: 500 }, { "x-token": token, authorization: credential }), { balance_sats: 1_500, balance_msat: 1_500_000, credited_sats: 500 });
  });

  test("shows a wallet that polls with its macaroon the same invoice again, token and all", async () => {
    const token = await holder();
    const bill = await orderTopup(hearth.url, { amount_sats: 500 }, { "x-token": token });
    const again = await orderTopup(hearth.url, { amount_sats: 500 }, { "x-token": token, authorization: `L402 ${bill.macaroon}` });
    expect(again.invoice).toBe(bill.invoice);
  });

  test("of a call's credential is ordered with it and arrives on its account", async () => {
    const credential = await buyCredential(hearth.url, small);
    const { balance_msat } = await balanceOf(hearth.url, credential);
    const { bill, preimage } = await paid({ amount_sats: 500 }, { authorization: credential });
    expect(bill.purpose).toBe("refill");
    await expectAnswer(await claim(hearth.url, { preimage }), { credited_sats: 500 });
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(balance_msat + 500_000);
  });

  test("is what its preimage claims, also beside the credential it was ordered with, which gets no token for that", async () => {
    const credential = (await buyCredential(hearth.url, small)).replace("L402", "Bearer");
    const { preimage } = await paid({ amount_sats: 500 }, { authorization: credential });
    const answer = (await (await claim(hearth.url, { preimage }, { authorization: credential })).json()) as { token?: string };
    expect([answer.token, answer]).toEqual([undefined, expect.objectContaining({ credited_sats: 500 })]);
  });
});

describe("when the owner", () => {
  const end = async (action: "rotate" | "revoke", key: string) => {
    const answer = await fetch(`${hearth.ownerUrl}/admin/api/keys/${action}`, { method: "POST", headers: { cookie: door.cookie }, body: JSON.stringify({ key }) });
    expect(answer.status).toBe(200);
    return (await answer.json()) as { token: string };
  };
  async function claimed() {
    const one = await paid();
    const { token } = (await (await claim(hearth.url, { preimage: one.preimage })).json()) as { token: string };
    return { ...one, token };
  }

  test("has replaced a token, it opens nothing; the new one holds the money, and only the full credential is told it", async () => {
    const one = await claimed();
    const { token } = await end("rotate", one.token);
    for (const answer of [await ask(hearth.url, hello, `Bearer ${one.token}`), await topup({ amount_sats: 200 }, bearer(one.token)), await claim(hearth.url, { token: one.token, preimage: one.preimage })])
      expect(await expectRefused(answer, 401, "invalid_token")).toContain("rotated");
    expect(await msatOf(token)).toBe(1_500_000);
    for (const body of [{ preimage: one.preimage }, { claim_secret: one.bill.claim_secret }]) await expectRefused(await claim(hearth.url, body), 409, "already_claimed");
    await expectRefused(await claim(hearth.url, {}, { authorization: `L402 ${one.bill.macaroon}` }), 409, "already_claimed");
    await expectAnswer(await claim(hearth.url, {}, { authorization: one.credential }), { token, balance_sats: 1_500, balance_msat: 1_500_000 });
  });

  test("has revoked a token, no claim brings one back", async () => {
    const one = await claimed();
    await end("revoke", one.token);
    const proofs: [unknown, Record<string, string>][] = [[{ preimage: one.preimage }, {}], [{ claim_secret: one.bill.claim_secret }, {}], [{}, { authorization: one.credential }]];
    for (const [body, headers] of proofs) await expectRefused(await claim(hearth.url, body, headers), 409, "already_claimed");
  });

  test("has replaced a token, what refilled it opens no call any more and says what does; an open refill still arrives", async () => {
    const old = await holder();
    const [refill, open] = [await paid({ amount_sats: 500 }, bearer(old)), await orderTopup(hearth.url, { amount_sats: 300 }, bearer(old))];
    expect((await ask(hearth.url, small, refill.credential)).status).toBe(200);
    const { token } = await end("rotate", old);
    expect(await expectRefused(await ask(hearth.url, hello, refill.credential), 401, "invalid_token")).toContain("use the new token");
    const before = await msatOf(token);
    await pay(hearth.url, open.invoice);
    await until("the refill has arrived", async () => (await msatOf(token)) === before + 300_000);
  });

  test("has replaced a token, what refilled it shows no balance any more", async () => {
    const old = await holder();
    const refill = await paid({ amount_sats: 500 }, bearer(old));
    await end("rotate", old);
    for (const path of ["balance", "key"]) await expectRefused(await fetch(`${hearth.url}/api/v1/${path}`, { headers: { authorization: refill.credential } }), 401, "invalid_token");
  });

  test("has replaced a token, an invoice asked for with what refilled it takes nothing along when it is paid", async () => {
    const old = await holder();
    const refill = await paid({ amount_sats: 500 }, bearer(old));
    const dear = await askForBill(hearth.url, { ...hello, max_tokens: 10_000 }, refill.credential);
    const { token } = await end("rotate", old);
    await pay(hearth.url, dear.invoice);
    await until("the invoice is credited", () => readLedger(hearth.dataDir, "SELECT 1 FROM invoice WHERE payment_hash = ? AND state = 'credited'", dear.payment_hash).length === 1);
    expect(await msatOf(token)).toBe(1_500_000);
  });
});

test("no token, claim secret or preimage is ever printed, and no token or secret is in the books", () => {
  expect(secrets.length).toBeGreaterThan(50);
  const files = ["hearth.db", "hearth.db-wal"].map((name) => readFileSync(join(hearth.dataDir, name)).toString("latin1")).join();
  expect(secrets.filter((secret) => hearth.output().includes(secret) || files.includes(secret))).toEqual([]);
});
