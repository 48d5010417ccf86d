/**
 * `/openapi.json` (OpenAPI 3.1) from the route table. Paid operations carry `x-payment-info` in the form directories of paid
 * APIs read: a price in dollars, and an object for each protocol.
 */
import { sat, satToMsat } from "../../money/msat.ts";
import { usdText } from "../../pricing/rate.ts";
import { type Route, routeTable } from "../route-table.ts";
import { billSchema, contentOf, parametersOf, requestBody } from "./operations.ts";
import { pathUnder, type Service, type SoldRoute, soldRoutes } from "./service.ts";

const json = (schema: object) => ({ content: { "application/json": { schema } } });
const error = { description: "An error in OpenAI's shape", ...json({ $ref: "#/components/schemas/Error" }) };

export function openApi(service: Service) {
  const sold = new Map(soldRoutes(service).map((one) => [one.route, one]));
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routeTable) {
    if (route.kind === "paid" && !sold.has(route)) continue;
    (paths[pathOf(route)] ??= {})[route.method.toLowerCase()] = operation(route, sold.get(route), service);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Hearth", version: "1", description: "Language models paid over Lightning, by the request (L402, Payment) or from a prepaid token." },
    servers: [{ url: service.publicUrl }],
    paths,
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer", description: "abl_... from a topup, or <macaroon>:<preimage>" },
        l402: { type: "apiKey", in: "header", name: "Authorization", description: "L402 <macaroon>:<preimage>" },
      },
      schemas: { Error: errorSchema, ErrorObject: errorObjectSchema, Bill: billSchema },
    },
  };
}

/** `/models/*` is one model by an id that may hold slashes. */
function pathOf(route: Route): string {
  return pathUnder("/v1", route).replace("/*", "/{id}").replaceAll(/:(\w+)/g, "{$1}");
}

function operation(route: Route, sold: SoldRoute | undefined, service: Service) {
  const path = pathOf(route);
  const body = requestBody(route, sold, service);
  const parameters = parametersOf(route, path);
  return {
    operationId: `${route.method.toLowerCase()}${path.replaceAll(/\W+/g, "_")}`,
    summary: route.summary,
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: body }),
    responses: {
      200: { description: route.path === "/topup" ? "The topup's own credential, paid: its token" : "OK", content: contentOf(route) },
      ...(route.path === "/topup" && { 402: bill("The invoice to pay, with the secret that claims it") }),
      ...(collects(route) && { 202: { description: "On its way; ask for it by its id", content: contentOf(route) }, 402: { ...error, description: "The balance is too little; max_collectable_sats says how much is not" } }),
      ...(sold && { 402: bill("An invoice to pay; repeat the request with the proof") }),
      default: error,
    },
    ...(sold && { security: [{}, { token: [] }, { l402: [] }], "x-payment-info": paymentInfo(sold, service) }),
    ...(route.kind === "account" && !route.path.startsWith("/topup") && { security: [{ token: [] }, { l402: [] }] }),
  };
}

function collects({ method, path }: Route): boolean {
  return method === "POST" && path.endsWith("/collect");
}

function bill(description: string) {
  const schema = { $ref: "#/components/schemas/Bill" };
  return { description, content: { "application/json": { schema }, "application/problem+json": { schema } } };
}

function paymentInfo({ route, leastSats: least }: SoldRoute, { rate }: Service) {
  const currency = rate === undefined ? { currency: "sat", min: String(least) } : { currency: "USD", min: usdText(satToMsat(sat(BigInt(least))), rate) };
  return {
    price: { mode: route.quoteType === "deterministic" ? "fixed" : "dynamic", ...currency },
    protocols: [{ l402: { network: "lightning" } }, { mpp: { method: "lightning", intent: "charge", currency: "sat" } }],
  };
}

const errorObjectSchema = {
  type: "object",
  required: ["message", "type", "code"],
  properties: { message: { type: "string" }, type: { type: "string" }, code: { type: "string" }, param: { type: ["string", "null"] } },
} as const;

const errorSchema = { type: "object", required: ["error"], properties: { error: { $ref: "#/components/schemas/ErrorObject" } } } as const;
