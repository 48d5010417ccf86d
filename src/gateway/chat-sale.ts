/** A chat request as something to sell: its counts, its quote, and the terms that travel with an invoice. Pure. */
import { nextTurn } from "../base/turns.ts";
import { canonicalHash } from "../base/canonical.ts";
import type { Quote, Sale } from "../charge/sale.ts";
import type { Msat } from "../money/msat.ts";
import { countText, familyFactorPercent } from "../pricing/estimate.ts";
import { affordableOutputTokens, costOf, type ModelPrice } from "../pricing/quote.ts";
import type { PromptCount } from "./factor-book.ts";
import { type ChatPlan, promptTexts } from "./plan.ts";
import { type PriceText, priceFromText, priceToText } from "./price-terms.ts";

export type ChatTerms = {
  /** Our id: `auto` may mean another one tomorrow. */
  model: string;
  /** Whose price was quoted. */
  upstream?: string | undefined;
  price: ModelPrice;
  /** Cents of a bitcoin by which a price in dollars became this one. */
  centsPerBtc?: bigint | undefined;
  inputTokens: number;
  /** What the count of tokens was made from, for learning how good it was. */
  learnable?: PromptCount | undefined;
  /** Per choice. */
  cap: number;
};

/** Template text around each message, in tokens. */
const perMessageTokens = 8;
/** Characters counted before other requests get their turn: about a millisecond. */
const countAtOnce = 65_536;

/** Tokens of a prompt: at most, and the fairest guess; `learnable` where words are all there is to it. */
export type InputCount = { tokens: number; likely: number; learnable: PromptCount | undefined };

/** Counts the prompt, letting others run in between. */
export async function countInput(plan: ChatPlan, factorPercent = familyFactorPercent(plan.model.upstreamModelId)): Promise<InputCount> {
  const overhead = perMessageTokens * plan.request.messages.length;
  let tokens = overhead, likely = 0, words = 0, byBytes = 0;
  let sinceTurn = 0;
  for (const text of promptTexts(plan)) {
    for (let from = 0; from < text.length; from += countAtOnce) {
      const count = countText(text.slice(from, from + countAtOnce), factorPercent);
      tokens += count.tokens;
      likely += count.likely;
      words += count.words;
      byBytes += count.byBytes;
      if ((sinceTurn += Math.min(countAtOnce, text.length - from)) < countAtOnce) continue;
      sinceTurn = 0;
      await nextTurn();
    }
  }
  return { tokens, likely: Math.ceil(likely), learnable: byBytes === 0 ? { words, overhead } : undefined };
}

/** @param trialCap Output tokens of a free call; undefined where this model has none. */
export function chatSale(plan: ChatPlan, { tokens: inputTokens, learnable }: Pick<InputCount, "tokens" | "learnable">, trialCap?: number): Sale {
  const { id: model, price, rate } = plan.model;
  const terms: ChatTerms | undefined = price && { model, upstream: plan.model.upstream.name, price, centsPerBtc: rate?.centsPerBtc, inputTokens, learnable, cap: plan.cap };
  return {
    fingerprint: () => fingerprint(plan),
    names: [plan.model.id, `${plan.model.upstream.name}/${plan.model.upstreamModelId}`],
    memo: `${plan.model.id}, up to ${plan.cap} tokens`,
    quote: terms && quoteAt(plan, terms),
    quoteAt: (pinned) => quoteAtTerms(plan, pinned),
    trialQuote: trialCap === undefined || terms === undefined ? undefined : quoteAt(plan, { ...terms, cap: Math.min(plan.cap, trialCap) }),
  };
}

/** A topup's terms quote no call, and those of another model not this one. */
function quoteAtTerms(plan: ChatPlan, pinned: string): Quote | undefined {
  if (!isChatTerms(pinned)) return undefined;
  const terms = decodeTerms(pinned);
  return terms.model === plan.model.id ? quoteAt(plan, terms) : undefined;
}

function quoteAt(plan: ChatPlan, terms: ChatTerms): Quote {
  const cost = (cap: number) => costOf({ inputTokens: terms.inputTokens, outputTokens: cap * plan.request.n }, terms.price);
  return { ceilingMsat: cost(terms.cap), leastMsat: cost(Math.min(terms.cap, plan.leastCap)), terms: encodeTerms(terms) };
}

/** The cap of one choice that a reservation pays for: the quoted one, or as much of it as the money lasts. */
export function paidCap(plan: ChatPlan, terms: ChatTerms, reservedMsat: Msat): number {
  const affordable = affordableOutputTokens(reservedMsat, terms.inputTokens, terms.price);
  return Math.max(1, Math.min(terms.cap, Math.floor(affordable / plan.request.n)));
}

function encodeTerms({ price, centsPerBtc, inputTokens, learnable, cap, model, upstream }: ChatTerms): string {
  return JSON.stringify({ ...priceToText(price), input_tokens: inputTokens, cap, model, upstream, ...learnable, ...(centsPerBtc !== undefined && { usd_cents_per_btc: String(centsPerBtc) }) });
}

function isChatTerms(text: string): boolean {
  return text.startsWith('{"input_msat_per_mtok":');
}

export function decodeTerms(text: string): ChatTerms {
  const terms = JSON.parse(text) as PriceText & { input_tokens: number; cap: number; model: string; upstream?: string; usd_cents_per_btc?: string } & Partial<PromptCount>;
  const { usd_cents_per_btc: cents, words, overhead } = terms;
  return {
    model: terms.model,
    upstream: terms.upstream,
    price: priceFromText(terms),
    centsPerBtc: cents === undefined ? undefined : BigInt(cents),
    inputTokens: terms.input_tokens,
    learnable: words === undefined || overhead === undefined ? undefined : { words, overhead },
    cap: terms.cap,
  };
}

/** Undefined in terms of another kind, or of an earlier version. */
export function learnableOf(text: string): PromptCount | undefined {
  const { words, overhead } = JSON.parse(text) as Partial<PromptCount>;
  return words === undefined || overhead === undefined ? undefined : { words, overhead };
}

/**
 * The same for the same question. How it is delivered is left out: one client probes with `stream: false` and then
 * sends its caller's own `stream`, and some add their payment hash to the body.
 */
function fingerprint(plan: ChatPlan): string {
  const { stream: _stream, stream_options: _options, payment_hash: _hash, n: _n, ...asked } = plan.request.body;
  const question = { route: "chat/completions", ...asked, n: plan.request.n };
  return canonicalHash(question);
}
