import { describe, expect, test } from "bun:test";
import { decodeBase64, toBase64 } from "../../src/base/bytes.ts";
import { maxChallengeHeaderBytes } from "../../src/base/limits.ts";
import { parseAuthorization } from "../../src/l402/authorization.ts";
import { challengeHeaders, type Challenge, type ChallengeOptions } from "../../src/l402/challenge.ts";
import { echoMatches, paymentOffer, paymentReceipt, type PaymentOffer } from "../../src/l402/payment-scheme.ts";
import { fixture } from "./fixtures.ts";

const challenge: Challenge = {
  quoteId: "q_01k7m3v9qz0123456789abcdef",
  paymentHash: fixture("the two we mint").paymentHash,
  bolt11: "lnbc340n1p5abc",
  macaroon: toBase64(fixture("the two we mint").macaroon),
  amountSats: 34n,
  expiresAtMs: Date.UTC(2026, 11, 1, 10, 10, 0, 999),
};
const options: ChallengeOptions = { offerPayment: true, realm: "llm.example", network: "mainnet" };
const preimage = "5a".repeat(32);

function decodeJson(base64Url: string): unknown {
  return JSON.parse(new TextDecoder().decode(decodeBase64(base64Url)!));
}

function withInvoiceOf(characters: number): Record<string, string> {
  return challengeHeaders({ ...challenge, bolt11: "lnbc".padEnd(characters, "q") }, options);
}

function sizeOf(headers: Record<string, string>): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
}

test("the 402's headers, letter by letter", () => {
  const request = paymentOffer(challenge, options).request;
  expect(challengeHeaders(challenge, options)).toEqual({
    "WWW-Authenticate":
      `L402 macaroon="${challenge.macaroon}", invoice="lnbc340n1p5abc", ` +
      `Payment id="q_01k7m3v9qz0123456789abcdef", realm="llm.example", method="lightning", intent="charge", ` +
      `request="${request}", expires="2026-12-01T10:10:00Z"`,
    "X-Lightning-Invoice": "lnbc340n1p5abc",
    "X-Payment-Hash": challenge.paymentHash,
    "X-Price-Sats": "34",
    "x-should-retry": "false",
    "Cache-Control": "no-store",
    "Access-Control-Expose-Headers":
      "WWW-Authenticate, Payment-Receipt, X-Lightning-Invoice, X-Payment-Hash, X-Price-Sats",
  });
});

test("the Payment request is canonical JSON in unpadded base64url", () => {
  const { request } = paymentOffer(challenge, options);
  expect(request).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(new TextDecoder().decode(decodeBase64(request)!)).toBe(
    `{"amount":"34","currency":"sat","methodDetails":{"invoice":"lnbc340n1p5abc","network":"mainnet",` +
      `"paymentHash":"${challenge.paymentHash}"}}`,
  );
});

test("without the Payment offer only L402 is named", () => {
  const headers = challengeHeaders(challenge, { ...options, offerPayment: false });
  expect(headers["WWW-Authenticate"]).toBe(`L402 macaroon="${challenge.macaroon}", invoice="lnbc340n1p5abc"`);
});

describe("a realm can not talk a client into another invoice", () => {
  test.each([
    ['x", invoice="lnbc1evil', "x', invoice='lnbc1evil"],
    ["back\\slash\\", "back'slash'"],
    ["line\r\nSet-Cookie: a=b", "lineSet-Cookie: a=b"],
    ["Küche", "Kche"],
    ["", "hearth"],
    ["模型", "hearth"],
  ])("%j", (realm, shown) => {
    const line = challengeHeaders(challenge, { ...options, realm })["WWW-Authenticate"]!;
    expect(line).toContain(`realm="${shown}", method=`);
    // As clients read it: a name, then everything up to the next quote; of a name given twice the last one counts.
    const read = Object.fromEntries([...line.matchAll(/(\w+)=(?:"([^"]*)"|([^,]*))/g)].map((m) => [m[1], m[2] ?? m[3]]));
    expect(read.invoice).toBe(challenge.bolt11);
    expect(line).toMatch(/^[\x20-\x7e]*$/);
  });
});

test("a node that answers with something else than an invoice is our own failure, not the client's header", () => {
  expect(() => challengeHeaders({ ...challenge, bolt11: 'ln"\r\nx' }, options)).toThrow("plain text");
});

describe("the header budget", () => {
  test("an invoice with three route hints fits with everything", () => {
    const headers = withInvoiceOf(700);
    expect(headers["X-Lightning-Invoice"]).toBeDefined();
    expect(headers["WWW-Authenticate"]).toContain("Payment id=");
  });

  test("first X-Lightning-Invoice is left out, then the Payment offer, never L402", () => {
    const steps: string[] = [];
    for (let characters = 300; characters < 2_500; characters++) {
      const headers = withInvoiceOf(characters);
      expect(sizeOf(headers)).toBeLessThanOrEqual(maxChallengeHeaderBytes - 512);
      expect(headers["WWW-Authenticate"]).toStartWith("L402 macaroon=");
      const step = `${"X-Lightning-Invoice" in headers} ${headers["WWW-Authenticate"]!.includes("Payment id=")}`;
      if (steps.at(-1) !== step) steps.push(step);
    }
    expect(steps).toEqual(["true true", "false true", "false false"]);
  });
});

describe("a Payment credential", () => {
  const offer = paymentOffer(challenge, options);

  function presented(echo: object) {
    const text = toBase64(new TextEncoder().encode(JSON.stringify({ challenge: echo, payload: { preimage } })));
    const proof = parseAuthorization(`Payment ${text}`);
    if (proof.kind !== "payment") throw new Error(proof.kind);
    return proof;
  }

  test("that echoes the whole offer matches it", () => {
    const proof = presented(offer);
    expect(proof.challengeId).toBe(challenge.quoteId);
    expect(echoMatches(proof.echoed, offer)).toBe(true);
  });

  test("that echoes only a part matches too", () => {
    expect(echoMatches(presented({ id: offer.id }).echoed, offer)).toBe(true);
    expect(echoMatches(presented({ id: offer.id, realm: offer.realm }).echoed, offer)).toBe(true);
  });

  test.each<keyof PaymentOffer>(["realm", "request", "expires"])("that echoes another %s does not match", (name) => {
    expect(echoMatches(presented({ ...offer, [name]: "other" }).echoed, offer)).toBe(false);
  });

  test("with the longest invoice that is offered stays under the limit of a credential", () => {
    const characters = 1_000;
    expect(withInvoiceOf(characters)["WWW-Authenticate"]).toContain("Payment id=");
    const long = paymentOffer({ ...challenge, bolt11: "lnbc".padEnd(characters, "q") }, options);
    expect(echoMatches(presented(long).echoed, long)).toBe(true);
  });
});

test("the receipt names the payment hash and never the preimage", () => {
  const { quoteId: challengeId, paymentHash } = challenge;
  const receipt = paymentReceipt({ challengeId, paymentHash, settledAtMs: Date.UTC(2026, 2, 10, 21, 0, 0, 5) });
  expect(receipt).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(decodeJson(receipt)).toEqual({
    challengeId, method: "lightning", reference: paymentHash, status: "success", timestamp: "2026-03-10T21:00:00Z",
  });
});
