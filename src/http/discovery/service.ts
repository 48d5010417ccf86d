/** What the generated documents speak of: this house at this moment. */
import type { Config } from "../../config/schema.ts";
import type { TrialOffer } from "../../gateway/gateway.ts";
import type { ModelForSale } from "../../gateway/model-directory.ts";
import { ceilToSat, toJsonNumber } from "../../money/msat.ts";
import type { FlatOffers } from "../../gateway/order-planner.ts";
import { costOf, type ModelPrice } from "../../pricing/quote.ts";
import type { BtcRate } from "../../pricing/rate.ts";
import { type Route, routeTable } from "../route-table.ts";

export type Service = {
  /** Where buyers reach the public door, without a slash at the end. */
  publicUrl: string;
  models: readonly ModelForSale[];
  /** Sold by the call. */
  flat: FlatOffers;
  rate: BtcRate | undefined;
  trial: TrialOffer & { calls: number };
  minPriceSats: number;
  minTopupSats: number;
  maxTopupSats: number;
};

/** @param doorUrl Where the public door is, for those who have set no `public_url`. */
export function describeService(config: Config, now: Pick<Service, "models" | "flat" | "rate">, doorUrl: string): Service {
  const { models, calls, max_output_tokens: maxOutputTokens } = config.trial;
  const { min_price_sats: minPriceSats, min_topup_sats: minTopupSats, max_topup_sats: maxTopupSats } = config.limits;
  return { ...now, publicUrl: (config.public_url ?? doorUrl).replace(/\/+$/, ""), trial: { models, calls, maxOutputTokens }, minPriceSats, minTopupSats, maxTopupSats };
}

/** A route that can be sold now, with what is sold there: models, or the route itself. */
export type SoldRoute = { route: Route; models: readonly ModelForSale[]; leastSats: number };

/** Only what has something to serve it is advertised. */
export function soldRoutes(service: Service): readonly SoldRoute[] {
  return routeTable.flatMap((route) => soldRoute(route, service) ?? []);
}

function soldRoute(route: Route, { models: all, flat, minPriceSats }: Service): SoldRoute | undefined {
  const { sells } = route;
  if (sells === undefined) return undefined;
  if (sells === "search" || sells === "dvm") {
    const offer = flat[sells];
    return offer && { route, models: [], leastSats: leastSats(offer.price, minPriceSats) };
  }
  const models = all.filter((model) => model.kind === sells);
  return models.length === 0 ? undefined : { route, models, leastSats: Math.min(...models.map((model) => leastSats(model.price, minPriceSats))) };
}

/** As clients know it; the same route is also under other prefixes. */
export function pathUnder(prefix: string, { path, absolute }: Route): string {
  return absolute ? path : prefix + path;
}

/** Those with a parameter in their path are other ways to the same. */
export function isPlain({ route }: SoldRoute): boolean {
  return !route.path.includes(":");
}

/** The least invoice for a call at this price, in sats. */
export function leastSats(price: ModelPrice, minPriceSats: number): number {
  const least = { inputTokens: 1, outputTokens: 1, units: { image: 1, second: 1, character: 1 } };
  return Math.max(minPriceSats, toJsonNumber(ceilToSat(costOf(least, price))));
}

/** Dollars per million tokens, to the millionth, for reading. */
export function usdPerMtok(msatPerMtok: bigint, rate: BtcRate): number {
  return Number((msatPerMtok * rate.centsPerBtc * 10_000n) / 100_000_000_000n) / 1e6;
}
