/**
 * What passes through Hearth: an answer's bytes and timing on the way to the buyer, a request's fields on the way to the
 * model server, and what happens when one of the two leaves or misbehaves.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type ModelFaults, type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, balanceOf, buyCredential, eventually, hello, openOwnersDoor, removeDataDir, type RunningHearth, runHearth, startHearth } from "../support/hearth.ts";

const ownersKey = "sk-owner-8d1f-never-to-be-seen";
const costComment = /: hearth cost_msat=\d+ balance_msat=\d+\n\n$/;
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: {} } } } }];

let model: SandboxModel;
let hearth: RunningHearth;
let credential: string;
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: model.url, HEARTH_UPSTREAM_KEY: ownersKey } });
  credential = await buyCredential(hearth.url, { ...hello, max_tokens: 16_000 });
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await hearth.stop();
  await model.stop();
  removeDataDir(hearth.dataDir);
});

type Reader = { next(): Promise<string | undefined>; text(): string };

/** Reads an answer piece by piece, as it arrives. */
function readerOf(answer: Response): Reader {
  const reader = answer.body!.getReader();
  const decoder = new TextDecoder();
  let text = "";
  return {
    async next() {
      const { done, value } = await reader.read();
      if (done) return undefined;
      const piece = decoder.decode(value, { stream: true });
      text += piece;
      return piece;
    },
    text: () => text,
  };
}

/** A model server whose answer the test writes itself, and which keeps what it was sent. */
function startScriptedModel(answer: (request: Request) => Response) {
  const requests: { headers: Headers; body: Record<string, unknown> }[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0, idleTimeout: 0,
    routes: {
      "/v1/models": () => Response.json({ data: [{ id: "scripted" }] }),
      "/v1/chat/completions": async (request) => {
        requests.push({ headers: request.headers, body: (await request.json()) as Record<string, unknown> });
        return answer(request);
      },
    },
  });
  return { url: `http://127.0.0.1:${server.port}/v1`, requests, stop: () => server.stop(true) };
}

/** A Hearth before a scripted model, with a credential that pays for it, for as long as `work` takes. */
async function withScripted(answer: (request: Request) => Response, work: (parts: { hearth: RunningHearth; credential: string; requests: { headers: Headers; body: Record<string, unknown> }[] }) => Promise<void>) {
  const scripted = startScriptedModel(answer);
  const own = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: scripted.url, HEARTH_UPSTREAM_KEY: ownersKey } });
  try {
    await work({ hearth: own, credential: await buyCredential(own.url, question), requests: scripted.requests });
    await own.stop();
    expect(own.output()).not.toContain(ownersKey);
  } finally {
    own.kill("SIGKILL");
    scripted.stop();
    removeDataDir(own.dataDir);
  }
}

const question = { model: "scripted", messages: [{ role: "user", content: "Hello!" }] };
const sseHeaders = { "content-type": "text/event-stream" };
const chunk = (fields: Record<string, unknown>) => `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "scripted", ...fields })}\n\n`;
const token = (content: string) => chunk({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });
const ending = chunk({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }) + chunk({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 } }) + "data: [DONE]\n\n";
const streamed = () => new Response(token("Hi") + ending, { headers: sseHeaders });
const buffered = () => Response.json({ id: "chatcmpl-1", object: "chat.completion", created: 1, model: "scripted", choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }], usage: { prompt_tokens: 5, completion_tokens: 1 } });

describe("timing", () => {
  test("each token reaches the buyer before the model makes the next one", async () => {
    const tokens = 50;
    let release = Promise.withResolvers<void>();
    let made = 0;
    const lockStep = () => new Response(new ReadableStream({
      async pull(controller) {
        if (made > 0) await release.promise;
        release = Promise.withResolvers<void>();
        controller.enqueue(made++ < tokens ? token(`t${made}`) : ending);
        if (made > tokens) controller.close();
      },
    }), { headers: sseHeaders });
    await withScripted(lockStep, async ({ hearth, credential }) => {
      const reader = readerOf(await ask(hearth.url, { ...question, stream: true }, credential));
      for (let i = 1; i <= tokens; i++) {
        // A relay that waits for more would wait for ever.
        while (!reader.text().includes(`"t${i}"`)) expect(await reader.next()).toBeDefined();
        expect(made).toBe(i);
        release.resolve();
      }
      while ((await reader.next()) !== undefined);
      expect(reader.text()).toMatch(costComment);
    });
  }, 15_000);

  test("a model that makes a token every 15 ms is heard in as many pieces", async () => {
    model.misbehave({ tokenDelayMs: 15 });
    const reader = readerOf(await ask(hearth.url, { ...hello, stream: true }, credential));
    await reader.next();
    expect(model.calls.at(-1)!.finished).toBe(false);
    let pieces = 1;
    while ((await reader.next()) !== undefined) pieces++;
    expect(pieces).toBeGreaterThan(model.calls.at(-1)!.tokensSent / 2);
  });

  test("a stream is marked for proxies not to hold back", async () => {
    const answer = await ask(hearth.url, { ...hello, stream: true }, credential);
    expect(answer.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(answer.headers.get("x-accel-buffering")).toBe("no");
    expect(answer.headers.get("cache-control")).toContain("no-store");
    expect(answer.headers.get("content-encoding")).toBeNull();
    await answer.text();
  });

  test("a quiet stream is kept open with comments", async () => {
    model.misbehave({ stallAfterTokens: 3 });
    const leave = new AbortController();
    const reader = readerOf(await ask(hearth.url, { ...hello, stream: true }, credential, { signal: leave.signal }));
    while (!reader.text().includes(": keep-alive\n\n")) expect(await reader.next()).toBeDefined();
    expect(reader.text()).toMatch(/^(data: \{.*\}\n\n){4}: keep-alive\n\n$/);
    leave.abort();
    await model.until((calls) => calls.at(-1)!.aborted);
  }, 20_000);
});

describe("bytes", () => {
  const normal = (text: string) => text.replaceAll(/"id":"chatcmpl-[^"]*"/g, '"id":"x"').replaceAll(/"created":\d+/g, '"created":0').replaceAll(/call_sandbox-\d+/g, "call");
  /** What the model answers to exactly the body it got from Hearth. */
  async function direct(): Promise<string> {
    const answer = await fetch(`${model.url}/chat/completions`, { method: "POST", body: JSON.stringify(model.calls.at(-1)!.body) });
    return answer.text();
  }
  const usageEvent = /data: \{[^\n]*"choices":\[\][^\n]*\r?\n\r?\n/;
  const ways: [what: string, faults: ModelFaults, fields: Record<string, unknown>][] = [
    ["plain", {}, {}], ["CRLF", { crlf: true }, {}], ["cut at every byte", { splitBytes: 1 }, {}], ["cut at 7 bytes", { splitBytes: 7 }, {}], ["CRLF cut at 3 bytes", { crlf: true, splitBytes: 3 }, {}],
    ["in one write", { oneWrite: true }, {}], ["a huge event", { hugeEvent: 200_000 }, {}], ["thinking", {}, { model: "sandbox-think" }], ["a tool call", {}, { tools }],
    ["three choices", {}, { n: 3 }], ["usage in every chunk", { usageEveryChunk: true }, {}], ["usage in the finish chunk", { usageInFinishChunk: true }, {}],
  ];
  for (const [what, faults, fields] of ways) {
    test(`${what}: a buyer who asked for usage gets the model's own bytes`, async () => {
      model.misbehave(faults);
      const through = await (await ask(hearth.url, { ...hello, ...fields, stream: true, stream_options: { include_usage: true } }, credential)).text();
      expect(through).toMatch(costComment);
      expect(normal(through.replace(costComment, ""))).toBe(normal(await direct()));
    });

    test(`${what}: a buyer who did not ask gets them without the usage chunk`, async () => {
      model.misbehave(faults);
      const through = await (await ask(hearth.url, { ...hello, ...fields, stream: true }, credential)).text();
      expect(normal(through.replace(costComment, ""))).toBe(normal(await direct()).replace(usageEvent, ""));
      expect(through).not.toMatch(usageEvent);
    });

    test(`${what}: an answer in one piece is the model's own`, async () => {
      model.misbehave(faults);
      const through = await (await ask(hearth.url, { ...hello, ...fields }, credential)).text();
      expect(normal(through)).toBe(normal(await direct()));
    });
  }

  test("a model that forgets the end mark is completed", async () => {
    model.misbehave({ noDone: true });
    const through = await (await ask(hearth.url, { ...hello, stream: true }, credential)).text();
    expect(through.replace(costComment, "")).toEndWith("data: [DONE]\n\n");
    expect(through.match(/\[DONE\]/g)).toHaveLength(1);
  });

  test("a reader who does not read stops the model instead of filling the house", async () => {
    const bytes = `: ${"x".repeat(65_530)}\n\n`;
    const mostMb = 64;
    let sentMb = 0;
    const endless = () => new Response(new ReadableStream({
      pull: async (controller) => {
        await new Promise((resolve) => setImmediate(resolve));
        controller.enqueue(bytes);
        if ((sentMb += bytes.length / 2 ** 20) > 4 * mostMb) controller.close();
      },
    }), { headers: sseHeaders });
    await withScripted(endless, async ({ hearth, credential }) => {
      const leave = new AbortController();
      await ask(hearth.url, { ...question, stream: true }, credential, { signal: leave.signal });
      let lastMb = -1, still = 0;
      // Filled are the sockets' own buffers, some megabytes; then it must stand still.
      await eventually("the model waits", () => (still = sentMb === lastMb ? still + 1 : 0, lastMb = sentMb, still > 30 || sentMb > mostMb ? true : undefined), 20_000);
      expect(sentMb).toBeLessThan(mostMb);
      leave.abort();
    });
  }, 30_000);
});

describe("leaving", () => {
  for (const stream of [true, false])
    test(`a buyer who leaves stops the model within a second (stream: ${stream})`, async () => {
      model.misbehave({ tokenDelayMs: 50 });
      const leave = new AbortController();
      const known = model.calls.length;
      const asked = ask(hearth.url, { ...hello, model: "sandbox-loop", stream }, credential, { signal: leave.signal }).then((answer) => answer.text()).catch(() => "left");
      await model.until((calls) => calls.length > known && calls.at(-1)!.tokensSent > 2);
      const leftAtMs = performance.now();
      leave.abort();
      await model.until((calls) => calls.at(-1)!.aborted);
      expect(performance.now() - leftAtMs).toBeLessThan(1_000);
      expect(await asked).toBe("left");
      await eventually("nothing stays reserved", async () => ((await balanceOf(hearth.url, credential)).reserved_msat === 0 ? true : undefined));
    });

  test("a Hearth told to end lets a stream finish, and ends well", async () => {
    const own = startSandboxModel({ tokenDelayMs: 30 });
    const house = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: own.url } });
    const paid = await buyCredential(house.url);
    const reader = readerOf(await ask(house.url, { ...hello, stream: true }, paid));
    while (!reader.text().includes("Hello")) await reader.next();
    const ended = house.stop();
    while ((await reader.next()) !== undefined);
    expect(reader.text()).toContain("data: [DONE]\n\n");
    expect(reader.text()).toMatch(costComment);
    expect(await ended).toBe(0);
    expect(own.calls.at(-1)!.finished).toBe(true);
    expect(await runHearth(["audit"], { HEARTH_DATA_DIR: house.dataDir })).toMatchObject({ code: 0 });
    await own.stop();
    removeDataDir(house.dataDir);
  });
});

describe("the cap", () => {
  test("is ours, under one name, whatever names the buyer used", async () => {
    const caps = { max_tokens: 5, max_completion_tokens: 7, max_output_tokens: 6, num_predict: 3, n_predict: 4 };
    await (await ask(hearth.url, { ...hello, ...caps }, credential)).text();
    expect(model.calls.at(-1)!.body).toEqual({ model: "sandbox", messages: hello.messages, max_tokens: 7 });
  });

  test("is there when the buyer named none", async () => {
    await (await ask(hearth.url, hello, credential)).text();
    expect(model.calls.at(-1)!.body).toEqual({ model: "sandbox", messages: hello.messages, max_tokens: 2_048 });
  });

  test("cuts a model that ignores it: finish_reason length, [DONE], and no more money than was reserved", async () => {
    model.misbehave({ ignoreCap: 5_000 });
    const before = await balanceOf(hearth.url, credential);
    const answer = await ask(hearth.url, { ...hello, stream: true, max_tokens: 20 }, credential);
    const text = await answer.text();
    const chunks = [...text.matchAll(/^data: (\{.*\})$/gm)].map((match) => JSON.parse(match[1]!) as { id?: string; created?: number; model?: string; choices: { delta: { content?: string }; finish_reason: string | null }[] });
    expect(chunks.filter((one) => one.choices[0]!.delta.content).length).toBeLessThanOrEqual(23);
    expect(chunks.at(-1)!.choices[0]).toMatchObject({ delta: {}, finish_reason: "length" });
    expect(text.replace(costComment, "")).toEndWith("data: [DONE]\n\n");
    await model.until((calls) => calls.at(-1)!.aborted);
    const spent = before.balance_msat - (await balanceOf(hearth.url, credential)).balance_msat;
    expect(spent).toBeGreaterThan(0);
    expect(spent).toBeLessThanOrEqual(Number(answer.headers.get("x-hearth-reserved-msat")));
    // Typed clients refuse a chunk without these.
    expect(chunks.at(-1)).toMatchObject({ id: chunks[0]!.id, created: chunks[0]!.created, model: chunks[0]!.model });
  });

  test("is never overspent by an answer in one piece either", async () => {
    model.misbehave({ ignoreCap: 3_000 });
    const answer = await ask(hearth.url, { ...hello, max_tokens: 20 }, credential);
    expect(Number(answer.headers.get("x-hearth-cost-msat"))).toBeLessThan(25);
    await answer.text();
  });
});

describe("the way to the model server", () => {
  const buyersHeaders = { "content-type": "application/json", "accept-encoding": "gzip, br", cookie: "a=b", "x-forwarded-for": "203.0.113.9", "x-api-key": "buyers", "openai-organization": "org-buyer", "user-agent": "buyer/1" };
  const everyField = {
    temperature: 0.5, top_p: 0.9, seed: 7, stop: ["x"], response_format: { type: "json_object" }, tools, tool_choice: "auto", logit_bias: { "1": 1 }, presence_penalty: 0.1, reasoning_effort: "low",
  };
  for (const stream of [true, false])
    test(`carries only listed fields, and usage is asked for only in a stream (stream: ${stream})`, () =>
      withScripted(stream ? streamed : buffered, async ({ hearth, credential, requests }) => {
        const extras = { user: "u1", metadata: { a: "b" }, pref: "cheap", payment_hash: "00".repeat(32), stream_options: { include_usage: false, include_obfuscation: true }, n: 1, store: false };
        const answer = await ask(hearth.url, { ...question, ...everyField, ...extras, stream, max_completion_tokens: 50 }, credential);
        expect(answer.status).toBe(200);
        await answer.text();
        expect(requests.at(-1)!.body).toEqual({ ...question, ...everyField, max_tokens: 50, ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}) });
      }));

  test("carries the owner's key and nothing of the buyer's headers", () =>
    withScripted(buffered, async ({ hearth, credential, requests }) => {
      await ask(hearth.url, question, undefined, { headers: { ...buyersHeaders, authorization: credential } });
      const { headers } = requests.at(-1)!;
      expect(headers.get("authorization")).toBe(`Bearer ${ownersKey}`);
      expect(headers.get("accept-encoding") ?? "identity").toBe("identity");
      const allowed = ["accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent"];
      expect([...headers.keys()].filter((name) => !allowed.includes(name))).toEqual([]);
      const sent = JSON.stringify([...headers.entries()]);
      for (const secret of [credential.slice(5, 60), "buyer", "203.0.113.9", "gzip"]) expect(sent).not.toContain(secret);
    }));

  test("brings none of the server's own headers back", () =>
    withScripted(() => new Response(token("Hi") + ending, { headers: { ...sseHeaders, "set-cookie": "a=b", "openai-organization": "org-owner", server: "engine/1", "x-ratelimit-limit": "9", "www-authenticate": "Bearer" } }), async ({ hearth, credential }) => {
      const answer = await ask(hearth.url, { ...question, stream: true }, credential);
      for (const name of ["set-cookie", "openai-organization", "server", "x-ratelimit-limit", "www-authenticate"]) expect(answer.headers.get(name)).toBeNull();
      await answer.text();
    }));

  for (const status of [400, 401, 403, 500])
    test(`shows the owner's key to nobody, even when the server repeats it in its ${status}`, () =>
      withScripted((request) => Response.json({ error: { message: `Incorrect API key provided: ${request.headers.get("authorization")}` } }, { status }), async ({ hearth, credential }) => {
        const answer = await ask(hearth.url, question, credential);
        expect(answer.status).toBe(status === 400 ? 400 : 503);
        expect(await answer.text()).not.toContain(ownersKey);
        const owner = await openOwnersDoor(hearth);
        for (const path of ["/admin/api/status", "/metrics"]) expect(await (await owner.get(path)).text()).not.toContain(ownersKey);
      }));

  test("does not follow a redirect, which would take the prompt and the key elsewhere", () =>
    withScripted(() => new Response(null, { status: 307, headers: { location: `${model.url}/chat/completions` } }), async ({ hearth, credential }) => {
      const known = model.calls.length;
      const answer = await ask(hearth.url, question, credential);
      expect({ status: answer.status, calls: model.calls.length }).toEqual({ status: 503, calls: known });
      await answer.text();
    }));
});

test("nothing that the model server was told or said is in the log", async () => {
  const secret = "prompt-5c2e-of-a-buyer";
  model.misbehave({ breakAfterTokens: 2, times: 1 });
  for (const stream of [true, false]) await (await ask(hearth.url, { model: "sandbox", messages: [{ role: "user", content: secret }], stream }, credential)).text();
  for (const kept of [ownersKey, secret, "Hearth sandbox 🔥", credential.slice(5)]) expect(hearth.output()).not.toContain(kept);
});
