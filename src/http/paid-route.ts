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
import { allowedMethods, pathOf } from "./methods.ts";
import type { PublicContext } from "./public-context.ts";

/** Reads a body and lends it. */
export type BodyReader = <Result>(request: Request, use: (body: Record<string, unknown>) => Promise<Result>) => Promise<Result>;

export type PaidRoute = {
  /** JSON where nothing is said. */
  withBody?: BodyReader;
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
    const allow: Record<string, string> = error instanceof AppError && error.code === "method_not_allowed" ? { Allow: allowedMethods(pathOf(request)).join(", ") } : {};
    return errorResponse(error, id, { ...context.headers, ...allow });
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
  return (route.withBody ?? withJson)(request, async (body) => {
    const asker = readAsker(request, address, body);
    if (isStranger(asker) && Object.keys(body).length === 0) return route.probe(asker);
    return route.take(id, body, asker, request.signal);
  });
}

async function withJson<Result>(request: Request, use: (body: Record<string, unknown>) => Promise<Result>): Promise<Result> {
  const text = await readText(request);
  return use(text.trim() === "" ? {} : parseJsonObject(text));
}

function respond(answer: ChatAnswer, setting: ChallengeSetting, context: PublicContext, request: Request, id: string): Response {
  const headers = { ...context.headers, "x-request-id": id };
  switch (answer.kind) {
    case "bill": {
      const routed = answer.quoted.routedModel !== undefined && { "X-Route-Model": headerText(answer.quoted.routedModel) };
      const told = answer.quoted.discounted ? setting : { ...setting, discountPercent: 0 };
      return billResponse(answer.bill, callFacts(answer.quoted), { setting: told, nowMs: context.nowMs(), headers: { ...headers, ...routed }, asProblem: wantsProblem(request) });
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

/** Header values are Latin letters; others are written as URLs write them. */
function headerText(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text);
}

/** Names come from a stranger and go into a header: plain, short, and not all of five thousand. */
function droppedText(names: readonly string[]): string {
  const shown = names.slice(0, maxDroppedShown).map((name) => name.replaceAll(/[^\w.-]/g, "?").slice(0, 64));
  return names.length > shown.length ? `${shown.join(",")},...` : shown.join(",");
}
