/** Public prices of bitcoin, each a JSON document with one number in it. Nothing is sent but the request itself. */
import { readBounded } from "../base/read-bounded.ts";
import { maxRateAnswerBytes, rateSourceTimeoutMs } from "../base/limits.ts";

export type RateSource = {
  name: string;
  /** Cents per bitcoin. @throws whatever went wrong. */
  read(): Promise<bigint>;
};

/** `path` names the number by dots, e.g. `data.amount` or `result.XXBTZUSD.c.0`; a number or a text. */
export type RateSourceConfig = { name: string; url: string; path: string };

/**
 * mempool (docs/api "prices"), Coinbase ("Get spot price"), Kraken ("Get Ticker Information"), Bitstamp ("Currency pair ticker").
 * None of them wants a key.
 */
export const publicRateSources: readonly RateSourceConfig[] = [
  { name: "mempool", url: "https://mempool.space/api/v1/prices", path: "USD" },
  { name: "coinbase", url: "https://api.coinbase.com/v2/prices/BTC-USD/spot", path: "data.amount" },
  { name: "kraken", url: "https://api.kraken.com/0/public/Ticker?pair=XBTUSD", path: "result.XXBTZUSD.c.0" },
  { name: "bitstamp", url: "https://www.bitstamp.net/api/v2/ticker/btcusd/", path: "last" },
];

export function jsonRateSource({ name, url, path }: RateSourceConfig): RateSource {
  return {
    name,
    async read() {
      const answer = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(rateSourceTimeoutMs), headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`${name} answered ${answer.status}`);
      const text = new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxRateAnswerBytes));
      const cents = readCents(JSON.parse(text), path);
      if (cents === undefined) throw new Error(`${name} has no price at ${path}`);
      return cents;
    },
  };
}

/** A price of at least a cent, cut to whole cents; undefined where there is none. */
export function readCents(document: unknown, path: string): bigint | undefined {
  let value: unknown = document;
  for (const part of path.split(".")) value = (value as Record<string, unknown> | null | undefined)?.[part];
  const [, whole, places = ""] = /^([0-9]{1,10})(?:\.([0-9]{1,12}))?$/.exec(typeof value === "number" || typeof value === "string" ? String(value) : "") ?? [];
  const cents = whole === undefined ? 0n : BigInt(whole) * 100n + BigInt(places.slice(0, 2).padEnd(2, "0"));
  return cents > 0n ? cents : undefined;
}
