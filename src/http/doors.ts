/** The two listeners. The public door carries the API; the owner's carries the owner's API and is never exposed with it. */
import { Elysia } from "elysia";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { newId } from "../base/ids.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { ModelDirectory } from "../gateway/model-directory.ts";
import { clientAddress, type TrustedProxies } from "./client-address.ts";
import { errorResponse } from "./errors.ts";
import { allowedMethods, pathOf } from "./methods.ts";
import { corsHeaders, preflightHeaders, type PublicContext } from "./public-context.ts";
import { type BalanceParts, balanceRoutes } from "./routes/balance.ts";
import { type CollectParts, collectRoutes } from "./routes/collect.ts";
import { chatRoutes } from "./routes/chat.ts";
import { type DiscoveryParts, discoveryRoutes } from "./routes/discovery.ts";
import { modelRoutes } from "./routes/models.ts";
import { type OrderParts, orderRoutes } from "./routes/orders.ts";
import { type OwnerParts, ownerRoutes } from "./routes/owner.ts";
import { type Sandbox, sandboxRoutes } from "./routes/sandbox.ts";
import { type TopupParts, topupRoutes } from "./routes/topup.ts";

export type PublicParts = BalanceParts & TopupParts & CollectParts & Pick<DiscoveryParts, "service" | "inbound"> & OrderParts & {
  gateway: Gateway;
  directory: ModelDirectory;
  sandbox: Sandbox | undefined;
  addresses: Addresses;
  clock: Clock;
  random: Random;
};

export type Door = { url: URL; stop(now: boolean): Promise<void>; activeRequests(): number };

/** Who is at the other end of a connection. Known once the door is open. */
export class Addresses {
  readonly #trusted: TrustedProxies;
  readonly #gateways: readonly string[];
  #server: { requestIP(request: Request): { address: string } | null } | undefined;

  constructor(trusted: TrustedProxies, gateways: readonly string[]) {
    this.#trusted = trusted;
    this.#gateways = gateways;
  }

  bind(server: { requestIP(request: Request): { address: string } | null }): void {
    this.#server = server;
  }

  /** The key by which a client is counted; undefined where its address does not mean one client. */
  of(request: Request): () => string | undefined {
    // Asked for now: a client that has left has no address any more. Read later, by the few who count.
    const peer = this.#server?.requestIP(request)?.address;
    const { headers } = request;
    return () => clientAddress({ peer, forwardedFor: headers.get("x-forwarded-for") ?? undefined, trusted: this.#trusted, gateways: this.#gateways });
  }
}

/** Bodies are bounded where they are read (`json-body.ts`), so that a client gets our answer and not the server's bare 413. */
const serverBodyBytes = 1024 ** 4;

export function publicApp(parts: PublicParts) {
  const context: PublicContext = {
    headers: corsHeaders,
    nowMs: () => parts.clock.nowMs(),
    addressOf: (request) => parts.addresses.of(request),
    newCallId: () => newId("c", parts.clock.nowMs(), parts.random),
  };
  const withId = () => ({ ...corsHeaders, "x-request-id": context.newCallId() });
  const app = new Elysia({ normalize: false })
    .onRequest(({ request }) => (request.method === "OPTIONS" ? new Response(null, { status: 204, headers: preflightHeaders }) : undefined))
    .onError(({ code, error, request }) => (code === "NOT_FOUND" ? nothingHere(request, context.newCallId()) : errorResponse(error, context.newCallId(), corsHeaders)))
    .get("/healthz", () => Response.json({ status: "ok" }, { headers: { ...withId(), "Cache-Control": "no-store" } }))
    .get("/", () => new Response(frontText, { headers: { ...withId(), "Content-Type": "text/plain; charset=utf-8" } }))
    .use(chatRoutes(parts.gateway, parts.setting, context))
    .use(orderRoutes(parts, context))
    .use(modelRoutes(parts.directory, parts.setting.rate, context))
    .use(discoveryRoutes({ ...parts, rate: parts.setting.rate }, context))
    .use(balanceRoutes(parts, context))
    .use(topupRoutes(parts, context))
    .use(collectRoutes(parts, context));
  return parts.sandbox ? app.use(sandboxRoutes(parts.sandbox, context)) : app;
}

const frontText = `This is Hearth. It sells access to language models over Lightning.

GET  /v1/models              what is for sale
POST /v1/chat/completions    OpenAI's API; without a credential it answers 402 with an invoice and a macaroon
POST /api/v1/topup           {"amount_sats": 1000}: a prepaid token for many calls
GET  /api/v1/balance         what a token or credential still holds

Pay the invoice, then repeat the request with  Authorization: L402 <macaroon>:<preimage>
`;

export function ownerApp(parts: OwnerParts) {
  return new Elysia({ normalize: false })
    .onError(({ code, error }) => errorResponse(code === "NOT_FOUND" ? noSuchPath() : error, parts.newRequestId()))
    .use(ownerRoutes(parts));
}

/** Either there is no such path, or it has other methods. */
function nothingHere(request: Request, id: string): Response {
  const methods = allowedMethods(pathOf(request));
  if (methods.length === 0) return errorResponse(noSuchPath(), id, corsHeaders);
  return errorResponse(new AppError("method_not_allowed", `This path answers ${methods.join(", ")}.`), id, { ...corsHeaders, Allow: methods.join(", ") });
}

function noSuchPath(): AppError {
  return new AppError("not_found", "There is nothing at this path.");
}

/**
 * Listens. Streams may be quiet for long, so the server's own idle limit is at its largest and comments keep them open.
 * @throws AppError `invalid_config` when the port, which `setting` names, is taken.
 */
export function openDoor(app: { fetch(request: Request): Response | Promise<Response> }, hostname: string, port: number, setting: string, addresses?: Addresses): Door {
  try {
    const server = Bun.serve({ hostname, port, idleTimeout: 255, maxRequestBodySize: serverBodyBytes, development: false, fetch: (request) => app.fetch(request) });
    addresses?.bind(server);
    return { url: server.url, stop: (now) => server.stop(now), activeRequests: () => server.pendingRequests };
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== "EADDRINUSE") throw cause;
    throw new AppError("invalid_config", `Port ${port} is in use by another program; set ${setting} to a free one.`, { cause });
  }
}
