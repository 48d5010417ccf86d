/** Money ahead: order a balance, claim it, see whether it is paid. Shapes: design, shapes sections 2 and 3. */
import { Elysia } from "elysia";
import type { Claimed, TopupOrder, Topups } from "../../accounts/topups.ts";
import { decodeHex32 } from "../../base/bytes.ts";
import { canonicalHash } from "../../base/canonical.ts";
import { AppError } from "../../base/errors.ts";
import { isClaimSecret } from "../../l402/claim-secret.ts";
import { paymentReceipt } from "../../l402/payment-scheme.ts";
import { floorToSat, type Sat, sat, toJsonNumber } from "../../money/msat.ts";
import { parseCents, rateUnknown, satsOfCents } from "../../pricing/rate.ts";
import { readAsker } from "../asker.ts";
import { billResponse, type ChallengeSetting, wantsProblem } from "../challenge-body.ts";
import { claimSchema } from "../contract/topup.ts";
import { errorResponse } from "../errors.ts";
import { numberText, parseJsonObject, readText } from "../json-body.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";
import { type PaymentStreams, stateToWire, topupStream } from "../topup-stream.ts";

export type TopupParts = {
  topups: Topups;
  streams: PaymentStreams;
  limits: { minSats: number; maxSats: number };
  setting: ChallengeSetting;
};

export function topupRoutes(parts: TopupParts, context: PublicContext) {
  const app = new Elysia();
  const guarded = async (work: (id: string, headers: Record<string, string>) => Promise<Response>) => {
    const id = context.newCallId();
    try {
      return await work(id, { ...context.headers, "x-request-id": id, "Cache-Control": "no-store" });
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  const state = (request: Request, paymentHash: string, asEvents: boolean) =>
    guarded(async (_id, headers) => {
      const known = decodeHex32(paymentHash) ? parts.topups.state(paymentHash.toLowerCase()) : undefined;
      if (known === undefined) throw new AppError("not_found", "There is no topup with this payment hash.");
      return asEvents && request.method !== "HEAD" ? topupStream(parts, known, request.signal, context, headers) : Response.json(stateToWire(known, context.nowMs()), { headers });
    });
  for (const prefix of apiPrefixes) {
    app.post(`${prefix}/topup`, ({ request }) => guarded((_id, headers) => open(parts, context, request, headers)));
    app.post(`${prefix}/topup/claim`, ({ request }) => guarded((_id, headers) => claim(parts, context, request, headers)));
    app.get(`${prefix}/topup/:hash`, ({ request, params }) => state(request, params.hash, request.headers.get("accept")?.includes("text/event-stream") ?? false));
    app.get(`${prefix}/topup/:hash/events`, ({ request, params }) => state(request, params.hash, true));
  }
  return app;
}

async function open(parts: TopupParts, context: PublicContext, request: Request, headers: Record<string, string>): Promise<Response> {
  const text = await readText(request);
  const body = text.trim() === "" ? {} : parseJsonObject(text);
  const outcome = await parts.topups.open(readAsker(request, context.addressOf(request), undefined), () => parseOrder(text, body, parts));
  if (outcome.kind === "claimed") return claimedResponse(outcome.claimed, headers);
  const { challenge } = outcome;
  const facts = { payment_method: "topup", purpose: challenge.invoice.purpose.kind === "refill" ? "refill" : "new" };
  return billResponse({ challenge, reason: { kind: "required" } }, facts, { setting: parts.setting, nowMs: context.nowMs(), headers, asProblem: wantsProblem(request) });
}

/** @throws AppError `invalid_amount`, `invalid_request`. */
function parseOrder(text: string, body: Record<string, unknown>, parts: TopupParts): TopupOrder {
  const { claim: how } = body;
  if (how !== undefined && how !== null && how !== "secret" && how !== "preimage")
    throw new AppError("invalid_request", 'claim is "secret" (only its claim_secret claims it) or left out.', { param: "claim" });
  return { amountSats: parseAmount(text, body, parts), claimNeedsSecret: how === "secret", bodyHash: canonicalHash(body) };
}

function parseAmount(text: string, body: Record<string, unknown>, { limits, setting }: TopupParts): Sat {
  const { minSats, maxSats } = limits;
  const has = (name: string) => body[name] !== undefined && body[name] !== null;
  if (has("amount_sats") === has("amount_usd")) throw invalidAmount("Send either amount_sats or amount_usd.", "amount_sats");
  if (has("amount_sats")) {
    const amount = body.amount_sats;
    if (typeof amount !== "number" || !Number.isSafeInteger(amount) || amount < minSats || amount > maxSats)
      throw invalidAmount(`amount_sats must be a whole number from ${minSats} to ${maxSats}.`, "amount_sats");
    return sat(BigInt(amount));
  }
  const cents = typeof body.amount_usd === "string" ? parseCents(body.amount_usd) : parseCents(numberText(text, "amount_usd") ?? "");
  if (cents === undefined || cents === 0n) throw invalidAmount("amount_usd must be a decimal above 0 with at most 2 places, such as 1.20.", "amount_usd");
  const current = setting.rate();
  if (current === undefined) throw rateUnknown("The price of bitcoin in dollars is not known at the moment; send amount_sats.");
  const amountSats = satsOfCents(cents, current);
  if (amountSats < BigInt(minSats) || amountSats > BigInt(maxSats))
    throw invalidAmount(`amount_usd is ${amountSats} sats at the moment; a topup is ${minSats} to ${maxSats} sats.`, "amount_usd");
  return sat(amountSats);
}

function invalidAmount(message: string, param: string): AppError {
  return new AppError("invalid_amount", message, { param });
}

async function claim(parts: TopupParts, context: PublicContext, request: Request, headers: Record<string, string>): Promise<Response> {
  const text = await readText(request);
  const body = text.trim() === "" ? {} : parseJsonObject(text);
  const given = claimSchema.parse(body);
  if (given.preimage !== undefined && !decodeHex32(given.preimage)) throw invalidPayment("preimage must be 64 hex digits.", "preimage");
  if (given.claim_secret !== undefined && !isClaimSecret(given.claim_secret)) throw invalidPayment("claim_secret is the text that the topup answered with, cs_...", "claim_secret");
  const claimed = await parts.topups.claim(readAsker(request, context.addressOf(request), undefined), {
    preimage: given.preimage?.toLowerCase(), claimSecret: given.claim_secret, token: given.token || undefined, bodyHash: canonicalHash(body),
  });
  return claimedResponse(claimed, headers);
}

function claimedResponse(claimed: Claimed, headers: Record<string, string>): Response {
  const { receipt } = claimed;
  const receiptHeaders = receipt && { "Payment-Receipt": paymentReceipt(receipt), "Cache-Control": "private, no-store" };
  return Response.json(claimedToWire(claimed), { headers: { ...headers, ...receiptHeaders } });
}

function invalidPayment(message: string, param: string): AppError {
  return new AppError("invalid_payment", message, { param });
}

function claimedToWire(claimed: Claimed) {
  const { balanceMsat } = claimed;
  return {
    ...(claimed.kind === "token" && { token: claimed.token }),
    ...(balanceMsat !== undefined && { balance_sats: toJsonNumber(floorToSat(balanceMsat)), balance_msat: toJsonNumber(balanceMsat) }),
    ...(claimed.kind !== "token" && { credited_sats: toJsonNumber(floorToSat(claimed.creditedMsat)) }),
  };
}
