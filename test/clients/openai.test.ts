/** The real `openai` SDK: what it takes for an API key, what it does with each refusal, and how often it asks again. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI, { APIError, type ClientOptions } from "openai";
import { ask, askForBill, balanceOf, buyCredential, buyToken, endHearth, misbehave, pay, type RunningHearth, startHearth } from "../support/hearth.ts";

const request = { model: "sandbox", messages: [{ role: "user" as const, content: "Hello!" }] };
/** What Hearth names when a model server fails or a payment is in use; the SDK's own first pause is under a second. */
const retryAfterMs = 5_000;

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
beforeEach(() => misbehave(hearth.url, "model", {}));
afterAll(() => endHearth(hearth));

type Sent = { atMs: number; status: number };

/** The SDK as it comes, but for a note of what it sends and what comes back. */
function makeClient(options: ClientOptions, seen: (answer: Response) => void = () => undefined) {
  const sent: Sent[] = [];
  const noting = async (input: string | URL | Request, init?: RequestInit) => {
    const atMs = performance.now();
    const answer = await fetch(input, init);
    sent.push({ atMs, status: answer.status });
    seen(answer);
    return answer;
  };
  return { openai: new OpenAI({ baseURL: `${hearth.url}/v1`, fetch: noting, ...options }), sent };
}

const statusesOf = (sent: Sent[]) => sent.map(({ status }) => status);

async function failureOf(work: Promise<unknown>): Promise<APIError> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`);
  return error;
}

const leftMsat = async (key: string) => (await balanceOf(hearth.url, `Bearer ${key}`)).balance_msat;

/** A paid challenge's id in the macaroon's place. */
async function buyByChallengeId(): Promise<string> {
  const bill = await askForBill(hearth.url, request);
  return `${bill.quote_id}:${await pay(hearth.url, bill.invoice)}`;
}

describe("an API key is", () => {
  const keys: [what: string, buy: () => Promise<string>][] = [
    ["a token", () => buyToken(hearth.url)],
    ["a credential, macaroon:preimage", async () => (await buyCredential(hearth.url, request)).replace(/^L402 /, "")],
    ["a paid challenge, id:preimage", buyByChallengeId],
  ];
  for (const [what, buy] of keys)
    test(`${what}: it pays for a chat, then for a streamed one, exactly what they cost`, async () => {
      const key = await buy();
      const before = await leftMsat(key);
      const { openai, sent } = makeClient({ apiKey: key });
      const { data, response } = await openai.chat.completions.create(request).withResponse();
      expect(data.choices[0]!.message.content).toStartWith("Hello from the Hearth sandbox");
      const between = await leftMsat(key);
      expect(between).toBe(before - Number(response.headers.get("x-hearth-cost-msat")));
      let text = "";
      for await (const chunk of await openai.chat.completions.create({ ...request, stream: true })) text += chunk.choices[0]!.delta.content ?? "";
      expect(text).toBe(data.choices[0]!.message.content!);
      expect(await leftMsat(key)).toBe(between - (before - between));
      expect(statusesOf(sent)).toEqual([200, 200]);
    });
});

describe("what asking again cannot change is sent once, whatever maxRetries is", () => {
  const dear = { ...request, max_tokens: 16_000, n: 8 };
  const poorCredential = async () => (await buyCredential(hearth.url, { ...request, max_tokens: 1 })).replace(/^L402 /, "");
  type Refusal = { what: string; key: () => Promise<string>; body: typeof request; status: number; code: string; challenge: boolean };
  const refusals: Refusal[] = [
    { what: "a key of another house: 402 with a bill", key: async () => "sk-proj-0123456789", body: request, status: 402, code: "payment_required", challenge: true },
    { what: "a token that is too poor: 402 without one", key: () => buyToken(hearth.url, 100), body: dear, status: 402, code: "insufficient_balance", challenge: false },
    { what: "a credential that is too poor: 402 with a bill", key: poorCredential, body: dear, status: 402, code: "insufficient_balance", challenge: true },
    { what: "a token nobody was given: 401", key: async () => `abl_${"A".repeat(43)}`, body: request, status: 401, code: "invalid_token", challenge: false },
    { what: "a model that is not for sale: 404", key: () => buyToken(hearth.url), body: { ...request, model: "gpt-9" }, status: 404, code: "model_not_found", challenge: false },
  ];
  for (const { what, key, body, status, code, challenge } of refusals)
    test(what, async () => {
      const { openai, sent } = makeClient({ apiKey: await key(), maxRetries: 5 });
      const error = await failureOf(openai.chat.completions.create(body));
      expect({ status: error.status, code: error.code, challenge: error.headers!.has("www-authenticate") }).toEqual({ status, code, challenge });
      expect(statusesOf(sent)).toEqual([status]);
    });

  test("a streamed request is refused before it begins: 402, once", async () => {
    const { openai, sent } = makeClient({ apiKey: "sk-proj-0123456789" });
    const error = await failureOf(openai.chat.completions.create({ ...request, stream: true }));
    expect({ status: error.status, sent: statusesOf(sent) }).toEqual({ status: 402, sent: [402] });
  });

  test("a key that has bought its answer already: 409, once, though the SDK repeats other 409s", async () => {
    const key = await buyToken(hearth.url);
    const { openai, sent } = makeClient({ apiKey: key });
    await openai.chat.completions.create(request, { headers: { "Idempotency-Key": "order-1" } });
    const left = await leftMsat(key);
    const error = await failureOf(openai.chat.completions.create(request, { headers: { "Idempotency-Key": "order-1" } }));
    expect({ code: error.code, sent: statusesOf(sent), left: await leftMsat(key) }).toEqual({ code: "duplicate_request", sent: [200, 409], left });
  });
});

describe("what may go away is asked again after the time Hearth names", () => {
  test("503, a model server that fails once: two requests, one answer, one payment, also under an idempotency key", async () => {
    await misbehave(hearth.url, "model", { status: 500, times: 1 });
    const key = await buyToken(hearth.url);
    const { openai, sent } = makeClient({ apiKey: key });
    const { response } = await openai.chat.completions.create(request, { headers: { "Idempotency-Key": "order-2" } }).withResponse();
    expect(statusesOf(sent)).toEqual([503, 200]);
    expect(sent[1]!.atMs - sent[0]!.atMs).toBeGreaterThan(retryAfterMs - 100);
    expect(await leftMsat(key)).toBe(1_000_000 - Number(response.headers.get("x-hearth-cost-msat")));
  }, 20_000);

  test("503 that stays: maxRetries more requests and then the error, with nothing charged", async () => {
    await misbehave(hearth.url, "model", { status: 500 });
    const key = await buyToken(hearth.url);
    const statuses = await Promise.all([0, 1].map(async (maxRetries) => {
      const { openai, sent } = makeClient({ apiKey: key, maxRetries });
      const error = await failureOf(openai.chat.completions.create(request));
      expect({ status: error.status, code: error.code, retryAfter: error.headers!.get("retry-after") }).toEqual({ status: 503, code: "upstream_unavailable", retryAfter: "5" });
      return statusesOf(sent);
    }));
    expect(statuses).toEqual([[503], [503, 503]]);
    expect(await leftMsat(key)).toBe(1_000_000);
  }, 20_000);

  test("429, a payment hash whose request is being answered: asked again, and served when the first came to nothing", async () => {
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<Response>();
    const choices = [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }];
    const answered = { choices, usage: { prompt_tokens: 5, completion_tokens: 1 } };
    let calls = 0;
    const model = Bun.serve({
      hostname: "127.0.0.1", port: 0, idleTimeout: 0,
      routes: {
        "/v1/models": () => Response.json({ data: [{ id: "slow" }] }),
        "/v1/chat/completions": () => {
          if (++calls > 1) return Response.json(answered);
          reached.resolve();
          return release.promise;
        },
      },
    });
    const house = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: `${model.url.origin}/v1` } });
    try {
      const body = { ...request, model: "slow" };
      const bill = await askForBill(house.url, body);
      await pay(house.url, bill.invoice);
      const first = ask(house.url, body, undefined, { headers: { "content-type": "application/json", "x-payment-hash": bill.payment_hash } });
      await reached.promise;
      const failFirst = (answer: Response) => void (answer.status === 429 && release.resolve(new Response("", { status: 500 })));
      const { openai, sent } = makeClient({ apiKey: "none", baseURL: `${house.url}/v1`, defaultHeaders: { "X-Payment-Hash": bill.payment_hash } }, failFirst);
      const answer = await openai.chat.completions.create(body);
      expect({ content: answer.choices[0]!.message.content, sent: statusesOf(sent), first: (await first).status }).toEqual({ content: "Hi", sent: [429, 200], first: 503 });
      expect(sent[1]!.atMs - sent[0]!.atMs).toBeGreaterThan(retryAfterMs - 100);
    } finally {
      release.resolve(new Response("", { status: 500 }));
      await endHearth(house);
      await model.stop(true);
    }
  }, 20_000);
});
