/** Public ids: a short prefix, then time and chance, so that new rows land at the end of their index. */
import type { Random } from "./clock.ts";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's base32: no i, l, o, u to misread

/** `prefix_` + 10 characters of time + 16 of chance (80 bits): unique, sortable, not guessable. */
export function newId(prefix: string, nowMs: number, random: Random): string {
  let time = "";
  for (let rest = nowMs, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = alphabet[rest % 32] + time;
  let chance = "";
  for (const byte of random.bytes(16)) chance += alphabet[byte & 31];
  return `${prefix}_${time}${chance}`;
}
