/** The answer 402 as every client that exists needs it: header, body, invoice and macaroon, read from the raw bytes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readInvoice } from "../../src/lightning/bolt11.ts";
import { verifyMacaroon } from "../../src/l402/macaroon.ts";
import { fixture } from "../l402/fixtures.ts";
import {
  ask, askForBill, askRaw, buyCredential, hello, pay, RawConnection, type RawAnswer, rawRequest, removeDataDir, type RunningHearth, startHearth,
} from "../support/hearth.ts";

/** Dear enough that a whole chat costs more than the least invoice: 2,048 tokens are 164 sats. */
const config = "[prices.default]\ninput_sats_per_mtok = 1000\noutput_sats_per_mtok = 80000\n";
const path = "/v1/chat/completions";
const prefixes = ["/v1", "/api/v1", "/openai/v1", "/api/v1/openai/v1"];
const leastInvoiceSats = 10;

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth({ config })));
afterAll(async () => {
  await hearth.stop();
  removeDataDir(hearth.dataDir);
});

const post = (body: unknown, headers: Record<string, string> = {}, at = path) =>
  askRaw(hearth.url, { method: "POST", path: at, headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) });

type Bill = Record<string, unknown> & { invoice: string; macaroon: string; payment_hash: string; amount_sats: number; quote_id: string; expires_at: string; expires_in: number; error: Record<string, unknown> };
const billOf = (answer: RawAnswer) => JSON.parse(answer.body) as Bill;

const offer = /^L402 macaroon="([A-Za-z0-9+/]+={0,2})", invoice="(lnbcrt[0-9a-z]+)", Payment id="(q_[0-9a-z]+)", realm="([^"]*)", method="lightning", intent="charge", request="([A-Za-z0-9_-]+)", expires="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"$/;

function readOffer(answer: RawAnswer) {
  const [, macaroon, invoice, id, realm, request, expires] = offer.exec(answer.header("www-authenticate")!)!;
  return { macaroon: macaroon!, invoice: invoice!, id: id!, realm: realm!, request: request!, expires: expires! };
}

describe("the head of a 402", () => {
  test("offers L402 first and Payment after it, in one line that names the invoice's macaroon and nothing before it", async () => {
    const answer = await post(hello);
    expect(answer.head).toStartWith("HTTP/1.1 402 Payment Required\r\n");
    expect(answer.headers.filter(([name]) => /^www-authenticate$/i.test(name))).toHaveLength(1);
    expect(answer.header("www-authenticate")).toMatch(offer);
    expect(answer.header("www-authenticate")).not.toMatch(/version=|token=|LSAT/);
  });

  test("repeats what the body says", async () => {
    const answer = await post(hello);
    const bill = billOf(answer), offered = readOffer(answer);
    expect(offered).toMatchObject({ macaroon: bill.macaroon, invoice: bill.invoice, id: bill.quote_id });
    expect(answer.header("x-lightning-invoice")).toBe(bill.invoice);
    expect(answer.header("x-payment-hash")).toBe(bill.payment_hash);
    expect(answer.header("x-price-sats")).toBe(String(bill.amount_sats));
    expect(offered.expires).toBe(bill.expires_at.replace(/\.\d+Z$/, "Z"));
  });

  test("tells caches and SDKs to leave it alone, and browsers what they may read", async () => {
    const answer = await post(hello);
    expect(answer.header("content-type")).toMatch(/^application\/json/);
    expect(answer.header("cache-control")).toBe("no-store");
    expect(answer.header("x-should-retry")).toBe("false");
    expect(answer.header("access-control-expose-headers")?.split(/,\s*/)).toEqual(
      expect.arrayContaining(["WWW-Authenticate", "Payment-Receipt", "X-Lightning-Invoice", "X-Payment-Hash", "X-Price-Sats"]));
  });

  test("stays under 4 KB", async () => {
    const bytes = Buffer.byteLength((await post({ ...hello, model: "auto" })).head) + 4;
    expect(bytes).toBeLessThan(4096);
  });

  test("keeps the connection: the paid request can follow on the same one", async () => {
    const connection = new RawConnection(hearth.url);
    const request = (headers: Record<string, string> = {}) => rawRequest(hearth.url, { method: "POST", path, headers, body: JSON.stringify(hello) });
    connection.send(request());
    const first = await connection.answer();
    expect(first.header("connection") ?? "keep-alive").not.toMatch(/close/i);
    const { macaroon, invoice } = billOf(first);
    connection.send(request({ Authorization: `L402 ${macaroon}:${await pay(hearth.url, invoice)}` }));
    expect((await connection.answer()).status).toBe(200);
    connection.close();
  });

  test("offers Payment, a bare secret, only where nobody on the way can read it", async () => {
    const open = await startHearth({ env: { HEARTH_PUBLIC_URL: "http://hearth.example.org" } });
    const answer = await askRaw(open.url, { method: "POST", path, body: JSON.stringify(hello) });
    expect(answer.header("www-authenticate")).toMatch(/^L402 macaroon="[^"]+", invoice="[^"]+"$/);
    await open.stop();
    removeDataDir(open.dataDir);
  });
});

describe("the body of a 402", () => {
  test("has every field that a client of the four systems reads", async () => {
    const bill = billOf(await post(hello));
    const { invoice, macaroon, payment_hash, amount_sats: sats, quote_id, expires_at } = bill;
    expect(bill).toMatchObject({
      error: { type: "insufficient_quota", code: "payment_required", param: null },
      payment_request: invoice, paymentRequest: invoice, price: sats, price_sats: sats, priceSats: sats,
      model: "sandbox", provider: "local", max_tokens: 2048, status: 402, code: "payment_required", amount_msat: sats * 1000,
      payment: {
        version: 1, paymentId: quote_id, expiresAt: expires_at,
        accepted: [{
          scheme: "lightning-l402", network: "bitcoin-lightning", amountFormatted: `${sats} sats`, invoice, paymentHash: payment_hash, l402Token: macaroon,
          protocolScheme: "lightning-l402", amount: String(sats), payTo: invoice,
        }],
      },
    });
    expect((bill.payment as { requestHash: string }).requestHash).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(bill.message).toMatch(/Pay/);
    expect(bill.error.message).toContain(String(sats));
    expect(bill.retry).toMatchObject({ header: "Authorization: L402 <macaroon>:<preimage>", instructions: expect.any(String) });
    expect(Number.isSafeInteger(bill.estimated_input_tokens)).toBe(true);
    expect(payment_hash).toMatch(/^[0-9a-f]{64}$/);
    expect([599, 600]).toContain(bill.expires_in);
    expect(expires_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  });

  test("announces no rail and no door that is not there", async () => {
    const answer = await post(hello);
    const bill = billOf(answer);
    for (const name of ["token", "accepts", "x402Version", "cashu", "x402", "statusUrl", "completeUrl"]) expect(bill).not.toHaveProperty(name);
    for (const door of [bill.topup_url, answer.header("x-topup-url")])
      if (typeof door === "string") expect((await fetch(new URL(door, hearth.url), { method: "POST" })).status).not.toBe(404);
  });

  test("leaves out what is absent: only error.param may be null", async () => {
    const { error, ...bill } = billOf(await post(hello));
    expect(JSON.stringify({ ...error, param: "" })).not.toContain("null");
    expect(JSON.stringify(bill)).not.toContain("null");
  });

  test("names the model that auto was routed to, and only then", async () => {
    const routed = await post({ ...hello, model: "auto" });
    expect(billOf(routed)).toMatchObject({ model: "sandbox", routed_model: "sandbox" });
    expect(routed.header("x-route-model")).toBe("sandbox");
    const named = await post(hello);
    expect(billOf(named)).not.toHaveProperty("routed_model");
    expect(named.header("x-route-model")).toBeUndefined();
  });
});

describe("what is paid for", () => {
  test("the invoice asks for the price, by the hash in the answer, and lives ten minutes", async () => {
    const beforeS = Math.floor(Date.now() / 1000);
    const bill = billOf(await post(hello));
    const invoice = readInvoice(bill.invoice)!;
    expect(invoice).toMatchObject({ paymentHash: bill.payment_hash, amountMsat: BigInt(bill.amount_sats) * 1000n });
    expect(invoice.expiresAtMs / 1000).toBeGreaterThanOrEqual(beforeS + 600);
    expect(invoice.expiresAtMs / 1000).toBeLessThanOrEqual(Date.now() / 1000 + 600);
    expect(Math.abs(Date.parse(bill.expires_at) - invoice.expiresAtMs)).toBeLessThan(1000);
  });

  test("the macaroon is a V2 one of location lsat for that invoice, good for a year and for nothing but this house", async () => {
    const bill = billOf(await post(hello));
    const master = new Uint8Array(Buffer.from(readFileSync(join(hearth.dataDir, "keys", "credentials"), "utf8").trim(), "hex"));
    const bytes = new Uint8Array(Buffer.from(bill.macaroon, "base64"));
    expect(Buffer.from(bytes.subarray(0, 9)).toString("latin1")).toBe("\x02\x01\x04lsat\x02\x42");
    const verified = verifyMacaroon(bytes, master)!;
    expect(verified.paymentHash).toBe(bill.payment_hash);
    expect(verified.caveats).toEqual(["services=llm:0", expect.stringMatching(/^llm_valid_until=\d+$/)]);
    const validForS = Number(verified.caveats[1]!.split("=")[1]) - Date.now() / 1000;
    expect(Math.abs(validForS - 365 * 86_400)).toBeLessThan(60);
    expect(verifyMacaroon(bytes, new Uint8Array(32))).toBeUndefined();
  });

  test("the Payment offer carries the same invoice in the draft's own JSON", async () => {
    const answer = await post(hello);
    const bill = billOf(answer);
    const request = Buffer.from(readOffer(answer).request, "base64url").toString();
    expect(request).toBe(JSON.stringify({
      amount: String(bill.amount_sats), currency: "sat", methodDetails: { invoice: bill.invoice, network: "regtest", paymentHash: bill.payment_hash },
    }));
  });

  test("two askers never share an invoice, even for the same question", async () => {
    const bills = await Promise.all([1, 2, 3, 4].map(async () => billOf(await post(hello))));
    for (const field of ["invoice", "macaroon", "payment_hash", "quote_id"]) expect(new Set(bills.map((bill) => bill[field])).size).toBe(4);
  });

  test("an ordinary chat quote with default settings stays under 1,000 sats", async () => {
    const plain = await startHearth();
    expect((await askForBill(plain.url)).amount_sats).toBeLessThan(1000);
    await plain.stop();
    removeDataDir(plain.dataDir);
  });
});

describe("an invoice that waits", () => {
  const placeholders = ["", ":", `:${"0".repeat(64)}`];

  test("is shown again to who holds its macaroon: a polling wallet never sees a second one", async () => {
    const { macaroon, invoice, quote_id, payment_hash } = await askForBill(hearth.url);
    for (const proof of placeholders) {
      const again = await post(hello, { Authorization: `L402 ${macaroon}${proof}` });
      expect({ proof, status: again.status, invoice: billOf(again).invoice }).toEqual({ proof, status: 402, invoice });
      expect(billOf(again)).toMatchObject({ macaroon, quote_id, payment_hash });
      expect(readOffer(again)).toMatchObject({ macaroon, invoice, id: quote_id });
    }
  });

  test("is shown by the balance too", async () => {
    const { macaroon, invoice } = await askForBill(hearth.url);
    const answer = await askRaw(hearth.url, { path: "/api/v1/balance", headers: { Authorization: `L402 ${macaroon}` } });
    expect({ status: answer.status, invoice: billOf(answer).invoice }).toEqual({ status: 402, invoice });
  });

  test("does not stand in the way of a question that is not one: that is a 400", async () => {
    const { macaroon } = await askForBill(hearth.url);
    expect((await ask(hearth.url, "{", `L402 ${macaroon}`)).status).toBe(400);
  });
});

describe("probes", () => {
  const asked: [what: string, request: { method: string; body?: string }][] = [
    ["an empty body", { method: "POST", body: "" }], ["no body", { method: "POST" }], ["white space", { method: "POST", body: " \n" }], ["{}", { method: "POST", body: "{}" }],
    ["GET", { method: "GET" }], ["HEAD", { method: "HEAD" }],
  ];
  for (const [what, request] of asked)
    for (const at of [...prefixes.map((prefix) => `${prefix}/chat/completions`), "/v1/chat/completions/sandbox"])
      test(`${what} at ${at} is told the smallest price`, async () => {
        const answer = await askRaw(hearth.url, { ...request, path: at });
        expect({ status: answer.status, sats: answer.header("x-price-sats") }).toEqual({ status: 402, sats: String(leastInvoiceSats) });
        expect(answer.header("www-authenticate")).toMatch(offer);
        if (request.method !== "HEAD") expect(billOf(answer)).toMatchObject({ amount_sats: leastInvoiceSats, error: { code: "payment_required" } });
      });

  test("a key of another house makes nobody known: its probes are answered alike", async () => {
    for (const key of ["Bearer sk-proj-0123456789", "Basic dTpw", "L402 :"])
      expect((await askRaw(hearth.url, { path, headers: { Authorization: key } })).status).toBe(402);
  });

  test("malformed JSON is a 400, not a bill", async () => {
    expect((await ask(hearth.url, '{"model":')).status).toBe(400);
  });

  for (const prefix of prefixes)
    test(`${prefix} sells the same as /v1`, async () => {
      const credential = await buyCredential(hearth.url);
      expect((await post(hello, {}, `${prefix}/chat/completions`)).status).toBe(402);
      expect((await post(hello, { Authorization: credential }, `${prefix}/chat/completions`)).status).toBe(200);
      expect((await askRaw(hearth.url, { path: `${prefix}/balance`, headers: { Authorization: credential } })).status).toBe(200);
      expect((await askRaw(hearth.url, { path: `${prefix}/models` })).status).toBe(200);
    });
});

/** What a holder can do without us: append a caveat and sign over it. */
function narrow(macaroon: string, caveat: string): string {
  const bytes = Buffer.from(macaroon, "base64");
  const signature = createHmac("sha256", bytes.subarray(-32)).update(caveat).digest();
  const body = bytes.subarray(0, -35); // end of caveats, field 6, length 32, signature
  return Buffer.concat([body, Buffer.from([2, caveat.length]), Buffer.from(caveat), Buffer.from([0, 0, 6, 32]), signature]).toString("base64");
}

function spoilSignature(macaroon: string): string {
  const bytes = Buffer.from(macaroon, "base64");
  bytes[bytes.length - 1]! ^= 1;
  return bytes.toString("base64");
}

const paymentCredential = (challenge: object, payload: object) => `Payment ${Buffer.from(JSON.stringify({ challenge, payload })).toString("base64url")}`;
const noPreimage = "00".repeat(32);
const foreign = fixture("the two we mint").macaroon;

describe("a credential that opens nothing", () => {
  let paid: { macaroon: string; preimage: string; quoteId: string };
  beforeAll(async () => {
    const bill = await askForBill(hearth.url);
    paid = { macaroon: bill.macaroon, preimage: await pay(hearth.url, bill.invoice), quoteId: bill.quote_id };
  });

  const dead: [what: string, authorization: () => string][] = [
    ["L402 with nothing of a macaroon", () => `L402 !!!!:${noPreimage}`],
    ["L402 with base64 of something else", () => `L402 ${Buffer.from("not a macaroon").toString("base64")}:${noPreimage}`],
    ["L402 cut off in the middle", () => `L402 ${paid.macaroon.slice(0, 80)}:${paid.preimage}`],
    ["LSAT with a preimage that is not hex", () => `LSAT ${paid.macaroon}:xyz`],
    ["a preimage of 63 digits", () => `L402 ${paid.macaroon}:${paid.preimage.slice(1)}`],
    ["the wrong preimage of a paid invoice", () => `L402 ${paid.macaroon}:${noPreimage}`],
    ["a macaroon with a wrong signature", () => `L402 ${spoilSignature(paid.macaroon)}:${paid.preimage}`],
    ["another house's macaroon", () => `L402 ${Buffer.from(foreign).toString("base64")}:${noPreimage}`],
    ["another house's macaroon as an API key", () => `Bearer ${Buffer.from(foreign).toString("base64")}:${noPreimage}`],
    ["a credential that its holder let expire", () => `L402 ${narrow(paid.macaroon, "llm_valid_until=1700000000")}:${paid.preimage}`],
    ["a caveat nobody here can enforce", () => `L402 ${narrow(paid.macaroon, "colour=blue")}:${paid.preimage}`],
    ["a caveat with another preimage", () => `L402 ${narrow(paid.macaroon, `preimage=${noPreimage}`)}:${paid.preimage}`],
    ["an unknown payment hash", () => `L402 ${"ab".repeat(32)}`],
    ["a bare unknown payment hash", () => "ab".repeat(32)],
    ["a challenge id that is nobody's", () => `L402 q_${"0".repeat(26)}:${noPreimage}`],
    ["the wrong preimage of a paid challenge id", () => `L402 ${paid.quoteId}:${noPreimage}`],
    ["Payment that is not base64", () => "Payment ???"],
    ["Payment that is not JSON", () => `Payment ${Buffer.from("{").toString("base64url")}`],
    ["Payment for nobody's challenge", () => paymentCredential({ id: `q_${"0".repeat(26)}` }, { preimage: noPreimage })],
    ["Payment that echoes another offer", () => paymentCredential({ id: paid.quoteId, realm: "elsewhere" }, { preimage: paid.preimage })],
    ["a key of another house", () => "Bearer sk-proj-0123456789"],
    ["a password", () => "Basic dXNlcjpwYXNz"],
    ["a scheme nobody knows", () => "Hawk id=1"],
    ["an empty L402", () => "L402 :"],
    ["5 KB of L402", () => `L402 ${"A".repeat(5_000)}:${noPreimage}`],
  ];
  for (const [what, authorization] of dead)
    test(`${what} is answered 402 with a fresh invoice, so that its client drops it`, async () => {
      const answer = await post(hello, { Authorization: authorization() });
      expect({ status: answer.status, code: billOf(answer).error?.code }).toEqual({ status: 402, code: "payment_required" });
      expect(answer.header("www-authenticate")).toMatch(offer);
      expect(billOf(answer).macaroon).not.toBe(paid.macaroon);
    });

  for (const [what, authorization] of dead.slice(0, 16).filter(([one]) => !/hash/.test(one)))
    if (!what.includes("as an API key"))
      test(`${what} is answered 402 by the balance as well`, async () => {
        const answer = await askRaw(hearth.url, { path: "/api/v1/balance", headers: { Authorization: authorization() } });
        expect({ status: answer.status, offer: offer.test(answer.header("www-authenticate") ?? "") }).toEqual({ status: 402, offer: true });
      });

  test("an unknown token is a 401 without any challenge", async () => {
    const answer = await post(hello, { Authorization: "Bearer abl_0123456789abcdef" });
    expect({ status: answer.status, code: billOf(answer).error.code }).toEqual({ status: 401, code: "invalid_token" });
    expect(answer.header("www-authenticate")).toBeUndefined();
  });

  test("one that is spent says what is left and what is needed, and offers a new invoice", async () => {
    // 100 tokens of 80 msat, under the least invoice of 10 sats: the second call no longer fits.
    const small = { ...hello, model: "sandbox-loop", max_tokens: 100 };
    const credential = await buyCredential(hearth.url, small);
    expect((await post(small, { Authorization: credential })).status).toBe(200);
    const answer = await post(small, { Authorization: credential });
    const bill = billOf(answer);
    expect({ status: answer.status, code: bill.error.code, outer: bill.code }).toEqual({ status: 402, code: "insufficient_balance", outer: "insufficient_balance" });
    expect(bill.available_sats).toBe(1);
    expect(bill.required_sats).toBe(9);
    expect(answer.header("www-authenticate")).toMatch(offer);
    expect(credential).not.toContain(bill.macaroon);
  });
});

test("lnget's own caveat with the preimage narrows nothing", async () => {
  const [, macaroon, preimage] = /^L402 (.*):(.*)$/.exec(await buyCredential(hearth.url))!;
  const answer = await post(hello, { Authorization: `L402 ${narrow(macaroon!, `preimage=${preimage}`)}:${preimage}` });
  expect(answer.status).toBe(200);
});

describe("every answer", () => {
  const answers: [what: string, status: number, ask: () => Promise<RawAnswer>][] = [
    ["a bill", 402, () => post(hello)],
    ["a bill for HEAD", 402, () => askRaw(hearth.url, { method: "HEAD", path })],
    ["a sale", 200, async () => post(hello, { Authorization: await buyCredential(hearth.url) })],
    ["a streamed sale", 200, async () => post({ ...hello, stream: true }, { Authorization: await buyCredential(hearth.url) })],
    ["the balance", 200, async () => askRaw(hearth.url, { path: "/api/v1/balance", headers: { Authorization: await buyCredential(hearth.url) } })],
    ["the balance of nobody", 401, () => askRaw(hearth.url, { path: "/api/v1/balance" })],
    ["the models", 200, () => askRaw(hearth.url, { path: "/v1/models" })],
    ["one model", 200, () => askRaw(hearth.url, { path: "/v1/models/sandbox" })],
    ["an unknown model", 404, () => askRaw(hearth.url, { path: "/v1/models/gpt-9" })],
    ["a question to an unknown model", 404, () => post({ ...hello, model: "gpt-9" })],
    ["not JSON", 400, () => askRaw(hearth.url, { method: "POST", path, body: "{" })],
    ["a wrong method", 405, () => askRaw(hearth.url, { method: "DELETE", path })],
    ["an unknown token", 401, () => post(hello, { Authorization: "Bearer abl_x" })],
    ["an unknown path", 404, () => askRaw(hearth.url, { path: "/v1/nothing" })],
    ["the sign of life", 200, () => askRaw(hearth.url, { path: "/healthz" })],
    ["the front page", 200, () => askRaw(hearth.url, { path: "/" })],
    ["a preflight", 204, () => askRaw(hearth.url, { method: "OPTIONS", path })],
  ];
  for (const [what, status, askIt] of answers) {
    test(`may be read by any page, and only a 402 carries WWW-Authenticate: ${what}`, async () => {
      const answer = await askIt();
      expect(answer.status).toBe(status);
      expect(answer.header("access-control-allow-origin")).toBe("*");
      expect(answer.header("www-authenticate") !== undefined).toBe(status === 402);
    });
    if (status !== 204) test(`has an id to ask about it: ${what}`, async () => expect((await askIt()).header("x-request-id")).toMatch(/^\S{8,}$/));
  }

  for (const at of [path, "/api/v1/balance", "/v1/models", "/v1/anything"])
    test(`may be asked for by any page: OPTIONS ${at}`, async () => {
      const answer = await askRaw(hearth.url, { method: "OPTIONS", path: at, headers: { Origin: "https://shop.example", "Access-Control-Request-Method": "POST" } });
      expect(answer.status).toBe(204);
      const allowed = answer.header("access-control-allow-headers")!.toLowerCase().split(/,\s*/);
      for (const name of ["authorization", "content-type", "accept-payment", "accept-authenticate", "x-token", "x-payment-hash", "idempotency-key", "x-api-key", "anthropic-version"])
        expect(allowed).toContain(name);
      expect(answer.header("access-control-allow-methods")).toMatch(/POST/);
    });

  test("the owner's door lets no other page in", async () => {
    const answer = await askRaw(hearth.ownerUrl, { method: "OPTIONS", path: "/admin/api/status", headers: { Origin: "https://shop.example" } });
    expect(answer.header("access-control-allow-origin")).toBeUndefined();
  });
});
