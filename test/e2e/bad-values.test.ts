/**
 * Every place in which a request can say something wrong, at every door: a documented 4xx in OpenAI's shape, nothing booked,
 * nothing repeated, no invoice but with a 402, and the next buyer is served. Bodies of chat are in bad-input.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { hmacSha256 } from "../../src/base/bytes.ts";
import { mintMacaroon, verifyMacaroon } from "../../src/l402/macaroon.ts";
import {
  ask, askForBill, askRaw, balanceOf, buyToken, claim, endHearth, hello, orderTopup, pay, type RawAnswer, RawConnection, rawRequest, readLedger, type RunningHearth, startHearth, until,
} from "../support/hearth.ts";

const mark = "mark-5d81c0-never-said-back";
const markHex = "5d81c0de".repeat(8);
const marks = [mark, Buffer.from(mark).toString("base64").slice(0, 34), markHex];
const offer = /^L402 macaroon="[A-Za-z0-9+/]+=*", invoice="lnbcrt[0-9a-z]+"/;

let hearth: RunningHearth;
/** All paid: a call's credential, a topup nobody has claimed, a token; and a topup that waits. */
let paid: { macaroon: string; preimage: string; hash: string; balance: number };
let topup: { secret: string; preimage: string };
let waiting: { hash: string };
let token: string;
const seen: string[] = [];

beforeAll(async () => {
  hearth = await startHearth({ config: 'trusted_proxies = ["127.0.0.1"]\n' });
  const bill = await askForBill(hearth.url);
  paid = { macaroon: bill.macaroon, preimage: await pay(hearth.url, bill.invoice), hash: bill.payment_hash, balance: bill.amount_msat };
  const order = await orderTopup(hearth.url);
  topup = { secret: order.claim_secret, preimage: await pay(hearth.url, order.invoice) };
  waiting = { hash: (await orderTopup(hearth.url)).payment_hash };
  token = await buyToken(hearth.url);
  await until("all of it is credited", () => readLedger(hearth.dataDir, "SELECT 1 FROM invoice WHERE state = 'open'").length === 1);
});
afterAll(() => endHearth(hearth));

type Sent = { method?: string; path: string; headers?: Record<string, string>; body?: string | Uint8Array };
type Expected = { status: number; code: string; param?: string | null };
const json = (value: unknown) => JSON.stringify(value);

/** Everybody's way in; `balance` and `key` are GET. */
const doors = {
  chat: { method: "POST", path: "/v1/chat/completions", body: json(hello) },
  topup: { method: "POST", path: "/api/v1/topup", body: json({ amount_sats: 500 }) },
  claim: { method: "POST", path: "/api/v1/topup/claim", body: "{}" },
  balance: { method: "GET", path: "/api/v1/balance" },
  key: { method: "GET", path: "/api/v1/key" },
} satisfies Record<string, Sent>;
type Headers = Record<string, string>;
type Door = keyof typeof doors;
const everyDoor = Object.keys(doors) as Door[];
const at = (door: Door, more: Partial<Sent> = {}): Sent => ({ ...doors[door], ...more });

async function send(request: Sent): Promise<RawAnswer> {
  const answer = await askRaw(hearth.url, { method: "POST", ...request, headers: { "Content-Type": "application/json", ...request.headers } });
  seen.push(answer.head, answer.body);
  return answer;
}

type Books = { transfers: number; invoices: number; others: string };
const others = ["account", "key", "claim", "call", "single_use", "request_key", "open_reservation"];
const count = (table: string) => `(SELECT count(*) FROM ${table})`;
const countAll = `SELECT ${count("transfer")} AS transfers, ${count("invoice")} AS invoices, ${others.map(count).join(" || ',' || ")} AS others`;

function books(): Books {
  const [row] = readLedger<{ transfers: bigint; invoices: bigint; others: string }>(hearth.dataDir, countAll);
  return { transfers: Number(row!.transfers), invoices: Number(row!.invoices), others: row!.others };
}

/** As a row of a table: what came, as far as a client acts on it. */
function summary(answer: RawAnswer) {
  const { error } = (answer.body === "" ? {} : JSON.parse(answer.body)) as { error?: Record<string, unknown> };
  return {
    status: answer.status, code: error?.code, param: error?.param, says: typeof error?.message === "string" && error.message.length > 10, retry: answer.header("x-should-retry"),
    challenge: answer.header("www-authenticate") !== undefined, page: answer.header("access-control-allow-origin"), type: answer.header("content-type")?.split(";")[0],
  };
}

/** @param param Compared only where it is named: `null` means that none is told. */
async function expectRefusal(request: Sent, expected: Expected): Promise<void> {
  const before = books();
  const answer = await send(request);
  const { param, ...came } = summary(answer);
  const { status, code } = request.method === "HEAD" ? { ...expected, code: undefined } : expected;
  expect({ request: shown(request), ...came, books: books() })
    .toEqual({ request: shown(request), status, code, says: code !== undefined, retry: "false", challenge: false, page: "*", type: "application/json", books: before });
  if (code !== undefined && expected.param !== undefined) expect({ request: shown(request), param }).toEqual({ request: shown(request), param: expected.param });
}

/** A dead credential is answered by a new bill: one invoice, and nothing else. */
async function expectNewBill(request: Sent): Promise<void> {
  const before = books();
  const answer = await send(request);
  const bill = (request.method === "HEAD" ? {} : JSON.parse(answer.body)) as { macaroon?: string; error?: { code: string } };
  expect({ request: shown(request), status: answer.status, code: bill.error?.code, retry: answer.header("x-should-retry"), books: books() })
    .toEqual({ request: shown(request), status: 402, code: request.method === "HEAD" ? undefined : "payment_required", retry: "false", books: { ...before, invoices: before.invoices + 1 } });
  expect(answer.header("www-authenticate")).toMatch(offer);
  expect(bill.macaroon).not.toBe(paid.macaroon);
}

const fullCredential = () => ({ Authorization: `L402 ${paid.macaroon}:${paid.preimage}` });
const shown = ({ method, path, headers, body }: Sent) => `${method ?? "POST"} ${path} ${json(headers ?? {})} ${body === undefined ? "" : String(body)}`.slice(0, 300);

/** What a dead credential gets: a bill wherever something is for sale, and never one at the claim. */
async function expectDead(headers: Record<string, string>): Promise<void> {
  for (const door of everyDoor)
    await (door === "claim" ? expectRefusal(at(door, { headers }), { status: 400, code: "invalid_payment" }) : expectNewBill(at(door, { headers })));
}

const bytesOf = (macaroon: string) => Buffer.from(macaroon, "base64");
const lengthOf = (content: Uint8Array) => (content.length < 128 ? [content.length] : [(content.length & 127) | 128, content.length >> 7]);

/** What a holder can do without us: append, and sign over it. With `vid` it is a third party's caveat. */
function append(macaroon: string, caveat: string | Uint8Array, vid?: Uint8Array): string {
  const bytes = bytesOf(macaroon), id = Buffer.from(caveat as string), key = bytes.subarray(-32);
  const signature = vid === undefined ? hmacSha256(key, id) : hmacSha256(key, Buffer.concat([hmacSha256(key, vid), hmacSha256(key, id)]));
  const extra = vid === undefined ? [] : [4, ...lengthOf(vid), ...vid];
  const location = vid === undefined ? [] : [1, 5, ...Buffer.from("other")];
  return Buffer.concat([bytes.subarray(0, -35), Buffer.from([...location, 2, ...lengthOf(id)]), id, Buffer.from([...extra, 0, 0, 6, 32]), signature]).toString("base64");
}

const many = (count: number, caveat: string) => Array.from({ length: count }).reduce<string>((macaroon) => append(macaroon, caveat), paid.macaroon);
const master = () => new Uint8Array(Buffer.from(readFileSync(join(hearth.dataDir, "keys", "credentials"), "utf8").trim(), "hex"));

/** Fields of the paid credential with some of them replaced, signed by `key`. */
function forged(key: Uint8Array, other: { paymentHash?: string; tokenId?: Uint8Array; caveats?: string[] }): string {
  const { paymentHash, tokenId, caveats } = verifyMacaroon(new Uint8Array(bytesOf(paid.macaroon)), master())!;
  return Buffer.from(mintMacaroon({ master: key, paymentHash, tokenId, caveats, ...other })).toString("base64");
}

describe("a macaroon that is not ours, or not as we made it, is a dead credential at every door", () => {
  const dead: [what: string, macaroon: () => string][] = [
    ["signed under another house's key", () => forged(new Uint8Array(32), {})],
    ["ours, of an invoice that never was", () => forged(master(), { paymentHash: markHex })],
    ["ours, of another token id", () => forged(master(), { tokenId: new Uint8Array(32) })],
    ["ours, without its two first caveats", () => forged(master(), { caveats: [] })],
    ["ours, for another service", () => forged(master(), { caveats: ["services=other:0", "llm_valid_until=9999999999"] })],
    ["65 caveats", () => many(63, "llm_max_msat=999999999")],
    ["over 4 KB", () => append(paid.macaroon, `llm_models=${mark}${"m".repeat(4_000)}`)],
    ["a third party's caveat", () => append(paid.macaroon, mark, new Uint8Array(48))],
    ["two of them, one behind the other", () => Buffer.concat([bytesOf(paid.macaroon), bytesOf(paid.macaroon)]).toString("base64")],
    ["bytes behind its end", () => Buffer.concat([bytesOf(paid.macaroon), Buffer.from(mark)]).toString("base64")],
    ["in JSON", () => Buffer.from(json({ v: 2, i: mark, s64: "" })).toString("base64")],
    ["of the older format", () => Buffer.from(`0021location ${mark}\n`).toString("base64")],
    ["the version byte alone", () => "Ag=="],
    ["a caveat that is no text", () => append(paid.macaroon, Buffer.from([0xff, 0xfe, 0x3d, 0x31]))],
    ...[`${mark}=1`, mark, "", "=1", `llm_models=${mark} x`, "llm_models=", "llm_models=a,,b", "llm_valid_until=soon", "llm_valid_until=-1", "llm_valid_until=", "llm_max_msat=1.5", "llm_max_msat=",
      `llm_max_msat=${"9".repeat(19)}`, "services=llm:1", "LLM_MODELS=sandbox", `preimage=${mark}`, "preimage=", "llm_models =a", "llm_models=a\0b c"]
      .map((caveat): [string, () => string] => [`the caveat ${json(caveat)}`, () => append(paid.macaroon, caveat)]),
  ];
  test.each(dead)("%s", (_what, macaroon) => expectDead({ Authorization: `L402 ${macaroon()}:${paid.preimage}` }));

  test("64 caveats are still one credential", () =>
    expectRefusal(at("balance", { headers: { Authorization: `L402 ${many(62, "llm_max_msat=999999999")}:${paid.preimage}` } }), { status: 403, code: "narrowed_credential" }));

  test("cut off anywhere", async () => {
    const whole = bytesOf(paid.macaroon);
    for (let length = 1; length < whole.length; length += 3) await expectNewBill(at("chat", { headers: { Authorization: `L402 ${whole.subarray(0, length).toString("base64")}:${paid.preimage}` } }));
  }, 30_000);

  test("with one bit turned anywhere but in its location, which is not signed", async () => {
    const { length } = bytesOf(paid.macaroon), location = [3, 4, 5, 6];
    for (let place = 0; place < length; place++) {
      if (location.includes(place)) continue;
      const bytes = bytesOf(paid.macaroon);
      bytes[place]! ^= 1 << (place % 8);
      await expectNewBill(at("chat", { headers: { Authorization: `L402 ${bytes.toString("base64")}:${paid.preimage}` } }));
    }
  }, 30_000);

  test.each([["balance", 403], ["key", 403], ["topup", 403], ["claim", 403]] as const)("one that its holder narrowed moves no money and shows none: %s", (door, status) =>
    expectRefusal(at(door, { headers: { Authorization: `L402 ${append(paid.macaroon, "llm_models=sandbox")}:${paid.preimage}` } }), { status, code: "narrowed_credential", param: null }));

  test.each(["llm_models=other", `llm_models=${mark.replace("mark", "model")}`, "llm_max_msat=1", "llm_max_msat=0"])("one that is narrowed to something else buys nothing: %s", (caveat) =>
    expectRefusal(at("chat", { headers: { Authorization: `L402 ${append(paid.macaroon, caveat)}:${paid.preimage}` } }), { status: 403, code: "narrowed_credential", param: null }));
});

describe("a preimage that is none, or another's, is a dead credential at every door", () => {
  const wrong = () => [mark, markHex, paid.hash, paid.preimage.slice(1), `${paid.preimage}0`, `0x${paid.preimage}`,
    Buffer.from(paid.preimage, "hex").toString("base64"), `${paid.preimage}:${mark}`, "undefined", "null", "\xe9\xff", `"${paid.preimage}"`];
  test.each(Array.from({ length: 12 }, (_, i) => i))("number %i beside the macaroon", (i) => expectDead({ Authorization: `L402 ${paid.macaroon}:${wrong()[i]}` }));

  const bodies: [what: string, preimage: unknown, code: string][] = [
    ["63 digits", markHex.slice(1), "invalid_payment"], ["65 digits", `${markHex}0`, "invalid_payment"],
    ["no hex", mark, "invalid_payment"], ["0x before it", `0x${markHex}`, "invalid_payment"], ["nothing", "", "invalid_payment"],
    ["a blank before it", ` ${markHex}`, "invalid_payment"], ["a line end behind it", `${markHex}\n`, "invalid_payment"],
    ["wide digits", "１".repeat(64), "invalid_payment"], ["a NUL in it", `${markHex.slice(1)}\0`, "invalid_payment"],
    ["a number", 7, "invalid_request"], ["a list", [markHex], "invalid_request"], ["an object", { [mark]: 1 }, "invalid_request"], ["true", true, "invalid_request"],
  ];
  test.each(bodies)("in a claim: %s", (_what, preimage, code) => expectRefusal(at("claim", { body: json({ preimage }) }), { status: 400, code, param: "preimage" }));

  test("a claim by the preimage of no payment, or of one that was for a call, or by a hash alone, is a 400", async () => {
    const refused = { status: 400, code: "invalid_payment", param: null };
    for (const body of [{ preimage: markHex }, { preimage: paid.preimage }, { preimage: paid.hash }, { payment_hash: paid.hash }]) await expectRefusal(at("claim", { body: json(body) }), refused);
    for (const headers of [{ "X-Payment-Hash": paid.hash }, { Authorization: `Payment method="lightning", preimage="${markHex}"` }] as Headers[]) await expectRefusal(at("claim", { headers }), refused);
  });

  const secrets = [["another text", mark], ["no secret", "cs_"], ["one of nobody", `cs_${"A".repeat(43)}`], ["a digit too many", `cs_${"A".repeat(44)}`], ["with a NUL", `cs_${"A".repeat(42)}\0`], ["nothing", ""]] as const;
  test.each(secrets)("a claim_secret that is %s", (_what, secret) => expectRefusal(at("claim", { body: json({ claim_secret: secret }) }), { status: 400, code: "invalid_payment" }));
  test.each([["a number", 5], ["a list", [mark]], ["300 characters", mark.padEnd(300, "x")], ["an object", { a: mark }]])("a claim_secret that is %s", (_what, secret) =>
    expectRefusal(at("claim", { body: json({ claim_secret: secret, preimage: topup.preimage }) }), { status: 400, code: "invalid_request", param: "claim_secret" }));
});

describe("an unknown token is a 401 without a bill, in whichever header it comes", () => {
  const unknown: [what: string, token: () => string][] = [
    ["made up", () => `abl_${mark}`], ["its prefix alone", () => "abl_"],
    ["one with another letter", () => `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`], ["one cut short", () => token.slice(0, -1)],
    ["one with more", () => `${token}x`], ["4,000 characters", () => `abl_${mark}`.padEnd(4_000, "x")],
    ["bytes that are no ASCII", () => "abl_\xe9\xff"], ["SQL", () => "abl_'OR'1'='1"], ["a macaroon", () => `abl_${paid.macaroon}`],
  ];
  const carriers: [how: string, headers: (text: string) => Headers][] = [
    ["Bearer", (text) => ({ Authorization: `Bearer ${text}` })], ["X-Token", (text) => ({ "X-Token": text })], ["x-api-key", (text) => ({ "x-api-key": text })],
  ];
  for (const [how, headers] of carriers)
    test.each(unknown)(`${how}: %s`, async (_what, text) => {
      for (const door of everyDoor) await expectRefusal(at(door, { headers: headers(text()) }), { status: 401, code: "invalid_token", param: null });
    });

  test("in a claim's body", async () => {
    for (const text of [`abl_${mark}`, mark, "sk-proj-1", token.slice(0, -1)])
      await expectRefusal(at("claim", { body: json({ claim_secret: topup.secret, token: text }) }), { status: 401, code: "invalid_token", param: null });
    for (const wrong of [5, [token], { token }, true, mark.padEnd(2_000, "x")])
      await expectRefusal(at("claim", { body: json({ claim_secret: topup.secret, token: wrong }) }), { status: 400, code: "invalid_request", param: "token" });
  });

  const keyless = [{}, { Authorization: "Bearer sk-proj-1" }, { "X-Token": mark }, { "x-api-key": mark }, { Authorization: mark }, { Authorization: "L402 :" }, { "X-Payment-Hash": markHex }] as Headers[];
  test.each(keyless)("no key of ours has no balance: %p", async (headers) => {
    for (const door of ["balance", "key"] as const) await expectRefusal(at(door, { headers }), { status: 401, code: "no_account", param: null });
  });

  test("who guesses is slowed down by a 429 that says for how long; a token that exists is not held up", async () => {
    const from = (text: string) => ({ "X-Token": text, "X-Forwarded-For": "203.0.113.77" });
    for (let tries = 0; tries < 20; tries++) expect((await send(at("balance", { headers: from(`abl_${mark}${tries}`) }))).status).toBe(401);
    const before = books();
    const answer = await send(at("chat", { headers: from(`abl_${mark}`) }));
    expect({ ...summary(answer), wait: Number(answer.header("retry-after")) > 0, books: books() })
      .toMatchObject({ status: 429, code: "too_many_tries", retry: undefined, challenge: false, wait: true, books: before });
    expect((await send(at("balance", { headers: from(token) }))).status).toBe(200);
    expect((await send(at("balance", { headers: { "X-Token": `abl_${mark}`, "X-Forwarded-For": "203.0.113.78" } }))).status).toBe(401);
  });
});

describe("a payment hash that is none is a 400 at every door that reads one", () => {
  const wrong = [mark, markHex.slice(1), `${markHex}0`, `0x${markHex}`, `${markHex},${markHex}`, `${markHex.slice(2)}zz`, "\xe9".repeat(64)];
  const refused = { status: 400, code: "invalid_request", param: "payment_hash" };
  test.each(wrong)("in X-Payment-Hash: %s", async (value) => {
    for (const door of everyDoor) await expectRefusal(at(door, { headers: { "X-Payment-Hash": value } }), refused);
    for (const method of ["GET", "HEAD"]) await expectRefusal({ method, path: doors.chat.path, headers: { "X-Payment-Hash": value } }, refused);
  });
  test.each([...wrong.slice(0, 6), "", "%00", "%ff", "%", "a%26b"])("in the query: %s", async (value) => {
    for (const door of everyDoor) await expectRefusal(at(door, { path: `${doors[door].path}?payment_hash=${value}` }), refused);
  });
  test.each([...wrong, "", 7, [markHex], {}, true, `${markHex} `].map((value) => ({ payment_hash: value })))("in the body of a chat: %p", (wrongly) =>
    expectRefusal(at("chat", { body: json({ ...hello, ...wrongly }) }), refused));

  test("two that differ are a 400, wherever they stand", async () => {
    const other = "ab".repeat(32);
    await expectRefusal(at("chat", { path: `${doors.chat.path}?payment_hash=${other}`, headers: { "X-Payment-Hash": markHex } }), refused);
    await expectRefusal(at("chat", { headers: { Authorization: `L402 ${other}` }, body: json({ ...hello, payment_hash: markHex }) }), refused);
  });

  test.each([mark, markHex, markHex.toUpperCase(), markHex.slice(1), "%00", "%ff", "%", "..%2f..%2fkey", "a".repeat(4_000), "claim", "%27%20OR%201=1"])("no topup is at %s", async (value) => {
    for (const tail of ["", "/events"]) for (const method of ["GET", "HEAD"]) await expectRefusal({ method, path: `/api/v1/topup/${value}${tail}` }, { status: 404, code: "not_found", param: null });
  });

  test("an invoice for a call is no topup: nobody is told whether it is paid", () =>
    expectRefusal({ method: "GET", path: `/api/v1/topup/${paid.hash}` }, { status: 404, code: "not_found", param: null }));

  test.each([["", "*/*"], ["", "text/event-stream"], ["/events", "*/*"]])("HEAD of a topup that waits is answered, and at once: /topup/{hash}%s, Accept: %s", async (tail, accept) => {
    const connection = new RawConnection(hearth.url);
    try {
      connection.send(rawRequest(hearth.url, { method: "HEAD", path: `/api/v1/topup/${waiting.hash}${tail}`, headers: { Accept: accept } }));
      let status = 0;
      void connection.answer("HEAD").then((answer) => (status = answer.status), () => {});
      await until("HEAD is answered", () => status !== 0, 2_000);
      expect(status).toBe(200);
    } finally {
      connection.close();
    }
  });
});

describe("an amount that is none makes no invoice, for whoever asks", () => {
  const askers: [who: string, headers: () => Headers][] = [["a stranger", () => ({})], ["a token", () => ({ "X-Token": token })], ["a credential", fullCredential]];
  const inSats = ["99", "1000001", "100.5", "1e400", "-0", "-100", "9007199254740993", '"500"', `"${mark}"`, "[500]", "{}", "true", "false", '""'];
  const inUsd = ["0", "-1", "0.001", "1.234", "1.000", "1e3", "1E3", "1e-9", "99999999999", "100000000", "true", "[1.2]", "{}",
    '"1,20"', '"1.2.3"', '""', '" 1"', '"1 "', '"+1"', '"1e3"', '"0x10"', '"٣"', '".5"', '"5."', `"${mark}"`, '"NaN"'];
  const bodies: [body: string, param: string][] = [
    ...inSats.map((text): [string, string] => [`{"amount_sats":${text}}`, "amount_sats"]), ...inUsd.map((text): [string, string] => [`{"amount_usd":${text}}`, "amount_usd"]),
    ['{"amount_sats":500,"amount_usd":1}', "amount_sats"], ['{"amount":500}', "amount_sats"], [`{"a":{"amount_sats":500},"b":"${mark}"}`, "amount_sats"],
    ['{"__proto__":{"amount_sats":500}}', "amount_sats"], ['{"amount_usd":null,"amount_sats":null}', "amount_sats"],
    ['{"amount_sats":500,"amount_sats":0}', "amount_sats"], ['{"amount_usd":5,"amount_usd":5.001}', "amount_usd"],
    ['{"amount_usd":{"amount_usd":5}}', "amount_usd"], ["", "amount_sats"], [" \n", "amount_sats"],
  ];
  for (const [who, headers] of askers) test.each(bodies)(`${who}: %s`, (body, param) => expectRefusal(at("topup", { headers: headers(), body }), { status: 400, code: "invalid_amount", param }));
  test.each([1, true, "yes", mark, [], {}, "Secret"].map((how) => ({ claim: how })))("%p", (how) =>
    expectRefusal(at("topup", { body: json({ amount_sats: 500, ...how }) }), { status: 400, code: "invalid_request", param: "claim" }));
});

describe("an Idempotency-Key that is none is a 400; one that stands for something else is told so", () => {
  const refused = { status: 400, code: "invalid_request", param: "Idempotency-Key" };
  test.each([`${mark} x`, "a\tb", "\xe9t\xe9", "a\x7f", mark.padEnd(256, "x"), mark.padEnd(5_000, "x")])("%s", async (key) => {
    for (const door of everyDoor) for (const headers of [{}, { "X-Token": token }] as Headers[])
      await expectRefusal(at(door, { headers: { ...headers, "Idempotency-Key": key } }), refused);
  });

  test("another topup or claim under the same key is a 422, another call a 409", async () => {
    const headers = { "X-Token": token, "Idempotency-Key": mark };
    expect((await send(at("topup", { headers }))).status).toBe(402);
    for (const body of [{ amount_sats: 501 }, { amount_sats: 500, claim: "secret" }, { amount_sats: 500, [mark]: 1 }])
      await expectRefusal(at("topup", { headers, body: json(body) }), { status: 422, code: "idempotency_mismatch", param: null });
    expect((await send(at("chat", { headers }))).status).toBe(200);
    await until("the call is posted", () => readLedger(hearth.dataDir, "SELECT 1 FROM open_reservation").length === 0);
    await expectRefusal(at("chat", { headers }), { status: 409, code: "duplicate_request", param: null });
    await expectRefusal(at("chat", { headers, body: json({ ...hello, max_tokens: 5 }) }), { status: 409, code: "duplicate_request", param: null });
    expect((await claim(hearth.url, { claim_secret: topup.secret }, { "Idempotency-Key": mark })).status).toBe(200);
    await expectRefusal(at("claim", { headers: { "Idempotency-Key": mark }, body: json({ claim_secret: topup.secret, [mark]: 1 }) }), { status: 422, code: "idempotency_mismatch", param: null });
  });
});

describe("a body that is no JSON object of bearable size is refused by topup and claim", () => {
  const invalid: [what: string, body: string | Uint8Array][] = [
    ["half an object", `{"amount_sats":500,"${mark}"`], ["text", mark], ["a form", `amount_sats=500&x=${mark}`], ["NaN", '{"amount_sats":NaN}'], ["hex", '{"amount_sats":0x1f4}'],
    ["a comment", `{"amount_sats":500/*${mark}*/}`], ["a comma too many", '{"amount_sats":500,}'], ["two objects", '{"amount_sats":500}{}'],
    ["a bare NUL", `{"amount_sats":500}\0`], ["a NUL in a text", `{"amount_sats":500,"x":"${mark}\0"}`],
    ["no UTF-8", Buffer.concat([Buffer.from(`{"amount_sats":500,"x":"${mark}`), Buffer.from([0xc3, 0x28]), Buffer.from('"}')])],
    ["UTF-16", Buffer.from(`{"amount_sats":500,"x":"${mark}"}`, "utf16le")],
    ["65 levels", `{"amount_sats":500,"x":${"[".repeat(64)}"${mark}"${"]".repeat(64)}}`], ["a million levels", `{"amount_sats":500,"x":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}`],
  ];
  const noObject = [`["${mark}"]`, `[{"amount_sats":500,"preimage":"${markHex}"}]`, `"${mark}"`, "null", "500", "true"];
  const two = ["topup", "claim"] as const;
  for (const door of two) test.each(invalid)(`${door}: %s`, (_what, body) => expectRefusal(at(door, { body }), { status: 400, code: "invalid_json", param: null }));
  for (const door of two) test.each(noObject)(`${door}: JSON, but no object: %s`, (body) => expectRefusal(at(door, { body }), { status: 400, code: "invalid_request", param: null }));
  test.each(two)("%s: 5 MB", (door) => expectRefusal(at(door, { body: json({ amount_sats: 500, x: mark.padEnd(5_000_000, "x") }) }), { status: 413, code: "request_too_large", param: null }));

  const odd: [what: string, member: string][] = [
    ["half an emoji", String.raw`"\ud83d"`], ["half an emoji in a name", String.raw`{"\ud83d":1}`], ["a number that is no double", "1e999"], ["64 levels", `${"[".repeat(63)}${"]".repeat(63)}`],
    ["an escaped NUL", String.raw`"\u0000"`], ["a hundred thousand members", `[${"0,".repeat(99_999)}0]`], ["a name of objects", '{"__proto__":{"toJSON":1,"constructor":2}}'],
  ];
  for (const [what, member] of odd) {
    test(`what nobody reads does no harm, in an order: ${what}`, async () => {
      for (const headers of [{}, { "X-Token": token }] as Headers[]) await expectNewBill(at("topup", { headers, body: `{"amount_sats":500,"x":${member}}` }));
    });
    test(`what nobody reads does no harm, in a claim: ${what}`, () =>
      expectRefusal(at("claim", { body: `{"preimage":"${markHex}","x":${member}}` }), { status: 400, code: "invalid_payment", param: null }));
  }
});

describe("a wrong method is refused at every door, with a key or without", () => {
  const allowed: Record<string, string[]> = {
    "/api/v1/topup": ["POST"], "/api/v1/topup/claim": ["POST"], [`/api/v1/topup/${markHex}`]: ["GET", "HEAD"], "/api/v1/balance": ["GET", "HEAD"], "/api/v1/key": ["GET", "HEAD"],
  };
  for (const [path, good] of Object.entries(allowed))
    for (const method of ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"].filter((one) => !good.includes(one)))
      test(`${method} ${path}`, async () => {
        for (const headers of [{}, { "X-Token": token }, fullCredential()] as Headers[]) {
          const before = books();
          const answer = await send({ method, path, headers, ...(method === "GET" || method === "HEAD" ? {} : { body: json({ amount_sats: 500, preimage: topup.preimage, x: mark }) }) });
          expect([404, 405]).toContain(answer.status);
          expect({ ...summary(answer), code: "", says: true, param: null, books: books() })
            .toEqual({ status: answer.status, code: "", param: null, says: true, retry: "false", challenge: false, page: "*", type: "application/json", books: before });
        }
      });
  test.each(["GET", "HEAD"])("%s of a chat by somebody who could pay", async (method) => {
    for (const headers of [{ "X-Token": token }, fullCredential()] as Headers[])
      await expectRefusal({ method, path: doors.chat.path, headers }, { status: 405, code: "method_not_allowed", param: null });
  });
  test.each(everyDoor)("OPTIONS of %s asks nobody who it is", async (door) => {
    const before = books();
    for (const headers of [{ Authorization: `L402 ${"A".repeat(5_000)}` }, { "X-Token": `abl_${mark}` }, { "X-Payment-Hash": mark }, { "Idempotency-Key": `${mark} x` }] as Headers[])
      expect((await send({ method: "OPTIONS", path: doors[door].path, headers })).status).toBe(204);
    expect(books()).toEqual(before);
  });
});

test.each(["", "a b", "hearth:99999", "a/b", "[::1"])("a Host that is no host is no mistake of ours: %p", async (host) => {
  for (const door of everyDoor) {
    const answer = await send(at(door, { path: `${doors[door].path}?payment_hash=${markHex}`, headers: { Host: host } }));
    expect({ door, bad: answer.status >= 400 && answer.status < 500 }).toEqual({ door, bad: true });
  }
});

describe("after all of it", () => {
  test("nothing was repeated, in any answer or in the log", () => {
    expect(seen.length).toBeGreaterThan(2_000);
    const said = (seen.join("\n") + hearth.output()).toLowerCase();
    expect(marks.filter((one) => said.includes(one.toLowerCase()))).toEqual([]);
  });

  test("nothing was spent, and buyers are served", async () => {
    const credential = `L402 ${paid.macaroon}:${paid.preimage}`;
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paid.balance);
    expect((await ask(hearth.url, hello, credential)).status).toBe(200);
    expect((await ask(hearth.url, hello, `Bearer ${token}`)).status).toBe(200);
  });

  test("no mistake of ours is in the log", () => expect(hearth.output().match(/.* error .*|.*request\.failed.*/g)).toBeNull());
});
