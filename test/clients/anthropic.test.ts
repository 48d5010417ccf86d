/** The real `@anthropic-ai/sdk`: what its callers see of a bill, a wrong key and a model server in trouble. Its own path is not sold here yet. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import Anthropic, { APIError, type ClientOptions } from "@anthropic-ai/sdk";
import { balanceOf, buyCredential, buyToken, endHearth, misbehave, type RunningHearth, startHearth } from "../support/hearth.ts";

/** A request both APIs can read. */
const body = { model: "sandbox", max_tokens: 100, messages: [{ role: "user" as const, content: "Hello!" }] };
const chat = "/v1/chat/completions";
type Chat = { choices: { message: { content: string } }[] };

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
beforeEach(() => misbehave(hearth.url, "model", {}));
afterAll(() => endHearth(hearth));

/** The SDK as it comes, but for a note of the statuses it gets. */
function makeClient(options: ClientOptions) {
  const statuses: number[] = [];
  const noting = async (input: string | URL | Request, init?: RequestInit) => {
    const answer = await fetch(input, init);
    statuses.push(answer.status);
    return answer;
  };
  return { anthropic: new Anthropic({ baseURL: hearth.url, apiKey: null, authToken: null, fetch: noting, ...options }), statuses };
}

async function failureOf(work: Promise<unknown>): Promise<APIError> {
  const error: unknown = await work.then(() => undefined, (thrown: unknown) => thrown);
  if (!(error instanceof APIError)) throw new Error(`expected an APIError, got ${String(error)}`);
  return error;
}

test("messages.create is a NotFoundError that says so, sent once and not billed", async () => {
  const { anthropic, statuses } = makeClient({ apiKey: "sk-ant-0123456789" });
  const error = await failureOf(anthropic.messages.create(body));
  expect(error).toBeInstanceOf(Anthropic.NotFoundError);
  expect({ message: error.apiMessage, challenge: error.headers!.has("www-authenticate"), statuses })
    .toEqual({ message: "There is nothing at this path.", challenge: false, statuses: [404] });
});

describe("by its generic post, on the chat path", () => {
  const credential = async () => (await buyCredential(hearth.url)).replace(/^L402 /, "");
  const keys: [what: string, options: () => Promise<ClientOptions>][] = [
    ["a token as apiKey", async () => ({ apiKey: await buyToken(hearth.url) })],
    ["a token as authToken", async () => ({ authToken: await buyToken(hearth.url) })],
    ["a credential as apiKey", async () => ({ apiKey: await credential() })],
    ["a credential as authToken", async () => ({ authToken: await credential() })],
  ];
  for (const [what, optionsOf] of keys)
    test(`${what} pays`, async () => {
      const options = await optionsOf();
      const left = async () => (await balanceOf(hearth.url, `Bearer ${options.authToken ?? String(options.apiKey)}`)).balance_msat;
      const before = await left();
      const { anthropic, statuses } = makeClient(options);
      const { data, response } = await anthropic.post<Chat>(chat, { body }).withResponse();
      expect({ content: data.choices[0]!.message.content, statuses }).toEqual({ content: expect.stringContaining("Hello from"), statuses: [200] });
      expect(await left()).toBe(before - Number(response.headers.get("x-hearth-cost-msat")));
    });

  type Refusal = { what: string; key: () => Promise<string>; body: object; status: number; type: string; message: RegExp; challenge: boolean };
  const refusals: Refusal[] = [
    {
      what: "a key of another house is a 402 with its price and its bill",
      key: async () => "sk-ant-0123456789", body, status: 402, type: "insufficient_quota", message: /^Payment required: \d+ sats\./, challenge: true,
    },
    {
      what: "a token that is too poor is a 402 that says where to refill it",
      key: () => buyToken(hearth.url, 100), body: { ...body, max_tokens: 16_000, n: 8 }, status: 402, type: "insufficient_quota", message: /\/api\/v1\/topup/, challenge: false,
    },
    {
      what: "a token nobody was given is an authentication error",
      key: async () => `abl_${"A".repeat(43)}`, body, status: 401, type: "authentication_error", message: /not known here/, challenge: false,
    },
  ];
  for (const { what, key, body: asked, status, type, message, challenge } of refusals)
    test(`${what}, sent once`, async () => {
      const { anthropic, statuses } = makeClient({ apiKey: await key(), maxRetries: 5 });
      const error = await failureOf(anthropic.post(chat, { body: asked }));
      expect({ type: String(error.type), message: error.apiMessage, challenge: error.headers!.has("www-authenticate"), statuses })
        .toEqual({ type, message: expect.stringMatching(message), challenge, statuses: [status] });
    });

  test("a model server that fails is asked maxRetries times more, and nothing is charged", async () => {
    await misbehave(hearth.url, "model", { status: 500 });
    const token = await buyToken(hearth.url);
    const { anthropic, statuses } = makeClient({ apiKey: token, maxRetries: 1 });
    const error = await failureOf(anthropic.post(chat, { body }));
    expect({ name: error.constructor.name, retryAfter: error.headers!.get("retry-after"), statuses }).toEqual({ name: "ServiceUnavailableError", retryAfter: "5", statuses: [503, 503] });
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  }, 20_000);
});

test("models.list reads what is for sale", async () => {
  const ids: string[] = [];
  for await (const model of makeClient({ apiKey: "none" }).anthropic.models.list()) ids.push(model.id);
  expect(ids).toContain("sandbox");
});
