/** One text for one JSON value, however it was written (RFC 8785). Pure. */
import canonicalize from "canonicalize";
import { sha256, toHex } from "./bytes.ts";

/** RFC 8785 has no text for half an emoji or an infinite number; such a value has the text it came with. */
export function canonicalText(value: object): string {
  try {
    return canonicalize(value) ?? "";
  } catch {
    return JSON.stringify(value);
  }
}

/** SHA-256 of it, in hex: whether two requests are one. */
export function canonicalHash(value: object): string {
  return toHex(sha256(canonicalText(value)));
}
