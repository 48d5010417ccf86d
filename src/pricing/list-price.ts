/**
 * The price of a model as it is set, and what that is in sats at a rate. Pure. Dollars become msat toward the house, at the
 * moment of the quote; the quote then keeps both the price and the rate.
 */
import { ceilDivide } from "../money/msat.ts";
import type { PriceRow } from "./public-prices.ts";
import { changeEach, type ModelPrice, type PerUnit, type Unit } from "./quote.ts";
import type { BtcRate } from "./rate.ts";

/** Micro-dollars per million tokens, and per million of each unit. */
export type UsdPrice = { inputMicros: bigint; outputMicros: bigint; above?: { tokens: number; inputMicros: bigint; outputMicros: bigint }; perMillion?: PerUnit<bigint> };

export type ListPrice = { kind: "sats"; price: ModelPrice } | { kind: "usd"; price: UsdPrice };

const microsPerCent = 10_000n;
const msatPerBtc = 100_000_000_000n;

/** Undefined while a price in dollars has no rate. @param discountPercent Off it. */
export function priceAt(list: ListPrice, rate: BtcRate | undefined, discountPercent = 0): ModelPrice | undefined {
  const full = list.kind === "sats" ? list.price : rate && inMsat(list.price, rate);
  return full && discountPercent > 0 ? discounted(full, discountPercent) : full;
}

function inMsat({ inputMicros, outputMicros, above, perMillion }: UsdPrice, rate: BtcRate): ModelPrice {
  const toMsat = (micros: bigint) => ceilDivide(micros * msatPerBtc, rate.centsPerBtc * microsPerCent);
  return {
    inputMsatPerMtok: toMsat(inputMicros),
    outputMsatPerMtok: toMsat(outputMicros),
    ...(above && { above: { tokens: above.tokens, inputMsatPerMtok: toMsat(above.inputMicros), outputMsatPerMtok: toMsat(above.outputMicros) } }),
    ...(perMillion && { perMillion: changeEach(perMillion, toMsat) }),
  };
}

function discounted({ inputMsatPerMtok, outputMsatPerMtok, above, perMillion }: ModelPrice, percent: number): ModelPrice {
  const less = (amount: bigint) => ceilDivide(amount * BigInt(100 - percent), 100n);
  return {
    inputMsatPerMtok: less(inputMsatPerMtok),
    outputMsatPerMtok: less(outputMsatPerMtok),
    ...(above && { above: { tokens: above.tokens, inputMsatPerMtok: less(above.inputMsatPerMtok), outputMsatPerMtok: less(above.outputMsatPerMtok) } }),
    ...(perMillion && { perMillion: changeEach(perMillion, less) }),
  };
}

/** What a cloud asks, with the owner's margin on it. Undefined for what has no price in a count that is known before it is sold. */
export function withMargin(row: PriceRow, marginPercent: number): UsdPrice | undefined {
  const sold = (micros: number) => ceilDivide(BigInt(micros) * BigInt(100 + marginPercent), 100n);
  const unit = unitOf(row);
  if (unit !== undefined) return { inputMicros: 0n, outputMicros: 0n, perMillion: { [unit.name]: ceilDivide(unit.microsPerMillion * BigInt(100 + marginPercent), 100n) } };
  if (row.in === undefined || row.out === undefined) return undefined;
  return {
    inputMicros: sold(row.in),
    outputMicros: sold(row.out),
    ...(row.above && { above: { tokens: row.above.tokens, inputMicros: sold(row.above.in), outputMicros: sold(row.above.out) } }),
    ...(row.perCall !== undefined && { perMillion: { call: sold(row.perCall) * million } }),
  };
}

const million = 1_000_000n;

/** The one thing that a picture or sound model is sold by. */
function unitOf({ mode, perImage, perSecond, perMchar }: PriceRow): { name: Unit; microsPerMillion: bigint } | undefined {
  if (mode === "image_generation" && perImage !== undefined) return { name: "image", microsPerMillion: BigInt(perImage) * million };
  if (mode === "audio_transcription" && perSecond !== undefined) return { name: "second", microsPerMillion: BigInt(perSecond) * million };
  if (mode === "audio_speech" && perMchar !== undefined) return { name: "character", microsPerMillion: BigInt(perMchar) };
  return undefined;
}
