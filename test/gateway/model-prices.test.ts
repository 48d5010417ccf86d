/** What a model is sold at from moment to moment, and how long its answers may be. */
import { expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { coveredPlaces } from "../../src/gateway/covered-places.ts";
import { ModelDirectory, type PriceOf } from "../../src/gateway/model-directory.ts";
import { planChat } from "../../src/gateway/plan.ts";
import type { ListPrice } from "../../src/pricing/list-price.ts";
import type { BtcRate } from "../../src/pricing/rate.ts";
import { profiles } from "../../src/upstream/profiles.ts";
import type { Upstream } from "../../src/upstream/upstream.ts";

const sats = (msat: bigint): ListPrice => ({ kind: "sats", price: { inputMsatPerMtok: msat, outputMsatPerMtok: msat } });
const usd = (micros: bigint): ListPrice => ({ kind: "usd", price: { inputMicros: micros, outputMicros: micros } });
const upstream = (name: string): Upstream => ({
  name, local: false, places: undefined, profile: profiles.generic, redact: (text) => text,
  models: async () => [{ id: "m", createdS: 1 }],
  chat: () => Promise.reject(new Error("nobody asks")),
  post: () => Promise.reject(new Error("nobody asks")),
});

async function directory(prices: Record<string, ReturnType<PriceOf>>, rate: () => BtcRate | undefined) {
  const made = new ModelDirectory({ upstreams: Object.keys(prices).map(upstream), priceOf: ({ name }) => prices[name], rate, aliases: {}, clock: systemClock });
  await made.refresh();
  return made;
}

/** 100,000 dollars: a micro-dollar is a millisatoshi. */
const even: BtcRate = { centsPerBtc: 10_000_000n, atMs: 1 };

test("a model priced in sats is for sale without any rate, whatever it costs the owner in dollars", async () => {
  const models = await directory({ cloud: { price: sats(7n), cost: usd(5n) } }, () => undefined);
  expect(models.find("m")).toMatchObject({ price: { inputMsatPerMtok: 7n }, rate: undefined });
});

test("a model priced in dollars follows the rate, and without one it is known but has no price", async () => {
  let rate: BtcRate | undefined = even;
  const models = await directory({ cloud: { price: usd(1_000n), cost: usd(900n) } }, () => rate);
  expect(models.find("m")).toMatchObject({ price: { inputMsatPerMtok: 1_000n }, rate: even });
  rate = { ...even, centsPerBtc: 5_000_000n };
  expect(models.find("m")?.price?.inputMsatPerMtok).toBe(2_000n);
  rate = undefined;
  expect([models.find("m")?.price, models.list().length, models.find("auto")?.id]).toEqual([undefined, 0, "m"]);
});

/** Who may answer what `quoted` was paid for, where every known cost is covered. */
async function answering(prices: Record<string, ReturnType<PriceOf>>, quoted: string, rate: BtcRate | undefined) {
  const model = (await directory(prices, () => rate)).find("m")!;
  return coveredPlaces(model, quoted, () => true).map((place) => place.upstream.name);
}

test("what costs an unknown sum stands in for nothing; what costs a known one does", async () => {
  const prices = { home: { price: sats(1n), cost: sats(0n) }, cloud: { price: sats(9n), cost: usd(5n) } };
  expect(await answering(prices, "home", undefined)).toEqual(["home"]);
  expect(await answering(prices, "home", even)).toEqual(["home", "cloud"]);
});

test.each([
  ["none has a price", { dear: { price: usd(9n), cost: usd(9n) }, cheap: { price: usd(1n), cost: usd(1n) } }, ["cheap"]],
  ["another has one in sats", { home: { price: sats(9n), cost: sats(0n) }, cheap: { price: usd(1n), cost: usd(1n) } }, ["home", "cheap"]],
])("while no rate is known and %s, the server that was quoted still answers for what was paid", async (_what, prices, expected) => {
  expect(await answering(prices, "cheap", undefined)).toEqual(expected);
});

test("after a failure the dearer one serves and sets the price; when all have failed the cheapest is tried again", async () => {
  const models = await directory({ dear: { price: sats(9n), cost: sats(0n) }, cheap: { price: sats(1n), cost: sats(0n) } }, () => undefined);
  const serving = () => models.find("m")?.upstream.name;
  expect(serving()).toBe("cheap");
  models.pulse.failed("cheap", "chat", false);
  expect(serving()).toBe("dear");
  models.pulse.failed("dear", "chat", false);
  expect(serving()).toBe("cheap");
  models.pulse.answered("dear", "chat");
  expect(serving()).toBe("dear");
});

test.each([[100, 50, 50], [30, 50, 30], [undefined, 50, 50], [100, undefined, 80]])("a wish for %p tokens from a model that makes at most %p is a cap of %p", async (wanted, most, cap) => {
  const models = await directory({ cloud: { price: sats(1n), cost: sats(0n), maxOutputTokens: most } }, () => undefined);
  const request = { model: "m", messages: [], stream: false, includeUsage: false, n: 1, body: { max_tokens: wanted } };
  expect(planChat(request, models.find("m")!, { defaultOutputTokens: 60, maxOutputTokens: 80 }).cap).toBe(cap);
});
