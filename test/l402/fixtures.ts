/** Macaroons that Go's library minted, and a source of chance that can be replayed. */
import type { Random } from "../../src/base/clock.ts";
import { decodeBase64, decodeHex32 } from "../../src/base/bytes.ts";
import minted from "../fixtures/macaroons/macaroons.json";

export type Fixture = {
  name: string;
  master: Uint8Array;
  paymentHash: string;
  tokenId: Uint8Array;
  caveats: string[];
  macaroon: Uint8Array;
};

export const fixtures: Fixture[] = minted.map((row) => ({
  name: row.name,
  master: decodeHex32(row.master)!,
  paymentHash: row.paymentHash,
  tokenId: decodeHex32(row.tokenId)!,
  caveats: [...row.caveats, ...row.appended],
  macaroon: decodeBase64(row.macaroon)!,
}));

export function fixture(name: string): Fixture {
  const found = fixtures.find((one) => one.name === name);
  if (!found) throw new Error(`no fixture is called ${name}`);
  return found;
}

/** mulberry32: the same numbers between 0 and 1 for the same seed. */
export function seededNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function seededRandom(seed: number): Random {
  const next = seededNumbers(seed);
  return { bytes: (count) => Uint8Array.from({ length: count }, () => Math.floor(next() * 256)) };
}
