/**
 * What a token of an own machine costs in electricity, from watts, tariff and measured speed. Pure. Rounded up, toward the house.
 * It knows nothing of the machine's price, nor of the hours in which nobody asks.
 */
import { ceilDivide } from "../money/msat.ts";

export type RunningCost = { watts: number; /** Drawn anyway: only what is drawn above it is counted. */ idleWatts: number; usdPerKwh: number; marginPercent: number };

export type RunningCostOutcome = { ok: true; running: RunningCost } | { ok: false; message: string };

/** As typed; undefined where nothing was said. */
export type RunningCostTexts = { watts?: string; tariff?: string; idleWatts?: string; marginPercent?: string };

/** A rack draws less; above it somebody has typed milliwatts. */
const maxWatts = 100_000;
/** Twenty times the dearest household tariff: above it somebody has typed cents. */
const maxUsdPerKwh = 10;
/** As `margin_percent` of the settings. */
const maxMarginPercent = 1_000;
const defaultMarginPercent = 20;

const secondsPerMtokAtOne = 1_000_000;
const wattSecondsPerKwh = 3_600_000;
const microsPerUsd = 1_000_000;

/** Refuses what cannot be meant, with the flag, its value and what to do. */
export function parseRunningCost(texts: RunningCostTexts): RunningCostOutcome {
  const { watts, tariff, idleWatts = "0", marginPercent = String(defaultMarginPercent) } = texts;
  const [draw, idle, price, margin] = [decimal(watts), decimal(idleWatts), decimal(tariff), decimal(marginPercent)];
  const no = (flag: string, text: string | undefined, fix: string): RunningCostOutcome => ({ ok: false, message: `${flag} ${text === undefined ? "is missing" : `is ${JSON.stringify(text)}`}: ${fix}` });
  if (draw === undefined || draw <= 0 || draw > maxWatts) return no("--watts", watts, `give what the machine draws while it answers, above 0 and up to ${maxWatts}, such as --watts 65`);
  if (idle === undefined || idle >= draw) return no("--idle-watts", idleWatts, `give what the machine draws while nobody asks, from 0 to less than --watts (${draw}), such as --idle-watts 8`);
  if (price === undefined || price <= 0 || price > maxUsdPerKwh)
    return no("--tariff", tariff, `give what a kilowatt-hour costs in dollars, above 0 and up to ${maxUsdPerKwh}, such as --tariff 0.30 for 30 cents`);
  if (margin === undefined || margin > maxMarginPercent || !Number.isInteger(margin)) return no("--margin", marginPercent, `give whole percent from 0 to ${maxMarginPercent}, such as --margin 50`);
  return { ok: true, running: { watts: draw, idleWatts: idle, usdPerKwh: price, marginPercent: margin } };
}

/** Digits with at most one point: no sign, no exponent, no comma. */
function decimal(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : undefined;
}

/** Micro-dollars of a million tokens, and the same with the margin; at least one, since nothing is free. @param tokensPerSecond Above 0. */
export function microsPerMtok({ watts, idleWatts, usdPerKwh, marginPercent }: RunningCost, tokensPerSecond: number): { cost: bigint; price: bigint } {
  const kwhPerMtok = ((watts - idleWatts) * secondsPerMtokAtOne) / tokensPerSecond / wattSecondsPerKwh;
  // Past the noise in a float's last digits.
  const cost = BigInt(Math.max(1, Math.ceil(Number((kwhPerMtok * usdPerKwh * microsPerUsd).toPrecision(14)))));
  return { cost, price: ceilDivide(cost * BigInt(100 + marginPercent), 100n) };
}

/** Micro-dollars as a decimal that is exact, such as `0.404229`. */
export function usdDecimal(micros: bigint): string {
  const places = String(micros % BigInt(microsPerUsd)).padStart(6, "0").replace(/0+$/, "");
  return `${micros / BigInt(microsPerUsd)}${places === "" ? "" : `.${places}`}`;
}
