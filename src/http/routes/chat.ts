/** Chat completions: bytes to a typed request, one call of the gateway, its answer to bytes. */
import { Elysia } from "elysia";
import type { AuthorizationProof } from "../../l402/authorization.ts";
import { parseAuthorization } from "../../l402/authorization.ts";
import { paymentReceipt } from "../../l402/payment-scheme.ts";
import { AppError } from "../../base/errors.ts";
import type { ChatRequest } from "../../gateway/chat-request.ts";
import type { ChatAnswer, Gateway } from "../../gateway/gateway.ts";
import { callFacts, challengeResponse, type ChallengeSetting } from "../challenge-body.ts";
import { chatRequestSchema } from "../contract/chat.ts";
import { errorResponse } from "../errors.ts";
import { maxDroppedShown } from "../../base/limits.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

type PaidAnswer = Extract<ChatAnswer, { kind: "answer" }>;

export function chatRoutes(gateway: Pick<Gateway, "chat" | "probe">, setting: ChallengeSetting, context: PublicContext) {
  const app = new Elysia();
  const handle = async (request: Request, model: string | undefined) => {
    const id = context.newCallId();
    try {
      return respond(await ask(gateway, id, request, model), setting, context, id);
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  for (const prefix of apiPrefixes) {
    app.all(`${prefix}/chat/completions`, ({ request }) => handle(request, undefined));
    app.all(`${prefix}/chat/completions/:model`, ({ request, params }) => handle(request, params.model));
  }
  return app;
}

async function ask(gateway: Pick<Gateway, "chat" | "probe">, id: string, request: Request, model: string | undefined): Promise<ChatAnswer> {
  const proof = parseAuthorization(request.headers.get("authorization") ?? undefined);
  const stranger = isStranger(proof);
  if (request.method !== "POST") {
    // Directories look for paid paths with a bare GET or HEAD, and lnget sends one over HTTP/2.
    if (stranger && (request.method === "GET" || request.method === "HEAD")) return gateway.probe();
    throw new AppError("method_not_allowed", "Send chat requests with POST.");
  }
  const text = await readText(request);
  if (stranger && text.trim() === "") return gateway.probe();
  const body = parseJsonObject(text);
  if (stranger && Object.keys(body).length === 0) return gateway.probe();
  if (model !== undefined && body.model === undefined) body.model = model;
  return gateway.chat(id, toChatRequest(body), proof, request.signal);
}

/** Nobody whose own account could be asked. */
function isStranger(proof: AuthorizationProof): boolean {
  return proof.kind !== "credential" && proof.kind !== "payment" && proof.kind !== "token";
}

function toChatRequest(body: Record<string, unknown>): ChatRequest {
  const { model, messages, stream, stream_options, n } = chatRequestSchema.parse(body);
  return { model, messages: messages as ChatRequest["messages"], stream: stream ?? false, includeUsage: stream_options?.include_usage ?? false, n: n ?? 1, body };
}

function respond(answer: ChatAnswer, setting: ChallengeSetting, context: PublicContext, id: string): Response {
  const headers = { ...context.headers, "x-request-id": id };
  switch (answer.kind) {
    case "challenge":
      return challengeResponse(answer.challenge, callFacts(answer.quoted), setting, context.nowMs(), {
        ...headers,
        ...(answer.quoted.routedModel !== undefined && { "X-Route-Model": answer.quoted.routedModel }),
      });
    case "narrowed":
      return errorResponse(new AppError("narrowed_credential", answer.message), id, context.headers);
    case "answer":
      return new Response(answer.body, { headers: { ...headers, ...answerHeaders(answer) } });
  }
}

function answerHeaders(answer: PaidAnswer): Record<string, string> {
  const { reservation, charged } = answer;
  const { scheme, quoteId, paymentHash, creditedAtMs } = reservation.paidWith;
  return {
    "Content-Type": answer.contentType,
    "Cache-Control": "no-store",
    // Proxies that buffer would turn a stream into one late lump.
    ...(charged === undefined && { "X-Accel-Buffering": "no", "x-hearth-reserved-msat": String(reservation.amountMsat) }),
    ...(charged && { "x-hearth-cost-msat": String(charged.chargedMsat), "x-hearth-balance-msat": String(charged.spendableMsat) }),
    ...(answer.loweredCap !== undefined && { "x-hearth-max-tokens": String(answer.loweredCap) }),
    ...(answer.dropped.length > 0 && { "x-hearth-dropped": droppedText(answer.dropped) }),
    ...(scheme === "payment" && { "Payment-Receipt": paymentReceipt({ challengeId: quoteId, paymentHash, settledAtMs: creditedAtMs }) }),
  };
}

/** Names come from a stranger and go into a header: plain, short, and not all of five thousand. */
function droppedText(names: readonly string[]): string {
  const shown = names.slice(0, maxDroppedShown).map((name) => name.replaceAll(/[^\w.-]/g, "?").slice(0, 64));
  return names.length > shown.length ? `${shown.join(",")},...` : shown.join(",");
}
