/** A flat price never sells at a loss: the answer is as long as the price pays for. Pure. */
import { AppError } from "../base/errors.ts";
import type { Msat } from "../money/msat.ts";
import { affordableOutputTokens, type ModelPrice } from "../pricing/quote.ts";

/** With fewer an answer is a fragment. */
const leastTokens = 64;

/** Whether the call is all there is to pay. */
export function isFlat({ inputMsatPerMtok, outputMsatPerMtok, perMillion }: ModelPrice): boolean {
  return inputMsatPerMtok === 0n && outputMsatPerMtok === 0n && perMillion?.call !== undefined;
}

/** Output tokens that a flat price pays for, at most `cap`; undefined where it pays for no answer worth having. */
export function flatCap(priceMsat: Msat, inputTokens: number, cap: number, cost: ModelPrice): number | undefined {
  const paid = Math.min(cap, affordableOutputTokens(priceMsat, inputTokens, cost));
  return paid < Math.min(leastTokens, cap) ? undefined : paid;
}

export function tooLongForPrice(param: string): AppError {
  return new AppError("invalid_request", `${param} is longer than the flat price pays for; send less, or use a model that is sold by the token.`, { param });
}
