/** How a call ends decides what it costs: every row of the design's table of endings (money 7), over HTTP. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { tokensLikely } from "../../src/pricing/estimate.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, askForBill, balanceOf, buyCredential, type ChatBody, endHearth, hello, readLedger, type RunningHearth, startHearth, steepPrices, until } from "../support/hearth.ts";

/** What the model says to `hello`, by its own count, and what that costs: 6 tokens in, 33 out. */
const greeting = "Hello from the Hearth sandbox 🔥! Your last message has 6 characters. I am not a real model – but every token of this reply is counted and paid.";
const exactMsat = 6 * 1_000 + 33 * 3_000;
/** What the prompt of `hello` costs by our own count. */
const ourInputMsat = 1_000 * (tokensLikely("user") + tokensLikely("Hello!"));
/** The most the prompt of `hello` can cost, by the bill, and what is paid for it with the default cap of 1,024 tokens. */
let quotedInputMsat = 0, paidMsat = 0;

let hearth: RunningHearth;
let model: SandboxModel;
beforeAll(async () => {
  model = startSandboxModel();
  const config = `${steepPrices}[limits]\ndefault_output_tokens = 1024\n`;
  hearth = await startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url } });
  paidMsat = (await askForBill(hearth.url)).amount_msat;
  quotedInputMsat = paidMsat - 1_024 * 3_000;
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

const ways = [{ stream: false }, { stream: true }];
type Row = { ending: string; input_tokens: bigint; output_tokens: bigint; estimated: bigint; reserved_msat: bigint; cost_msat: bigint; charged_msat: bigint };

/** One call and what the buyer sees of it. */
async function call(credential: string, body: ChatBody) {
  const answer = await ask(hearth.url, body, credential);
  const raw = await answer.text();
  const facts = /: hearth cost_msat=(\d+) balance_msat=(\d+)\n\n$/.exec(raw);
  const costMsat = Number(body.stream ? facts?.[1] : answer.headers.get("x-hearth-cost-msat"));
  return { id: answer.headers.get("x-request-id")!, status: answer.status, headers: answer.headers, raw, costMsat, text: textOf(raw, body) };
}

/** The answer as a client reads it: first choice only. */
function textOf(raw: string, body: ChatBody): string {
  if (body.stream !== true) return /"content":"([^"]*)"/.exec(raw)?.[1] ?? "";
  const events = raw.split(/\r?\n\r?\n/).filter((event) => event.startsWith("data: {"));
  type Chunk = { choices?: { index: number; delta?: { content?: string } }[] };
  return events.map((event) => (JSON.parse(event.slice(6)) as Chunk).choices?.find((one) => one.index === 0)?.delta?.content ?? "").join("");
}

/** The log row of an ended call. Whoever has seen the balance sees the row. */
async function rowOf(credential: string, id: string): Promise<Row | undefined> {
  await balanceOf(hearth.url, credential);
  return readLedger<Row>(hearth.dataDir, "SELECT * FROM call WHERE id = ?", id)[0];
}

/** Resolves when the upstream has seen that nobody waits for its latest answer any more. */
function letGo(): Promise<void> {
  return model.until((calls) => calls.at(-1)?.aborted === true);
}

async function expectNothingTaken(credential: string): Promise<void> {
  expect(await balanceOf(hearth.url, credential)).toMatchObject({ balance_msat: paidMsat, reserved_msat: 0 });
  model.misbehave({});
  const again = await call(credential, hello);
  expect(again).toMatchObject({ status: 200, text: greeting, costMsat: exactMsat });
  expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paidMsat - exactMsat);
}

describe.each(ways)("before the first byte, stream: $stream", ({ stream }) => {
  const refusals = [
    [400, 400, "invalid_request"], [413, 400, "invalid_request"], [422, 400, "invalid_request"], [404, 503, "upstream_unavailable"],
    [302, 503, "upstream_unavailable"], [429, 503, "upstream_unavailable"], [500, 503, "upstream_unavailable"], [503, 503, "upstream_unavailable"],
  ] as const;
  test.each(refusals)("an upstream's %d is the buyer's %d %s, costs nothing, and the credential works again", async (status, seen, code) => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ status });
    const answer = await call(credential, { ...hello, stream });
    expect(answer.status).toBe(seen);
    expect(JSON.parse(answer.raw)).toMatchObject({ error: { code } });
    expect(answer.headers.has("retry-after")).toBe(seen === 503);
    await expectNothingTaken(credential);
  });

  test.each([401, 402, 403])("an upstream's %d is the owner's trouble: an alarm for the owner, 503 for the buyer, nothing taken", async (status) => {
    const credential = await buyCredential(hearth.url);
    const alarms = () => hearth.output().split(`error upstream.refuses_the_owner upstream=upstream status=${status}\n`).length;
    const before = alarms();
    model.misbehave({ status });
    const answer = await call(credential, { ...hello, stream });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.raw)).toMatchObject({ error: { code: "upstream_unavailable" } });
    expect(answer.headers.has("retry-after")).toBe(true);
    expect(answer.headers.has("www-authenticate")).toBe(false);
    await until("the alarm is in the log", () => alarms() === before + 1);
    await expectNothingTaken(credential);
  });

  test.each([["drops the connection", { drop: true }], ["answers a web page", { notJson: true }]])("an upstream that %s is asked once and costs nothing", async (_, faults) => {
    const credential = await buyCredential(hearth.url);
    const asked = model.calls.length;
    model.misbehave(faults);
    const answer = await call(credential, { ...hello, stream });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.raw)).toMatchObject({ error: { code: "upstream_unavailable" } });
    expect(model.calls.length).toBe(asked + 1);
    await expectNothingTaken(credential);
  });
});

describe.each(ways)("completed, stream: $stream", ({ stream }) => {
  const truths = [
    ["as usual", {}], ["in the finish chunk", { usageInFinishChunk: true }], ["running in every chunk", { usageEveryChunk: true }],
    ["without [DONE]", { noDone: true }], ["with CRLF", { crlf: true }], ["in one write", { oneWrite: true }], ["byte by byte", { splitBytes: 1 }],
    ["in pieces of 7 bytes", { splitBytes: 7 }], ["with an event of half a megabyte", stream ? { hugeEvent: 500_000 } : {}],
  ] as const;
  test.each(truths)("usage %s is charged exactly, and the answer arrives whole", async (_, faults) => {
    const credential = await buyCredential(hearth.url);
    model.misbehave(faults);
    const answer = await call(credential, { ...hello, stream });
    expect(answer).toMatchObject({ status: 200, text: greeting, costMsat: exactMsat });
    if (stream) expect(answer.raw.match(/data: \[DONE\]/g)).toHaveLength(1);
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paidMsat - exactMsat);
    expect(await rowOf(credential, answer.id)).toMatchObject({ ending: "completed", estimated: 0n, input_tokens: 6n, output_tokens: 33n, cost_msat: BigInt(exactMsat) });
  });

  const lies: [string, object][] = [
    ["none", { noUsage: true }],
    ...[
      { prompt_tokens: 0, completion_tokens: 0 }, { prompt_tokens: 6, completion_tokens: 0 }, { prompt_tokens: 0, completion_tokens: 33 },
      { prompt_tokens: -6, completion_tokens: 33 }, { prompt_tokens: 6, completion_tokens: -33 }, { prompt_tokens: 6, completion_tokens: 1e9 },
      { prompt_tokens: 1e9, completion_tokens: 33 }, { prompt_tokens: "6", completion_tokens: "33" }, { prompt_tokens: 6 },
      { prompt_tokens: 6, completion_tokens: 1.5 }, { prompt_tokens: null, completion_tokens: null }, "many", 33, [], null,
    ].map((usage): [string, object] => [JSON.stringify(usage), { usage }]),
  ];
  const places: [string, object][] = [["at its usual place", {}], ...(stream ? ([["in the finish chunk", { usageInFinishChunk: true }], ["in every chunk", { usageEveryChunk: true }]] as [string, object][]) : [])];
  test.each(places)("without usage, or with an absurd one %s, our own count is charged, within the reservation, and marked", async (_, place) => {
    // A stream that comes token by token has counted for us: one event a token.
    const ours = ourInputMsat + 3_000 * (stream ? 33 : tokensLikely(greeting));
    for (const [name, faults] of lies) {
      const credential = await buyCredential(hearth.url);
      model.misbehave({ ...place, ...faults });
      const answer = await call(credential, { ...hello, stream });
      expect(answer, name).toMatchObject({ status: 200, text: greeting, costMsat: ours });
      const row = await rowOf(credential, answer.id);
      expect(row, name).toMatchObject({ ending: "completed", estimated: 1n, charged_msat: BigInt(ours) });
      expect(row!.charged_msat).toBeLessThanOrEqual(row!.reserved_msat);
    }
  });

  test("an absurd usage never takes more than the reservation of a small cap", async () => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ usage: { prompt_tokens: 1e9, completion_tokens: 1e9 }, ignoreCap: 2 });
    const answer = await call(credential, { ...hello, stream, max_tokens: 1 });
    expect(answer.costMsat).toBeLessThanOrEqual(quotedInputMsat + 3_000);
  });

  test("two choices cost the prompt once and both answers", async () => {
    const credential = await buyCredential(hearth.url);
    const answer = await call(credential, { ...hello, stream, n: 2, max_tokens: 100 });
    expect(answer).toMatchObject({ status: 200, costMsat: 6 * 1_000 + 66 * 3_000 });
  });
});

test("usage above the reservation takes the reservation; the row keeps what it cost and what was charged", async () => {
  const credential = await buyCredential(hearth.url);
  model.misbehave({ ignoreCap: 30 });
  const answer = await call(credential, { ...hello, max_tokens: 10 });
  const reserved = quotedInputMsat + 10 * 3_000;
  expect(reserved).toBeLessThan(96_000);
  expect(answer).toMatchObject({ status: 200, costMsat: reserved });
  expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paidMsat - reserved);
  expect(await rowOf(credential, answer.id)).toMatchObject({ cost_msat: 96_000n, charged_msat: BigInt(reserved), reserved_msat: BigInt(reserved) });
  expect(hearth.output()).toContain(`call.above_reservation call=${answer.id}`);
});

test("a stream that runs past the paid cap is stopped there, ends like one that reached its length, and takes at most the reservation", async () => {
  const credential = await buyCredential(hearth.url);
  model.misbehave({ ignoreCap: 20_000 });
  const answer = await call(credential, { ...hello, stream: true, max_tokens: 10 });
  expect(answer.raw).toContain('"finish_reason":"length"');
  expect(answer.raw).toContain("data: [DONE]");
  expect(answer.costMsat).toBeLessThanOrEqual(quotedInputMsat + 10 * 3_000);
  await letGo();
  expect(model.calls.at(-1)!.tokensSent).toBeLessThan(20_000);
  expect(await rowOf(credential, answer.id)).toMatchObject({ ending: "cap_reached" });
});

describe("broken in the middle", () => {
  test.each([["our own count of", {}], ["the running usage of", { usageEveryChunk: true }]])("a stream that breaks tells the client so and costs the input and %s what was delivered", async (_, faults) => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ breakAfterTokens: 5, ...faults });
    const answer = await call(credential, { ...hello, stream: true });
    expect(answer.text).toBe("Hello from the Hearth sandbox");
    expect(answer.raw).toContain('"code":"upstream_unavailable"');
    expect(answer.raw).not.toContain("[DONE]");
    const inputMsat = "usageEveryChunk" in faults ? 6_000 : ourInputMsat;
    const outputTokens = 5;
    expect(answer.costMsat).toBe(inputMsat + outputTokens * 3_000);
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paidMsat - answer.costMsat);
    expect(await rowOf(credential, answer.id)).toMatchObject({ ending: "upstream_broke", output_tokens: BigInt(outputTokens) });
    model.misbehave({});
    expect((await call(credential, hello)).status).toBe(200);
  });

  test.each([["no usage", {}], ["running usage", { usageEveryChunk: true }]])("a stream with %s that breaks before a word of the answer costs nothing", async (_, faults) => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ breakAfterTokens: 0, ...faults });
    const answer = await call(credential, { ...hello, stream: true });
    expect(answer.costMsat).toBe(0);
    await expectNothingTaken(credential);
  });

  test("an answer in one piece that arrives half is no answer and costs nothing", async () => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ breakAfterTokens: 5 });
    expect((await call(credential, hello)).status).toBe(503);
    await expectNothingTaken(credential);
  });

  test("a stream with an endless event is broken off, and what was not delivered is not charged", async () => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ hugeEvent: 3_000_000 });
    const answer = await call(credential, { ...hello, stream: true });
    expect(answer.raw).toContain('"code":"upstream_unavailable"');
    expect(answer.raw.length).toBeLessThan(100_000);
    expect(answer.costMsat).toBe(0);
    await expectNothingTaken(credential);
  });
});

/** Reads a stream until `enough` is true of what came. */
async function readUntil(answer: Response, enough: (text: string) => boolean): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of answer.body!) {
    text += decoder.decode(bytes, { stream: true });
    if (enough(text)) return text;
  }
  throw new Error(`the stream ended too early:\n${text}`);
}

const words = (text: string) => text.match(/"delta":\{"content":"[^"]/g)?.length ?? 0;

/** The row of the account's one call, as soon as it has ended. */
async function lastRow(credential: string): Promise<Row> {
  let row: Row | undefined;
  const { payment_hash } = await ownerOf(credential);
  const sql = "SELECT c.* FROM call c JOIN invoice i ON i.account_id = c.account_id WHERE i.payment_hash = ?";
  await until("the call has its row", () => (row = readLedger<Row>(hearth.dataDir, sql, payment_hash)[0]) !== undefined);
  return row!;
}

/** The payment hash stands in the macaroon, after two bytes of version. */
async function ownerOf(credential: string): Promise<{ payment_hash: string }> {
  const bytes = Buffer.from(/^L402 ([^:]+):/.exec(credential)![1]!, "base64");
  const at = bytes.indexOf(Buffer.from([2, 66, 0, 0])) + 4;
  return { payment_hash: bytes.subarray(at, at + 32).toString("hex") };
}

describe("the client leaves", () => {
  /** The upstream's record of the call the client left, aborted within a second. */
  async function left(leaving: AbortController) {
    const leftAtMs = performance.now();
    leaving.abort();
    await letGo();
    expect(performance.now() - leftAtMs).toBeLessThan(1_000);
    return model.calls.at(-1)!;
  }

  test.each([["our own count", {}], ["the running usage", { usageEveryChunk: true }]])("in mid-stream: the upstream is stopped within a second; input and what was made by then are charged, by %s", async (_, faults) => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ tokenDelayMs: 20, ...faults });
    const leaving = new AbortController();
    const answer = await ask(hearth.url, { ...hello, model: "sandbox-loop", stream: true }, credential, { signal: leaving.signal });
    const seen = await readUntil(answer, (text) => words(text) >= 5);
    const { tokensSent } = await left(leaving);
    const row = await lastRow(credential);
    expect(row.ending).toBe("client_left");
    const running = "usageEveryChunk" in faults;
    expect(row).toMatchObject({ estimated: running ? 0n : 1n, input_tokens: running ? 6n : BigInt(ourInputMsat / 1_000) });
    expect(Number(row.output_tokens)).toBeGreaterThanOrEqual(words(seen));
    expect(Number(row.output_tokens)).toBeLessThanOrEqual(tokensSent);
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(paidMsat - Number(row.charged_msat));
    model.misbehave({});
    expect((await call(credential, hello)).status).toBe(200);
  });

  async function leaveUnstreamed(credential: string, tokens: number) {
    const leaving = new AbortController();
    const calls = model.calls.length;
    const answer = ask(hearth.url, { ...hello, model: "sandbox-think", max_tokens: 600 }, credential, { signal: leaving.signal }).catch(() => undefined);
    await model.until((all) => (all[calls]?.tokensSent ?? 0) >= tokens);
    const record = await left(leaving);
    await answer;
    return record;
  }

  test("in a call that is not streamed: the upstream is stopped within a second; of a model never measured only the input is charged", async () => {
    const credential = await buyCredential(hearth.url);
    model.misbehave({ tokenDelayMs: 20 });
    await leaveUnstreamed(credential, 5);
    expect(await lastRow(credential)).toMatchObject({ ending: "client_left", estimated: 1n, output_tokens: 0n, charged_msat: BigInt(ourInputMsat) });
  });

  test("in a call that is not streamed: what a measured model made by then is charged by the time it took", async () => {
    model.misbehave({ tokenDelayMs: 20 });
    expect((await call(await buyCredential(hearth.url), { ...hello, model: "sandbox-think" })).status).toBe(200);
    const credential = await buyCredential(hearth.url);
    const { tokensSent } = await leaveUnstreamed(credential, 20);
    const row = await lastRow(credential);
    expect(row).toMatchObject({ ending: "client_left", estimated: 1n });
    expect(Number(row.output_tokens)).toBeGreaterThanOrEqual(tokensSent / 3);
    expect(Number(row.output_tokens)).toBeLessThanOrEqual(tokensSent * 3);
    expect(row.charged_msat).toBeLessThanOrEqual(row.reserved_msat);
  });
});

test("after a kill -9 in mid-stream the credential has its whole balance again, and works", async () => {
  const config = `${steepPrices}[limits]\ndefault_output_tokens = 1024\n`;
  const env = { HEARTH_UPSTREAM_URL: model.url };
  const first = await startHearth({ command: "serve", config, env });
  const credential = await buyCredential(first.url);
  model.misbehave({ tokenDelayMs: 20 });
  const answer = await ask(first.url, { ...hello, stream: true }, credential);
  await readUntil(answer, (text) => words(text) >= 3);
  first.kill("SIGKILL");
  await first.exited;
  model.misbehave({});
  const second = await startHearth({ command: "serve", env, dataDir: first.dataDir });
  expect(second.output()).toContain("boot.voided_calls calls=1");
  expect(await balanceOf(second.url, credential)).toMatchObject({ balance_msat: paidMsat, reserved_msat: 0 });
  const again = await ask(second.url, hello, credential);
  expect([again.status, again.headers.get("x-hearth-cost-msat")]).toEqual([200, String(exactMsat)]);
  await endHearth(second);
});
