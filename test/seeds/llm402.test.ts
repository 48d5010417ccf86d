/** LLM402's buyer: probes with its own stream and n, reads only the body of the 402, pays, and sends the caller's request. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { ask, balanceOf, endHearth, pay, type RunningHearth, startHearth } from "../support/hearth.ts";
import { printedModels, seedConfig, seedCostMsat, seedText, type SeedUpstream, startSeedUpstream } from "../support/seed-upstream.ts";

let upstream: SeedUpstream;
let hearth: RunningHearth;
beforeAll(async () => {
  upstream = startSeedUpstream();
  hearth = await startHearth({ config: seedConfig(upstream) });
});
beforeEach(() => void (upstream.bodies.length = 0));
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop();
});

/** The strictest of that client's own limits. */
const clientCapSats = 500;
const longestBody = 65_536;

type Bought = { price: number; answer: Response; credential: string };

/** All it does for one call of its caller. */
async function buy(caller: Record<string, unknown>): Promise<Bought> {
  const probe = await ask(hearth.url, { ...caller, stream: false, n: 1 });
  const text = await probe.text();
  expect({ status: probe.status, fits: text.length <= longestBody }).toEqual({ status: 402, fits: true });
  const { price, invoice, macaroon } = JSON.parse(text) as { price: number; invoice: string; macaroon: string };
  expect(price).toBeWithin(1, clientCapSats + 1);
  const credential = `L402 ${macaroon}:${await pay(hearth.url, invoice)}`;
  return { price, credential, answer: await ask(hearth.url, caller, credential) };
}

const caller = { model: "gpt-4o-mini", max_tokens: 256, messages: [{ role: "user", content: "Hello" }] };
const contentOf = (stream: string) => [...stream.matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word).join("");

describe("what was probed unstreamed is delivered as the caller asked", () => {
  const deliveries: [what: string, fields: Record<string, unknown>, streams: boolean][] = [
    ["streamed", { stream: true }, true],
    ["streamed, with usage", { stream: true, stream_options: { include_usage: true } }, true],
    ["unstreamed", { stream: false }, false],
    ["without a word about it", {}, false],
    ["with n of its own", { stream: true, n: 1 }, true],
  ];
  for (const [what, fields, streams] of deliveries)
    test(what, async () => {
      const { answer, credential, price } = await buy({ ...caller, ...fields });
      expect({ status: answer.status, type: answer.headers.get("content-type") }).toEqual({ status: 200, type: streams ? "text/event-stream; charset=utf-8" : "application/json" });
      expect(contentOf(await answer.text())).toBe(seedText);
      expect(upstream.bodies.map((body) => body.stream === true)).toEqual([streams]);
      expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(price * 1_000 - seedCostMsat);
    });
});

test("a wish for another house's price list (pref) is passed over and never reaches the model", async () => {
  const { answer } = await buy({ ...caller, pref: "cheapest" });
  expect(answer.status).toBe(200);
  expect(upstream.bodies.map((body) => "pref" in body)).toEqual([false]);
});

test("model auto is quoted by the name of the model that answers", async () => {
  const probe = await ask(hearth.url, { ...caller, model: "auto", stream: false, n: 1 });
  const { routed_model } = (await probe.json()) as { routed_model: string };
  expect(printedModels as readonly string[]).toContain(routed_model);
  const { answer } = await buy({ ...caller, model: "auto", stream: true });
  expect({ status: answer.status, content: contentOf(await answer.text()) }).toEqual({ status: 200, content: seedText });
  expect(upstream.bodies.map((body) => body.model)).toEqual([routed_model]);
});

test("the price follows from model, input and max_tokens, and the cheapest is 10 sats", async () => {
  const priceOf = async (body: object) => ((await (await ask(hearth.url, body)).json()) as { price: number }).price;
  expect(await priceOf({ ...caller, max_tokens: 1 })).toBe(10);
  const [few, many] = [await priceOf(caller), await priceOf({ ...caller, max_tokens: 1_256 })];
  expect(many - few).toBe(300);
  expect(await priceOf({ ...caller, messages: [{ role: "user", content: "Hello ".repeat(400) }] })).toBeGreaterThan(few);
});
