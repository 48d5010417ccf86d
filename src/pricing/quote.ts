/** What a call may cost at most, and what an ended one does cost. Pure: price table and counts in, amounts out. */
import { ceilDivide, type Msat, msat } from "../money/msat.ts";

/** Millisatoshi per million tokens. */
export type TokenRate = { inputMsatPerMtok: bigint; outputMsatPerMtok: bigint };

/** What is sold besides tokens: an image made, a second of sound, a character spoken, and the call itself. */
export const units = ["image", "second", "character", "call"] as const;
export type Unit = (typeof units)[number];

/** Something for some of the units. */
export type PerUnit<Amount> = { readonly [unit in Unit]?: Amount };

export function changeEach<From, To>(amounts: PerUnit<From>, change: (amount: From) => To): PerUnit<To> {
  const changed: { [unit in Unit]?: To } = {};
  for (const unit of units) {
    const amount = amounts[unit];
    if (amount !== undefined) changed[unit] = change(amount);
  }
  return changed;
}

/** `above`: what all tokens of a call cost whose input is longer than that. `perMillion`: msat of a million of each unit. */
export type ModelPrice = TokenRate & { above?: TokenRate & { tokens: number }; perMillion?: PerUnit<bigint> };

export type TokenCounts = { inputTokens: number; outputTokens: number };

/** A call is always one call; other units are counted by whoever sells them. */
export type Counts = TokenCounts & { units?: PerUnit<number> };

const million = 1_000_000n;

/** Rounded up: toward the house, by less than a millisatoshi. A call that is for sale costs at least one. */
export function costOf(counts: Counts, price: ModelPrice): Msat {
  const { inputMsatPerMtok, outputMsatPerMtok } = rateFor(counts.inputTokens, price);
  const exact = BigInt(counts.inputTokens) * inputMsatPerMtok + BigInt(counts.outputTokens) * outputMsatPerMtok + costOfUnits(counts.units, price);
  const cost = ceilDivide(exact, million);
  return msat(cost > 0n ? cost : 1n);
}

/** In millionths of a millisatoshi. */
function costOfUnits(counted: PerUnit<number> | undefined, { perMillion }: ModelPrice): bigint {
  if (perMillion === undefined) return 0n;
  return units.reduce((sum, unit) => sum + BigInt(unit === "call" ? 1 : (counted?.[unit] ?? 0)) * (perMillion[unit] ?? 0n), 0n);
}

/** Whether somebody who pays `cost` and is paid `price` loses nothing on a call of so much input, whatever is used of it. */
export function covers(price: ModelPrice, cost: ModelPrice, inputTokens: number): boolean {
  const sold = [price, price.above ?? price], paid = rateFor(inputTokens, cost);
  return sold.every((rate) => paid.inputMsatPerMtok <= rate.inputMsatPerMtok && paid.outputMsatPerMtok <= rate.outputMsatPerMtok)
    && units.every((unit) => (cost.perMillion?.[unit] ?? 0n) <= (price.perMillion?.[unit] ?? 0n));
}

function rateFor(inputTokens: number, price: ModelPrice): TokenRate {
  return price.above !== undefined && inputTokens > price.above.tokens ? price.above : price;
}

/** Output tokens that `amountMsat` pays for after the input; below zero when it does not even pay that. */
export function affordableOutputTokens(amountMsat: Msat, inputTokens: number, price: ModelPrice): number {
  const { inputMsatPerMtok, outputMsatPerMtok } = rateFor(inputTokens, price);
  const left = amountMsat * million - BigInt(inputTokens) * inputMsatPerMtok - costOfUnits(undefined, price);
  if (left < 0n) return -1;
  return outputMsatPerMtok === 0n ? Number.MAX_SAFE_INTEGER : Number(left / outputMsatPerMtok);
}
