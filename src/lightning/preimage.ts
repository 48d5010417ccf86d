/** What proves a payment. Pure. */
import { decodeHex32, sha256, toHex } from "../base/bytes.ts";

/** Whether this text is 64 hex digits that hash to the payment hash (lowercase hex). */
export function opens(preimage: string, paymentHash: string): boolean {
  const bytes = decodeHex32(preimage);
  return bytes !== undefined && toHex(sha256(bytes)) === paymentHash;
}
