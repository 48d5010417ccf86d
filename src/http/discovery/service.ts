/** What the generated documents speak of: this house at this moment. */
import type { TrialOffer } from "../../gateway/gateway.ts";
import type { ModelForSale } from "../../gateway/model-directory.ts";
import { ceilToSat, toJsonNumber } from "../../money/msat.ts";
import { costOf } from "../../pricing/quote.ts";
import type { BtcRate } from "../../pricing/rate.ts";
import { type Route, routeTable } from "../route-table.ts";

export type Service = {
  /** Where buyers reach the public door, without a slash at the end. */
  publicUrl: string;
  models: readonly ModelForSale[];
  rate: BtcRate | undefined;
  trial: TrialOffer & { calls: number };
  minPriceSats: number;
  minTopupSats: number;
  maxTopupSats: number;
};

/** Paid routes that have a model to serve them: only what can be sold is advertised. */
export function soldRoutes({ models }: Service): readonly Route[] {
  return models.length === 0 ? [] : routeTable.filter((route) => route.kind === "paid");
}

/** The least invoice for a call of this model, in sats. */
export function leastSats({ price }: ModelForSale, minPriceSats: number): number {
  return Math.max(minPriceSats, toJsonNumber(ceilToSat(costOf({ inputTokens: 1, outputTokens: 1 }, price))));
}

/** Dollars per million tokens, to the millionth, for reading. */
export function usdPerMtok(msatPerMtok: bigint, rate: BtcRate): number {
  return Number((msatPerMtok * rate.centsPerBtc * 10_000n) / 100_000_000_000n) / 1e6;
}
