/**
 * Bad requests, from a stranger and from somebody who could pay: each gets its documented 4xx, costs nothing, asks nobody
 * for anything, and comes back in no answer and no line of the log.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  askRaw, balanceOf, buyCredential, eventually, hello, openOwnersDoor, type OwnersDoor, type RawAnswer, RawConnection, removeDataDir, type RunningHearth, startHearth,
} from "../support/hearth.ts";

const path = "/v1/chat/completions";
const canary = "canary-7f3a91-must-not-be-repeated";
/** A header block that Node's own client still reads is 16 KB; proxies read less. */
const readableHeadBytes = 8_192;

let model: SandboxModel;
let hearth: RunningHearth;
let owner: OwnersDoor;
let credential: string;
const seen: string[] = [];

beforeAll(async () => {
  model = startSandboxModel();
  hearth = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: model.url } });
  owner = await openOwnersDoor(hearth);
  credential = await buyCredential(hearth.url);
  // Credited from here on: nothing of the purchase moves later.
  await eventually("the purchase is credited", async () => ((await owner.status()).open_invoices === 0 && (await balanceOf(hearth.url, credential)).balance_msat > 0 ? true : undefined));
});
afterAll(async () => {
  await hearth.stop();
  await model.stop();
  removeDataDir(hearth.dataDir);
});

/** Everybody who may send something bad. */
const senders: [who: string, headers: () => Record<string, string>][] = [["a stranger", () => ({})], ["a holder", () => ({ Authorization: credential })]];

type Sent = { method?: string; path?: string; headers?: Record<string, string>; body?: string | Uint8Array };

async function send(request: Sent, headers: Record<string, string>): Promise<RawAnswer> {
  const answer = await askRaw(hearth.url, { method: "POST", path, ...request, headers: { "Content-Type": "application/json", ...headers, ...request.headers } });
  seen.push(answer.head, answer.body);
  return answer;
}

/** What a bad request must leave as it was. */
async function state() {
  const { open_invoices, calls_today, owed_to_payers } = await owner.status();
  return { calls: model.calls.length, open_invoices, calls_today, owed: owed_to_payers.msat, balance: await balanceOf(hearth.url, credential) };
}

type Expected = { status: number; code: string; param?: string | null };

/** One bad request, from everybody. */
function refuses(rule: string, request: Sent, expected: Expected): void {
  for (const [who, headers] of senders)
    test(`${rule} (${who}): ${expected.status} ${expected.code}, and nothing happened`, async () => {
      const before = await state();
      const answer = await send(request, headers());
      expect(answer.status).toBe(expected.status);
      const { error } = JSON.parse(answer.body) as { error: Record<string, unknown> };
      const type = expected.status === 401 ? "authentication_error" : "invalid_request_error";
      expect(error).toEqual({ message: expect.stringMatching(/\S/), type, code: expected.code, param: expected.param ?? null });
      expect(answer.header("content-type")).toMatch(/^application\/json/);
      expect(answer.header("x-should-retry")).toBe("false");
      expect(await state()).toEqual(before);
    });
}

/** A good request with some fields put in. */
const chat = (fields: Record<string, unknown>): Sent => ({ body: JSON.stringify({ ...hello, messages: [{ role: "user", content: canary }], ...fields }) });
const message = (fields: Record<string, unknown>): Sent => chat({ messages: [{ role: "user", content: canary, ...fields }] });
/** Left out of the JSON. */
const absent = undefined;

describe("a body that is no JSON object is refused", () => {
  const invalid = { status: 400, code: "invalid_json" };
  const noObject = { status: 400, code: "invalid_request" };
  refuses("half a body", { body: `{"model":"${canary}",` }, invalid);
  refuses("plain text", { body: canary }, invalid);
  refuses("an array", { body: `["${canary}"]` }, noObject);
  refuses("a string", { body: `"${canary}"` }, noObject);
  refuses("null", { body: "null" }, noObject);
  refuses("bytes that are not UTF-8", { body: Buffer.concat([Buffer.from(`{"model":"${canary}`), Buffer.from([0xc3, 0x28, 0xff])]) }, invalid);
  refuses("a bare NUL", { body: `{"model":"${canary}\0"}` }, invalid);
  refuses("100 levels of nesting", { body: `{"model":"sandbox","metadata":${"[".repeat(100)}"${canary}"${"]".repeat(100)}}` }, invalid);
  refuses("a million levels of nesting", { body: `{"model":"sandbox","messages":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}}` }, invalid);
  refuses("a million levels that never close", { body: '{"a":'.repeat(700_000) }, invalid);
});

describe("a body above 4 MB is refused", () => {
  const tooLarge = { status: 413, code: "request_too_large" };
  const letters = (bytes: number) => canary + "x".repeat(bytes - canary.length);
  refuses("5 MB with its length said before", chat({ messages: [{ role: "user", content: letters(5 * 1024 * 1024) }] }), tooLarge);
  refuses("17 MB with its length said before", chat({ messages: [{ role: "user", content: letters(17 * 1024 * 1024) }] }), tooLarge);
  for (const [who, headers] of senders)
    test(`5 MB in chunks of unsaid length (${who})`, async () => {
      const before = await state();
      const connection = new RawConnection(hearth.url);
      const head = Object.entries({ Host: new URL(hearth.url).host, "Transfer-Encoding": "chunked", ...headers() }).map(([name, value]) => `${name}: ${value}\r\n`).join("");
      connection.send(`POST ${path} HTTP/1.1\r\n${head}\r\n`);
      for (let i = 0; i < 5; i++) connection.send(`100000\r\n${letters(0x100000)}\r\n`);
      connection.send("0\r\n\r\n");
      const answer = await connection.answer();
      connection.close();
      seen.push(answer.head, answer.body);
      expect({ status: answer.status, body: JSON.parse(answer.body) as unknown }).toMatchObject({ status: 413, body: { error: { code: "request_too_large" } } });
      expect(await state()).toEqual(before);
    });
});

describe("a field of the wrong type or size is refused by its name", () => {
  const invalid = (param: string): Expected => ({ status: 400, code: "invalid_request", param });
  for (const wrong of [absent, null, 1, true, "", [], {}, "m".repeat(257)]) refuses(`model ${show(wrong)}`, chat({ model: wrong }), invalid("model"));
  for (const wrong of [absent, null, "hi", {}, [], 7]) refuses(`messages ${show(wrong)}`, chat({ messages: wrong }), invalid("messages"));
  refuses("2,001 messages", chat({ messages: Array.from({ length: 2_001 }, () => ({ role: "user", content: "." })) }), invalid("messages"));
  for (const wrong of [1, null, "hi", []]) refuses(`a message that is ${show(wrong)}`, chat({ messages: [wrong] }), invalid("messages.0"));
  for (const wrong of [absent, null, 1, "", "r".repeat(65)]) refuses(`role ${show(wrong)}`, message({ role: wrong }), invalid("messages.0.role"));
  for (const wrong of [1, true, {}, [canary], [{ type: "text" }], [{ type: "text", text: 1 }], Array(1_001).fill({ type: "text", text: "" })])
    refuses(`content ${show(wrong)}`, message({ content: wrong }), invalid("messages.0.content"));
  for (const type of ["image_url", "input_audio", "file"])
    refuses(`content of type ${type}`, message({ content: [{ type, [type]: { url: `https://example.org/${canary}.png` } }] }), invalid("messages.0.content"));
  for (const wrong of ["yes", 1, {}]) refuses(`stream ${show(wrong)}`, chat({ stream: wrong }), invalid("stream"));
  for (const wrong of [true, "x", 1]) refuses(`stream_options ${show(wrong)}`, chat({ stream_options: wrong }), invalid("stream_options"));
  refuses("include_usage yes", chat({ stream_options: { include_usage: "yes" } }), invalid("stream_options"));
  for (const wrong of [0, 17, 1.5, -1, "2"]) refuses(`n ${show(wrong)}`, chat({ n: wrong }), invalid("n"));
  for (const wrong of [-1, 0, 1.5, "100", 1e300, true, [1]]) refuses(`max_tokens ${show(wrong)}`, chat({ max_tokens: wrong }), invalid("max_tokens"));
  for (const cap of ["max_completion_tokens", "max_output_tokens", "num_predict", "n_predict"]) refuses(`${cap} -1`, chat({ [cap]: -1 }), invalid(cap));
  for (const wrong of ["x", {}, 1]) refuses(`tools ${show(wrong)}`, chat({ tools: wrong }), invalid("tools"));
  for (const [name, wrong] of [["stream", "yes"], ["stream_options", 1], ["n", 1.5], ["model", 1], ["messages", 1]] as const)
    test(`the refusal of ${name} says what would be right`, async () => {
      const { error } = JSON.parse((await send(chat({ [name]: wrong }), {})).body) as { error: { message: string } };
      expect(error.message).not.toMatch(/Invalid input\.?$/);
    });
  refuses("a later duplicate counts", { body: '{"model":"sandbox","messages":[{"role":"user","content":"a"}],"n":1,"n":17}' }, invalid("n"));
});

describe("an unknown model is refused", () => {
  const unknown = { status: 404, code: "model_not_found", param: "model" };
  for (const id of ["gpt-9", "__proto__", "constructor", "sandbox\0", "\ud800", "../sandbox", "sandbox\r\nX: 1"]) refuses(`model ${show(id)}`, chat({ model: id }), unknown);
  refuses("a model in the path", { ...chat({ model: absent }), path: `${path}/gpt-9` }, unknown);
});

describe("what would change the price or share a state is refused by its name", () => {
  const fields: Record<string, unknown> = {
    best_of: 2, prediction: { type: "content", content: canary }, web_search_options: {}, audio: { voice: "x" }, modalities: ["text", "audio"], service_tier: "priority",
    store: true, background: true, previous_response_id: canary, conversation: canary, container: canary, models: ["a"], plugins: [], provider: {}, route: "fallback",
    transforms: [], ignore_eos: true, min_tokens: 5, use_beam_search: true, length_penalty: 2, options: { num_ctx: 1 }, keep_alive: "1h", search_parameters: {}, mcp_servers: [],
  };
  for (const [name, value] of Object.entries(fields)) refuses(name, chat({ [name]: value }), { status: 400, code: "unsupported_field", param: name });
  refuses("a tool that the upstream runs itself", chat({ tools: [{ type: "web_search" }] }), { status: 400, code: "unsupported_field", param: "tools[0].type" });
});

describe("a wrong door is refused", () => {
  for (const method of ["PUT", "DELETE", "PATCH"]) refuses(method, { ...chat({}), method }, { status: 405, code: "method_not_allowed" });
  const nothing = { status: 404, code: "not_found" };
  const elsewhere = ["/v1/nothing", "/v2/chat/completions", "/admin", "/admin/", "/admin/api/status", "/metrics", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/..%2fadmin", "//admin", "/v1/..;/metrics", "http://127.0.0.1/admin"];
  for (const at of elsewhere) refuses(at, { method: "GET", path: at }, nothing);
  refuses("a login at the public door", { path: "/admin/api/login", body: JSON.stringify({ code: canary }) }, nothing);
});

describe("a huge Authorization is refused without a sale", () => {
  for (const [bytes, statuses] of [[5_000, [402]], [65_536, [402, 431]]] as const)
    test(`${bytes} bytes`, async () => {
      const calls = model.calls.length;
      const answer = await send(chat({}), { Authorization: `Bearer ${"A".repeat(bytes)}` });
      expect(statuses as readonly number[]).toContain(answer.status);
      expect(model.calls.length).toBe(calls);
    });
});

describe("odd, but good", () => {
  const odd: [what: string, request: Sent][] = [
    ["half an emoji", { body: '{"model":"sandbox","messages":[{"role":"user","content":"\\ud83d"}]}' }],
    ["an escaped NUL", { body: '{"model":"sandbox","messages":[{"role":"user","content":"a\\u0000b"}]}' }],
    ["a key given twice", { body: '{"model":"nothing","model":"sandbox","messages":[{"role":"user","content":"a"}]}' }],
    ["a field called __proto__", { body: '{"model":"sandbox","__proto__":{"n":16},"messages":[{"role":"user","content":"a"}]}' }],
    ["null wherever a field may be absent", chat({ stream: null, stream_options: null, n: null, max_tokens: null, tools: null, service_tier: null })],
    ["refused fields that say nothing", chat({ store: false, service_tier: "auto", modalities: ["text"], best_of: 1, background: false })],
    ["64 levels of nesting", { body: `{"model":"sandbox","messages":[{"role":"user","content":"a"}],"metadata":${"[".repeat(63)}${"]".repeat(63)}}` }],
  ];
  for (const [what, request] of odd)
    test(`${what} is sold`, async () => {
      expect((await send(request, {})).status).toBe(402);
      expect((await send(request, { Authorization: credential })).status).toBe(200);
    });

  test("fields that mean nothing here are dropped and named", async () => {
    const answer = await send(chat({ pref: "cheap", user: "u1", metadata: { a: "b" } }), { Authorization: credential });
    expect({ status: answer.status, dropped: answer.header("x-hearth-dropped") }).toEqual({ status: 200, dropped: "pref,user,metadata" });
    expect(model.calls.at(-1)!.body).not.toHaveProperty("pref");
    expect((await send(chat({}), { Authorization: credential })).header("x-hearth-dropped")).toBeUndefined();
  });

  test("the name of a dropped field cannot write a header", async () => {
    const answer = await send(chat({ "x\r\nSet-Cookie: a=1\r\n\r\n<b>": 1, "né,w": 2, "\ud800": 3 }), { Authorization: credential });
    expect(answer.status).toBe(200);
    expect(answer.header("set-cookie")).toBeUndefined();
    expect(answer.header("x-hearth-dropped")).toMatch(/^[\w.?,-]+$/);
    expect(answer.header("x-hearth-dropped")!.split(",")).toHaveLength(3);
  });

  test("thousands of dropped fields do not make a head that no client can read", async () => {
    const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`field_${i}_${"x".repeat(40)}`, 1]));
    const answer = await send(chat(many), { Authorization: credential });
    expect(answer.status).toBe(200);
    expect(answer.head.length).toBeLessThan(readableHeadBytes);
  });
});

test("after all of it Hearth lives, and has repeated nothing that it was sent", async () => {
  expect((await fetch(`${hearth.url}/healthz`)).status).toBe(200);
  expect(seen.length).toBeGreaterThan(200);
  expect(seen.filter((text) => text.includes(canary))).toEqual([]);
  expect(hearth.output()).not.toContain(canary);
  expect(hearth.output()).not.toMatch(/ error |request\.failed/);
});

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "absent").slice(0, 40);
}
