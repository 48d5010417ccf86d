import { describe, expect, test } from "bun:test";
import { decodeBase64, toBase64 } from "../../src/base/bytes.ts";
import { maxCredentialBytes } from "../../src/base/limits.ts";
import { parseAuthorization, type AuthorizationProof } from "../../src/l402/authorization.ts";
import { fixture, seededNumbers } from "./fixtures.ts";

const bytes = fixture("the two we mint").macaroon;
const other = toBase64(fixture("lnget appends the preimage").macaroon);
const mac = toBase64(bytes);
const urlMac = mac.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const preimage = "5a".repeat(32);
const hash = "c0".repeat(32);
const id = "q_01k7m3v9qz0123456789abcdef";

const credential: AuthorizationProof = { kind: "credential", macaroon: bytes, preimage };
const unproven: AuthorizationProof = { kind: "credential", macaroon: bytes, preimage: undefined };
const payment: AuthorizationProof = { kind: "payment", challengeId: id, preimage, echoed: {} };

function base64Json(value: unknown): string {
  return toBase64(new TextEncoder().encode(JSON.stringify(value)));
}

function paymentValue(challenge: object, payload: object = { preimage }): string {
  return `Payment ${base64Json({ challenge, payload }).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

describe("what is accepted as a proof", () => {
  test.each<[string, string, AuthorizationProof]>([
    ["1 L402", `L402 ${mac}:${preimage}`, credential],
    ["1 the older name", `LSAT ${mac}:${preimage}`, credential],
    ["1 the scheme in any case", `lSaT ${mac}:${preimage}`, credential],
    ["1 url-safe base64 without padding", `L402 ${urlMac}:${preimage}`, credential],
    ["1 more blanks than needed", `  L402 \t ${mac}:${preimage}  `, credential],
    ["1 a preimage in capitals", `L402 ${mac}:${preimage.toUpperCase()}`, credential],
    ["1 of several macaroons the first", `L402 ${mac},${other}:${preimage}`, credential],
    ["1 of several macaroons with blanks the first", `L402 ${mac}, ${other}:${preimage}`, credential],
    ["1 behind another scheme", `Basic dTpw, L402 ${mac}:${preimage}`, credential],
    ["1 behind another house's key", `Bearer sk-abc,L402 ${mac}:${preimage}`, credential],
    ["1 both names sent at once", `LSAT ${mac}:${preimage}, L402 ${mac}:${preimage}`, credential],
    ["1 before a token", `Bearer abl_x, L402 ${mac}:${preimage}`, credential],
    ["1 before one without preimage", `L402 ${other}, L402 ${mac}:${preimage}`, credential],
    ["1 before a malformed one", `L402 garbage, L402 ${mac}:${preimage}`, credential],
    ["2 as an OpenAI key", `Bearer ${mac}:${preimage}`, credential],
    ["2 as an OpenAI key, the scheme in lowercase", `bearer ${urlMac}:${preimage}`, credential],
    ["3 without preimage", `L402 ${mac}`, unproven],
    ["3 with an empty preimage", `L402 ${mac}:`, unproven],
    ["4 the Payment scheme", paymentValue({ id }), payment],
    ["4 the Payment scheme in any case", paymentValue({ id }).replace("Payment", "PAYMENT"), payment],
    ["4 standard base64 with padding", `Payment ${base64Json({ challenge: { id }, payload: { preimage } })}`, payment],
    ["4 NanoGPT's challenge id for a macaroon", `L402 ${id}:${preimage}`, payment],
    ["4 a challenge id as an OpenAI key", `Bearer ${id}:${preimage}`, payment],
    ["6 a token", "Bearer abl_Zm9v-_", { kind: "token", token: "abl_Zm9v-_" }],
    ["6 a token beside another scheme", "Basic dTpw, Bearer abl_Zm9v", { kind: "token", token: "abl_Zm9v" }],
    ["7 MaximumSats' payment hash", `L402 ${hash}`, { kind: "hash", paymentHash: hash }],
    ["7 a payment hash alone", hash.toUpperCase(), { kind: "hash", paymentHash: hash }],
  ])("row %s", (_row, value, proof) => {
    expect(parseAuthorization(value)).toEqual(proof);
  });

  test("what a Payment client echoes comes along, for comparing", () => {
    const echoed = { realm: "r", method: "lightning", intent: "charge", request: "e30", expires: "2026-12-01T10:10:00Z" };
    expect(parseAuthorization(paymentValue({ id, ...echoed, more: 1 }))).toEqual({ ...payment, echoed } as AuthorizationProof);
  });
});

describe("a credential that does not parse gets a fresh challenge, so that the client drops it", () => {
  test.each<[string, string]>([
    ["no base64", "L402 %%%:" + preimage],
    ["no macaroon", `L402 ${toBase64(new Uint8Array([1, 2, 3]))}:${preimage}`],
    ["the older macaroon format", `L402 ${toBase64(new TextEncoder().encode("0021location"))}:${preimage}`],
    ["a short preimage", `L402 ${mac}:${preimage.slice(1)}`],
    ["a preimage that is no hex", `L402 ${mac}:${"g".repeat(64)}`],
    ["text after the preimage", `L402 ${mac}:${preimage}:x`],
    ["blanks around the colon", `L402 ${mac} : ${preimage}`],
    ["what JavaScript writes for nothing", "L402 undefined:undefined"],
    ["only a preimage", `L402 :${preimage}`],
    ["two payment hashes", `L402 ${hash},${hash}`],
    ["a challenge id alone", `L402 ${id}`],
    ["half a macaroon key", `Bearer ${mac}:${preimage.slice(2)}`],
    ["Payment without base64", "Payment {}"],
    ["Payment without JSON", `Payment ${toBase64(new TextEncoder().encode("{"))}`],
    ["Payment with null", `Payment ${base64Json(null)}`],
    ["Payment with a list", `Payment ${base64Json([])}`],
    ["Payment without a challenge", `Payment ${base64Json({ payload: { preimage } })}`],
    ["Payment without a preimage", paymentValue({ id }, {})],
    ["Payment with a preimage that is no text", paymentValue({ id }, { preimage: 7 })],
    ["Payment with an id of another house", paymentValue({ id: "kM9xPqWvT2nJrHsY4aDfEb" })],
    ["Payment by another method", paymentValue({ id, method: "tempo" })],
    ["Payment with another intent", paymentValue({ id, intent: "session" })],
    ["Payment that echoes no text", paymentValue({ id, realm: 3 })],
    ["Payment in Lightning Enable's dialect with half a preimage", `Payment method="lightning", preimage="${preimage.slice(32)}"`],
    ["Payment in Lightning Enable's dialect for another network", `Payment method="tempo", preimage="${preimage}"`],
  ])("%s", (_what, value) => {
    expect(parseAuthorization(value)).toEqual({ kind: "malformed" });
  });

  test("beside another house's key", () => {
    expect(parseAuthorization("Bearer sk-abc, L402 garbage:zz")).toEqual({ kind: "malformed" });
  });

  test(`anything over ${maxCredentialBytes} bytes, unread`, () => {
    const padding = " ".repeat(maxCredentialBytes - `L402 ${mac}:${preimage}`.length);
    expect(parseAuthorization(`L402 ${padding}${mac}:${preimage}`)).toEqual(credential);
    expect(parseAuthorization(`L402 ${padding} ${mac}:${preimage}`)).toEqual({ kind: "malformed" });
  });
});

describe("a stranger", () => {
  test.each<[string, string]>([
    ["an OpenAI key", "Bearer sk-proj-abc123"],
    ["a key in base64", `Bearer ${mac}`],
    ["a key of two halves", "Bearer user:password"],
    ["64 hex as a key", `Bearer ${hash}`],
    ["Basic", "Basic dXNlcjpwYXNz"],
    ["a token without scheme", "abl_Zm9v"],
    ["a word", "hello"],
    ["a challenge of ours sent back", 'Digest username="x", realm="y"'],
  ])("brings %s", (_what, value) => {
    expect(parseAuthorization(value)).toEqual({ kind: "foreign" });
  });

  test.each<[string, string | undefined]>([
    ["no header", undefined],
    ["an empty value", ""],
    ["blanks", " \t "],
    ["commas", ",,"],
    ["NanoGPT's first call", "L402 :"],
    ["its older name", "LSAT :"],
    ["a Bearer of nothing", "Bearer :"],
    ["an L402 of nothing, twice", "L402 :, L402 :"],
  ])("brings nothing: %s", (_what, value) => {
    expect(parseAuthorization(value)).toEqual({ kind: "none" });
  });

  test("brings only a scheme's name", () => {
    for (const name of ["L402", "LSAT ", "Bearer", "Payment"]) expect(["none", "foreign"]).toContain(parseAuthorization(name).kind);
  });
});

test("200,000 random values: never an exception, and what counts as a proof has a proof's shape", () => {
  const next = seededNumbers(402);
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(next() * items.length)]!;
  const words = [
    "L402", "LSAT", "l402", "Bearer", "Payment", "Basic", " ", " ", " ", ":", ":", ",", ", ", "=", '"', "\t", "\\",
    mac, urlMac, other, preimage, preimage.slice(1), hash, id, "abl_", "abl_x", "q_", "undefined", "{}", "%", "\u0000",
    "é", "\ud800", "Ag", "==", 'preimage="', paymentValue({ id }), base64Json({ challenge: { id: 1 } }), "e30", "W10", "bnVsbA",
  ];
  const seen = new Map<string, number>();
  for (let round = 0; round < 200_000; round++) {
    let value = "";
    for (let count = Math.floor(next() * 9); count >= 0; count--) {
      value += next() < 0.9 ? pick(words) : String.fromCharCode(Math.floor(next() * 256));
    }
    const proof = parseAuthorization(value);
    seen.set(proof.kind, (seen.get(proof.kind) ?? 0) + 1);
    if ("preimage" in proof && proof.preimage !== undefined && !/^[0-9a-f]{64}$/.test(proof.preimage)) throw new Error(value);
    if (proof.kind === "credential" && proof.macaroon[0] !== 2) throw new Error(value);
    if (proof.kind === "hash" && !/^[0-9a-f]{64}$/.test(proof.paymentHash)) throw new Error(value);
  }
  // Every kind came up, or the words are too poor to prove anything.
  expect([...seen.keys()].sort()).toEqual(["credential", "foreign", "hash", "malformed", "none", "payment", "token"]);
});

test("the macaroon comes out byte for byte", () => {
  const proof = parseAuthorization(`L402 ${urlMac}:${preimage}`);
  expect(proof.kind === "credential" && proof.macaroon).toEqual(decodeBase64(mac)!);
});
