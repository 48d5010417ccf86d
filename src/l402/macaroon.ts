/**
 * Mints and verifies the macaroon of a credential: who was invoiced, and under which caveats. Says nothing of what
 * the caveats mean, and nothing of payment.
 *
 * Minting is our own V2 encoder, since the npm package throws when it exports more than a few fields; its bytes are
 * compared with Go's. Verifying is the package's. Root key = HMAC(master, sha256(identifier)): an unpaid quote needs
 * no stored secret.
 */
import { importMacaroon } from "macaroon";
import { assert } from "../base/assert.ts";
import { decodeHex32, hmacSha256, sha256, toBase64, toHex } from "../base/bytes.ts";
import type { Random } from "../base/clock.ts";
import { maxCaveats, maxCredentialBytes } from "../base/limits.ts";

export type MacaroonFields = { master: Uint8Array; paymentHash: string; tokenId: Uint8Array; caveats: string[] };

export type VerifiedMacaroon = { paymentHash: string; tokenId: Uint8Array; caveats: string[] };

const version2 = 2;
const field = { end: 0, location: 1, identifier: 2, signature: 6 } as const;
const identifierBytes = 66;
const tokenIdBytes = 32;

/** The same fields always give the same bytes. */
export function mintMacaroon({ master, paymentHash, tokenId, caveats }: MacaroonFields): Uint8Array {
  const identifier = encodeIdentifier(paymentHash, tokenId);
  const conditions = caveats.map((caveat) => new TextEncoder().encode(caveat));
  let signature = hmacSha256("macaroons-key-generator", rootKey(master, identifier));
  for (const part of [identifier, ...conditions]) signature = hmacSha256(signature, part);
  return concat([
    encodeHead(locationFor(identifier), identifier),
    ...conditions.flatMap((condition) => [encodeField(field.identifier, condition), [field.end]]),
    [field.end],
    encodeField(field.signature, signature),
  ]);
}

/** Chance of about one in 100,000 per try: a hundred in a row is a broken source of chance. */
const maxRolls = 100;

/** A token id for which no client mistakes a part of the macaroon for the scheme (`spellsScheme`). */
export function rollTokenId(fields: Omit<MacaroonFields, "tokenId"> & { random: Random }): Uint8Array {
  for (let roll = 0; roll < maxRolls; roll++) {
    const tokenId = fields.random.bytes(tokenIdBytes);
    if (!spellsScheme(mintMacaroon({ ...fields, tokenId }))) return tokenId;
  }
  assert(false, "a random token id comes without a scheme's name in it");
}

/**
 * What was signed under `master`, or undefined for anything else: malformed, oversized, foreign, tampered with, or
 * discharged by third parties. Never throws. The caveats come back unread, in order.
 */
export function verifyMacaroon(bytes: Uint8Array, master: Uint8Array): VerifiedMacaroon | undefined {
  if (bytes.length > maxCredentialBytes || countCaveats(bytes) > maxCaveats) return undefined;
  try {
    const imported = importMacaroon(bytes);
    const { identifier } = imported;
    if (identifier.length !== identifierBytes || identifier[0] !== 0 || identifier[1] !== 0) return undefined;
    const caveats: string[] = [];
    // The package asks about each caveat before it has compared the signature, so here they are only noted down.
    imported.verify(rootKey(master, identifier), (caveat) => {
      caveats.push(caveat);
      return null;
    });
    return { paymentHash: toHex(identifier.subarray(2, 34)), tokenId: identifier.slice(34), caveats };
  } catch {
    return undefined;
  }
}

/** u16 version 0, payment hash, token id. */
function encodeIdentifier(paymentHash: string, tokenId: Uint8Array): Uint8Array {
  const hash = decodeHex32(paymentHash);
  assert(hash, "a payment hash is 64 hex digits");
  assert(tokenId.length === tokenIdBytes, "a token id is 32 bytes");
  return concat([[0, 0], hash, tokenId]);
}

function rootKey(master: Uint8Array, identifier: Uint8Array): Uint8Array {
  return hmacSha256(master, sha256(identifier));
}

/** Alby's client deletes the first `LSAT` or `L402` from what it read, even out of the middle of the macaroon. */
function spellsScheme(bytes: Uint8Array): boolean {
  return /LSAT|L402/.test(toBase64(bytes));
}

/**
 * One payment hash in 200,000 spells a scheme by itself, and no token id cures that; a longer location does, since
 * it moves the hash to other letters. The location is not signed and nobody reads it.
 */
function locationFor(identifier: Uint8Array): string {
  const upToHash = identifier.subarray(0, 34);
  const cured = ["lsat", "lsat1", "lsat12"].find((location) => !spellsScheme(encodeHead(location, upToHash)));
  return cured ?? "lsat";
}

function encodeHead(location: string, identifier: Uint8Array): Uint8Array {
  return concat([
    [version2],
    encodeField(field.location, new TextEncoder().encode(location)),
    encodeField(field.identifier, identifier),
    [field.end],
  ]);
}

function encodeField(type: number, content: Uint8Array): Uint8Array {
  return concat([[type], encodeLength(content.length), content]);
}

/** Unsigned varint: seven bits a byte, the lowest first. */
function encodeLength(length: number): number[] {
  const bytes: number[] = [];
  for (; length >= 0x80; length >>>= 7) bytes.push((length & 0x7f) | 0x80);
  return [...bytes, length];
}

function concat(parts: (Uint8Array | number[])[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Walks the fields without reading any, so that a flood of caveats costs nothing. On malformed bytes the count
 * means nothing; the package refuses those.
 */
function countCaveats(bytes: Uint8Array): number {
  let identifiers = 0;
  for (let at = 1; at < bytes.length; ) {
    const type = bytes[at++];
    if (type === field.end) continue;
    if (type === field.identifier) identifiers++;
    let length = 0;
    for (let shift = 0; at < bytes.length; shift += 7) {
      const byte = bytes[at++]!;
      length += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    at += length;
  }
  return identifiers - 1;
}
