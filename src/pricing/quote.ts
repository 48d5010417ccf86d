/** What a call may cost at most, and what an ended one does cost. Pure: price table and counts in, amounts out. */
import { ceilDivide, type Msat, msat } from "../money/msat.ts";

/** Millisatoshi per million tokens. */
export type ModelPrice = { inputMsatPerMtok: bigint; outputMsatPerMtok: bigint };

export type TokenCounts = { inputTokens: number; outputTokens: number };

const tokensPerMtok = 1_000_000n;

/** Rounded up: toward the house, by less than a millisatoshi. A call that is for sale costs at least one. */
export function costOf(tokens: TokenCounts, price: ModelPrice): Msat {
  const exact = BigInt(tokens.inputTokens) * price.inputMsatPerMtok + BigInt(tokens.outputTokens) * price.outputMsatPerMtok;
  const cost = ceilDivide(exact, tokensPerMtok);
  return msat(cost > 0n ? cost : 1n);
}

/** Output tokens that `amountMsat` pays for after the input; below zero when it does not even pay that. */
export function affordableOutputTokens(amountMsat: Msat, inputTokens: number, price: ModelPrice): number {
  const left = amountMsat * tokensPerMtok - BigInt(inputTokens) * price.inputMsatPerMtok;
  if (left < 0n) return -1;
  return price.outputMsatPerMtok === 0n ? Number.MAX_SAFE_INTEGER : Number(left / price.outputMsatPerMtok);
}
