/**
 * The answer 402: one body that the clients of all four systems read, and the headers L402 and MPP clients read.
 * The fields and who reads each: design, shapes section 1. It names no way to pay that is not open here.
 */
import type { Bill, Reason } from "../charge/charge.ts";
import type { Quoted } from "../gateway/gateway.ts";
import { challengeHeaders, invoiceHeaders } from "../l402/challenge.ts";
import { floorToSat, ceilToSat, type Msat, msat, toJsonNumber } from "../money/msat.ts";
import { type BtcRate, usdText } from "../pricing/rate.ts";
import { errorObject } from "./errors.ts";

export type ChallengeSetting = {
  /** `Payment` is offered only over https or on loopback. */
  offerPayment: boolean;
  /** As the Lightning charge draft names networks. */
  paymentNetwork(): string;
  /** Undefined while the price of bitcoin is not known. */
  rate(): BtcRate | undefined;
  /** Off every price of a call, in percent; the bill says so. */
  discountPercent: number;
};

/** One realm for ever: it is part of what a payer echoes after paying. */
export const realm = "hearth";

export const topupUrl = "/api/v1/topup";
export const claimUrl = `${topupUrl}/claim`;

/** A `Payment` proof is a bare secret: it is offered only where nobody on the way can read it. */
export function offersPayment(url: string): boolean {
  return url.startsWith("https:") || /^http:\/\/(localhost|127\.|\[::1\])/.test(url);
}

/** Facts of one kind of sale, beside what every challenge says. */
export type SaleFacts = Record<string, string | number>;

/** One request's circumstances. */
export type Answering = { setting: ChallengeSetting; nowMs: number; headers: Record<string, string>; /** RFC 9457 by name. */ asProblem: boolean };

export function billResponse({ challenge, reason }: Bill, facts: SaleFacts, { setting, nowMs, headers, asProblem }: Answering): Response {
  const { invoice, macaroon } = challenge;
  const charge = { quoteId: invoice.quoteId, paymentHash: invoice.paymentHash, bolt11: invoice.bolt11, amountSats: invoice.amountMsat / 1000n, expiresAtMs: invoice.expiresAtMs };
  const all: Record<string, string> = {
    ...headers,
    "X-Topup-URL": topupUrl,
    ...(challenge.claimSecret !== undefined && { "X-Topup-Claim-URL": claimUrl }),
    ...(macaroon === undefined ? invoiceHeaders(charge) : challengeHeaders({ ...charge, macaroon }, { offerPayment: setting.offerPayment, realm, network: setting.paymentNetwork() })),
    ...(asProblem && { "Content-Type": "application/problem+json" }),
  };
  return Response.json(billBody({ challenge, reason }, facts, nowMs, setting), { status: 402, headers: all });
}

/** Whether a client asks for RFC 9457 by its name; everybody else reads plain JSON. */
export function wantsProblem(request: Request): boolean {
  return request.headers.get("accept")?.includes("application/problem+json") ?? false;
}

function billBody({ challenge, reason }: Bill, facts: SaleFacts, nowMs: number, setting: ChallengeSetting) {
  const { invoice, macaroon, claimSecret } = challenge;
  const sats = toJsonNumber(invoice.amountMsat / 1000n);
  const isCall = claimSecret === undefined;
  const code = reason.kind === "insufficient" ? "insufficient_balance" : "payment_required";
  const what = whyText(reason, sats);
  const expiresAt = new Date(invoice.expiresAtMs).toISOString();
  const rate = setting.rate();
  const inUsd = rate && { amountUsd: usdText(invoice.amountMsat, rate) };
  return {
    error: errorObject(code, `${what} Pay the invoice and ${isCall ? "repeat the request with the header in retry" : `claim the balance at ${claimUrl}`}.`, 402),
    message: isCall ? `Pay ${sats} sats, then repeat the request.` : `Pay ${sats} sats, then claim.`,
    invoice: invoice.bolt11,
    payment_hash: invoice.paymentHash,
    amount_sats: sats,
    expires_in: Math.max(0, Math.floor((invoice.expiresAtMs - nowMs) / 1000)),
    ...(macaroon !== undefined && { macaroon }),
    price: sats,
    payment_request: invoice.bolt11,
    paymentRequest: invoice.bolt11,
    price_sats: sats,
    priceSats: sats,
    ...facts,
    ...(claimSecret !== undefined && { claim_url: claimUrl, claim_secret: claimSecret }),
    topup_url: topupUrl,
    ...(reason.kind === "insufficient" && shortfall(reason)),
    retry: macaroon === undefined ? hashRetry : isCall ? callRetry : topupRetry,
    payment: {
      version: 1,
      ...(macaroon !== undefined && { paymentId: invoice.quoteId }),
      ...(isCall && { requestHash: `sha256:${invoice.quoteFingerprint}` }),
      expiresAt,
      ...inUsd,
      accepted: [
        {
          scheme: "lightning-l402", network: "bitcoin-lightning", amountFormatted: `${sats} sats`, ...inUsd, ...(isCall && discountFacts(invoice.amountMsat, setting, rate)), invoice: invoice.bolt11,
          paymentHash: invoice.paymentHash, ...(macaroon !== undefined && { l402Token: macaroon }), protocolScheme: "lightning-l402", amount: String(sats), payTo: invoice.bolt11,
        },
      ],
    },
    status: 402,
    code,
    type: problemTypes[reason.kind],
    title: "Payment Required",
    detail: `${what} Pay the invoice and repeat the request.`,
    ...(macaroon !== undefined && { quote_id: invoice.quoteId }),
    amount_msat: toJsonNumber(invoice.amountMsat),
    expires_at: expiresAt,
  };
}

/** NanoGPT's two fields; left out where there is no discount. */
function discountFacts(amountMsat: Msat, { discountPercent }: ChallengeSetting, rate: BtcRate | undefined) {
  if (discountPercent === 0) return undefined;
  const fullMsat = msat((amountMsat * 100n) / BigInt(100 - discountPercent));
  return { discountRate: discountPercent / 100, ...(rate && { undiscountedAmountUsd: usdText(fullMsat, rate) }) };
}

const callRetry = {
  header: "Authorization: L402 <macaroon>:<preimage>",
  payment_hash_header: "X-Payment-Hash",
  instructions: "Pay the invoice, then send the same request again with the header Authorization: L402 <macaroon>:<preimage>; the preimage is your wallet's proof of payment, and what is left over pays for later requests. A wallet that shows no preimage: send the same request once more with X-Payment-Hash: <payment_hash>, or with payment_hash added to the JSON body.",
} as const;

const hashRetry = {
  payment_hash_header: "X-Payment-Hash",
  instructions: "Pay the invoice, then send the same request once more with X-Payment-Hash: <payment_hash>, or with payment_hash added to the JSON body.",
} as const;

const topupRetry = {
  header: "Authorization: L402 <macaroon>:<preimage>",
  instructions: `Pay the invoice, then POST ${claimUrl} with {"claim_secret": "<claim_secret>"} for a token, or use <macaroon>:<preimage> as an API key.`,
} as const;

/** Problem types of the `Payment` scheme (draft-httpauth-payment-01, "Error Responses"). */
const problem = (name: string) => `https://paymentauth.org/problems/${name}`;
const problemTypes: Record<Reason["kind"], string> = {
  required: problem("payment-required"),
  unpaid: problem("payment-required"),
  malformed: problem("malformed-credential"),
  refused: problem("verification-failed"),
  used: problem("invalid-challenge"),
  insufficient: problem("payment-insufficient"),
};

function whyText(reason: Reason, sats: number): string {
  switch (reason.kind) {
    case "insufficient":
      return reason.availableMsat === undefined
        ? `What the credential holds is too little for this call, which needs ${reason.requiredMsat} msat.`
        : `The credential holds ${reason.availableMsat} msat and this call needs ${reason.requiredMsat} msat.`;
    case "malformed":
      return `This credential cannot be read. Payment required: ${sats} sats.`;
    case "refused":
      return `This credential is not good for this request. Payment required: ${sats} sats.`;
    case "used":
      return `This payment has bought its answer. Payment required: ${sats} sats.`;
    case "required":
    case "unpaid":
      return `Payment required: ${sats} sats.`;
  }
}

function shortfall({ availableMsat, requiredMsat }: { availableMsat: Msat | undefined; requiredMsat: Msat }) {
  return { ...(availableMsat !== undefined && { available_sats: toJsonNumber(floorToSat(availableMsat)) }), required_sats: toJsonNumber(ceilToSat(requiredMsat)) };
}

/** A token that holds too little. No invoice: code paths that see one pay it, and this is refilled instead. */
export function tooPoorResponse(poor: { availableMsat: Msat; requiredMsat: Msat }, headers: Record<string, string>): Response {
  const message = `The token holds ${poor.availableMsat} msat and this call needs ${poor.requiredMsat} msat; refill it with POST ${topupUrl}.`;
  return Response.json(
    {
      error: errorObject("insufficient_balance", message, 402),
      message: `Pay in more: POST ${topupUrl} with this token.`,
      ...shortfall(poor),
      balance_sats: toJsonNumber(floorToSat(poor.availableMsat)),
      required_msat: toJsonNumber(poor.requiredMsat),
      topup_url: topupUrl,
      status: 402,
    },
    { status: 402, headers: { ...headers, "X-Topup-URL": topupUrl, "x-should-retry": "false", "Cache-Control": "no-store" } },
  );
}

/** What LLM clients look for in a bill for a call. */
export function callFacts(quoted: Quoted): SaleFacts {
  return {
    model: quoted.model,
    provider: quoted.local ? "local" : "resold",
    ...(quoted.maxTokens !== undefined && { max_tokens: quoted.maxTokens }),
    ...(quoted.inputTokens !== undefined && { estimated_input_tokens: quoted.inputTokens }),
    ...(quoted.routedModel && { routed_model: quoted.routedModel }),
  };
}
