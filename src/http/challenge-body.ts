/**
 * The answer 402: one body that the clients of all four systems read, and the headers L402 and MPP clients read.
 * The fields and who reads each: design, shapes section 1. It names no way to pay that is not open here.
 */
import type { Challenge } from "../charge/charge.ts";
import type { Quoted } from "../gateway/gateway.ts";
import { challengeHeaders } from "../l402/challenge.ts";
import { floorToSat, ceilToSat, toJsonNumber } from "../money/msat.ts";
import { errorObject } from "./errors.ts";

export type ChallengeSetting = {
  /** `Payment` is offered only over https or on loopback. */
  offerPayment: boolean;
  /** As the Lightning charge draft names networks. */
  paymentNetwork: string;
};

/** One realm for ever: it is part of what a payer echoes after paying. */
export const realm = "hearth";

const topupUrl = "/api/v1/topup";

/** Facts of one kind of sale, beside what every challenge says. */
export type SaleFacts = Record<string, string | number>;

export function challengeResponse(challenge: Challenge, facts: SaleFacts, setting: ChallengeSetting, nowMs: number, headers: Record<string, string>): Response {
  const { invoice } = challenge;
  const charge = {
    quoteId: invoice.quoteId, paymentHash: invoice.paymentHash, bolt11: invoice.bolt11, macaroon: challenge.macaroon,
    amountSats: invoice.amountMsat / 1000n, expiresAtMs: invoice.expiresAtMs,
  };
  const all: Record<string, string> = {
    ...headers,
    "X-Topup-URL": topupUrl,
    ...challengeHeaders(charge, { offerPayment: setting.offerPayment, realm, network: setting.paymentNetwork }),
  };
  return Response.json(challengeBody(challenge, facts, nowMs), { status: 402, headers: all });
}

function challengeBody(challenge: Challenge, facts: SaleFacts, nowMs: number) {
  const { invoice, macaroon, insufficient } = challenge;
  const sats = toJsonNumber(invoice.amountMsat / 1000n);
  const code = insufficient ? "insufficient_balance" : "payment_required";
  const what = insufficient
    ? `The credential holds ${insufficient.availableMsat} msat and this call needs ${insufficient.requiredMsat} msat. `
    : `Payment required: ${sats} sats. `;
  const expiresAt = new Date(invoice.expiresAtMs).toISOString();
  return {
    error: errorObject(code, `${what}Pay the invoice and repeat the request with the header in retry.`, 402),
    message: `Pay ${sats} sats, then repeat the request.`,
    invoice: invoice.bolt11,
    payment_hash: invoice.paymentHash,
    amount_sats: sats,
    expires_in: Math.max(0, Math.floor((invoice.expiresAtMs - nowMs) / 1000)),
    macaroon,
    price: sats,
    payment_request: invoice.bolt11,
    paymentRequest: invoice.bolt11,
    price_sats: sats,
    priceSats: sats,
    ...facts,
    topup_url: topupUrl,
    ...(insufficient && {
      available_sats: toJsonNumber(floorToSat(insufficient.availableMsat)),
      required_sats: toJsonNumber(ceilToSat(insufficient.requiredMsat)),
    }),
    retry: {
      header: "Authorization: L402 <macaroon>:<preimage>",
      instructions: "Pay the invoice, then send the same request again with this header. The preimage is your wallet's proof of payment; what is left over pays for later requests.",
    },
    payment: {
      version: 1,
      paymentId: invoice.quoteId,
      requestHash: `sha256:${invoice.quoteFingerprint}`,
      expiresAt,
      accepted: [
        {
          scheme: "lightning-l402", network: "bitcoin-lightning", amountFormatted: `${sats} sats`, invoice: invoice.bolt11,
          paymentHash: invoice.paymentHash, l402Token: macaroon, protocolScheme: "lightning-l402", amount: String(sats), payTo: invoice.bolt11,
        },
      ],
    },
    status: 402,
    code,
    type: "insufficient_quota",
    title: "Payment Required",
    detail: `${what}Pay the invoice and repeat the request.`,
    quote_id: invoice.quoteId,
    amount_msat: toJsonNumber(invoice.amountMsat),
    expires_at: expiresAt,
  };
}

/** What LLM clients look for in a bill for a call. */
export function callFacts(quoted: Quoted): SaleFacts {
  return {
    model: quoted.model,
    provider: quoted.local ? "local" : "resold",
    max_tokens: quoted.maxTokens,
    estimated_input_tokens: quoted.inputTokens,
    ...(quoted.routedModel && { routed_model: quoted.routedModel }),
  };
}
