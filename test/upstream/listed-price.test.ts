/** A price from a server's list is exact to the micro-dollar, never below what is asked there, and none where anything is odd. */
import { expect, test } from "bun:test";
import { type ListedPrice, microsOf, openRouterPrice, type XaiPricing, xaiPrice } from "../../src/upstream/listed-price.ts";

test.each<[dollars: unknown, micros: number | undefined]>([
  ["0.000003", 3_000_000], ["0.00000006", 60_000], ["0.0000000000001", 1], ["0.00000000000100000001", 2], ["1e-6", 1_000_000], ["1.5E-07", 150_000], [1.5e-7, 150_000], [0.1, 100_000_000_000],
  ["0", 0], ["0.0", 0], ["5", 5_000_000_000_000], ["1e3", 1_000_000_000_000_000], ["-1", undefined], ["", undefined], [" 1", undefined], ["0x10", undefined], ["1,5", undefined], [".5", undefined], [null, undefined],
  [undefined, undefined], [Number.NaN, undefined], [Infinity, undefined], [-0.1, undefined], ["1e9", undefined], ["9".repeat(21), undefined], [{}, undefined], ["1e999", undefined],
])("%p dollars a token", (dollars, micros) => expect(microsOf(dollars, 1_000_000n)).toBe(micros));

const base = { prompt: "0.000001", completion: "0.000002" };
const plain: ListedPrice = { in: 1_000_000, out: 2_000_000 };

test.each<[what: string, pricing: Record<string, unknown>, price: ListedPrice | undefined]>([
  ["plain", base, plain],
  ["thinking cheaper than text", { ...base, internal_reasoning: "0.000001" }, plain],
  ["thinking dearer than text", { ...base, internal_reasoning: "0.000003" }, { in: 1_000_000, out: 3_000_000 }],
  ["a search that only a plugin makes", { ...base, web_search: "0.01" }, plain],
  ["a fee for each call", { ...base, request: "0.005" }, { ...plain, perCall: 5_000 }],
  ["long prompts", { ...base, overrides: [{ min_prompt_tokens: 256_000, prompt: "0.000004" }] }, { ...plain, above: { tokens: 255_999, in: 4_000_000, out: 2_000_000 } }],
  ["two steps", { ...base, overrides: [{ min_prompt_tokens: 128_000, completion: "0.000003" }, { min_prompt_tokens: 32_000, prompt: "0.000004" }] }, { ...plain, above: { tokens: 31_999, in: 4_000_000, out: 3_000_000 } }],
  ["long prompts that cost less", { ...base, overrides: [{ min_prompt_tokens: 32_000, prompt: "0.0000001" }] }, plain],
  ["other hours", { ...base, overrides: [{ start: "08:00", prompt: "0.000004" }] }, { in: 4_000_000, out: 2_000_000 }],
  ["no overrides", { ...base, overrides: [] }, plain],
  ["a step that cannot be read", { ...base, overrides: [{ min_prompt_tokens: "32k", prompt: "0.000004" }] }, undefined],
  ["a step whose price cannot be read", { ...base, overrides: [{ min_prompt_tokens: 32_000, prompt: "-1" }] }, undefined],
  ["a fee that cannot be read", { ...base, request: "some" }, undefined],
  ["a price that follows another model", { prompt: "-1", completion: "-1" }, undefined],
  ["nothing for the answer", { prompt: "0.000001", completion: "0" }, undefined],
  ["nothing at all", { prompt: "0", completion: "0" }, undefined],
  ["half a price", { prompt: "0.000001" }, undefined],
])("a price with %s", (_what, pricing, price) => expect(openRouterPrice("maker/model", pricing)).toEqual(price));

test.each(["perplexity/sonar", "openai/gpt-4o-search-preview", "openai/o3-deep-research", "maker/model:online"])("%s searches by itself, so each call has that fee", (id) => {
  expect(openRouterPrice(id, { ...base, web_search: "0.01", request: "0.002" })).toEqual({ ...plain, perCall: 12_000 });
});

const grok: XaiPricing = { prompt_text_token_price: 30_000, completion_text_token_price: 150_000 };
test.each<[what: string, pricing: XaiPricing, price: ListedPrice | undefined]>([
  ["plain: 30000 is 3 dollars a million", grok, { in: 3_000_000, out: 15_000_000 }],
  ["long prompts", { ...grok, long_context_threshold: 128_000, prompt_text_token_price_long_context: 60_000, completion_text_token_price_long_context: 300_000 }, { in: 3_000_000, out: 15_000_000, above: { tokens: 128_000, in: 6_000_000, out: 30_000_000 } }],
  ["long prompts at the same price", { ...grok, long_context_threshold: 128_000, prompt_text_token_price_long_context: 0 }, { in: 3_000_000, out: 15_000_000 }],
  ["no threshold", { ...grok, prompt_text_token_price_long_context: 60_000 }, { in: 3_000_000, out: 15_000_000 }],
  ["no price for the answer", { prompt_text_token_price: 30_000 }, undefined],
  ["no price", {}, undefined],
])("xAI's price, %s", (_what, pricing, price) => expect(xaiPrice(pricing)).toEqual(price));
