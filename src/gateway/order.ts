/** Something sold at a price that is known before it is made: pictures, a search, one prompt at a flat price. Pure. */
import { canonicalHash } from "../base/canonical.ts";
import type { Quote, Sale } from "../charge/sale.ts";
import { type Counts, costOf, type ModelPrice } from "../pricing/quote.ts";
import type { Usage } from "../upstream/usage.ts";
import type { Upstream } from "../upstream/upstream.ts";
import type { BtcRate } from "../pricing/rate.ts";
import { type PriceText, priceFromText, priceToText } from "./price-terms.ts";

/** What was made. Less than was ordered costs less, more costs no more. */
export type Delivery = {
  counts: Counts;
  contentType: string;
  body: Uint8Array | string;
  /** Who made it, for the owner's log. */
  upstream: string;
  /** For the log only, where tokens are not what is sold. */
  tokens?: Usage;
};

export type Order = {
  /** As the path says it, e.g. `images/generations`. */
  endpoint: string;
  /** What is sold, as buyers call it: a model's id, or the name of the service. */
  model: string;
  /** What a credential may be narrowed to. */
  names: readonly string[];
  local: boolean;
  /** Who makes it, if nobody stands in; undefined where nobody queues. */
  upstream: Pick<Upstream, "name" | "places"> | undefined;
  memo: string;
  counts: Counts;
  /** Undefined while a price in dollars has no rate. */
  price: ModelPrice | undefined;
  rate: BtcRate | undefined;
  /** The same for the same request. */
  question: object;
  /** Whether a stranger may have it as a free call. */
  free: boolean;
  /** Whether the owner's discount is in the price. */
  discounted: boolean;
  /** The buyer's fields that went nowhere. */
  dropped: readonly string[];
  /** @param free Given as a free call. @throws AppError when nothing was made: then nothing is charged. */
  deliver(agreed: OrderTerms, free: boolean): Promise<Delivery>;
};

export type OrderTerms = { order: string; model: string; /** Whose price was quoted. */ upstream: string | undefined; price: ModelPrice; counts: Counts; centsPerBtc: bigint | undefined };

export function orderSale(order: Order): Sale {
  const { endpoint, model, upstream, price, counts, rate } = order;
  const quote = price && quoteAt({ order: endpoint, model, upstream: upstream?.name, price, counts, centsPerBtc: rate?.centsPerBtc });
  return {
    fingerprint: () => canonicalHash({ route: endpoint, ...order.question }),
    names: order.names,
    memo: order.memo,
    quote,
    quoteAt: (pinned) => quoteAtTerms(order, pinned),
    trialQuote: order.free ? quote : undefined,
  };
}

function quoteAt(terms: OrderTerms): Quote {
  const ceilingMsat = costOf(terms.counts, terms.price);
  return { ceilingMsat, leastMsat: ceilingMsat, terms: encodeOrderTerms(terms) };
}

/** Terms of another thing quote nothing here. */
function quoteAtTerms({ endpoint, model, counts }: Order, pinned: string): Quote | undefined {
  if (!pinned.startsWith('{"order":')) return undefined;
  const terms = decodeOrderTerms(pinned);
  return terms.order === endpoint && terms.model === model ? quoteAt({ ...terms, counts }) : undefined;
}

function encodeOrderTerms({ order, model, upstream, price, counts, centsPerBtc }: OrderTerms): string {
  return JSON.stringify({ order, model, upstream, ...priceToText(price), counts, ...(centsPerBtc !== undefined && { usd_cents_per_btc: String(centsPerBtc) }) });
}

export function decodeOrderTerms(text: string): OrderTerms {
  const terms = JSON.parse(text) as PriceText & { order: string; model: string; upstream?: string; counts: Counts; usd_cents_per_btc?: string };
  const { order, model, upstream, counts, usd_cents_per_btc: cents } = terms;
  return { order, model, upstream, counts, price: priceFromText(terms), centsPerBtc: cents === undefined ? undefined : BigInt(cents) };
}
