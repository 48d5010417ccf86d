/** The spelling of tokens. Pure. A token can be derived again from its invoice, so that only its hash is ever stored. */
import { hmacSha256, sha256, toBase64, toHex } from "../base/bytes.ts";

/** `abl_` + base64url of HMAC(server key, payment hash and generation): 256 bits that nobody can guess. */
export function deriveToken(serverKey: Uint8Array, paymentHash: string, generation: number): string {
  const secret = toBase64(hmacSha256(serverKey, `${paymentHash}:${generation}`));
  return `abl_${secret.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** Hex. What a table is looked up by: comparing hashes tells a guesser nothing by its time. */
export function hashToken(token: string): string {
  return toHex(sha256(token));
}
