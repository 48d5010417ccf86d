/**
 * A million headers through everything that reads one: nothing throws but a refusal of the request, what is found has the
 * shape of what it is called, and no value takes more than its share of time. `HEARTH_SEED=N` replays a run, `HEARTH_VALUES=N`
 * makes it as long as one has time for.
 */
import { describe, expect, test } from "bun:test";
import type { Asker } from "../../src/accounts/asker.ts";
import { toBase64 } from "../../src/base/bytes.ts";
import { AppError } from "../../src/base/errors.ts";
import { maxCredentialBytes, maxRequestKeyCharacters } from "../../src/base/limits.ts";
import { readAsker } from "../../src/http/asker.ts";
import { type AuthorizationProof, listProofs, parseAuthorization } from "../../src/l402/authorization.ts";
import { decodePaymentCredential, type PaymentCredential } from "../../src/l402/payment-scheme.ts";
import { SeededRandom } from "../support/random.ts";
import { fixture } from "./fixtures.ts";

const seed = Number(process.env.HEARTH_SEED ?? "402");
/** Different values; each is carried in four or five headers. */
const rounds = Number(process.env.HEARTH_VALUES ?? "1000000");

const mac = toBase64(fixture("the two we mint").macaroon);
const other = toBase64(fixture("lnget appends the preimage").macaroon);
const urlSafe = (text: string) => text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const preimage = "5a".repeat(32);
const hash = "c0".repeat(32);
const id = "q_01k7m3v9qz0123456789abcdef";
const base64Json = (value: unknown) => urlSafe(toBase64(new TextEncoder().encode(JSON.stringify(value))));
const offer = { id, realm: "hearth", method: "lightning", intent: "charge", request: "e30", expires: "2026-12-01T10:10:00Z" };
const charge = base64Json({ challenge: { id }, payload: { preimage } });

/** Every form that some client sends, accepted or not. */
const forms = [
  `L402 ${mac}:${preimage}`, `LSAT ${mac}:${preimage}`, `l402 ${urlSafe(mac)}:${preimage.toUpperCase()}`, `L402 ${mac},${other}:${preimage}`, `Bearer ${mac}:${preimage}`,
  `L402 ${mac}`, `L402 ${mac}:`, `L402 ${id}:${preimage}`, `Bearer ${id}:${preimage}`, `Payment ${charge}`, `Payment ${base64Json({ challenge: offer, payload: { preimage }, source: "x" })}`,
  `Payment method="lightning", preimage="${preimage}"`, `Payment preimage=${preimage}, method=lightning`, "Bearer abl_Zm9vYmFyYmF6-_", "abl_Zm9vYmFyYmF6-_", `L402 ${hash}`, hash, hash.toUpperCase(),
  "L402 :", "Bearer sk-proj-abc123", "Basic dXNlcjpwYXNz", 'Digest username="x", realm="y"', "Hawk id=1",
] as const;
const paidForms = forms.slice(0, 5);
/** What a client may send beside a credential. None of it is a credential itself. */
const company = ["Bearer sk-abc", "Basic dTpw", "Bearer abl_x", "L402 :", "L402 garbage:zz", `L402 ${hash}`, "Payment ???", `Payment ${charge}`, "Digest a=\"b\"", "x", "", " ", ":", "\"", hash] as const;
const scraps = ["L402", "LSAT", "Bearer", "Payment", " ", "\t", "\xa0", ":", "::", ",", ", ", ",,", "=", "==", "\"", "\\", "%", "\xff", "\xe9", "abl_", "q_", "undefined", "null", "{}", "Ag", "AgEE", preimage,
  "preimage=", "method=lightning"] as const;

/** JSON of a charge in which anything may be of any type. */
function anyCharge(random: SeededRandom): string {
  const odd = [null, 7, "", [], {}, true, preimage, preimage.slice(1), id, "q_", "lightning", { preimage }, { id }, [[id]], "\u0000", "é".repeat(9)];
  const maybe = (right: unknown) => (random.chance(70) ? right : random.pick(odd));
  const challenge: Record<string, unknown> = { id: maybe(id) };
  for (const [name, value] of Object.entries(offer)) if (name !== "id" && random.chance(40)) challenge[name] = maybe(value);
  const value = maybe({ challenge: maybe(challenge), payload: maybe({ preimage: maybe(preimage) }) });
  return base64Json(random.chance(3) ? JSON.parse("[".repeat(60) + "]".repeat(60)) : value);
}

/** Made once and drawn from: a million of them would be most of the run. */
const charges = Array.from({ length: 4_096 }, ((random) => () => anyCharge(random))(new SeededRandom(seed)));
const noise = makeNoise(new SeededRandom(seed + 1));

/** Characters as they can stand in a header: every byte from 0x20 on. */
function makeNoise(random: SeededRandom): string {
  return Array.from({ length: 65_536 }, () => String.fromCharCode(random.between(0x20, 0xff))).join("");
}

const weights = { mutated: 40, joined: 20, companied: 12, charge: 12, scraps: 10, noise: 5, long: 1 };
const shapes = (Object.keys(weights) as (keyof typeof weights)[]).flatMap((name) => Array<typeof name>(weights[name]).fill(name));
type Made = { value: string; /** What must be found in it, whatever stands beside it. */ holds?: "credential" };

function make(random: SeededRandom): Made {
  switch (random.pick(shapes)) {
    case "mutated":
      return { value: mutate(random, random.pick(forms)) };
    case "joined": {
      const first = random.chance(50) ? mutate(random, random.pick(forms)) : random.pick(forms);
      return { value: `${first}${random.chance(50) ? ", " : ","}${random.pick(forms)}${random.chance(30) ? `,${random.pick(scraps)}` : ""}` };
    }
    case "companied":
      return { value: `${random.pick(company)}, ${random.pick(company)},${random.pick(paidForms)}, ${random.pick(company)}`, holds: "credential" };
    case "charge":
      return { value: `Payment ${random.chance(80) ? random.pick(charges) : mutate(random, random.pick(charges))}` };
    case "scraps":
      return { value: Array.from({ length: random.between(1, 9) }, () => random.pick(scraps)).join("") };
    case "noise":
      return { value: cutNoise(random, random.below(160)) };
    case "long":
      return { value: long(random) };
  }
}

function cutNoise(random: SeededRandom, length: number): string {
  const at = random.below(noise.length - length);
  return noise.slice(at, at + length);
}

/** One to four small changes. */
function mutate(random: SeededRandom, form: string): string {
  let value = form;
  for (let changes = random.between(1, 4); changes > 0; changes--) {
    const at = random.below(value.length + 1), to = Math.min(value.length, at + random.below(9));
    switch (random.below(6)) {
      case 0: value = value.slice(0, at) + value.slice(to); break;
      case 1: value = value.slice(0, at) + cutNoise(random, 1 + random.below(4)) + value.slice(to); break;
      case 2: value = value.slice(0, at) + random.pick(scraps) + value.slice(at); break;
      case 3: value = value.slice(0, to) + value.slice(at); break;
      case 4: value = value.slice(at) + value.slice(0, at); break;
      case 5: value = value.slice(0, at); break;
    }
  }
  return value;
}

const runs = [",", " ", "\t", ", ", ":", "\"", "\\\"", "=", "A", "Ag", "-_", "\xa0", "\xff", "L402 ", "L402 a:b,", "Payment a=\"", "Bearer abl_", "q_0", "0", "a b,"] as const;

/** One thing over and over, up to past the bound, between the halves of a form. */
function long(random: SeededRandom): string {
  const form = random.pick(forms), at = random.below(form.length), run = random.pick(runs);
  const length = random.chance(50) ? random.between(200, maxCredentialBytes) : maxCredentialBytes + random.between(-form.length - 20, 200);
  return form.slice(0, at) + run.repeat(Math.ceil(length / run.length)) + form.slice(at);
}

const hex64 = /^[0-9a-f]{64}$/;
const challengeId = /^q_[0-9a-z]{26}$/;
const order = ["credential", "payment", "preimage", "token", "hash", "malformed", "foreign", "none"];
const echoNames = new Set(["realm", "method", "intent", "request", "expires"]);

function isWellFormed(proof: AuthorizationProof): boolean {
  switch (proof.kind) {
    case "credential":
      return proof.macaroon instanceof Uint8Array && proof.macaroon[0] === 2 && proof.macaroon.length <= maxCredentialBytes && (proof.preimage === undefined || hex64.test(proof.preimage));
    case "payment":
      return isWellFormedCharge(proof);
    case "preimage":
      return hex64.test(proof.preimage);
    case "token":
      return proof.token.startsWith("abl_") && proof.token.length <= maxCredentialBytes;
    case "hash":
      return hex64.test(proof.paymentHash);
    default:
      return order.includes(proof.kind) && Object.keys(proof).length === 1;
  }
}

function isWellFormedCharge({ challengeId: ofQuote, preimage: shown, echoed }: Omit<PaymentCredential, "challengeId"> & { challengeId: string | undefined }): boolean {
  const echoesText = Object.entries(echoed).every(([name, value]) => echoNames.has(name) && typeof value === "string");
  return ofQuote !== undefined && challengeId.test(ofQuote) && hex64.test(shown) && echoesText && (echoed.method ?? "lightning") === "lightning" && (echoed.intent ?? "charge") === "charge";
}

function isWellFormedAsker({ token, credential, singleUse, malformed, idempotencyKey }: Asker): boolean {
  return (token === undefined || (token.startsWith("abl_") && token.length <= maxCredentialBytes)) &&
    (credential === undefined || (["credential", "payment"].includes(credential.kind) && isWellFormed(credential))) &&
    (singleUse === undefined || hex64.test(singleUse.kind === "hash" ? singleUse.paymentHash : singleUse.preimage)) && typeof malformed === "boolean" &&
    (idempotencyKey === undefined || (idempotencyKey.length <= maxRequestKeyCharacters && /^[\x21-\x7e]+$/.test(idempotencyKey)));
}

function fail(what: string, round: number, value: string, cause?: unknown): never {
  throw new Error(`seed ${seed} round ${round}: ${what} of ${JSON.stringify(value).slice(0, 500)}`, { cause });
}

/** What no caller of the proofs checks again. */
function checkProofs(round: number, { value, holds }: Made): string {
  const proofs = listProofs(value);
  let last = 0;
  for (const proof of proofs) {
    if (!isWellFormed(proof)) fail(`a ${proof.kind} that is none`, round, value);
    if (order.indexOf(proof.kind) < last) fail("an order that is not the one of the proofs", round, value);
    last = order.indexOf(proof.kind);
  }
  const [best] = proofs;
  if (value.length > maxCredentialBytes && (proofs.length !== 1 || best?.kind !== "malformed")) fail("something was read past the bound", round, value);
  if (round % 4 === 0 && parseAuthorization(value).kind !== (best?.kind ?? "none")) fail("two opinions", round, value);
  if (holds !== undefined && !(best?.kind === holds && best.preimage === preimage)) fail(`no ${holds} found`, round, value);
  const decoded = round % 2 === 0 || value.startsWith("Payment ") ? decodePaymentCredential(value.slice(value.indexOf(" ") + 1)) : undefined;
  if (decoded !== undefined && !isWellFormedCharge(decoded)) fail("a charge that is none", round, value);
  return best?.kind ?? "none";
}

const carriers = ["authorization", "x-api-key", "x-token", "x-payment-hash", "idempotency-key"] as const;
const everywhere = (1 << (carriers.length + 2)) - 1;

/** A request whose headers, query and body say `value` wherever a bit of `where` is set. */
function carrying(value: string, where: number): { request: Request; body: Record<string, unknown> | undefined } {
  const has = (name: string) => ((where >> carriers.indexOf(name as (typeof carriers)[number])) & 1) === 1;
  const query = ((where >> carriers.length) & 1) === 1 ? `?payment_hash=${encodeURIComponent(value)}` : "";
  const headers = { get: (name: string) => (has(name) ? value : null) };
  const body = where >> (carriers.length + 1) === 1 ? { payment_hash: value } : undefined;
  return { request: { url: `http://hearth.example/v1/chat/completions${query}`, headers } as unknown as Request, body };
}

/** The only thing that may be thrown, and it repeats nothing. */
function isRefusal(error: unknown, value: string): boolean {
  if (!(error instanceof AppError) || error.code !== "invalid_request" || error.retryable) return false;
  return (error.param === "payment_hash" || error.param === "Idempotency-Key") && !(value.length > 20 && error.message.includes(value));
}

function checkAsker(round: number, value: string, where: number): "asker" | "refused" {
  const { request, body } = carrying(value, where);
  try {
    if (!isWellFormedAsker(readAsker(request, () => undefined, body))) fail("an asker that is none", round, value);
    return "asker";
  } catch (error) {
    if (!isRefusal(error, value)) fail(`${String(error)} thrown (carried in ${where.toString(2)})`, round, value, error);
    return "refused";
  }
}

/** In every place at once where the value is, then in some only, so that what is no payment hash is read on. */
function placesFor(random: SeededRandom): number {
  return random.chance(35) ? everywhere : random.chance(60) ? 0b0000111 : random.below(everywhere + 1);
}

test("a million headers: nothing is thrown but a refusal, and every proof has the shape of what it is called", () => {
  const random = new SeededRandom(seed);
  const seen = new Map<string, number>();
  const count = (what: string) => void seen.set(what, (seen.get(what) ?? 0) + 1);
  let carried = 0;
  for (let round = 0; round < rounds; round++) {
    const made = make(random);
    count(checkProofs(round, made));
    const where = placesFor(random);
    for (let rest = where; rest > 0; rest >>= 1) carried += rest & 1;
    count(checkAsker(round, made.value, where));
  }
  expect(carried).toBeGreaterThan(4.5 * rounds);
  // Each of them often, or the values are too poor to prove anything.
  for (const what of [...order, "asker", "refused"]) expect({ what, often: (seen.get(what) ?? 0) > rounds / 500 }).toEqual({ what, often: true });
}, 600_000);

test("what a real request can carry is read as it was sent, in every header at once", () => {
  const random = new SeededRandom(seed + 2);
  let carried = 0;
  for (let round = 0; round < 20_000; round++) {
    const { value } = make(random);
    const where = placesFor(random);
    let request: Request;
    try {
      request = new Request("http://hearth.example/", { headers: carriers.filter((_, bit) => ((where >> bit) & 1) === 1).map((name): [string, string] => [name, value]) });
    } catch {
      continue; // no client can send it either
    }
    carried++;
    try {
      expect(isWellFormedAsker(readAsker(request, () => undefined, undefined))).toBe(true);
    } catch (error) {
      if (!isRefusal(error, value)) fail(`${String(error)} thrown`, round, value, error);
    }
  }
  expect(carried).toBeGreaterThan(15_000);
});

describe("a value of 4,096 characters takes no more than its share of the time of one of 512", () => {
  const short = 512, full = maxCredentialBytes;
  /** Eight times the length; the rest is for a machine that does other things as well. A square would be 64. */
  const most = (full / short) * 3;
  const deep = (length: number) => `Payment ${urlSafe(toBase64(new TextEncoder().encode("[".repeat(length))))}`;
  const shapesOfLength: [what: string, make: (length: number) => string][] = [
    ...runs.map((run): [string, (length: number) => string] => [`${JSON.stringify(run)} over and over`, (length) => run.repeat(length)]),
    ["L402 and commas", (length) => `L402 ${",".repeat(length)}`],
    ["L402 and colons", (length) => `L402 ${mac}${":,".repeat(length)}`],
    ["Payment and quotes", (length) => `Payment method="${'",preimage="'.repeat(length)}`],
    ["base64 of a macaroon without an end", (length) => `L402 Ag${"A".repeat(length - 8)}:`],
    ["base64 of brackets", deep],
    ["blanks within a scheme", (length) => `L402${" ".repeat(length - 200)}${mac}:${preimage}`],
    ["noise", () => noise],
  ];
  const read = (value: string) => {
    listProofs(value);
    decodePaymentCredential(value.slice(8));
    checkAsker(0, value, 0b0010111);
  };
  const timeOf = (value: string, times: number) => {
    const startedAt = performance.now();
    for (let i = 0; i < times; i++) read(value);
    return (performance.now() - startedAt) / times;
  };

  test.each(shapesOfLength)("%s", (_what, makeOf) => {
    const values = [short, full].map((length) => makeOf(length).slice(0, length)) as [string, string];
    for (const value of values) timeOf(value, 20);
    let best = [Infinity, Infinity];
    // In turns, and the best of each: what else the machine does comes and goes.
    for (let turn = 0; turn < 9; turn++) best = [Math.min(best[0]!, timeOf(values[0], 80)), Math.min(best[1]!, timeOf(values[1], 10))];
    expect(best[1]! / best[0]!).toBeLessThan(most);
  });
});
