/** The sandbox model keeps OpenAI's shapes when it behaves, and breaks exactly what it was told to break. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { sandboxPromptTokens, startSandboxModel, type ModelFaults } from "../../src/upstream/sandbox-model.ts";
import { rawWrites } from "../support/raw-writes.ts";

const model = startSandboxModel();
const client = new OpenAI({ baseURL: model.url, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "héllo 🔥" }];
const weather = {
  type: "function" as const,
  function: { name: "get_weather", parameters: { type: "object", properties: { town: { type: "string" } }, required: ["town"] } },
};
/** bytes of "héllo 🔥" are 11: ceil(11 / 4) + 4. */
const promptTokens = 7;
const answerTokens = 33;

afterEach(() => model.misbehave({}));
afterAll(() => model.stop());

type Chunk = OpenAI.ChatCompletionChunk;

function post(body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(`${model.url}/chat/completions`, { method: "POST", body: JSON.stringify({ model: "sandbox", messages, ...body }), signal });
}

async function chunksOf(body: Partial<OpenAI.ChatCompletionCreateParamsStreaming> = {}): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of await client.chat.completions.create({ model: "sandbox", messages, ...body, stream: true })) chunks.push(chunk);
  return chunks;
}

function textOf(chunks: Chunk[]): string {
  return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
}

function usagesOf(chunks: Chunk[]): unknown[] {
  return chunks.filter((chunk) => "usage" in chunk).map((chunk) => chunk.usage);
}

async function streamText(faults: ModelFaults, body: object = {}): Promise<string> {
  model.misbehave(faults);
  return (await post({ stream: true, ...body })).text();
}

/** Reads until the connection fails, and says what came before. */
async function readUntilBroken(response: Response): Promise<{ text: string; broken: boolean }> {
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const bytes of response.body!) text += decoder.decode(bytes, { stream: true });
    return { text, broken: false };
  } catch {
    return { text, broken: true };
  }
}

function eventsIn(text: string): number {
  return text.split("data: ").length - 1;
}

describe("a well-behaved sandbox", () => {
  test("lists its three models", async () => {
    const page = await client.models.list();
    expect(page.data.map((entry) => [entry.id, entry.object])).toEqual([
      ["sandbox", "model"], ["sandbox-think", "model"], ["sandbox-loop", "model"],
    ]);
    expect((await client.models.retrieve("sandbox")).owned_by).toBe("hearth");
  });

  test("answers with the length of the last user message, and not its text", async () => {
    const answer = await client.chat.completions.create({ model: "sandbox", messages });
    const { message, finish_reason, index } = answer.choices[0]!;
    expect(answer).toMatchObject({ object: "chat.completion", model: "sandbox" });
    expect([message.role, finish_reason, index]).toEqual(["assistant", "stop", 0]);
    expect(message.content).toContain("has 7 characters");
    expect(message.content).not.toContain("héllo");
    expect(answer.usage).toEqual({
      prompt_tokens: promptTokens, completion_tokens: answerTokens, total_tokens: promptTokens + answerTokens,
    });
  });

  test("streams the same text: role first, one event per token, finish, then usage with no choices", async () => {
    const whole = await client.chat.completions.create({ model: "sandbox", messages });
    const chunks = await chunksOf({ stream_options: { include_usage: true } });
    expect(chunks).toHaveLength(1 + answerTokens + 1 + 1);
    expect(chunks[0]!.choices[0]!.delta.role).toBe("assistant");
    expect(textOf(chunks)).toBe(whole.choices[0]!.message.content!);
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe("stop");
    expect(chunks.at(-1)!.choices).toEqual([]);
    expect(usagesOf(chunks)).toEqual([whole.usage]);
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
  });

  test("a stream that did not ask for usage has none, and ends in [DONE]", async () => {
    const text = await streamText({});
    expect(text).not.toContain('"usage"');
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  test("prompt tokens count the bytes of strings and of text parts alike", () => {
    expect(sandboxPromptTokens(messages)).toBe(promptTokens);
    const parts = [{ type: "text", text: "hé" }, { type: "text", text: "llo 🔥" }];
    expect(sandboxPromptTokens([{ role: "user", content: parts }])).toBe(promptTokens);
    expect(sandboxPromptTokens([{ role: "assistant", content: null }, { role: "user", content: "" }])).toBe(8);
  });

  test.each(["max_tokens", "max_completion_tokens"])("%s ends the answer with length", async (field) => {
    const answer = await client.chat.completions.create({ model: "sandbox", messages, [field]: 5 });
    expect(answer.choices[0]!.finish_reason).toBe("length");
    expect(answer.usage!.completion_tokens).toBe(5);
    const chunks = await chunksOf({ [field]: 5 });
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBe("length");
    expect(chunks).toHaveLength(1 + 5 + 1);
  });

  test("n answers n choices and counts the tokens of all", async () => {
    const answer = await client.chat.completions.create({ model: "sandbox", messages, n: 3, max_tokens: 4 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
    expect(answer.usage!.completion_tokens).toBe(12);
    const chunks = await chunksOf({ n: 3, max_tokens: 4, stream_options: { include_usage: true } });
    expect(chunks.filter((chunk) => chunk.choices[0]?.index === 2)).toHaveLength(1 + 4 + 1);
    expect(chunks.at(-1)!.usage!.completion_tokens).toBe(12);
  });

  test("tools are answered with a call of nine tokens, and a tool's result with text", async () => {
    const answer = await client.chat.completions.create({ model: "sandbox", messages, tools: [weather] });
    const choice = answer.choices[0]!;
    expect([choice.finish_reason, choice.message.content, answer.usage!.completion_tokens]).toEqual(["tool_calls", null, 9]);
    expect(choice.message.tool_calls![0]).toMatchObject({ type: "function", function: { name: "get_weather", arguments: '{"town":"Paris"}' } });

    const runner = client.chat.completions.stream({ model: "sandbox", messages, tools: [weather], stream_options: { include_usage: true } });
    const streamed = await runner.finalChatCompletion();
    const call = streamed.choices[0]!.message.tool_calls![0]!;
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather", arguments: '{"town":"Paris"}' } });
    expect(streamed.usage!.completion_tokens).toBe(9);

    const result = { role: "tool" as const, tool_call_id: call.id, content: "sunny" };
    const after = await client.chat.completions.create({ model: "sandbox", messages: [...messages, choice.message, result], tools: [weather] });
    expect(after.choices[0]!.finish_reason).toBe("stop");
  });

  test("sandbox-think reasons before it speaks, and both are counted", async () => {
    const chunks = await chunksOf({ model: "sandbox-think", stream_options: { include_usage: true } });
    const parts = chunks.flatMap((chunk) => Object.keys(chunk.choices[0]?.delta ?? {}));
    expect(parts.lastIndexOf("reasoning_content")).toBeLessThan(parts.indexOf("content", 2));
    expect(chunks.at(-1)!.usage).toMatchObject({ completion_tokens: answerTokens + 11, completion_tokens_details: { reasoning_tokens: 11 } });
    const whole = await client.chat.completions.create({ model: "sandbox-think", messages });
    expect(whole.choices[0]!.message).toHaveProperty("reasoning_content", "First I look at the question, then I answer.");
    expect(whole.usage).toEqual(chunks.at(-1)!.usage!);
  });

  test("sandbox-loop stops at the cap only, 40,960 without one", async () => {
    const capped = await client.chat.completions.create({ model: "sandbox-loop", messages, max_tokens: 100 });
    expect([capped.choices[0]!.finish_reason, capped.usage!.completion_tokens]).toEqual(["length", 100]);
    const free = await client.chat.completions.create({ model: "sandbox-loop", messages });
    expect([free.choices[0]!.finish_reason, free.usage!.completion_tokens]).toEqual(["length", 40_960]);
    expect(await chunksOf({ model: "sandbox-loop" })).toHaveLength(1 + 40_960 + 1);
  });

  test.each([
    ["an unknown model", { model: "gpt" }, 404, "model_not_found", "model"],
    ["no messages", { messages: [] }, 400, "invalid_value", "messages"],
    ["a cap of zero", { max_tokens: 0 }, 400, "invalid_value", "max_tokens"],
  ])("%s is refused in OpenAI's error shape", async (_, body, status, code, param) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", code, param } });
  });

  test("a call is kept as it was sent, with how it ended", async () => {
    await client.chat.completions.create({ model: "sandbox", messages, max_tokens: 3, user: "marker" });
    expect(model.calls.at(-1)).toMatchObject({
      model: "sandbox", body: { user: "marker" }, tokensSent: 3, finished: true, aborted: false,
    });
  });

  test("only the last thousand calls are kept", async () => {
    for (let i = 0; i < 41; i++) await Promise.all(Array.from({ length: 25 }, () => post({ max_tokens: 1 }).then((r) => r.text())));
    expect(model.calls).toHaveLength(1_000);
  });
});

describe("a caller that goes away", () => {
  test.each([
    ["a stream at full speed", { stream: true, model: "sandbox-loop" }, {}],
    ["a paced stream", { stream: true, model: "sandbox-loop" }, { tokenDelayMs: 5 }],
    ["a stalled stream", { stream: true }, { stallAfterTokens: 3 }],
    ["a buffered answer", { model: "sandbox-loop" }, { tokenDelayMs: 5 }],
    ["a hanging call", {}, { hang: true }],
    ["a call waiting for its first byte", {}, { firstByteDelayMs: 60_000 }],
    ["a stalled buffered answer", {}, { stallAfterTokens: 3 }],
  ])("%s stops within a second", async (_, body, faults: ModelFaults) => {
    model.misbehave(faults);
    const before = model.calls.at(-1);
    const abort = new AbortController();
    const reading = post(body, abort.signal).then(readUntilBroken, () => undefined);
    const wanted = faults.hang || faults.firstByteDelayMs ? 0 : 3;
    await model.until((calls) => calls.at(-1) !== before && calls.at(-1)!.tokensSent >= wanted);
    const leftAt = performance.now();
    abort.abort();
    const call = await model.whenAborted();
    expect(performance.now() - leftAt).toBeLessThan(1_000);
    expect(call).toBe(model.calls.at(-1)!);
    expect([call.aborted, call.finished]).toEqual([true, false]);
    expect(call.tokensSent).toBeLessThan(40_960);
    await reading;
    const sentByThen = call.tokensSent;
    model.misbehave({});
    await (await post({ max_tokens: 20 })).text();
    expect(call.tokensSent).toBe(sentByThen);
  });

  test("a caller that reads to the end has not gone away", async () => {
    await streamText({});
    await (await post({})).text();
    expect(model.calls.slice(-2).map((call) => [call.aborted, call.finished])).toEqual([[false, true], [false, true]]);
  });
});

describe("faults", () => {
  test.each([400, 401, 402, 429, 500, 503])("status %d comes with OpenAI's error body", async (status) => {
    model.misbehave({ status });
    const failure = await client.chat.completions.create({ model: "sandbox", messages }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.APIError);
    expect(failure).toMatchObject({ status, code: "sandbox_fault" });
  });

  test("times: a fault ends after so many calls", async () => {
    model.misbehave({ status: 503, times: 2 });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await post({})).status);
    expect(statuses).toEqual([503, 503, 200]);
    expect(model.faults()).toEqual({});
  });

  test("firstByteDelayMs holds back the status line", async () => {
    model.misbehave({ firstByteDelayMs: 60 });
    const from = performance.now();
    await post({ stream: true });
    expect(performance.now() - from).toBeGreaterThanOrEqual(55);
  });

  test("tokenDelayMs paces streams and buffered answers", async () => {
    model.misbehave({ tokenDelayMs: 10 });
    for (const stream of [true, false]) {
      const from = performance.now();
      await (await post({ stream, max_tokens: 6 })).text();
      expect(performance.now() - from).toBeGreaterThanOrEqual(50);
    }
  });

  test("drop closes the connection without a byte", async () => {
    model.misbehave({ drop: true, times: 1 });
    await expect(rawWrites(model.url, { model: "sandbox", messages })).rejects.toMatchObject({ code: "ECONNRESET" });
    model.misbehave({ drop: true });
    const failure = await client.chat.completions.create({ model: "sandbox", messages }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.APIConnectionError);
    expect(model.calls.at(-1)).toMatchObject({ aborted: false, finished: false });
  });

  test("breakAfterTokens delivers so many tokens, then an error and not an end", async () => {
    for (let i = 0; i < 20; i++) {
      model.misbehave({ breakAfterTokens: 5 });
      const { text, broken } = await readUntilBroken(await post({ stream: true }));
      expect([broken, eventsIn(text)]).toEqual([true, 1 + 5]);
    }
    const { text, broken } = await readUntilBroken(await post({}));
    expect(broken).toBe(true);
    expect(text.startsWith('{"id"')).toBe(true);
    expect(() => JSON.parse(text)).toThrow();
    expect(model.calls.at(-1)).toMatchObject({ tokensSent: 5, aborted: false, finished: false });
  });

  test("stallAfterTokens delivers so many tokens and stays silent", async () => {
    model.misbehave({ stallAfterTokens: 4 });
    const reader = (await post({ stream: true })).body!.getReader();
    let text = "";
    while (eventsIn(text) < 5) text += new TextDecoder().decode((await reader.read()).value);
    const more = reader.read().then(() => "more", () => "more");
    model.misbehave({});
    expect(await Promise.race([more, post({}).then(() => "silence")])).toBe("silence");
    expect(model.calls.some((call) => call.tokensSent === 4 && !call.finished && !call.aborted)).toBe(true);
    await reader.cancel();
    await model.whenAborted();
  });

  test("noUsage leaves usage out even when asked", async () => {
    expect(await streamText({ noUsage: true, usageEveryChunk: true }, { stream_options: { include_usage: true } })).not.toContain("usage");
    expect(await (await post({})).json()).not.toHaveProperty("usage");
  });

  test.each([
    [{ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }],
    [{ prompt_tokens: -5, completion_tokens: -1 }],
    [{ prompt_tokens: 1e9, completion_tokens: 1e9 }],
    [{ prompt_tokens: "many" }],
    [null],
  ])("usage lies as told: %j", async (usage: unknown) => {
    model.misbehave({ usage });
    expect(await (await post({})).json()).toHaveProperty("usage", usage);
    expect(usagesOf(await chunksOf({ stream_options: { include_usage: true } }))).toEqual([usage]);
  });

  test("usageEveryChunk counts up to the truth", async () => {
    model.misbehave({ usageEveryChunk: true });
    const chunks = await chunksOf({ max_tokens: 3, stream_options: { include_usage: true } });
    expect(chunks.map((chunk) => chunk.usage!.completion_tokens)).toEqual([0, 1, 2, 3, 3, 3]);
  });

  test("usageInFinishChunk sends no extra chunk", async () => {
    model.misbehave({ usageInFinishChunk: true });
    const chunks = await chunksOf({ stream_options: { include_usage: true } });
    expect(usagesOf(chunks)).toHaveLength(1);
    expect(chunks.at(-1)).toMatchObject({ choices: [{ finish_reason: "stop" }], usage: { completion_tokens: answerTokens } });
  });

  test("noDone ends after the finish chunk", async () => {
    const text = await streamText({ noDone: true });
    expect(text).toContain('"finish_reason":"stop"');
    expect(text).not.toContain("[DONE]");
  });

  test("ignoreCap goes on beyond the cap", async () => {
    model.misbehave({ ignoreCap: 90 });
    const answer = await client.chat.completions.create({ model: "sandbox", messages, max_tokens: 10 });
    expect(answer.usage!.completion_tokens).toBe(90);
    expect(await chunksOf({ max_tokens: 10 })).toHaveLength(1 + 90 + 1);
  });

  test("notJson is a 200 with a page", async () => {
    model.misbehave({ notJson: true });
    const response = await post({ stream: true });
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "text/html"]);
    expect(await response.text()).toStartWith("<!doctype html>");
  });

  test("hugeEvent is one event of that many bytes, and the stream is still right", async () => {
    const events = (await streamText({ hugeEvent: 300_000 })).split("\n\n");
    expect(Math.max(...events.map((event) => Buffer.byteLength(event) + 2))).toBe(300_000);
    expect(textOf(await chunksOf())).toContain("7 characters");
    expect((await (await post({})).text()).length).toBeGreaterThan(300_000);
  });

  test("crlf ends every line of the stream", async () => {
    const text = await streamText({ crlf: true });
    expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
    expect(textOf(await chunksOf())).toContain("7 characters");
  });

  test("without a fault every event is a write of its own", async () => {
    expect((await rawWrites(model.url, { model: "sandbox", messages, stream: true })).sizes).toHaveLength(1 + answerTokens + 1 + 1);
  });

  test("oneWrite sends the whole stream in one", async () => {
    model.misbehave({ oneWrite: true });
    const { sizes, raw } = await rawWrites(model.url, { model: "sandbox", messages, stream: true });
    expect(sizes).toHaveLength(1);
    expect(raw).toContain("[DONE]");
    expect(textOf(await chunksOf())).toContain("7 characters");
  });

  test("splitBytes cuts every write, also inside a character", async () => {
    model.misbehave({ splitBytes: 3 });
    const { sizes } = await rawWrites(model.url, { model: "sandbox", messages, stream: true });
    expect(Math.max(...sizes)).toBe(3);
    expect(textOf(await chunksOf())).toContain("🔥");
    expect((await client.chat.completions.create({ model: "sandbox", messages })).choices[0]!.message.content).toContain("🔥");
  });
});

test("stop ends hanging calls and closes the port", async () => {
  const other = startSandboxModel();
  other.misbehave({ hang: true });
  const hanging = fetch(`${other.url}/chat/completions`, { method: "POST", body: JSON.stringify({ model: "sandbox", messages }) }).catch(() => "closed");
  await other.until((calls) => calls.length === 1);
  await other.stop();
  expect(await hanging).toBe("closed");
  expect(await fetch(`${other.url}/models`).catch(() => "refused")).toBe("refused");
});
