/** Public prices of clouds: a line of the table becomes a price only when selling at it cannot be a loss, and the prices Hearth is born with are such. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { knownProviders } from "../../src/config/providers.ts";
import { type PriceRow, readPublicRow } from "../../src/pricing/public-prices.ts";
import { bundledPrices } from "../../src/pricing/snapshot.ts";

const chat = { litellm_provider: "openai", mode: "chat", input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5 };
const read = (fields: Record<string, unknown>, name = "m") => readPublicRow(name, fields)?.price;

describe("a good line", () => {
  const cases: [what: string, fields: Record<string, unknown>, price: PriceRow][] = [
    ["of a chat model", chat, { mode: "chat", in: 2_500_000, out: 10_000_000 }],
    ["with prices of cached input", { ...chat, cache_read_input_token_cost: 1.25e-6, cache_creation_input_token_cost: 3.125e-6 },
      { mode: "chat", in: 2_500_000, out: 10_000_000, cacheRead: 1_250_000, cacheWrite: 3_125_000 }],
    ["with its limits", { ...chat, max_input_tokens: 128_000, max_output_tokens: 16_384 }, { mode: "chat", in: 2_500_000, out: 10_000_000, maxIn: 128_000, maxOut: 16_384 }],
    ["whose float ends in noise", { ...chat, input_cost_per_token: 1.5e-7, output_cost_per_token: 0.1e-6 * 3 }, { mode: "chat", in: 150_000, out: 300_000 }],
    ["with a fraction of a micro-dollar, rounded up", { ...chat, input_cost_per_token: 1.2345678e-12, output_cost_per_token: 1e-5 }, { mode: "chat", in: 2, out: 10_000_000 }],
    ["whose long prompts cost more", { ...chat, input_cost_per_token_above_200k_tokens: 5e-6, output_cost_per_token_above_200k_tokens: 1.5e-5 },
      { mode: "chat", in: 2_500_000, out: 10_000_000, above: { tokens: 200_000, in: 5_000_000, out: 15_000_000 } }],
    ["with several steps: the lowest bound at the highest price", {
      ...chat, input_cost_per_token_above_128k_tokens: 5e-6, output_cost_per_token_above_128k_tokens: 2e-5,
      input_cost_per_token_above_256k_tokens: 7e-6, output_cost_per_token_above_256k_tokens: 1.5e-5,
    }, { mode: "chat", in: 2_500_000, out: 10_000_000, above: { tokens: 128_000, in: 7_000_000, out: 20_000_000 } }],
    ["whose long prompts are listed as free, which is a gap", { ...chat, input_cost_per_token_above_128k_tokens: 0, output_cost_per_token_above_128k_tokens: 0 },
      { mode: "chat", in: 2_500_000, out: 10_000_000 }],
    ["with prices for batches and priority, which Hearth does not buy", { ...chat, input_cost_per_token_batches: 1e-6, input_cost_per_token_above_200k_tokens_batches: 1e-6 },
      { mode: "chat", in: 2_500_000, out: 10_000_000 }],
    ["of embeddings, which have no output", { ...chat, mode: "embedding", output_cost_per_token: undefined }, { mode: "embedding", in: 2_500_000, out: 0 }],
    ["of images by the piece", { litellm_provider: "openai", mode: "image_generation", output_cost_per_image: 0.04 }, { mode: "image_generation", perImage: 40_000 }],
    ["of images by the piece, under its older name", { litellm_provider: "openai", mode: "image_generation", input_cost_per_image: 0.04 }, { mode: "image_generation", perImage: 40_000 }],
    ["of speech heard by the second", { litellm_provider: "groq", mode: "audio_transcription", input_cost_per_second: 0.00003083 }, { mode: "audio_transcription", perSecond: 31 }],
    ["of speech made by the character", { litellm_provider: "openai", mode: "audio_speech", input_cost_per_character: 1.5e-5 }, { mode: "audio_speech", perMchar: 15_000_000 }],
    ["with fields nobody here knows", { ...chat, supports_vision: true, source: "https://example.com", metadata: { notes: ["x"] } }, { mode: "chat", in: 2_500_000, out: 10_000_000 }],
  ];
  test.each(cases)("%s", (_what, fields, price) => {
    expect(read(fields)).toEqual(price);
  });

  test.each([
    ["gpt-4o", "openai", "openai/gpt-4o"], ["openai/gpt-4o", "openai", "openai/gpt-4o"], ["together_ai/meta/llama", "together_ai", "together/meta/llama"],
    ["gemini/gemini-2.5-pro", "gemini", "gemini/gemini-2.5-pro"], ["openai/gpt-oss-120b", "groq", "groq/openai/gpt-oss-120b"],
  ])("%s of %s is known as %s", (name, provider, id) => {
    expect(readPublicRow(name, { ...chat, litellm_provider: provider })?.id).toBe(id);
  });
});

describe("a line that is no price", () => {
  const bad: [what: string, value: unknown][] = [
    ["null", null], ["a negative number", -1e-6], ["NaN", NaN], ["infinity", Infinity], ["a text", "2.5e-6"],
    ["true", true], ["an object", { usd: 1 }], ["an array", [1e-6]], ["more than a number holds whole", 1e6],
  ];
  test.each(bad)("has %s where input is priced", (_what, value) => expect(read({ ...chat, input_cost_per_token: value })).toBeUndefined());
  test.each(bad)("has %s where output is priced", (_what, value) => expect(read({ ...chat, output_cost_per_token: value })).toBeUndefined());

  const lines: [what: string, value: unknown][] = [
    ["nothing", undefined], ["null", null], ["a text", "chat"], ["a number", 7], ["an array", [chat]], ["an empty object", {}],
    ["no provider", { ...chat, litellm_provider: undefined }],
    ["a provider nobody here knows", { ...chat, litellm_provider: "acme" }],
    ["a reseller under contract", { ...chat, litellm_provider: "bedrock" }],
    ["a provider that is a word of JavaScript", { ...chat, litellm_provider: "constructor" }],
    ["a provider that is no text", { ...chat, litellm_provider: ["openai"] }],
    ["no mode", { ...chat, mode: undefined }],
    ["a mode nobody here sells", { ...chat, mode: "rerank" }],
    ["a mode that is no text", { ...chat, mode: ["chat"] }],
    ["no price", { litellm_provider: "openai", mode: "chat" }],
    ["a price of input only", { ...chat, output_cost_per_token: undefined }],
    ["a price of output only", { ...chat, input_cost_per_token: undefined }],
    ["a promotion: all of it free", { ...chat, input_cost_per_token: 0, output_cost_per_token: 0 }],
    ["images for nothing", { litellm_provider: "openai", mode: "image_generation", output_cost_per_image: 0 }],
    ["seconds for nothing", { litellm_provider: "openai", mode: "audio_transcription", input_cost_per_second: 0 }],
    ["a negative price of an image", { litellm_provider: "openai", mode: "image_generation", output_cost_per_image: -0.04 }],
    ["a text as the price of a second", { litellm_provider: "openai", mode: "audio_transcription", input_cost_per_second: "0.1" }],
  ];
  test.each(lines)("has %s", (_what, value) => {
    expect(readPublicRow("m", value)).toBeUndefined();
  });

  test("is not made worse by odd limits and odd prices of a cache: those are left out", () => {
    for (const odd of [-1, 0, 1.5, NaN, Infinity, "128000", null, true, [1], {}])
      expect(read({ ...chat, max_input_tokens: odd, max_output_tokens: odd })).toEqual({ mode: "chat", in: 2_500_000, out: 10_000_000 });
    for (const odd of [-1, 0, NaN, Infinity, "1", null, true, [1], {}])
      expect(read({ ...chat, cache_read_input_token_cost: odd, cache_creation_input_token_cost: odd })).toEqual({ mode: "chat", in: 2_500_000, out: 10_000_000 });
  });
});

describe("nothing is sold below what the cloud asks", () => {
  test.each([["input", { input_cost_per_token: 0 }], ["output", { output_cost_per_token: 0 }]])("a chat model with free %s is a promotion or a gap, and not for sale", (_what, free) => {
    expect(read({ ...chat, ...free })).toBeUndefined();
  });

  test("a model that also costs something per request is sold with that fee, and not at all where the fee cannot be read", () => {
    expect(read({ ...chat, input_cost_per_request: 0.005 })?.perCall).toBe(5_000);
    expect(read({ ...chat, input_cost_per_request: 0 })?.perCall).toBeUndefined();
    expect(read({ ...chat, input_cost_per_request: "some" })).toBeUndefined();
    expect(read({ ...chat, input_cost_per_request: -1 })).toBeUndefined();
  });

  test("output of a model whose reasoning costs more is priced as reasoning: nobody knows beforehand which it will be", () => {
    expect(read({ ...chat, output_cost_per_reasoning_token: 4e-5 })?.out ?? Infinity).toBeGreaterThanOrEqual(40_000_000);
    expect(read({ ...chat, output_cost_per_reasoning_token: 1e-6 })?.out).toBe(10_000_000);
  });

  test("a long prompt whose output has no price of its own still costs its higher input", () => {
    const price = read({ ...chat, input_cost_per_token_above_200k_tokens: 5e-6 });
    if (price !== undefined) expect(price.above).toEqual({ tokens: 200_000, in: 5_000_000, out: 10_000_000 });
  });

  test("a long prompt whose input has no price of its own still costs its higher output", () => {
    const price = read({ ...chat, output_cost_per_token_above_200k_tokens: 2e-5 });
    if (price !== undefined) expect(price.above).toEqual({ tokens: 200_000, in: 2_500_000, out: 20_000_000 });
  });

  test.each([-5e-6, "5e-6", NaN])("a line whose long prompts have an odd price, %p, is refused: odd numbers refuse the line", (odd) => {
    expect(read({ ...chat, input_cost_per_token_above_200k_tokens: odd, output_cost_per_token_above_200k_tokens: 2e-5 })).toBeUndefined();
  });
});

describe("the prices Hearth is born with", () => {
  const rows = Object.entries(bundledPrices.models);
  const tokenModes = ["chat", "responses", "completion"];

  test("say where they are from, under which licence, and of which day", () => {
    const { source, licence, takenOn } = bundledPrices;
    expect(source).toMatch(/^\S+ \d+\.\d+/);
    expect(licence).toBe("MIT");
    expect(new Date(takenOn).toISOString().slice(0, 10)).toBe(takenOn);
    expect(takenOn > "2026-01-01").toBe(true);
  });

  test("are many, of every provider Hearth knows, and none is listed twice", () => {
    expect(rows.length).toBeGreaterThan(500);
    expect([...new Set(rows.map(([id]) => id.split("/")[0]!))].sort()).toEqual([...new Set(Object.values(knownProviders))].sort());
    const text = readFileSync(new URL("../../src/pricing/snapshot.json", import.meta.url), "utf8");
    expect(text.split("\n").filter((line) => /^"[^"]+":\{/.test(line)).length).toBe(rows.length);
  });

  test("are each whole numbers of micro-dollars under the names the type has, with at least one price", () => {
    const amounts = new Set(["in", "out", "cacheRead", "cacheWrite", "perImage", "perSecond", "perMchar", "maxIn", "maxOut"]);
    const whole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    const wrong = rows.filter(([id, { mode, above, ...others }]) => {
      const named = Object.entries(others).every(([name, value]) => amounts.has(name) && whole(value) && (value > 0 || name === "in" || name === "out"));
      const tiers = above === undefined || (Object.keys(above).sort().join() === "in,out,tokens" && whole(above.in) && whole(above.out) && whole(above.tokens) && above.tokens > 0);
      const both = (others.in === undefined) === (others.out === undefined);
      const priced = [others.in, others.perImage, others.perSecond, others.perMchar].some((one) => one !== undefined);
      return !(/^[a-z]+\/\S+$/.test(id) && typeof mode === "string" && named && tiers && both && priced);
    });
    expect(wrong).toEqual([]);
  });

  test("have no line where long prompts are cheaper than short ones, and no price no cloud asks", () => {
    expect(rows.filter(([, { in: input = 0, out = 0, above }]) => above && (above.in < input || above.out < out))).toEqual([]);
    expect(rows.filter(([, { in: input = 0, out = 0 }]) => input > 1_000_000_000 || out > 1_000_000_000)).toEqual([]);
  });

  test("have no chat model with free input or free output", () => {
    const free = rows.filter(([, { mode, in: input, out }]) => tokenModes.includes(mode) && (input === 0 || out === 0));
    expect(free.map(([id, { in: input, out }]) => `${id}: in ${input}, out ${out}`)).toEqual([]);
  });

  test("have no model sold by its tokens whose cloud takes a fee for every request besides", () => {
    const withFee = [
      "perplexity/sonar", "perplexity/sonar-pro", "perplexity/sonar-reasoning-pro", "perplexity/sonar-deep-research",
      "perplexity/pplx-70b-online", "openai/gpt-4o-search-preview", "openai/gpt-5-search-api",
    ];
    expect(withFee.filter((id) => bundledPrices.models[id]?.in !== undefined)).toEqual([]);
  });

  const shapes: [id: string, mode: string, fields: string[]][] = [
    ["openai/gpt-4o", "chat", ["cacheRead", "in", "maxIn", "maxOut", "mode", "out"]],
    ["anthropic/claude-sonnet-4-5", "chat", ["cacheRead", "cacheWrite", "in", "maxIn", "maxOut", "mode", "out"]],
    ["gemini/gemini-2.5-pro", "chat", ["above", "cacheRead", "in", "maxIn", "maxOut", "mode", "out"]],
    ["openai/text-embedding-3-small", "embedding", ["in", "maxIn", "mode", "out"]],
    ["openai/whisper-1", "audio_transcription", ["mode", "perSecond"]],
    ["openai/tts-1", "audio_speech", ["mode", "perMchar"]],
  ];
  test.each(shapes)("know %s as %s, with what that is sold by", (id, mode, fields) => {
    const row = bundledPrices.models[id]!;
    expect(row.mode).toBe(mode);
    expect(Object.keys(row).sort()).toEqual(fields);
    if (mode !== "chat") return;
    expect(row.cacheRead!).toBeLessThan(row.in!);
    expect(row.in!).toBeLessThan(row.out!);
    expect(row.in!).toBeGreaterThan(100_000);
    expect(row.out!).toBeLessThan(100_000_000);
  });
});
