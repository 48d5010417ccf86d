/**
 * Holds a running Hearth against a real engine whose answers and token counts are known: every charge to the millisat.
 * A black box: Hearth is a process with a config file, and this file knows nothing of it but its HTTP and its `audit`.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { buildTimeoutMs, eventTimeoutMs, hello, helloIn, helloLoopIn, sentenceOut, thoughtOut, numCtx, sentence, type Prices, type Limits, type Hearth, startHearth, type Request, type Completion, post, read, ask, buy, balanceOf, complete, stream, eventsOf, chargeIn, chunksOf, unnamed, costMsat, expectCharged, costOfBrokenCall, readTokens, tokensIn, ticksWhenStill } from "./engine-house.ts";
import { startOllama, until, type Ollama } from "./ollama.ts";

setDefaultTimeout(20_000);

let engine: Ollama;
beforeAll(async () => { engine = await startOllama(); }, buildTimeoutMs);
afterAll(async () => { await engine?.stop(); });

const houses: Hearth[] = [];
async function openHouse(upstream: Ollama, prices: Prices, limits: Limits): Promise<Hearth> {
  const house = await startHearth(upstream.url, prices, limits);
  houses.push(house);
  return house;
}
afterAll(async () => { await Promise.all(houses.map((house) => house.remove())); });

async function askEngine(asked: Ollama, request: Request): Promise<Completion> {
  const response = await post(`${asked.url}/chat/completions`, request);
  expect(response.status).toBe(200);
  return read(response);
}

interface Leaving { ticks: number; ended: number }
async function beforeLeaving(asked: Ollama): Promise<Leaving> {
  return { ticks: await asked.runnerCpuTicks(), ended: await asked.chatsEnded() };
}

/** The engine has given the call up; that its runner is still would not tell: it also waits for a slow reader. */
async function expectStopped(asked: Ollama, before: Leaving): Promise<void> {
  await until("the engine is done with the call", 2_000, async () => (await asked.chatsEnded()) > before.ended ? true : undefined);
  expect(await ticksWhenStill(asked, 2_000) - before.ticks).toBeLessThan(100); // the whole long answer takes several hundred
}

describe("the engine by itself", () => {
  test("counts the same tokens whenever it is asked", async () => {
    for (const [model, tokensIn, tokensOut] of [["tiny", helloIn, sentenceOut], ["tiny-think", helloIn, thoughtOut]] as const) {
      const { choices, usage } = await askEngine(engine, { model, messages: hello, temperature: 1.5 });
      expect(choices[0]?.message.content).toBe(sentence);
      expect(usage).toMatchObject({ prompt_tokens: tokensIn, completion_tokens: tokensOut });
    }
  });

  test("obeys max_tokens and overlooks max_completion_tokens", async () => {
    expect((await askEngine(engine, { model: "tiny", messages: hello, max_tokens: 5 })).usage.completion_tokens).toBe(5);
    expect((await askEngine(engine, { model: "tiny", messages: hello, max_completion_tokens: 5 })).usage.completion_tokens).toBe(sentenceOut);
  });

  test("stops when its caller leaves", async () => {
    const leaving = new AbortController();
    const request = { model: "tiny-loop", messages: hello, stream: true, max_tokens: 40_000 };
    await readTokens(await post(`${engine.url}/chat/completions`, request, {}, leaving.signal), 50);
    const before = await beforeLeaving(engine);
    leaving.abort();
    await expectStopped(engine, before);
  });
});

describe("a house with small limits", () => {
  let hearth: Hearth;
  beforeAll(async () => {
    hearth = await openHouse(engine, { inMsat: 1000, outMsat: 3000 }, { defaultOut: 64, maxOut: 128 });
  }, 20_000);

  test("a whole answer is charged to the millisat", async () => {
    const request = { model: "tiny", messages: hello };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.message.content).toBe(sentence);
    expect(answer.usage).toMatchObject({ prompt_tokens: helloIn, completion_tokens: sentenceOut });
    await expectCharged(hearth, credential, charge, helloIn, sentenceOut);
  });

  test("a streamed answer is charged to the millisat and arrives as the engine wrote it", async () => {
    const request = { model: "tiny", messages: hello, stream: true };
    const direct = eventsOf(await (await post(`${engine.url}/chat/completions`, request)).text());
    const credential = await buy(hearth, request);
    const { events, charge } = await stream(hearth, request, credential);
    expect(events.map(unnamed)).toEqual(direct.map(unnamed));
    await expectCharged(hearth, credential, charge, helloIn, sentenceOut);
  });

  test("a buyer who asks for the usage chunk gets the engine's own", async () => {
    const request = { model: "tiny", messages: hello, stream: true, stream_options: { include_usage: true } };
    const direct = eventsOf(await (await post(`${engine.url}/chat/completions`, request)).text());
    const credential = await buy(hearth, request);
    const { events, charge } = await stream(hearth, request, credential);
    expect(events.map(unnamed)).toEqual(direct.map(unnamed));
    expect(chunksOf(events).at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: helloIn, completion_tokens: sentenceOut } });
    await expectCharged(hearth, credential, charge, helloIn, sentenceOut);
  });

  test("what is left on a credential pays for the next call", async () => {
    const first = { model: "tiny", messages: hello };
    const credential = await buy(hearth, first);
    const { charge } = await complete(hearth, first, credential);
    const left = { ...credential, paidMsat: charge.balanceMsat };
    const second = { model: "tiny-loop", messages: hello, max_tokens: 20 };
    await expectCharged(hearth, left, (await complete(hearth, second, left)).charge, helloLoopIn, 20);
  });

  test("a request without a cap gets the house's", async () => {
    const request = { model: "tiny-loop", messages: hello };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.finish_reason).toBe("length");
    await expectCharged(hearth, credential, charge, helloLoopIn, 64);
  });

  test("a stream without a cap gets the house's", async () => {
    const request = { model: "tiny-loop", messages: hello, stream: true };
    const credential = await buy(hearth, request);
    const { events, charge } = await stream(hearth, request, credential);
    expect(chunksOf(events).at(-1)?.choices[0]?.finish_reason).toBe("length");
    expect(tokensIn(events.join("\n")) - 1).toBe(64); // the finish chunk carries an empty content
    await expectCharged(hearth, credential, charge, helloLoopIn, 64);
  });

  test("a cap above the owner's maximum is lowered to it", async () => {
    const request = { model: "tiny-loop", messages: hello, max_tokens: 5_000 };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.finish_reason).toBe("length");
    await expectCharged(hearth, credential, charge, helloLoopIn, 128);
  });

  test("a cap under a name the engine overlooks holds all the same", async () => {
    const request = { model: "tiny-loop", messages: hello, max_completion_tokens: 20 };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.finish_reason).toBe("length");
    await expectCharged(hearth, credential, charge, helloLoopIn, 20);
  });

  test("a thinking model is charged with its thinking", async () => {
    const request = { model: "tiny-think", messages: hello };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.message).toMatchObject({ content: sentence, reasoning: "Let me see what they want before I answer." });
    await expectCharged(hearth, credential, charge, helloIn, thoughtOut);
  });

  test("a stream of a thinking model is charged with its thinking", async () => {
    const request = { model: "tiny-think", messages: hello, stream: true };
    const credential = await buy(hearth, request);
    const { events, charge } = await stream(hearth, request, credential);
    expect(chunksOf(events).map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(sentence);
    await expectCharged(hearth, credential, charge, helloIn, thoughtOut);
  });

  test("a prompt that the engine cuts is charged as cut, below its quote", async () => {
    // Without spaces every estimator must count it by bytes, as the engine does.
    const request = { model: "tiny", messages: [{ role: "user", content: "x".repeat(6_000) }], max_tokens: 30 };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.usage.prompt_tokens).toBe(numCtx);
    expect(credential.paidMsat).toBeGreaterThanOrEqual(costMsat(hearth, 6_000, 30));
    await expectCharged(hearth, credential, charge, numCtx, sentenceOut);
  });

  test("a model is sold under its full name as well as under its short one", async () => {
    const listed = await read<{ data: { id: string }[] }>(await fetch(`${engine.url}/models`));
    expect(listed.data.map((model) => model.id)).toContain("tiny:latest"); // the only name under which Ollama lists it
    const request = { model: "tiny:latest", messages: hello };
    const credential = await buy(hearth, request);
    await expectCharged(hearth, credential, (await complete(hearth, request, credential)).charge, helloIn, sentenceOut);
  });

  test("a model that nobody serves is a 404 of which the engine hears nothing", async () => {
    const credential = await buy(hearth, { model: "tiny", messages: hello });
    const before = await engine.chatsEnded();
    for (const payer of [undefined, credential]) {
      const refusal = await ask(hearth, { model: "no-such-model", messages: hello }, payer);
      expect(refusal.status).toBe(404);
      expect(await refusal.json()).toMatchObject({ error: { code: "model_not_found" } });
    }
    // Whatever had reached the engine would stand in its log before this call of ours.
    await askEngine(engine, { model: "tiny", messages: hello });
    const after = await until("the engine logs our call", eventTimeoutMs, async () => {
      const count = await engine.chatsEnded();
      return count > before ? count : undefined;
    });
    expect(after - before).toBe(1);
    expect(await balanceOf(hearth, credential)).toMatchObject({ balance_msat: credential.paidMsat, reserved_msat: 0 });
  });

  test("a tool call passes through, charged with the tools in the prompt", async () => {
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
    const request = { model: "tiny", messages: [{ role: "user", content: "Paris?" }], tools };
    const credential = await buy(hearth, request);
    const { answer, charge } = await complete(hearth, request, credential);
    expect(answer.choices[0]?.finish_reason).toBe("tool_calls");
    expect(answer.choices[0]?.message.tool_calls?.map((call) => call.function)).toEqual([{ name: "get_weather", arguments: '{"city":"Paris"}' }]);
    await expectCharged(hearth, credential, charge, 175, 9);
  });
});

describe("a house with long answers", () => {
  const request = { model: "tiny-loop", messages: hello, stream: true, max_tokens: 40_000 };
  let mortal: Ollama;
  let hearth: Hearth;
  beforeAll(async () => {
    mortal = await startOllama();
    hearth = await openHouse(mortal, { inMsat: 100, outMsat: 300 }, { defaultOut: 64, maxOut: 40_000 });
  }, buildTimeoutMs);
  afterAll(async () => { await mortal?.stop(); });

  test("a client that leaves stops the engine and pays for what was made by then", async () => {
    const credential = await buy(hearth, request);
    const leaving = new AbortController();
    const { text } = await readTokens(await ask(hearth, request, credential, leaving.signal), 50);
    const before = await beforeLeaving(mortal);
    leaving.abort();
    await expectStopped(mortal, before);
    const cost = await costOfBrokenCall(hearth, credential);
    expect(cost).toBeGreaterThan(costMsat(hearth, 0, tokensIn(text)));
    expect(cost).toBeLessThan(credential.paidMsat / 2);
  });

  test("the change of a call that was left pays for the next one", async () => {
    const credential = await buy(hearth, request);
    const leaving = new AbortController();
    await readTokens(await ask(hearth, request, credential, leaving.signal), 50);
    leaving.abort();
    const left = { ...credential, paidMsat: credential.paidMsat - await costOfBrokenCall(hearth, credential) };
    const next = { model: "tiny", messages: hello };
    await expectCharged(hearth, left, (await complete(hearth, next, left)).charge, helloIn, sentenceOut);
  });

  test("an engine that dies in mid-answer ends the stream with an error, charged for what was delivered", async () => {
    const credential = await buy(hearth, request);
    const { rest } = await readTokens(await ask(hearth, request, credential), 50);
    await mortal.kill();
    const text = await rest();
    const events = eventsOf(text);
    expect(chunksOf(events).at(-1)?.error?.message).toBeTruthy();
    expect(events).not.toContain("data: [DONE]");
    const cost = await costOfBrokenCall(hearth, credential);
    // No usage came, so both counts are Hearth's own: a few tokens more for the prompt, one in a hundred for the answer.
    expect(cost).toBeGreaterThan(costMsat(hearth, 0, tokensIn(text)));
    expect(cost).toBeLessThanOrEqual(costMsat(hearth, helloLoopIn + 16, Math.ceil(tokensIn(text) * 1.01)));
    expect(chargeIn(text)).toEqual({ costMsat: cost, balanceMsat: credential.paidMsat - cost });
  });
});

test("after all this the audit of every house says ok", async () => {
  expect(houses.length).toBe(2);
  for (const house of houses) {
    await house.stop();
    const { status, text } = await house.audit();
    expect(text).toMatch(/\bok\b/i);
    expect(status).toBe(0);
  }
});
