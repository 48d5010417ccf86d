/** A price as text, for the terms that travel with an invoice and stay with a call's row. Pure. Decimal strings: JSON's numbers end at 2^53. */
import { changeEach, type ModelPrice, type PerUnit, type TokenRate } from "../pricing/quote.ts";

type RateText = { input_msat_per_mtok: string; output_msat_per_mtok: string };

/** `msat_per_million`: of each unit besides tokens. */
export type PriceText = RateText & { above?: RateText & { tokens: number }; msat_per_million?: PerUnit<string> };

export function priceToText(price: ModelPrice): PriceText {
  const { above, perMillion } = price;
  return {
    ...rateToText(price),
    ...(above && { above: { tokens: above.tokens, ...rateToText(above) } }),
    ...(perMillion && { msat_per_million: changeEach(perMillion, String) }),
  };
}

export function priceFromText(text: PriceText): ModelPrice {
  const { above, msat_per_million: perMillion } = text;
  return {
    ...rateFromText(text),
    ...(above && { above: { tokens: above.tokens, ...rateFromText(above) } }),
    ...(perMillion && { perMillion: changeEach(perMillion, BigInt) }),
  };
}

function rateToText(rate: TokenRate): RateText {
  return { input_msat_per_mtok: String(rate.inputMsatPerMtok), output_msat_per_mtok: String(rate.outputMsatPerMtok) };
}

function rateFromText(text: RateText): TokenRate {
  return { inputMsatPerMtok: BigInt(text.input_msat_per_mtok), outputMsatPerMtok: BigInt(text.output_msat_per_mtok) };
}
