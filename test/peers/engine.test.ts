/**
 * Holds a running Hearth against a real engine whose answers and token counts are known: every charge to the millisat.
 * A black box: Hearth is a process with a config file, and this file knows nothing of it but its HTTP and its `audit`.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startOllama, until, type Ollama } from "./ollama.ts";

const main = join(import.meta.dir, "..", "..", "src", "main.ts");
const buildTimeoutMs = 15 * 60_000; // the very first start builds the engine
const eventTimeoutMs = 10_000;
setDefaultTimeout(20_000);

/** The tiny models' token counts, the end token included; prompts are counted byte by byte. */
const hello = [{ role: "user", content: "hello" }];
const helloIn = 9; // bos, <|user|>, 5 bytes, <|end|>, <|say|>
const helloLoopIn = 7; // bos, 5 bytes, <|loop|>
const sentenceOut = 27;
const thoughtOut = 38;
const numCtx = 4096;
const sentence = "Our hearth keeps burning all night 🔥 at the café where each guest pays for one cocoa, sits down and reads.";

// --- Hearth as a process -------------------------------------------------------------------------------------------

interface Prices { inMsat: number; outMsat: number } // per token
interface Limits { defaultOut: number; maxOut: number } // tokens
interface Hearth {
  readonly url: string;
  readonly prices: Prices;
  stop(): Promise<void>;
  /** `hearth audit` on the data of a stopped Hearth. */
  audit(): Promise<{ status: number; text: string }>;
  /** Stops it and deletes its data. */
  remove(): Promise<void>;
}

async function startHearth(upstreamUrl: string, prices: Prices, limits: Limits): Promise<Hearth> {
  const folder = mkdtempSync(join(tmpdir(), "hearth-engine-"));
  const [port, ownerPort] = [await freePort(), await freePort()];
  writeFileSync(join(folder, "hearth.toml"), [
    "[prices]", // 1,000 sats per million tokens are 1 msat per token
    `default = { input_sats_per_mtok = ${prices.inMsat * 1000}, output_sats_per_mtok = ${prices.outMsat * 1000} }`,
    "[limits]",
    `default_output_tokens = ${limits.defaultOut}`,
    `max_output_tokens = ${limits.maxOut}`,
    "",
  ].join("\n"));
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    HEARTH_DATA_DIR: join(folder, "data"),
    HEARTH_CONFIG: join(folder, "hearth.toml"),
    HEARTH_PORT: String(port),
    HEARTH_OWNER_PORT: String(ownerPort),
    HEARTH_NODE: "sandbox",
    HEARTH_UPSTREAM_URL: upstreamUrl,
  };
  const log = openSync(join(folder, "log"), "a");
  const server = Bun.spawn([process.execPath, main, "serve"], { env, cwd: folder, stdin: "ignore", stdout: log, stderr: log });
  closeSync(log);
  const killNow = () => server.kill("SIGKILL");
  process.once("exit", killNow);

  async function stop(): Promise<void> {
    server.kill("SIGTERM");
    const patience = setTimeout(killNow, eventTimeoutMs);
    await server.exited;
    clearTimeout(patience);
    process.off("exit", killNow);
  }

  async function audit(): Promise<{ status: number; text: string }> {
    const child = Bun.spawn([process.execPath, main, "audit"], { env, cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [text, complaint, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, text: text + complaint };
  }

  async function remove(): Promise<void> {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  }

  const url = `http://127.0.0.1:${port}`;
  try {
    await until("Hearth answers /healthz", eventTimeoutMs, async () => {
      if (server.exitCode !== null) throw new Error(`Hearth ended with ${server.exitCode}:\n${readFileSync(join(folder, "log"), "utf8").slice(-2000)}`);
      const answer = await fetch(`${url}/healthz`).catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    });
  } catch (cause) {
    await remove();
    throw cause;
  }
  return { url, prices, stop, audit, remove };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

// --- A buyer -------------------------------------------------------------------------------------------------------

type Request = { model: string; messages: object[]; stream?: boolean } & Record<string, unknown>;
interface Credential { authorization: string; paidMsat: number }
interface Charge { costMsat: number; balanceMsat: number }
interface Usage { prompt_tokens: number; completion_tokens: number }
interface Completion {
  choices: { finish_reason: string; message: { content: string; reasoning?: string; tool_calls?: { function: { name: string; arguments: string } }[] } }[];
  usage: Usage;
}
interface Chunk { choices: { finish_reason?: string; delta: { content?: string; reasoning?: string } }[]; usage?: Usage; error?: { message: string } }

function post(url: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), signal });
}

async function read<T>(response: Response): Promise<T> {
  return JSON.parse(await response.text());
}

function ask(hearth: Hearth, request: Request, credential?: Credential, signal?: AbortSignal): Promise<Response> {
  return post(`${hearth.url}/v1/chat/completions`, request, credential ? { authorization: credential.authorization } : {}, signal);
}

/** Takes the 402 for this request and pays it: the invoice is the call's ceiling. */
async function buy(hearth: Hearth, request: Request): Promise<Credential> {
  const refusal = await ask(hearth, request);
  expect(refusal.status).toBe(402);
  const challenge = await read<{ invoice: string; macaroon: string; amount_sats: number; amount_msat: number }>(refusal);
  const payment = await post(`${hearth.url}/sandbox/pay`, { invoice: challenge.invoice });
  expect(payment.status).toBe(200);
  const { preimage } = await read<{ preimage: string }>(payment);
  // The node takes whole sats, and what was paid is what is credited, however finely the ceiling was counted.
  expect(challenge.amount_sats * 1000).toBeGreaterThanOrEqual(challenge.amount_msat);
  return { authorization: `L402 ${challenge.macaroon}:${preimage}`, paidMsat: challenge.amount_sats * 1000 };
}

async function balanceOf(hearth: Hearth, credential: Credential): Promise<{ balance_msat: number; reserved_msat: number }> {
  const answer = await fetch(`${hearth.url}/api/v1/balance`, { headers: { authorization: credential.authorization } });
  expect(answer.status).toBe(200);
  return read(answer);
}

/** A whole answer, with what its headers say it cost. */
async function complete(hearth: Hearth, request: Request, credential: Credential): Promise<{ answer: Completion; charge: Charge }> {
  const response = await ask(hearth, request, credential);
  expect(response.status).toBe(200);
  expect(response.headers.get("x-request-id")).toBeTruthy();
  const charge = {
    costMsat: Number(response.headers.get("x-hearth-cost-msat") ?? NaN),
    balanceMsat: Number(response.headers.get("x-hearth-balance-msat") ?? NaN),
  };
  return { answer: await read<Completion>(response), charge };
}

/** A whole stream, with what its last comment says it cost. */
async function stream(hearth: Hearth, request: Request, credential: Credential): Promise<{ events: string[]; charge: Charge | undefined }> {
  const response = await ask(hearth, { ...request, stream: true }, credential);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toStartWith("text/event-stream");
  expect(response.headers.get("x-request-id")).toBeTruthy();
  const text = await response.text();
  return { events: eventsOf(text), charge: chargeIn(text) };
}

/** The events byte for byte, without comments: those are Hearth's own. */
function eventsOf(text: string): string[] {
  return text.split("\n\n").map((event) => event.replace(/^:.*\n?/gm, "")).filter((event) => event !== "");
}

function chargeIn(text: string): Charge | undefined {
  const found = [...text.matchAll(/^: hearth cost_msat=(\d+) balance_msat=(\d+)$/gm)].at(-1);
  return found && { costMsat: Number(found[1]), balanceMsat: Number(found[2]) };
}

function chunksOf(events: string[]): Chunk[] {
  return events.filter((event) => event !== "data: [DONE]").map((event) => JSON.parse(event.slice("data: ".length)));
}

/** Names and times differ from call to call; nothing else may. */
function unnamed(event: string): string {
  return event.replace(/"id":"chatcmpl-[^"]*"/, '"id":"*"').replace(/"created":\d+/, '"created":0');
}

function costMsat(hearth: Hearth, tokensIn: number, tokensOut: number): number {
  return hearth.prices.inMsat * tokensIn + hearth.prices.outMsat * tokensOut;
}

/** The charge is this call's price to the millisat, and the balance says the same. */
async function expectCharged(hearth: Hearth, credential: Credential, charge: Charge | undefined, tokensIn: number, tokensOut: number): Promise<void> {
  const cost = costMsat(hearth, tokensIn, tokensOut);
  expect(charge).toEqual({ costMsat: cost, balanceMsat: credential.paidMsat - cost });
  expect(await balanceOf(hearth, credential)).toMatchObject({ balance_msat: credential.paidMsat - cost, reserved_msat: 0 });
}

/** Once a call that broke off is booked: what it cost, by the balance. */
async function costOfBrokenCall(hearth: Hearth, credential: Credential): Promise<number> {
  return until("the broken call is booked", eventTimeoutMs, async () => {
    const { balance_msat, reserved_msat } = await balanceOf(hearth, credential);
    return reserved_msat === 0 && balance_msat < credential.paidMsat ? credential.paidMsat - balance_msat : undefined;
  });
}

/** Reads a stream until it has brought `count` tokens; gives the reader, to go on or to leave, and the text so far. */
async function readTokens(response: Response, count: number): Promise<{ text: string; rest: () => Promise<string> }> {
  if (!response.body) throw new Error("a stream has a body");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  async function read(enough: () => boolean): Promise<string> {
    while (!enough()) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    return text;
  }
  await read(() => tokensIn(text) >= count);
  return { text, rest: () => read(() => false) };
}

/** The loop model says one word per token and per event. */
function tokensIn(text: string): number {
  return text.split('"delta":{"role":"assistant","content":"').length - 1;
}

/** The CPU ticks a runner has used once it has done nothing for a while; throws when it goes on. */
async function ticksWhenStill(engine: Ollama, timeoutMs: number): Promise<number> {
  let seen = -1;
  let since = 0;
  return until("the runner is still", timeoutMs, async () => {
    const ticks = await engine.runnerCpuTicks();
    if (ticks !== seen) [seen, since] = [ticks, performance.now()];
    return performance.now() - since >= 200 ? ticks : undefined; // 20 ticks long none was used
  });
}

// --- The rules -----------------------------------------------------------------------------------------------------

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
