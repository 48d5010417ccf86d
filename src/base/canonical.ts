/** One text for one JSON value, however it was written (RFC 8785). Pure. */
import canonicalize from "canonicalize";

/** RFC 8785 has no text for half an emoji or an infinite number; such a value has the text it came with. */
export function canonicalText(value: object): string {
  try {
    return canonicalize(value) ?? "";
  } catch {
    return JSON.stringify(value);
  }
}
