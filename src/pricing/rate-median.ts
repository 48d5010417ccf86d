/** One price of bitcoin from what several sources say. Pure. */
import { maxRateSpreadPercent, minRateSources } from "../base/limits.ts";

export type RateReading = { source: string; centsPerBtc: bigint };

export type MedianRate =
  | { ok: true; centsPerBtc: bigint; used: string[]; dropped: string[] }
  | { ok: false; reason: "too_few_sources" | "sources_disagree"; dropped: string[] };

/**
 * The median of the sources that are near it. A source more than 10 % off the first median is an outlier; when too few
 * are left, nobody can say which of them is right.
 */
export function medianRate(readings: readonly RateReading[]): MedianRate {
  if (readings.length < minRateSources) return { ok: false, reason: "too_few_sources", dropped: [] };
  const first = median(readings);
  const near = readings.filter((one) => isNear(one.centsPerBtc, first));
  const dropped = readings.filter((one) => !near.includes(one)).map((one) => one.source);
  if (near.length < minRateSources) return { ok: false, reason: "sources_disagree", dropped };
  return { ok: true, centsPerBtc: median(near), used: near.map((one) => one.source), dropped };
}

function isNear(price: bigint, middle: bigint): boolean {
  const off = price > middle ? price - middle : middle - price;
  return off * 100n <= middle * maxRateSpreadPercent;
}

/** Of an even number the lower of the two in the middle: fewer cents a bitcoin make a dollar's price more sats, which is the house's side. */
function median(readings: readonly RateReading[]): bigint {
  const sorted = readings.map((one) => one.centsPerBtc).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}
