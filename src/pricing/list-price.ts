/**
 * The price of a model as it is set, and what that is in sats at a rate. Pure. Dollars become msat toward the house, at the
 * moment of the quote; the quote then keeps both the price and the rate.
 */
import { ceilDivide } from "../money/msat.ts";
import type { PriceRow } from "./public-prices.ts";
import type { ModelPrice } from "./quote.ts";
import type { BtcRate } from "./rate.ts";

/** Micro-dollars per million tokens. */
export type UsdPrice = { inputMicros: bigint; outputMicros: bigint; above?: { tokens: number; inputMicros: bigint; outputMicros: bigint } };

export type ListPrice = { kind: "sats"; price: ModelPrice } | { kind: "usd"; price: UsdPrice };

const microsPerCent = 10_000n;
const msatPerBtc = 100_000_000_000n;

/** Undefined while a price in dollars has no rate. @param discountPercent Off it. */
export function priceAt(list: ListPrice, rate: BtcRate | undefined, discountPercent = 0): ModelPrice | undefined {
  const full = list.kind === "sats" ? list.price : rate && inMsat(list.price, rate);
  return full && discountPercent > 0 ? discounted(full, discountPercent) : full;
}

function inMsat({ inputMicros, outputMicros, above }: UsdPrice, rate: BtcRate): ModelPrice {
  const toMsat = (micros: bigint) => ceilDivide(micros * msatPerBtc, rate.centsPerBtc * microsPerCent);
  return {
    inputMsatPerMtok: toMsat(inputMicros),
    outputMsatPerMtok: toMsat(outputMicros),
    ...(above && { above: { tokens: above.tokens, inputMsatPerMtok: toMsat(above.inputMicros), outputMsatPerMtok: toMsat(above.outputMicros) } }),
  };
}

function discounted({ inputMsatPerMtok, outputMsatPerMtok, above }: ModelPrice, percent: number): ModelPrice {
  const less = (amount: bigint) => ceilDivide(amount * BigInt(100 - percent), 100n);
  return {
    inputMsatPerMtok: less(inputMsatPerMtok),
    outputMsatPerMtok: less(outputMsatPerMtok),
    ...(above && { above: { tokens: above.tokens, inputMsatPerMtok: less(above.inputMsatPerMtok), outputMsatPerMtok: less(above.outputMsatPerMtok) } }),
  };
}

/** What a cloud asks, with the owner's margin on it. Undefined for what is not sold by the token. */
export function withMargin(row: PriceRow, marginPercent: number): UsdPrice | undefined {
  if (row.in === undefined || row.out === undefined) return undefined;
  const sold = (micros: number) => ceilDivide(BigInt(micros) * BigInt(100 + marginPercent), 100n);
  return {
    inputMicros: sold(row.in),
    outputMicros: sold(row.out),
    ...(row.above && { above: { tokens: row.above.tokens, inputMicros: sold(row.above.in), outputMicros: sold(row.above.out) } }),
  };
}
