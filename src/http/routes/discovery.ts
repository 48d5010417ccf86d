/** Documents that are read before anybody pays, generated from the route table and what is for sale. Never a 402. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import { rateRefreshMs } from "../../base/limits.ts";
import type { Estimate, Gateway } from "../../gateway/gateway.ts";
import type { OrderDesk } from "../../gateway/order-desk.ts";
import type { OrderPlanner } from "../../gateway/order-planner.ts";
import { ceilToSat, floorToSat, type Msat, toJsonNumber } from "../../money/msat.ts";
import type { Inbound } from "../../payments/inbound.ts";
import { type BtcRate, usdText } from "../../pricing/rate.ts";
import { catalog, endpointMatrix, pricing } from "../discovery/catalog.ts";
import { l402Document, llmsFullText, llmsText } from "../discovery/documents.ts";
import { openApi } from "../discovery/openapi.ts";
import type { Service } from "../discovery/service.ts";
import { errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";
import { routeTable } from "../route-table.ts";
import { toChatRequest } from "./chat.ts";
import { orderReaders } from "./orders.ts";

export type DiscoveryParts = { service(): Service; gateway: Pick<Gateway, "quote">; orders: Pick<OrderDesk, "quote">; planner: OrderPlanner; rate(): BtcRate | undefined; inbound: Pick<Inbound, "receivable"> };

/** For how long a quote speaks of an invoice that is asked for after it. */
const quoteMs = 60_000;

export function discoveryRoutes({ service, gateway, orders, planner, rate, inbound }: DiscoveryParts, context: PublicContext) {
  const headers = () => ({ ...context.headers, "x-request-id": context.newCallId(), "Cache-Control": "public, max-age=60" });
  const json = (body: object) => Response.json(body, { headers: headers() });
  const text = (body: string) => new Response(body, { headers: { ...headers(), "Content-Type": "text/plain; charset=utf-8" } });
  const app = new Elysia()
    .get("/pricing", () => json(pricing(service())))
    .get("/api/catalog", () => json(catalog(service())))
    .get("/.well-known/l402.json", () => json(l402Document(service())))
    .get("/openapi.json", () => json(openApi(service())))
    .get("/llms.txt", () => text(llmsText(service())))
    .get("/llms-full.txt", () => text(llmsFullText(service())));
  const quote = async (request: Request) => {
    const id = context.newCallId();
    try {
      const { endpoint, ...body } = parseJsonObject(await readText(request));
      const order = orderReaders[routeOf(endpoint)];
      const estimate = order ? orders.quote(await order(planner, body)) : await gateway.quote(toChatRequest(body));
      return Response.json(quoteToWire(estimate, { rate: rate(), nowMs: context.nowMs(), receivableMsat: await inbound.receivable() }), { headers: { ...context.headers, "x-request-id": id, "Cache-Control": "no-store" } });
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  for (const prefix of apiPrefixes) {
    app.get(`${prefix}/catalog`, () => json(catalog(service())));
    app.get(`${prefix}/x402/endpoints`, ({ query }) => json(endpointMatrix(service(), query.supported === "all")));
    app.post(`${prefix}/quote`, ({ request }) => quote(request));
  }
  return app;
}

/** The path of the route a quote is asked for, as the route table has it; chat where nothing is said. @throws AppError `invalid_request`. */
function routeOf(endpoint: unknown): string {
  if (endpoint === undefined || endpoint === null) return "/chat/completions";
  const paths = routeTable.filter((route) => route.sells !== undefined && !route.path.includes(":")).map((route) => route.path);
  const bare = typeof endpoint === "string" ? endpoint.replace(/^\/?/, "/") : "";
  const prefix = apiPrefixes.find((one) => paths.includes(bare.slice(one.length)) && bare.startsWith(one));
  const path = prefix === undefined ? bare : bare.slice(prefix.length);
  if (!paths.includes(path)) throw new AppError("invalid_request", `endpoint must be one of ${paths.join(", ")}.`, { param: "endpoint" });
  return path;
}

/** A price in dollars may be another one as soon as bitcoin's is read again. */
function validUntilMs({ rate }: Estimate, nowMs: number): number {
  return rate === undefined ? nowMs + quoteMs : Math.max(nowMs, Math.min(nowMs + quoteMs, rate.atMs + rateRefreshMs));
}

type QuoteFacts = { rate: BtcRate | undefined; nowMs: number; /** By the node's channels; undefined where it cannot tell. */ receivableMsat: Msat | undefined };

function quoteToWire(estimate: Estimate, { rate, nowMs, receivableMsat }: QuoteFacts) {
  const amount = (msat: Msat) => ({ msat: toJsonNumber(msat), sats: toJsonNumber(ceilToSat(msat)), ...(rate && { usd: usdText(msat, rate) }) });
  return {
    model: estimate.model,
    provider: estimate.local ? "local" : "resold",
    ...(estimate.maxTokens !== undefined && { max_tokens: estimate.maxTokens }),
    least: amount(estimate.leastMsat),
    expected: amount(estimate.expectedMsat),
    most: amount(estimate.mostMsat),
    wait_seconds: estimate.waitSeconds,
    // Said only where an invoice over the most would be refused.
    ...(receivableMsat !== undefined && receivableMsat < estimate.mostMsat && { payable: false, receivable_sats: toJsonNumber(floorToSat(receivableMsat)) }),
    valid_until: new Date(validUntilMs(estimate, nowMs)).toISOString(),
    ...(rate && { btc_usd: Number(rate.centsPerBtc) / 100, btc_usd_updated_at: new Date(rate.atMs).toISOString() }),
  };
}
