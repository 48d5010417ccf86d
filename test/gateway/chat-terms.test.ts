/** The terms of a quote ride in an invoice's row for a day: read back, they quote the same to the millisatoshi, and nothing else. */
import { describe, expect, test } from "bun:test";
import { type ChatTerms, chatSale, decodeTerms, paidCap } from "../../src/gateway/chat-sale.ts";
import type { ModelForSale } from "../../src/gateway/model-directory.ts";
import { type ChatPlan, planChat } from "../../src/gateway/plan.ts";
import { msat } from "../../src/money/msat.ts";
import { affordableOutputTokens, costOf, type ModelPrice } from "../../src/pricing/quote.ts";
import { openAiCompatible } from "../../src/upstream/openai-compatible.ts";

const upstream = openAiCompatible({ name: "attic", url: "http://127.0.0.1:1/v1", key: undefined, capField: undefined });
const limits = { defaultOutputTokens: 2_048, maxOutputTokens: 16_384 };

type Offer = { model?: string; price?: ModelPrice; centsPerBtc?: bigint; n?: number; body?: Record<string, unknown> };

function plan({ model = "qwen", price = plain, centsPerBtc, n = 1, body = {} }: Offer = {}): ChatPlan {
  const rate = centsPerBtc === undefined ? undefined : { centsPerBtc, atMs: 1 };
  const offered: ModelForSale = { kind: "chat", id: model, upstreamModelId: model, upstream, price, rate, createdS: 0, standIns: [] };
  const messages = [{ role: "user", content: "Hello!" }];
  return planChat({ model, messages, stream: false, includeUsage: false, n, body: { model, messages, ...body } }, offered, limits);
}

const plain: ModelPrice = { inputMsatPerMtok: 200_000n, outputMsatPerMtok: 800_000n };
const tiered: ModelPrice = { ...plain, above: { tokens: 200_000, inputMsatPerMtok: 400_000n, outputMsatPerMtok: 1_200_000n } };
const counted = (tokens: number) => ({ tokens, learnable: undefined });
const vast: ModelPrice = { inputMsatPerMtok: 2n ** 60n + 1n, outputMsatPerMtok: 2n ** 61n + 1n };

describe("terms read back are the terms written", () => {
  const cases: [what: string, offer: Offer, inputTokens: number, read: Partial<ChatTerms>][] = [
    ["of a price in sats", {}, 12, { price: plain, centsPerBtc: undefined }],
    ["of a price in dollars, with the rate it was made by", { centsPerBtc: 9_712_345n }, 12, { price: plain, centsPerBtc: 9_712_345n }],
    ["of a model whose long prompts cost more", { price: tiered }, 12, { price: tiered, centsPerBtc: undefined }],
    ["of such a model in dollars", { price: tiered, centsPerBtc: 1n }, 300_000, { price: tiered, centsPerBtc: 1n }],
    ["of prices above 2^53, to the last digit", { price: vast, centsPerBtc: 2n ** 60n + 1n }, 0, { price: vast, centsPerBtc: 2n ** 60n + 1n }],
    ["of a free price", { price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n } }, 1, { price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n } }],
    ["of a model whose name needs escaping", { model: 'a"b\\c/ü\u{1f525}' }, 1, { model: 'a"b\\c/ü\u{1f525}' }],
    ["of a call with a cap of its own", { body: { max_tokens: 7 } }, 1, { cap: 7 }],
  ];
  test.each(cases)("%s", (_what, offer, inputTokens, read) => {
    // The ceiling of the vast price would be more than there is; its terms are what counts here.
    const chat = plan(offer.price === vast ? { ...offer, body: { max_tokens: 1 } } : offer);
    const terms = decodeTerms(chatSale(chat, counted(inputTokens)).quote!.terms);
    expect(terms).toEqual({ model: chat.model.id, upstream: "attic", price: chat.model.price!, centsPerBtc: offer.centsPerBtc, inputTokens, cap: chat.cap });
    expect(terms).toMatchObject(read);
  });

  test("they hold what an owner reads in the log: price, rate, model and counts by name, and no amount as a float", () => {
    const text = chatSale(plan({ price: tiered, centsPerBtc: 9_712_345n }), counted(12)).quote!.terms;
    expect(JSON.parse(text)).toEqual({
      input_msat_per_mtok: "200000", output_msat_per_mtok: "800000", input_tokens: 12, cap: 2_048, model: "qwen", upstream: "attic",
      above: { tokens: 200_000, input_msat_per_mtok: "400000", output_msat_per_mtok: "1200000" }, usd_cents_per_btc: "9712345",
    });
  });

  test("what an earlier Hearth wrote, without long prompts and without a rate, is read as it was meant", () => {
    const text = '{"input_msat_per_mtok":"200000","output_msat_per_mtok":"800000","input_tokens":12,"cap":2048,"model":"qwen"}';
    expect(decodeTerms(text)).toEqual({ model: "qwen", price: plain, centsPerBtc: undefined, inputTokens: 12, cap: 2_048 });
  });
});

describe("a pinned quote", () => {
  const offers: [what: string, offer: Offer, inputTokens: number][] = [
    ["in sats", {}, 12], ["in dollars", { centsPerBtc: 9_712_345n }, 12], ["of a long prompt", { price: tiered, centsPerBtc: 9_712_345n }, 250_000],
    ["with a cap", { body: { max_tokens: 64 } }, 12], ["with several choices", { n: 3 }, 12],
  ];
  test.each(offers)("%s is the same quote when nothing has changed", (_what, offer, inputTokens) => {
    const sale = chatSale(plan(offer), counted(inputTokens));
    expect(sale.quoteAt(sale.quote!.terms)).toEqual(sale.quote!);
  });

  test.each(offers)("%s is the same quote when price, rate and our own count have changed since", (_what, offer, inputTokens) => {
    const before = chatSale(plan(offer), counted(inputTokens)).quote!;
    const dearer = { inputMsatPerMtok: 9_000_000n, outputMsatPerMtok: 9_000_000n };
    const after = chatSale(plan({ ...offer, price: dearer, centsPerBtc: 1n }), counted(inputTokens + 1_000));
    expect(after.quote!.ceilingMsat).toBeGreaterThan(before.ceilingMsat);
    expect(after.quoteAt(before.terms)).toEqual(before);
  });

  test("of a prompt that was long when it was quoted stays at the price of a long one", () => {
    const quote = chatSale(plan({ price: tiered, body: { max_tokens: 1_000 } }), counted(200_001)).quote!;
    expect(quote.ceilingMsat).toBe(costOf({ inputTokens: 200_001, outputTokens: 1_000 }, tiered));
    expect(chatSale(plan({ body: { max_tokens: 1_000 } }), counted(200_001)).quoteAt(quote.terms)?.ceilingMsat).toBe(quote.ceilingMsat);
  });

  const strange: [what: string, terms: string][] = [
    ["of another model", chatSale(plan({ model: "llama" }), counted(12)).quote!.terms],
    ["of a model whose name only begins the same", chatSale(plan({ model: "qwen:7b" }), counted(12)).quote!.terms],
    ["of a topup, which has none", ""],
    ["of a topup that says something else", '{"topup":1000}'],
    ["of something that is no JSON", "topup"],
  ];
  test.each(strange)("terms %s quote nothing here", (_what, terms) => {
    expect(chatSale(plan(), counted(12)).quoteAt(terms)).toBeUndefined();
  });
});

describe("the cap a payment pays for", () => {
  const prompts = [["a short prompt", 12], ["a prompt at the bound", 200_000], ["a long prompt", 200_001]] as const;
  test.each(prompts)("of %s is the quoted one, for the quoted ceiling", (_what, inputTokens) => {
    const chat = plan({ price: tiered });
    const quote = chatSale(chat, counted(inputTokens)).quote!;
    expect(paidCap(chat, decodeTerms(quote.terms), quote.ceilingMsat)).toBe(chat.cap);
  });

  test("of a long prompt with less money is as much as it lasts at the higher price, over all choices", () => {
    const chat = plan({ price: tiered, n: 2 });
    const terms = decodeTerms(chatSale(chat, counted(200_001)).quote!.terms);
    const money = msat(81_000n);
    const cap = paidCap(chat, terms, money);
    expect(cap).toBe(Math.floor(affordableOutputTokens(money, 200_001, tiered) / 2));
    expect(costOf({ inputTokens: 200_001, outputTokens: cap * 2 }, tiered)).toBeLessThanOrEqual(money);
    expect(costOf({ inputTokens: 200_001, outputTokens: (cap + 1) * 2 }, tiered)).toBeGreaterThan(money);
  });
});
