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

/** Undefined while a price in dollars has no rate. */
export function priceAt(list: ListPrice, rate: BtcRate | undefined): ModelPrice | undefined {
  if (list.kind === "sats") return list.price;
  if (rate === undefined) return undefined;
  const toMsat = (micros: bigint) => ceilDivide(micros * msatPerBtc, rate.centsPerBtc * microsPerCent);
  const { inputMicros, outputMicros, above } = list.price;
  return {
    inputMsatPerMtok: toMsat(inputMicros),
    outputMsatPerMtok: toMsat(outputMicros),
    ...(above && { above: { tokens: above.tokens, inputMsatPerMtok: toMsat(above.inputMicros), outputMsatPerMtok: toMsat(above.outputMicros) } }),
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
