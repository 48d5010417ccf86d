/**
 * The HTTP scheme `Payment` for Lightning charges: what we offer, what comes back, what we receipt. Pure.
 * Drafts: httpauth-payment, lightning-charge-00. JSON has its keys in order (RFC 8785), base64url has no padding.
 */
import { decodeBase64, decodeHex32, toBase64 } from "../base/bytes.ts";

/** One invoice as it is offered to a stranger. */
export type Charge = { quoteId: string; paymentHash: string; bolt11: string; amountSats: bigint; expiresAtMs: number };

/** The parameters of the offer in the order they are written; a client echoes them in its credential. */
export type PaymentOffer = {
  id: string;
  realm: string;
  method: "lightning";
  intent: "charge";
  request: string;
  expires: string;
};

export type EchoedOffer = { [Name in Exclude<keyof PaymentOffer, "id">]?: string };

export type PaymentCredential = {
  challengeId: string;
  /** 64 lowercase hex digits; not compared with any hash yet. */
  preimage: string;
  /** What the client sent back of the offer; some clients drop a part. */
  echoed: EchoedOffer;
};

const challengeId = /^q_[0-9a-z]{26}$/;

/** Whether this could be the id of one of our quotes. */
export function isChallengeId(text: string): boolean {
  return challengeId.test(text);
}

export function paymentOffer(charge: Charge, options: { realm: string; network: string }): PaymentOffer {
  const { quoteId, paymentHash, bolt11: invoice, amountSats, expiresAtMs } = charge;
  const methodDetails = { invoice, network: options.network, paymentHash };
  return {
    id: quoteId,
    realm: plainText(options.realm) || "hearth",
    method: "lightning",
    intent: "charge",
    request: toBase64UrlJson({ amount: String(amountSats), currency: "sat", methodDetails }),
    expires: toIsoSeconds(expiresAtMs),
  };
}

/** The credential in `Authorization: Payment <text>`, or undefined when it is not a Lightning charge of our making. */
export function decodePaymentCredential(text: string): PaymentCredential | undefined {
  const credential = asObject(decodeBase64UrlJson(text));
  const challenge = asObject(credential?.challenge);
  const preimage = asObject(credential?.payload)?.preimage;
  if (!challenge || typeof challenge.id !== "string" || !isChallengeId(challenge.id)) return undefined;
  if (typeof preimage !== "string" || !decodeHex32(preimage)) return undefined;
  const echoed = readEcho(challenge);
  if (!echoed || (echoed.method ?? "lightning") !== "lightning" || (echoed.intent ?? "charge") !== "charge") {
    return undefined;
  }
  return { challengeId: challenge.id, preimage: preimage.toLowerCase(), echoed };
}

/** Whether nothing that the client echoed differs from what it was offered. */
export function echoMatches(echoed: EchoedOffer, offer: PaymentOffer): boolean {
  return echoNames.every((name) => echoed[name] === undefined || echoed[name] === offer[name]);
}

/** What a receipt says was paid. */
export type PaidCharge = { challengeId: string; paymentHash: string; settledAtMs: number };

/** The value of `Payment-Receipt`. It names the payment hash, never the preimage: receipts get logged. */
export function paymentReceipt(paid: PaidCharge): string {
  return toBase64UrlJson({
    challengeId: paid.challengeId,
    method: "lightning",
    reference: paid.paymentHash,
    status: "success",
    timestamp: toIsoSeconds(paid.settledAtMs),
  });
}

const echoNames = ["realm", "method", "intent", "request", "expires"] as const;

function readEcho(challenge: Record<string, unknown>): EchoedOffer | undefined {
  const echoed: EchoedOffer = {};
  for (const name of echoNames) {
    const value = challenge[name];
    if (value === undefined) continue;
    if (typeof value !== "string") return undefined;
    echoed[name] = value;
  }
  return echoed;
}

/**
 * Text that may stand between quotes. A quote or backslash is replaced, not escaped: Alby's client and mppx read up
 * to the next quote whatever stands before it, and Alby's would take an `invoice=` that follows for the invoice.
 */
function plainText(text: string): string {
  return text.replaceAll(/["\\]/g, "'").replaceAll(/[^\x20-\x7e]/g, "");
}

/** Rounded down: an offer never outlives its invoice. */
function toIsoSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

function toBase64UrlJson(value: object): string {
  const base64 = toBase64(new TextEncoder().encode(JSON.stringify(value)));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decodeBase64UrlJson(text: string): unknown {
  const bytes = decodeBase64(text);
  if (!bytes) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
}
