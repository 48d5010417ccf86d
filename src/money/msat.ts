/**
 * Amounts of money. Pure. Integers of millisatoshi inside; a direction in the name of everything that rounds.
 * The brand is lost by `+`, so sums come back in through `msat()`. Compare two amounts of one unit only.
 */
import { assert } from "../base/assert.ts";

export type Msat = bigint & { readonly unit: "msat" };
export type Sat = bigint & { readonly unit: "sat" };

const msatPerSat = 1000n;
/** 21 million bitcoin: nothing real is above it, so anything above it is a mistake. */
const maxMsat = 21_000_000n * 100_000_000n * msatPerSat;

/** Takes an amount in. Refuses what cannot be an amount: below zero, or more than there is. */
export function msat(amount: bigint): Msat {
  assert(amount >= 0n && amount <= maxMsat, "an amount is between 0 and 21 million bitcoin");
  return amount as Msat;
}

export function sat(amount: bigint): Sat {
  assert(amount >= 0n && amount <= maxMsat / msatPerSat, "an amount is between 0 and 21 million bitcoin");
  return amount as Sat;
}

export function satToMsat(amount: Sat): Msat {
  return msat(amount * msatPerSat);
}

/** Toward the house: what an invoice asks for. phoenixd and many wallets know no millisatoshi. */
export function ceilToSat(amount: Msat): Sat {
  return sat((amount + msatPerSat - 1n) / msatPerSat);
}

/** Toward the payer's caution: what a balance is shown as. */
export function floorToSat(amount: Msat): Sat {
  return sat(amount / msatPerSat);
}

export function minMsat(a: Msat, b: Msat): Msat {
  return a < b ? a : b;
}

export function maxMsatOf(a: Msat, b: Msat): Msat {
  return a > b ? a : b;
}

/** Division that rounds up; both sides are not negative. */
export function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  assert(dividend >= 0n && divisor > 0n, "a division of money has no negative side");
  return (dividend + divisor - 1n) / divisor;
}

/** An amount for a JSON answer. All we hold is below 2^53, so nothing is rounded on the way. */
export function toJsonNumber(amount: bigint): number {
  assert(amount <= BigInt(Number.MAX_SAFE_INTEGER), "an amount on the wire is below 2^53");
  return Number(amount);
}
