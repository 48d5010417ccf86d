/** Bitcoin in dollars. Pure. A rate is cents per bitcoin with the time it was true; dollars on the way in are whole cents. */
import { AppError } from "../base/errors.ts";
import { rateRetryMs } from "../base/limits.ts";
import { ceilDivide, type Msat } from "../money/msat.ts";

export type BtcRate = { centsPerBtc: bigint; atMs: number };

const satsPerBtc = 100_000_000n;
const msatPerBtc = satsPerBtc * 1000n;

/** Toward the house: what an invoice over so many dollars asks for. May be more than there is: compare it before it becomes an amount. */
export function satsOfCents(cents: bigint, rate: BtcRate): bigint {
  return ceilDivide(cents * satsPerBtc, rate.centsPerBtc);
}

/** Dollars for reading, to the millionth, rounded down. Never calculated with. */
export function usdOf(amount: Msat, rate: BtcRate): number {
  return Number((amount * rate.centsPerBtc * 10_000n) / msatPerBtc) / 1e6;
}

/** The same as a plain decimal, such as `0.0231`. */
export function usdText(amount: Msat, rate: BtcRate): string {
  return usdOf(amount, rate).toFixed(6).replace(/0+$/, "").replace(/\.$/, "");
}

/** Back when the sources are asked again. */
export function rateUnknown(message = "This is priced in dollars, and the price of bitcoin is not known at the moment."): AppError {
  return new AppError("rate_unknown", message, { retryable: true, retryAfterSeconds: rateRetryMs / 1000 });
}

/** Cents of a decimal with at most two places, such as `1.20`; undefined for anything else, exponents and signs included. */
export function parseCents(text: string): bigint | undefined {
  const [, whole, places = ""] = /^([0-9]{1,9})(?:\.([0-9]{1,2}))?$/.exec(text) ?? [];
  return whole === undefined ? undefined : BigInt(whole) * 100n + BigInt(places.padEnd(2, "0"));
}
