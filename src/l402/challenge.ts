/**
 * The headers of a 402, spelled so that every client that exists can pay. Pure. The body is another room's.
 * wire.md 1 says which client needs which detail.
 */
import { assert } from "../base/assert.ts";
import { maxChallengeHeaderBytes } from "../base/limits.ts";
import { paymentOffer, type Charge, type PaymentOffer } from "./payment-scheme.ts";

/** `macaroon` is standard base64 with padding. */
export type Challenge = Charge & { macaroon: string };

export type ChallengeOptions = {
  /** Only when the public address is https or loopback. */
  offerPayment: boolean;
  realm: string;
  network: string;
};

/** What the status line, the server's own headers and other rooms' add to the block: about 300 bytes today. */
const otherHeaderBytes = 512;

/** Within the budget of a header block; when the invoice is too long, what fewer clients read is left out first. */
export function challengeHeaders(challenge: Challenge, options: ChallengeOptions): Record<string, string> {
  const offer = options.offerPayment ? paymentOffer(challenge, options) : undefined;
  const variants = [
    { ...commonHeaders(challenge, offer), "X-Lightning-Invoice": challenge.bolt11 },
    commonHeaders(challenge, offer),
  ];
  return variants.find(fits) ?? commonHeaders(challenge, undefined);
}

function commonHeaders(challenge: Challenge, offer: PaymentOffer | undefined): Record<string, string> {
  return { "WWW-Authenticate": wwwAuthenticate(challenge, offer), ...priceHeaders(challenge) };
}

/** For an asker who is shown an invoice without its credential: nothing here can be a proof later. */
export function invoiceHeaders(charge: Charge): Record<string, string> {
  return { ...priceHeaders(charge), "X-Lightning-Invoice": charge.bolt11 };
}

function priceHeaders(charge: Charge): Record<string, string> {
  return {
    "X-Payment-Hash": charge.paymentHash,
    "X-Price-Sats": String(charge.amountSats),
    "x-should-retry": "false",
    "Cache-Control": "no-store",
    "Access-Control-Expose-Headers":
      "WWW-Authenticate, Payment-Receipt, X-Lightning-Invoice, X-Payment-Hash, X-Price-Sats",
  };
}

/** One line, L402 first: clients take the first offer, and the server folds repeated headers anyway. */
function wwwAuthenticate({ macaroon, bolt11 }: Challenge, offer: PaymentOffer | undefined): string {
  const l402 = `L402 macaroon=${quoted(macaroon)}, invoice=${quoted(bolt11)}`;
  if (!offer) return l402;
  const { id, realm, method, intent, request, expires } = offer;
  const parameters = Object.entries({ id, realm, method, intent, request, expires });
  return `${l402}, Payment ${parameters.map(([name, value]) => `${name}=${quoted(value)}`).join(", ")}`;
}

function quoted(text: string): string {
  assert(/^[\x20-\x7e]+$/.test(text) && !/["\\]/.test(text), "a header's parameter is plain text without quotes");
  return `"${text}"`;
}

function fits(headers: Record<string, string>): boolean {
  let bytes = otherHeaderBytes;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length + ": \r\n".length;
  return bytes <= maxChallengeHeaderBytes;
}
