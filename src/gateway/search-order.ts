/** A web search as something to order: by the call. An answer without a hit is an answer. */
import type { Msat } from "../money/msat.ts";
import { type Counts, costOf, type ModelPrice } from "../pricing/quote.ts";
import { type BtcRate, usdOf } from "../pricing/rate.ts";
import type { SearchEngine, SearchQuery } from "../upstream/search.ts";
import type { Delivery, Order } from "./order.ts";

const endpoint = "data/web/search";
const counts: Counts = { inputTokens: 0, outputTokens: 0 };

export type SearchParts = { engine: SearchEngine; price: ModelPrice | undefined; /** For a price in dollars. */ rate: BtcRate | undefined; shownRate: BtcRate | undefined; nowMs(): number; dropped: readonly string[] };

export function searchOrder(query: SearchQuery, parts: SearchParts): Order {
  const { engine, price, rate } = parts;
  return {
    endpoint, model: "web-search", price, rate, local: engine.local, upstream: undefined, free: false, discounted: true, dropped: parts.dropped,
    names: ["web-search"],
    memo: "One web search",
    counts,
    question: { ...query },
    deliver: (agreed) => find(query, costOf(counts, agreed.price), parts),
  };
}

/** NanoGPT's shape. */
async function find(query: SearchQuery, cost: Msat, { engine, shownRate, nowMs }: SearchParts): Promise<Delivery> {
  const results = await engine.search(query);
  const body = {
    data: results.map(({ title, url, content }) => ({ type: "text", title, url, content })),
    metadata: {
      query: query.query, provider: engine.name, operation: "search", depth: "standard", outputType: "searchResults",
      timestamp: new Date(nowMs()).toISOString(), ...(shownRate && { cost: usdOf(cost, shownRate) }),
    },
  };
  return { counts, contentType: "application/json", body: JSON.stringify(body), upstream: engine.name };
}
