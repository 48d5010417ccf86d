/** The real `openai` SDK against a running Hearth: a paid credential is an API key, and nothing else has to be learnt. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI, { APIError } from "openai";
import { balanceOf, buyCredential, misbehave, openOwnersDoor, removeDataDir, type RunningHearth, startHearth } from "../support/hearth.ts";

const messages = [{ role: "user" as const, content: "Hello!" }];
const weather = {
  type: "function" as const,
  function: { name: "weather", description: "The weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
};

let hearth: RunningHearth;
let key: string;
beforeAll(async () => {
  hearth = await startHearth();
  key = (await buyCredential(hearth.url)).replace(/^L402 /, "");
});
afterAll(async () => {
  await hearth.stop();
  removeDataDir(hearth.dataDir);
});
beforeEach(() => misbehave(hearth.url, "model", {}));

/** The SDK as it comes, but for a count of what it sends. */
function client(options: { apiKey?: string; maxRetries?: number } = {}) {
  const sentAtMs: number[] = [];
  const counting = (input: string | URL | Request, init?: RequestInit) => {
    sentAtMs.push(performance.now());
    return fetch(input, init);
  };
  return { openai: new OpenAI({ apiKey: key, baseURL: `${hearth.url}/v1`, fetch: counting, ...options }), sentAtMs };
}

async function failureOf(work: Promise<unknown>): Promise<APIError> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`);
  return error;
}

describe("with a credential as its key", () => {
  test("models.list pages through what is for sale", async () => {
    const ids: string[] = [];
    for await (const model of await client().openai.models.list()) ids.push(model.id);
    expect(ids).toContain("sandbox");
    expect(await client().openai.models.retrieve("sandbox")).toMatchObject({ id: "sandbox", object: "model", created: expect.any(Number), owned_by: "local" });
  });

  test("a chat is answered and paid from the credential", async () => {
    const before = await balanceOf(hearth.url, `L402 ${key}`);
    const { data, response } = await client().openai.chat.completions.create({ model: "sandbox", messages }).withResponse();
    expect(data.choices[0]!.message.content).toStartWith("Hello from the Hearth sandbox");
    expect(data.usage!.completion_tokens).toBeGreaterThan(0);
    const costMsat = Number(response.headers.get("x-hearth-cost-msat"));
    expect(costMsat).toBeGreaterThan(0);
    expect((await balanceOf(hearth.url, `L402 ${key}`)).balance_msat).toBe(before.balance_msat - costMsat);
  });

  test("a stream comes in pieces, every one of them with a choice", async () => {
    let text = "", chunks = 0, finish: string | null = null;
    for await (const chunk of await client().openai.chat.completions.create({ model: "sandbox", messages, stream: true })) {
      chunks++;
      const choice = chunk.choices[0]!;
      text += choice.delta.content ?? "";
      finish = choice.finish_reason ?? finish;
      expect(chunk.usage ?? undefined).toBeUndefined();
    }
    expect(text).toStartWith("Hello from the Hearth sandbox");
    expect({ finish, many: chunks > 20 }).toEqual({ finish: "stop", many: true });
  });

  test("a stream that was asked for usage ends with it", async () => {
    const chunks = [];
    const request = { model: "sandbox", messages, stream: true as const, stream_options: { include_usage: true } };
    for await (const chunk of await client().openai.chat.completions.create(request)) chunks.push(chunk);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: chunks.length - 3 } });
    expect(chunks.slice(0, -1).every((chunk) => chunk.choices.length === 1)).toBe(true);
  });

  test("the SDK's own stream helper assembles the answer", async () => {
    const final = await client().openai.chat.completions.stream({ model: "sandbox", messages }).finalChatCompletion();
    expect(final.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: expect.stringContaining("Hello from") } });
  });

  test("a tool is called, and its result is answered in words", async () => {
    const { openai } = client();
    const asked = await openai.chat.completions.create({ model: "sandbox", messages, tools: [weather] });
    const call = asked.choices[0]!.message.tool_calls![0]!;
    if (call.type !== "function") throw new Error("expected a call of a function");
    expect({ finish: asked.choices[0]!.finish_reason, name: call.function.name }).toEqual({ finish: "tool_calls", name: "weather" });
    expect(JSON.parse(call.function.arguments)).toEqual({ city: "Paris" });
    const answered = await openai.chat.completions.create({
      model: "sandbox", tools: [weather], messages: [...messages, asked.choices[0]!.message, { role: "tool", tool_call_id: call.id, content: "sunny" }],
    });
    expect(answered.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: expect.stringContaining("Hello") } });
  });

  test("a streamed tool call assembles too", async () => {
    const final = await client().openai.chat.completions.stream({ model: "sandbox", messages, tools: [weather] }).finalChatCompletion();
    expect(final.choices[0]!.message.tool_calls![0]).toMatchObject({ function: { name: "weather", arguments: '{"city":"Paris"}' } });
  });

  test("thinking arrives beside the answer", async () => {
    const answer = await client().openai.chat.completions.create({ model: "sandbox-think", messages });
    expect(answer.choices[0]!.message).toMatchObject({ reasoning_content: expect.stringContaining("First"), content: expect.stringContaining("Hello") });
    expect(answer.usage!.completion_tokens_details!.reasoning_tokens).toBeGreaterThan(0);
  });

  test("two choices are two answers", async () => {
    const answer = await client().openai.chat.completions.create({ model: "sandbox", messages, n: 2 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1]);
  });

  test("a stream that breaks at the model is an error, not a short answer", async () => {
    await misbehave(hearth.url, "model", { breakAfterTokens: 5, times: 1 });
    const { openai, sentAtMs } = client();
    const read = async () => {
      for await (const _ of await openai.chat.completions.create({ model: "sandbox", messages, stream: true }));
    };
    expect((await failureOf(read())).message).toContain("broke off");
    expect(sentAtMs).toHaveLength(1);
  });
});

describe("what fails", () => {
  const wrongKeys: [what: string, apiKey: () => string][] = [
    ["a key of another house", () => "sk-proj-0123456789"],
    ["a credential with a wrong preimage", () => `${key.split(":")[0]}:${"00".repeat(32)}`],
  ];
  for (const [what, apiKey] of wrongKeys)
    test(`${what} throws a 402 that can be paid, and is sent once`, async () => {
      const door = await openOwnersDoorOnce();
      const before = await door.status();
      const { openai, sentAtMs } = client({ apiKey: apiKey() });
      const error = await failureOf(openai.chat.completions.create({ model: "sandbox", messages }));
      expect({ status: error.status, code: error.code, type: error.type, sent: sentAtMs.length }).toEqual({ status: 402, code: "payment_required", type: "insufficient_quota", sent: 1 });
      expect(error.headers!.get("www-authenticate")).toMatch(/^L402 macaroon="[^"]+", invoice="lnbcrt/);
      expect((await door.status()).open_invoices).toBe(before.open_invoices + 1);
    });

  test("a bad request throws a 400 and is sent once", async () => {
    const { openai, sentAtMs } = client();
    const error = await failureOf(openai.chat.completions.create({ model: "sandbox", messages, n: 99 }));
    expect({ status: error.status, param: error.param, sent: sentAtMs.length }).toEqual({ status: 400, param: "n", sent: 1 });
  });

  test("an unknown model throws a 404 and is sent once", async () => {
    const { openai, sentAtMs } = client();
    const error = await failureOf(openai.chat.completions.create({ model: "gpt-9", messages }));
    expect({ status: error.status, code: error.code, sent: sentAtMs.length }).toEqual({ status: 404, code: "model_not_found", sent: 1 });
  });

  test("a model server that fails once is asked again after the time Hearth names, and paid once", async () => {
    await misbehave(hearth.url, "model", { status: 500, times: 1 });
    const before = await balanceOf(hearth.url, `L402 ${key}`);
    const { openai, sentAtMs } = client();
    const { response } = await openai.chat.completions.create({ model: "sandbox", messages }).withResponse();
    expect(sentAtMs).toHaveLength(2);
    // The SDK's own back-off is at most a second here; five are ours.
    expect(sentAtMs[1]! - sentAtMs[0]!).toBeGreaterThan(4_900);
    const costMsat = Number(response.headers.get("x-hearth-cost-msat"));
    expect((await balanceOf(hearth.url, `L402 ${key}`)).balance_msat).toBe(before.balance_msat - costMsat);
  }, 20_000);

  for (const status of [401, 402, 403, 500, 429])
    test(`the model server's own ${status} is no fault of the buyer: 503 with a time to come back, and the money stays`, async () => {
      await misbehave(hearth.url, "model", { status, times: 1 });
      const before = await balanceOf(hearth.url, `L402 ${key}`);
      const error = await failureOf(client({ maxRetries: 0 }).openai.chat.completions.create({ model: "sandbox", messages }));
      expect({ status: error.status, code: error.code }).toEqual({ status: 503, code: "upstream_unavailable" });
      expect(Number(error.headers!.get("retry-after"))).toBeGreaterThan(0);
      expect(error.headers!.get("x-should-retry")).toBeNull();
      expect(error.headers!.get("www-authenticate")).toBeNull();
      expect(await balanceOf(hearth.url, `L402 ${key}`)).toEqual(before);
    });
});

/** The console's code opens once; all tests here share the session. */
let owner: ReturnType<typeof openOwnersDoor> | undefined;
function openOwnersDoorOnce() {
  return (owner ??= openOwnersDoor(hearth));
}
