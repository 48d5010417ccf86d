/** Which price a model is sold at: the owner's word before the public one, a margin on that, and without any a cloud's model is not for sale. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { knownProviders, providerOf } from "../../src/config/providers.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { ListPrice } from "../../src/pricing/list-price.ts";
import { listPrice, priceAndCost } from "../../src/pricing/owner-prices.ts";
import type { ModelKind, Snapshot } from "../../src/pricing/public-prices.ts";

const row = (input: number, output: number) => ({ mode: "chat", in: input, out: output });
const publicPrices: Snapshot = {
  source: "test 1.0", licence: "MIT", takenOn: "2026-01-01",
  models: {
    "openai/gpt": row(1_000_000, 2_000_000), "groq/gpt": row(500_000, 500_000),
    "gemini/gemini-pro": { ...row(100, 200), above: { tokens: 200_000, in: 300, out: 400 } },
    "openai/picture": { mode: "image_generation", perImage: 40_000 }, "openai/film": { mode: "video_generation", perSecond: 100_000 },
    "openai/painter": { mode: "image_generation", in: 5_000_000, out: 10_000_000 },
    "openai/low/1024-x-1024/painter": { mode: "image_generation", perImage: 9_000 }, "openai/high/1536-x-1024/painter": { mode: "image_generation", perImage: 200_000 },
    "openai/high/1024-x-1024/painter-mini": { mode: "image_generation", perImage: 900_000 },
    "openai/hear": { mode: "audio_transcription", perSecond: 100 }, "openai/speak": { mode: "audio_speech", perMchar: 15_000_000 },
    "openai/asked": { ...row(1_000_000, 2_000_000), perCall: 5_000 }, "openai/vectors": { mode: "embedding", in: 20_000, out: 0 },
  },
};

const satsOf = (input: number, output: number) => ({ input_sats_per_mtok: input, output_sats_per_mtok: output });
const usdOf = (input: number, output: number) => ({ input_usd_per_mtok: input, output_usd_per_mtok: output });
const sats = (input: number, output: number): ListPrice => ({ kind: "sats", price: { inputMsatPerMtok: BigInt(input) * 1_000n, outputMsatPerMtok: BigInt(output) * 1_000n } });
const micros = (inputMicros: bigint, outputMicros: bigint): ListPrice => ({ kind: "usd", price: { inputMicros, outputMicros } });

const openai = { name: "cloud", url: "https://api.openai.com/v1" };
const cloud = { name: "cloud", local: false }, home = { name: "attic", local: true };

function priceOf(settings: Record<string, unknown>, upstream: { name: string; local: boolean }, model: string): ListPrice | undefined {
  return listPrice(configSchema.parse({ data_dir: "unused", ...settings }), publicPrices, upstream, model);
}

describe("the order of look-up", () => {
  const everything = { "cloud/gpt": satsOf(1, 1), gpt: satsOf(2, 2) };
  const cases: [what: string, settings: Record<string, unknown>, upstream: typeof cloud, model: string, price: ListPrice | undefined][] = [
    ["the model at this upstream goes first", { upstreams: [{ ...openai, price: satsOf(3, 3) }], prices: { models: everything } }, cloud, "gpt", sats(1, 1)],
    ["then the model anywhere", { upstreams: [{ ...openai, price: satsOf(3, 3) }], prices: { models: { gpt: satsOf(2, 2) } } }, cloud, "gpt", sats(2, 2)],
    ["the price at another upstream is not this one's", { upstreams: [openai], prices: { models: { "attic/gpt": satsOf(2, 2) } } }, cloud, "gpt", micros(1_200_000n, 2_400_000n)],
    ["then what the upstream costs", { upstreams: [{ ...openai, price: satsOf(3, 3) }] }, cloud, "gpt", sats(3, 3)],
    ["also for a model that no table knows", { upstreams: [{ ...openai, price: satsOf(3, 3) }] }, cloud, "unheard-of", sats(3, 3)],
    ["then the public price of its provider, with the margin", { upstreams: [openai] }, cloud, "gpt", micros(1_200_000n, 2_400_000n)],
    ["the owner's default is for local models: a cloud's is not sold at it", { upstreams: [openai], prices: { default: satsOf(4, 4) } }, cloud, "unheard-of", undefined],
    ["a local model has the owner's default", { prices: { default: satsOf(4, 4) } }, home, "qwen", sats(4, 4)],
    ["a local model that shares its name with a cloud's has the default too", { prices: { default: satsOf(4, 4) } }, home, "gpt", sats(4, 4)],
    ["and without one a price that is not zero", {}, home, "qwen", sats(200, 800)],
    ["`name:latest` is priced as `name`", { prices: { models: { qwen: satsOf(2, 2) } } }, home, "qwen:latest", sats(2, 2)],
    ["unless it has a price of its own", { prices: { models: { qwen: satsOf(2, 2), "qwen:latest": satsOf(1, 1) } } }, home, "qwen:latest", sats(1, 1)],
    ["another tag is another model", { prices: { models: { qwen: satsOf(2, 2) }, default: satsOf(4, 4) } }, home, "qwen:7b", sats(4, 4)],
  ];
  test.each(cases)("%s", (_what, settings, upstream, model, price) => {
    expect(priceOf(settings, upstream, model)).toEqual(price);
  });

  test("a server on the LAN that is somebody's cloud by the owner's word is sold at that cloud's price, not at a local model's", () => {
    const proxy = { name: "attic", url: "http://192.168.1.5:4000/v1", provider: "openai" };
    expect(priceOf({ upstreams: [proxy] }, home, "gpt")).toEqual(micros(1_200_000n, 2_400_000n));
  });
});

describe("a cloud's model is not for sale", () => {
  const cases: [what: string, settings: Record<string, unknown>, model: string][] = [
    ["when its provider has no price for it", { upstreams: [openai] }, "unheard-of"],
    ["when nobody knows its provider", { upstreams: [{ ...openai, url: "https://models.example.com/v1" }] }, "gpt"],
    ["when it is another provider that has one", { upstreams: [{ ...openai, url: "https://api.deepseek.com/v1" }] }, "gpt"],
    ["when it is priced by something nobody can count beforehand", { upstreams: [openai] }, "film"],
    ["when its upstream is not in the settings at all", {}, "gpt"],
    ["under a name that is a word of JavaScript", { upstreams: [openai] }, "constructor"],
    ["under another one", { upstreams: [openai] }, "__proto__"],
    ["under a name that climbs into another provider", { upstreams: [{ ...openai, url: "https://api.deepseek.com/v1" }] }, "../openai/gpt"],
  ];
  test.each(cases)("%s", (_what, settings, model) => {
    expect(priceOf(settings, cloud, model)).toBeUndefined();
  });
});

describe("the provider of an upstream", () => {
  test.each([
    ["https://api.openai.com/v1", "openai"], ["https://eu.api.openai.com/v1", "openai"], ["https://API.OPENAI.COM/v1", "openai"], ["https://api.anthropic.com/v1", "anthropic"],
    ["https://api.x.ai/v1", "xai"], ["https://api.groq.com/openai/v1", "groq"],
    ["https://api.mistral.ai/v1", "mistral"], ["https://generativelanguage.googleapis.com/v1beta/openai", "gemini"], ["https://api.deepseek.com", "deepseek"],
    ["https://api.together.xyz/v1", "together"], ["https://api.fireworks.ai/inference/v1", "fireworks"],
    ["https://api.deepinfra.com/v1/openai", "deepinfra"], ["https://api.cerebras.ai/v1", "cerebras"], ["https://api.perplexity.ai", "perplexity"],
    ["https://api.moonshot.ai/v1", "moonshot"], ["https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"],
    ["https://api.z.ai/api/paas/v4", "zai"], ["https://api.studio.nebius.com/v1", "nebius"], ["https://api.novita.ai/v3/openai", "novita"],
  ])("at %s is %s", (url, provider) => {
    expect(providerOf(url)).toBe(provider);
    expect(Object.values(knownProviders)).toContain(provider);
  });

  test.each([
    "https://notopenai.com/v1", "https://openai.com.example.net/v1", "https://my.openai.azure.com/v1", "https://example.net/api.openai.com/v1", "https://api.openai.com@example.net/v1",
    "https://storage.googleapis.com/v1", "https://xx.ai/v1", "http://127.0.0.1:11434/v1", "https://[2001:db8::1]/v1",
  ])("at %s is unknown", (url) => {
    expect(providerOf(url)).toBeUndefined();
  });

  test("by the owner's word goes before its address", () => {
    expect(priceOf({ upstreams: [{ ...openai, provider: "groq" }] }, cloud, "gpt")).toEqual(micros(600_000n, 600_000n));
    expect(priceOf({ upstreams: [{ ...openai, url: "https://models.example.com/v1", provider: "openai" }] }, cloud, "gpt")).toEqual(micros(1_200_000n, 2_400_000n));
  });

  test("may write its ids with its own prefix", () => {
    const gemini = { name: "cloud", url: "https://generativelanguage.googleapis.com/v1beta/openai" };
    const price: ListPrice = { kind: "usd", price: { inputMicros: 120n, outputMicros: 240n, above: { tokens: 200_000, inputMicros: 360n, outputMicros: 480n } } };
    expect([priceOf({ upstreams: [gemini] }, cloud, "models/gemini-pro"), priceOf({ upstreams: [gemini] }, cloud, "gemini-pro")]).toEqual([price, price]);
  });
});

describe("the margin", () => {
  test.each([[undefined, 1_200_000n, 2_400_000n], [0, 1_000_000n, 2_000_000n], [7, 1_070_000n, 2_140_000n], [1_000, 11_000_000n, 22_000_000n]])("of %p percent", (margin_percent, input, output) => {
    expect(priceOf({ upstreams: [openai], prices: { margin_percent } }, cloud, "gpt")).toEqual(micros(input, output));
  });

  test("is on public prices only: what the owner names is what is asked", () => {
    expect(priceOf({ upstreams: [openai], prices: { margin_percent: 100, models: { gpt: usdOf(1, 2) } } }, cloud, "gpt")).toEqual(micros(1_000_000n, 2_000_000n));
    expect(priceOf({ prices: { margin_percent: 100, default: satsOf(5, 6) } }, home, "qwen")).toEqual(sats(5, 6));
  });
});

describe("the owner's price", () => {
  const cases: [what: string, price: Record<string, number>, listed: ListPrice][] = [
    ["in sats", satsOf(200, 800), sats(200, 800)],
    ["in dollars", usdOf(2.5, 10), micros(2_500_000n, 10_000_000n)],
    ["in cents", usdOf(0.15, 0.6), micros(150_000n, 600_000n)],
    ["in floats whose last digits are noise", usdOf(0.1 + 0.2, 0.7 * 3), micros(300_000n, 2_100_000n)],
    ["to the millionth", usdOf(0.000001, 1.000001), micros(1n, 1_000_001n)],
    ["under a millionth, which is rounded up and not free", usdOf(0.0000001, 1.0000001), micros(1n, 1_000_001n)],
    ["of nothing, by the owner's word", satsOf(0, 0), sats(0, 0)],
    ["of nothing in dollars", usdOf(0, 0), micros(0n, 0n)],
    ["of free input", usdOf(0, 1), micros(0n, 1_000_000n)],
    ["as high as may be", usdOf(100_000, 100_000), micros(100_000_000_000n, 100_000_000_000n)],
    ["as high as may be in sats", satsOf(1_000_000_000, 1_000_000_000), sats(1_000_000_000, 1_000_000_000)],
  ];
  test.each(cases)("%s, wherever it is written", (_what, price, listed) => {
    expect(priceOf({ prices: { models: { qwen: price } } }, home, "qwen")).toEqual(listed);
    expect(priceOf({ prices: { default: price } }, home, "qwen")).toEqual(listed);
    expect(priceOf({ upstreams: [{ ...openai, price }] }, cloud, "qwen")).toEqual(listed);
  });
});

describe("what is not sold by the token", () => {
  const settings = { upstreams: [openai], prices: { margin_percent: 50 } };
  const sold = (model: string, more: Record<string, unknown> = {}) => priceAndCost(configSchema.parse({ data_dir: "unused", ...settings, ...more }), publicPrices, cloud, model);
  const usdPer = (perMillion: object): ListPrice => ({ kind: "usd", price: { inputMicros: 0n, outputMicros: 0n, perMillion } });

  const cases: [what: string, model: string, kind: ModelKind, price: ListPrice, cost: ListPrice][] = [
    ["an image", "picture", "image", usdPer({ image: 60_000_000_000n }), usdPer({ image: 40_000_000_000n })],
    ["an image that is dearest when it is large and fine", "painter", "image", usdPer({ image: 300_000_000_000n }), usdPer({ image: 200_000_000_000n })],
    ["a second", "hear", "transcription", usdPer({ second: 150_000_000n }), usdPer({ second: 100_000_000n })],
    ["characters", "speak", "speech", usdPer({ character: 22_500_000n }), usdPer({ character: 15_000_000n })],
  ];
  test.each(cases)("%s has its public price and the margin", (_what, model, kind, price, cost) => {
    expect(sold(model)).toMatchObject({ kind, price, cost });
  });

  test("a fee for the call comes on top of its tokens, with the margin", () => {
    expect(sold("asked")).toMatchObject({ kind: "chat", price: { kind: "usd", price: { inputMicros: 1_500_000n, outputMicros: 3_000_000n, perMillion: { call: 7_500_000_000n } } } });
  });

  test("vectors are not sold as chat", () => {
    expect(sold("vectors")?.kind).toBe("other");
  });

  const owners: [what: string, price: Record<string, number>, kind: ModelKind | undefined, listed: ListPrice][] = [
    ["an image in sats", { sats_per_image: 21 }, "image", { kind: "sats", price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { image: 21_000_000_000n } } }],
    ["half a sat a second", { sats_per_second: 0.5 }, "transcription", { kind: "sats", price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { second: 500_000_000n } } }],
    ["characters in dollars", { usd_per_mchar: 15 }, "speech", usdPer({ character: 15_000_000n })],
    ["an image and the call in dollars", { usd_per_image: 0.04, usd_per_call: 0.001 }, "image", usdPer({ image: 40_000_000_000n, call: 1_000_000_000n })],
    ["a call at a flat price", { sats_per_call: 21 }, undefined, { kind: "sats", price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { call: 21_000_000_000n } } }],
    ["tokens and the call", { input_sats_per_mtok: 1, output_sats_per_mtok: 2, sats_per_call: 3 }, undefined,
      { kind: "sats", price: { inputMsatPerMtok: 1_000n, outputMsatPerMtok: 2_000n, perMillion: { call: 3_000_000_000n } } }],
  ];
  test.each(owners)("%s, by the owner's word", (_what, price, kind, listed) => {
    expect(sold("own", { prices: { models: { own: price } } })).toMatchObject({ price: listed });
    expect(sold("own", { prices: { models: { own: price } } })?.kind).toBe(kind);
  });
});

describe("settings that cannot be meant", () => {
  const folder = mkdtempSync(join(tmpdir(), "hearth-prices-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function load(toml: string) {
    const path = join(folder, "hearth.toml");
    writeFileSync(path, toml);
    return loadConfig({ demo: false, environment: { HEARTH_DATA_DIR: folder, HEARTH_CONFIG: path } });
  }

  const price = (text: string) => `[prices]\ndefault = { ${text} }\n`;
  const sources = (text: string) => `rate_sources = [\n${Array.from({ length: 3 }, () => `  { ${text} },`).join("\n")}\n]\n`;
  const cases: [what: string, toml: string, named: string][] = [
    ["input in sats, output in dollars", price("input_sats_per_mtok = 1, output_usd_per_mtok = 1"),
      "prices.default is a table with input_sats_per_mtok, output_usd_per_mtok: mixes sats and dollars"],
    ["input in dollars, output in sats", price("input_usd_per_mtok = 1, output_sats_per_mtok = 1"), ": mixes sats and dollars"],
    ["both in both", price("input_sats_per_mtok = 1, output_sats_per_mtok = 1, input_usd_per_mtok = 1, output_usd_per_mtok = 1"), ": mixes sats and dollars"],
    ["both in sats, one in dollars as well", price("input_sats_per_mtok = 1, output_sats_per_mtok = 1, input_usd_per_mtok = 1"), ": mixes sats and dollars"],
    ["input only", price("input_sats_per_mtok = 1"), "input_sats_per_mtok: has half a price"],
    ["output only", price("output_usd_per_mtok = 1"), "output_usd_per_mtok: has half a price"],
    ["tokens and images", price("input_usd_per_mtok = 1, output_usd_per_mtok = 1, usd_per_image = 1"), "usd_per_image: is sold in several measures"],
    ["images and seconds", price("sats_per_image = 1, sats_per_second = 1"), "sats_per_second: is sold in several measures"],
    ["images in sats, the call in dollars", price("sats_per_image = 1, usd_per_call = 1"), ": mixes sats and dollars"],
    ["images for less than nothing", price("usd_per_image = -1"), "prices.default.usd_per_image is -1:"],
    ["a search sold by the image", '[search]\nengine = "brave"\nkey = "k"\nprice = { sats_per_image = 1 }\n', "search.price"],
    ["a search engine without its key", '[search]\nengine = "tavily"\nprice = { sats_per_call = 1 }\n', "search.key"],
    ["a search engine of one's own without an address", '[search]\nengine = "searxng"\nprice = { sats_per_call = 1 }\n', "search.url"],
    ["single prompts without a model", "[dvm]\nprice_sats = 21\n", "dvm.model"],
    ["a price that says nothing", price(""), "prices.default is a table with nothing in it: needs a price"],
    ["a model's price in two units", '[prices.models]\n"cloud/gpt" = { input_sats_per_mtok = 1, output_usd_per_mtok = 1 }\n', "prices.models.cloud/gpt is a table with input_sats_per_mtok, output_usd_per_mtok: mixes"],
    ["an upstream's price in two units", '[[upstreams]]\nname = "a"\nurl = "http://127.0.0.1:1/v1"\nprice = { input_sats_per_mtok = 1, output_usd_per_mtok = 1 }\n', " mixes sats and dollars"],
    ["a negative price", price("input_usd_per_mtok = -1, output_usd_per_mtok = 1"), "prices.default.input_usd_per_mtok is -1:"],
    ["a fraction of a sat", price("input_sats_per_mtok = 1.5, output_sats_per_mtok = 1"), "prices.default.input_sats_per_mtok is 1.5:"],
    ["a price above all reason", price("input_usd_per_mtok = 100001, output_usd_per_mtok = 1"), "prices.default.input_usd_per_mtok is 100001:"],
    ["a price that is a word", price('input_usd_per_mtok = "cheap", output_usd_per_mtok = 1'), 'prices.default.input_usd_per_mtok is "cheap":'],
    ["a price under a name that is none", price("input_sats_per_mtok = 1, output_sats_per_mtok = 1, usd = 1"), "prices.default.usd is 1, but there is no such setting"],
    ["a margin below zero", "[prices]\nmargin_percent = -1\n", "prices.margin_percent is -1:"],
    ["a margin that is no whole number", "[prices]\nmargin_percent = 1.5\n", "prices.margin_percent is 1.5:"],
    ["a margin above all reason", "[prices]\nmargin_percent = 1001\n", "prices.margin_percent is 1001:"],
    ["a provider without public prices", '[[upstreams]]\nname = "a"\nurl = "http://127.0.0.1:1/v1"\nprovider = "acme"\n', 'upstreams.a.provider is "acme":'],
    ["a bitcoin worth nothing", "usd_per_btc = 0\n", "usd_per_btc is 0:"],
    ["a bitcoin worth less than nothing", "usd_per_btc = -1\n", "usd_per_btc is -1:"],
    ["a source without a path", sources('name = "a", url = "http://127.0.0.1:1/"'), "rate_sources.0.path"],
    ["a source that is a file", sources('name = "a", url = "file:///etc/passwd", path = "USD"'), "rate_sources.0.url"],
  ];
  test.each(cases)("%s: the start is refused with a sentence that names the key", (_what, toml, named) => {
    expect(() => load(toml)).toThrow(named);
  });

  test.each(['""', "false", "[]", "true"])("a price of %s is no price of zero or one: it is refused", (value) => {
    expect(() => load(price(`input_usd_per_mtok = ${value}, output_usd_per_mtok = 1`))).toThrow("prices.default.input_usd_per_mtok");
    expect(() => load(`[prices]\nmargin_percent = ${value}\n`)).toThrow("prices.margin_percent");
  });

  test("fewer sources than a median needs are refused at the start: with them no dollar could ever be priced", () => {
    expect(() => load('rate_sources = [{ name = "a", url = "http://127.0.0.1:1/", path = "USD" }, { name = "b", url = "http://127.0.0.1:2/", path = "USD" }]\n')).toThrow("rate_sources");
  });

  test("what is meant is taken: prices in either unit side by side, and sources by name", () => {
    const prices = "[prices]\nmargin_percent = 0\ndefault = { input_usd_per_mtok = 0.5, output_usd_per_mtok = 1 }\n[prices.models]\nqwen = { input_sats_per_mtok = 1, output_sats_per_mtok = 2 }\n";
    const config = load(`${sources('name = "a", url = "http://127.0.0.1:1/", path = "data.amount"')}${prices}`);
    expect(config.prices).toEqual({ margin_percent: 0, lightning_discount_percent: 0, default: usdOf(0.5, 1), models: { qwen: satsOf(1, 2) } });
    expect(config.rate_sources).toHaveLength(3);
  });
});
