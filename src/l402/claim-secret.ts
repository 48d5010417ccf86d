/**
 * The secret that claims a topup, known to whoever asked for the invoice and to no hop of its payment. Pure. Derived, so
 * that the same invoice always shows the same one; only its hash is stored.
 */
import { hmacSha256, sha256, toBase64, toHex } from "../base/bytes.ts";

const shape = /^cs_[A-Za-z0-9_-]{43}$/;

export function deriveClaimSecret(master: Uint8Array, paymentHash: string): string {
  const secret = toBase64(hmacSha256(master, `claim:${paymentHash}`));
  return `cs_${secret.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

export function isClaimSecret(text: string): boolean {
  return shape.test(text);
}

/** Hex. */
export function hashClaimSecret(secret: string): string {
  return toHex(sha256(secret));
}
