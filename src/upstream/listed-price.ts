/** Prices as some servers list them beside their models. Pure. Exact decimals, rounded up; what is odd in one place is no price at all. */
import { ceilDivide } from "../money/msat.ts";

/** Micro-dollars. */
export type ListedPrice = {
  /** Per million tokens. */
  in: number;
  out: number;
  /** Of all tokens of a call whose input is longer than `tokens`. */
  above?: { tokens: number; in: number; out: number };
  /** Besides its tokens: whoever sells by the token alone would lose it. */
  perCall?: number;
  /** Of an image in the prompt. */
  perImage?: number;
};

const million = 1_000_000n;
const decimal = /^(\d{1,20})(?:\.(\d{1,40}))?(?:e([+-]?\d{1,2}))?$/i;

/** Micro-dollars of `times` units at a price in dollars, which comes as a decimal text or as a number. */
export function microsOf(dollars: unknown, times: bigint): number | undefined {
  const match = typeof dollars === "string" || typeof dollars === "number" ? decimal.exec(String(dollars)) : null;
  if (!match) return undefined;
  const [, whole = "", fraction = "", exponent = "0"] = match;
  const shift = Number(exponent) - fraction.length;
  const unshifted = BigInt(whole + fraction) * million * times;
  const micros = shift >= 0 ? unshifted * 10n ** BigInt(shift) : ceilDivide(unshifted, 10n ** BigInt(-shift));
  return micros <= Number.MAX_SAFE_INTEGER ? Number(micros) : undefined;
}

type Pricing = Readonly<Record<string, unknown>>;
type Tokens = { in: number; out: number };

/** A free half is no price: it is a promotion, or a gap. */
const isPrice = ({ in: input, out }: Tokens) => input > 0 && out > 0;

function largest(...amounts: (number | undefined)[]): number | undefined {
  return amounts.includes(undefined) ? undefined : Math.max(...(amounts as number[]));
}

/** Thinking is output: the dearer of the two is its price. */
function tokensOf(pricing: Pricing): Tokens | undefined {
  const input = microsOf(pricing.prompt, million);
  const out = largest(microsOf(pricing.completion, million), microsOf(pricing.internal_reasoning ?? 0, million));
  return input === undefined || out === undefined ? undefined : { in: input, out };
}

/** Models that search the web on their own account; at the others only a plugin does, which buyers cannot ask for. */
const alwaysSearches = /^perplexity\/|:online$|search-(preview|api)|deep-research/;

/**
 * openrouter.ai/docs/overview/models: `pricing` holds dollars per token, request or image as texts, "-1" where the price follows another
 * model. `overrides` are prices under a condition; what one does not name it takes from the base.
 */
export function openRouterPrice(id: string, pricing: Pricing): ListedPrice | undefined {
  const base = tokensOf(pricing);
  const steps = Array.isArray(pricing.overrides) ? (pricing.overrides as (Pricing | null)[]).map((step) => stepOf(pricing, step ?? {})) : [];
  const request = microsOf(pricing.request ?? 0, 1n);
  const search = alwaysSearches.test(id) ? microsOf(pricing.web_search ?? 0, 1n) : 0;
  const perImage = microsOf(pricing.image ?? 0, 1n);
  if (base === undefined || !isPrice(base) || steps.includes(undefined) || request === undefined || search === undefined || perImage === undefined) return undefined;
  const perCall = request + search;
  return { ...withSteps(base, steps as Step[]), ...(perCall > 0 && { perCall }), ...(perImage > 0 && { perImage }) };
}

/** A price from `from` prompt tokens on; from nothing on where its condition is another, such as the time of day. */
type Step = Tokens & { from: number };

function stepOf(base: Pricing, step: Pricing): Step | undefined {
  const tokens = tokensOf({ ...base, ...step });
  const from = step.min_prompt_tokens ?? 0;
  return tokens && typeof from === "number" && Number.isSafeInteger(from) && from >= 0 ? { ...tokens, from } : undefined;
}

/** Of several steps the lowest bound at the highest price: nobody sells a longer prompt, or one at another hour, at a loss. */
function withSteps(base: Tokens, steps: readonly Step[]): Pick<ListedPrice, "in" | "out" | "above"> {
  const dearest = (some: readonly Tokens[]): Tokens => ({ in: Math.max(...some.map((one) => one.in)), out: Math.max(...some.map((one) => one.out)) });
  const always = dearest([base, ...steps.filter((step) => step.from === 0)]);
  const long = steps.filter((step) => step.from > 0);
  const above = dearest([always, ...long]);
  if (above.in === always.in && above.out === always.out) return always;
  return { ...always, above: { tokens: Math.min(...long.map((step) => step.from)) - 1, ...above } };
}

export type XaiPricing = {
  prompt_text_token_price?: number | undefined;
  completion_text_token_price?: number | undefined;
  prompt_text_token_price_long_context?: number | undefined;
  completion_text_token_price_long_context?: number | undefined;
  long_context_threshold?: number | undefined;
};

/** docs.x.ai, REST reference of models: whole US cents per 100 million tokens (30000 is $3 a million); a long-context price of 0 means none. */
const microsPerXaiUnit = 100;

export function xaiPrice(model: XaiPricing): ListedPrice | undefined {
  const price = { in: (model.prompt_text_token_price ?? 0) * microsPerXaiUnit, out: (model.completion_text_token_price ?? 0) * microsPerXaiUnit };
  if (!isPrice(price)) return undefined;
  const tokens = model.long_context_threshold;
  const long = { in: (model.prompt_text_token_price_long_context || 0) * microsPerXaiUnit, out: (model.completion_text_token_price_long_context || 0) * microsPerXaiUnit };
  const above = { in: Math.max(price.in, long.in), out: Math.max(price.out, long.out) };
  if (!tokens || (above.in === price.in && above.out === price.out)) return price;
  return { ...price, above: { tokens, ...above } };
}
