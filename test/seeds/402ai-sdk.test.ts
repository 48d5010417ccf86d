/** 402ai's SDK snippets and the tools it prints settings for: a token as API key at the printed base URL, and nothing else changed. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { balanceOf, buyToken, endHearth, type RunningHearth, startHearth } from "../support/hearth.ts";
import { printedModels, seedConfig, seedCostMsat, seedText, type SeedUpstream, seedUsage, seedWords, startSeedUpstream } from "../support/seed-upstream.ts";

let upstream: SeedUpstream;
let hearth: RunningHearth;
let token: string;
beforeAll(async () => {
  upstream = startSeedUpstream();
  hearth = await startHearth({ config: seedConfig(upstream) });
});
beforeEach(async () => {
  upstream.bodies.length = 0;
  token = await buyToken(hearth.url);
});
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop();
});

const leftMsat = async () => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;

/** As the Python SDK sends it: its headers and its spelling of the body. */
async function python(body: object): Promise<Response> {
  return fetch(`${hearth.url}/api/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`, accept: "application/json", "content-type": "application/json", "user-agent": "OpenAI/Python 3.54.0",
      "x-stainless-lang": "python", "x-stainless-package-version": "3.54.0", "x-stainless-os": "Linux", "x-stainless-arch": "x64", "x-stainless-runtime": "CPython",
      "x-stainless-runtime-version": "3.11.7", "x-stainless-async": "false", "x-stainless-retry-count": "0", "x-stainless-read-timeout": "600",
    },
    body: JSON.stringify(body),
  });
}

type Chunk = { choices: { delta: { content?: string } }[]; usage?: unknown };

/** The data events of a stream, which must end in [DONE]. */
async function chunksOf(answer: Response): Promise<Chunk[]> {
  const events = [...(await answer.text()).matchAll(/^data: (.*)$/gm)].map(([, data]) => data!);
  expect(events.at(-1)).toBe("[DONE]");
  return events.slice(0, -1).map((data) => JSON.parse(data) as Chunk);
}

describe("the Python SDK's snippets", () => {
  for (const model of printedModels)
    test(`${model} answers by the id that is printed, and the token pays what its tokens cost`, async () => {
      const answer = await python({ model, messages: [{ role: "user", content: "Hello" }] });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({
        id: expect.any(String), object: "chat.completion", created: expect.any(Number), model,
        choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: seedText } }], usage: seedUsage,
      });
      expect(upstream.bodies.map((body) => body.model)).toEqual([model]);
      expect(await leftMsat()).toBe(1_000_000 - seedCostMsat);
    });

  test("streaming: every chunk has the choice that the printed loop reads without looking, and the pieces are the answer", async () => {
    const answer = await python({ model: "gpt-4o-mini", stream: true, messages: [{ role: "user", content: "Count to 5" }] });
    expect({ status: answer.status, type: answer.headers.get("content-type") }).toEqual({ status: 200, type: "text/event-stream; charset=utf-8" });
    const chunks = await chunksOf(answer);
    expect(chunks.map(({ choices }) => choices.length)).toEqual(chunks.map(() => 1));
    expect(chunks.map(({ choices }) => choices[0]!.delta.content ?? "").join("")).toBe(seedText);
    expect(await leftMsat()).toBe(1_000_000 - seedCostMsat);
  });
});

describe("the Node SDK's snippet", () => {
  const client = () => new OpenAI({ baseURL: `${hearth.url}/api/v1`, apiKey: token });

  test("a chat is answered", async () => {
    const answer = await client().chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] });
    expect(answer.choices[0]!.message.content).toBe(seedText);
    expect(await leftMsat()).toBe(1_000_000 - seedCostMsat);
  });

  test("a streamed chat comes word by word", async () => {
    const words: string[] = [];
    for await (const chunk of await client().chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Count to 5" }], stream: true }))
      if (chunk.choices[0]!.delta.content) words.push(chunk.choices[0]!.delta.content);
    expect(words).toEqual(seedWords);
    expect(await leftMsat()).toBe(1_000_000 - seedCostMsat);
  });
});

describe("editors and chat pages set to the printed base URL and a token", () => {
  test("find the printed models in the list they fill their menus from", async () => {
    const answer = await fetch(`${hearth.url}/api/v1/models`, { headers: { authorization: `Bearer ${token}` } });
    const { object, data } = (await answer.json()) as { object: string; data: { id: string }[] };
    expect(object).toBe("list");
    expect(data.map(({ id }) => id)).toEqual(expect.arrayContaining([...printedModels]));
  });

  test("get the usage they ask for at the end of a stream", async () => {
    const answer = await python({ model: "gpt-4o-mini", stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content: "Count to 5" }] });
    expect((await chunksOf(answer)).at(-1)).toMatchObject({ choices: [], usage: seedUsage });
  });
});
