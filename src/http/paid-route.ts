/** What every route that costs money has in common: who asks, the probe of those who only look, and the answer with its bill. */
import type { Asker } from "../accounts/asker.ts";
import { isStranger } from "../accounts/asker.ts";
import { AppError } from "../base/errors.ts";
import { maxDroppedShown } from "../base/limits.ts";
import type { ChatAnswer } from "../gateway/gateway.ts";
import { paymentReceipt } from "../l402/payment-scheme.ts";
import { readAsker } from "./asker.ts";
import { billResponse, callFacts, type ChallengeSetting, tooPoorResponse, wantsProblem } from "./challenge-body.ts";
import { errorResponse } from "./errors.ts";
import { parseJsonObject, readText } from "./json-body.ts";
import type { PublicContext } from "./public-context.ts";

export type PaidRoute = {
  take(callId: string, body: Record<string, unknown>, asker: Asker, clientGone: AbortSignal): Promise<ChatAnswer>;
  /** The bill of the least that is sold here. */
  probe(asker: Asker): Promise<ChatAnswer>;
};

type PaidAnswer = Extract<ChatAnswer, { kind: "answer" }>;

export async function answerPaid(route: PaidRoute, request: Request, setting: ChallengeSetting, context: PublicContext): Promise<Response> {
  const id = context.newCallId();
  try {
    return respond(await ask(route, id, request, context.addressOf(request)), setting, context, request, id);
  } catch (error) {
    return errorResponse(error, id, context.headers);
  }
}

async function ask(route: PaidRoute, id: string, request: Request, address: () => string | undefined): Promise<ChatAnswer> {
  if (request.method !== "POST") {
    const probes = request.method === "GET" || request.method === "HEAD";
    // Directories look for paid paths with a bare GET or HEAD, and lnget sends one over HTTP/2.
    const asker = probes ? readAsker(request, address, undefined) : undefined;
    if (asker !== undefined && isStranger(asker)) return route.probe(asker);
    throw new AppError("method_not_allowed", "Send this request with POST.");
  }
  const text = await readText(request);
  const body = text.trim() === "" ? {} : parseJsonObject(text);
  const asker = readAsker(request, address, body);
  if (isStranger(asker) && Object.keys(body).length === 0) return route.probe(asker);
  return route.take(id, body, asker, request.signal);
}

function respond(answer: ChatAnswer, setting: ChallengeSetting, context: PublicContext, request: Request, id: string): Response {
  const headers = { ...context.headers, "x-request-id": id };
  switch (answer.kind) {
    case "bill": {
      const routed = answer.quoted.routedModel !== undefined && { "X-Route-Model": answer.quoted.routedModel };
      return billResponse(answer.bill, callFacts(answer.quoted), { setting, nowMs: context.nowMs(), headers: { ...headers, ...routed }, asProblem: wantsProblem(request) });
    }
    case "too_poor":
      return tooPoorResponse(answer, headers);
    case "answer":
      return new Response(answer.body, { headers: { ...headers, ...answerHeaders(answer) } });
  }
}

function answerHeaders(answer: PaidAnswer): Record<string, string> {
  const { reservation, charged } = answer;
  const { receipt } = reservation;
  return {
    "Content-Type": answer.contentType,
    "Cache-Control": receipt ? "private, no-store" : "no-store",
    // Proxies that buffer would turn a stream into one late lump.
    ...(charged === undefined && { "X-Accel-Buffering": "no", "x-hearth-reserved-msat": String(reservation.amountMsat) }),
    ...(charged && { "x-hearth-cost-msat": String(charged.chargedMsat) }),
    ...(charged?.spendableMsat !== undefined && { "x-hearth-balance-msat": String(charged.spendableMsat) }),
    ...(reservation.free && { "x-hearth-free": "1" }),
    ...(answer.loweredCap !== undefined && { "x-hearth-max-tokens": String(answer.loweredCap) }),
    ...(answer.dropped.length > 0 && { "x-hearth-dropped": droppedText(answer.dropped) }),
    ...(receipt && { "Payment-Receipt": paymentReceipt(receipt) }),
  };
}

/** Names come from a stranger and go into a header: plain, short, and not all of five thousand. */
function droppedText(names: readonly string[]): string {
  const shown = names.slice(0, maxDroppedShown).map((name) => name.replaceAll(/[^\w.-]/g, "?").slice(0, 64));
  return names.length > shown.length ? `${shown.join(",")},...` : shown.join(",");
}
