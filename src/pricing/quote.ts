/** What a call may cost at most, and what an ended one does cost. Pure: price table and counts in, amounts out. */
import { ceilDivide, type Msat, msat } from "../money/msat.ts";

/** Millisatoshi per million tokens. */
export type TokenRate = { inputMsatPerMtok: bigint; outputMsatPerMtok: bigint };

/** `above`: what all tokens of a call cost whose input is longer than that. */
export type ModelPrice = TokenRate & { above?: TokenRate & { tokens: number } };

export type TokenCounts = { inputTokens: number; outputTokens: number };

const tokensPerMtok = 1_000_000n;

/** Rounded up: toward the house, by less than a millisatoshi. A call that is for sale costs at least one. */
export function costOf(tokens: TokenCounts, price: ModelPrice): Msat {
  const { inputMsatPerMtok, outputMsatPerMtok } = rateFor(tokens.inputTokens, price);
  const exact = BigInt(tokens.inputTokens) * inputMsatPerMtok + BigInt(tokens.outputTokens) * outputMsatPerMtok;
  const cost = ceilDivide(exact, tokensPerMtok);
  return msat(cost > 0n ? cost : 1n);
}

/** Whether somebody who pays `cost` and is paid `price` loses nothing on a call of so much input, whatever is used of it. */
export function covers(price: ModelPrice, cost: ModelPrice, inputTokens: number): boolean {
  const sold = [price, price.above ?? price], paid = rateFor(inputTokens, cost);
  return sold.every((rate) => paid.inputMsatPerMtok <= rate.inputMsatPerMtok && paid.outputMsatPerMtok <= rate.outputMsatPerMtok);
}

function rateFor(inputTokens: number, price: ModelPrice): TokenRate {
  return price.above !== undefined && inputTokens > price.above.tokens ? price.above : price;
}

/** Output tokens that `amountMsat` pays for after the input; below zero when it does not even pay that. */
export function affordableOutputTokens(amountMsat: Msat, inputTokens: number, price: ModelPrice): number {
  const { inputMsatPerMtok, outputMsatPerMtok } = rateFor(inputTokens, price);
  const left = amountMsat * tokensPerMtok - BigInt(inputTokens) * inputMsatPerMtok;
  if (left < 0n) return -1;
  return outputMsatPerMtok === 0n ? Number.MAX_SAFE_INTEGER : Number(left / outputMsatPerMtok);
}
