/** Pictures, web search and single prompts: bytes to an order, one call of the desk, its answer to bytes. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import type { Order } from "../../gateway/order.ts";
import type { OrderDesk } from "../../gateway/order-desk.ts";
import type { OrderPlanner } from "../../gateway/order-planner.ts";
import type { ChallengeSetting } from "../challenge-body.ts";
import { dvmRequestSchema, imageRequestSchema, searchRequestSchema } from "../contract/orders.ts";
import { answerPaid, type PaidRoute } from "../paid-route.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export type OrderParts = { orders: OrderDesk; planner: OrderPlanner; setting: ChallengeSetting };

/** How a body becomes an order, by the path under a prefix (or the whole path, for the one that has none). */
export type OrderReader = (planner: OrderPlanner, body: Record<string, unknown>) => Order | Promise<Order>;

export const orderReaders: Readonly<Record<string, OrderReader>> = {
  "/images/generations": (planner, body) => {
    const { prompt, n } = imageRequestSchema.parse(body);
    return planner.image({ prompt, n: n ?? 1, body });
  },
  "/data/web/search": readSearch,
  "/api/dvm": (planner, body) => planner.dvm(dvmRequestSchema.parse(body).prompt),
};

/** The least that is sold by each, for those who only look. */
const leastBodies: Readonly<Record<string, Record<string, unknown>>> = {
  "/images/generations": { prompt: "?" }, "/data/web/search": { query: "?" }, "/api/dvm": { prompt: "?" },
};

export function orderRoutes({ orders, planner, setting }: OrderParts, context: PublicContext) {
  const app = new Elysia();
  for (const [path, read] of Object.entries(orderReaders)) {
    const route: PaidRoute = {
      probe: async (asker) => orders.probe(await read(planner, leastBodies[path]!), asker),
      take: async (id, body, asker, clientGone) => orders.take(id, await read(planner, body), asker, clientGone),
    };
    for (const at of path.startsWith("/api/") ? [path] : apiPrefixes.map((prefix) => prefix + path)) app.all(at, ({ request }) => answerPaid(route, request, setting, context));
  }
  return app;
}

const searchFields = new Set(["query", "max_results", "maxResults", "includeDomains", "excludeDomains", "outputType", "depth", "payment_hash"]);
/** What NanoGPT's search has besides and no engine here does. */
const searchOnly: Readonly<Record<string, string>> = { outputType: "searchResults", depth: "standard" };
const notSearched = ["fromDate", "toDate", "includeImages", "structuredOutputSchema"];

function readSearch(planner: OrderPlanner, body: Record<string, unknown>): Order {
  const { query, max_results, maxResults, includeDomains, excludeDomains } = searchRequestSchema.parse(body);
  const named = Object.keys(body).filter((name) => body[name] !== null && body[name] !== undefined);
  const wrong = named.find((name) => notSearched.includes(name) || (searchOnly[name] !== undefined && body[name] !== searchOnly[name]));
  if (wrong !== undefined) throw new AppError("unsupported_field", `${wrong}${searchOnly[wrong] ? ` is only for sale as ${searchOnly[wrong]}` : " is not for sale here"}; leave it out.`, { param: wrong });
  const asked = { query, maxResults: max_results ?? maxResults ?? defaultResults, includeDomains: includeDomains ?? [], excludeDomains: excludeDomains ?? [] };
  return planner.search(asked, named.filter((name) => !searchFields.has(name)));
}

const defaultResults = 10;
