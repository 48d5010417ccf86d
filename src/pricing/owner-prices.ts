/** The price of a model as it is listed. Pure. A model of somebody else's server without a price is not for sale. */
import { providerOf } from "../config/providers.ts";
import type { Config, PriceConfig } from "../config/schema.ts";
import { type ListPrice, withMargin } from "./list-price.ts";
import type { PriceRow, Snapshot } from "./public-prices.ts";

/** What a local model costs until the owner says otherwise: about what small hosted models cost, in sats per million tokens. */
const localDefault: PriceConfig = { input_sats_per_mtok: 200, output_sats_per_mtok: 800 };

export type PriceSettings = Pick<Config, "prices" | "upstreams">;

/** Limits are the maker's, in tokens, where the public table has them. */
export type PriceAndCost = { price: ListPrice; cost: ListPrice; maxInputTokens: number | undefined; maxOutputTokens: number | undefined };

const nothing: ListPrice = { kind: "sats", price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n } };

/** What a model is listed at, and what it costs the owner: nothing where it runs at home, the public price, or else what it is listed at. */
export function priceAndCost(config: PriceSettings, snapshot: Snapshot, upstream: { name: string; local: boolean }, modelId: string): PriceAndCost | undefined {
  const price = listPrice(config, snapshot, upstream, modelId);
  if (price === undefined) return undefined;
  const row = publicRow(config, snapshot, upstream, modelId);
  const usd = publicPrice(row, 0);
  return { price, cost: usd ?? (upstream.local ? nothing : price), maxInputTokens: row?.maxIn, maxOutputTokens: row?.maxOut };
}

/**
 * Looked up as `upstream/model`, then `model`, then the upstream's price, then the public price of its provider with the
 * margin, then (local models only) the default.
 */
export function listPrice(config: PriceSettings, snapshot: Snapshot, upstream: { name: string; local: boolean }, modelId: string): ListPrice | undefined {
  const { models } = config.prices;
  const short = modelId.replace(/:latest$/, "");
  const own = [`${upstream.name}/${modelId}`, `${upstream.name}/${short}`, modelId, short].find((name) => Object.hasOwn(models, name));
  if (own !== undefined) return toListPrice(models[own]!);
  const configured = config.upstreams.find((one) => one.name === upstream.name);
  if (configured?.price) return toListPrice(configured.price);
  const usd = publicPrice(publicRow(config, snapshot, upstream, modelId), config.prices.margin_percent);
  return usd ?? (upstream.local ? toListPrice(config.prices.default ?? localDefault) : undefined);
}

function publicPrice(row: PriceRow | undefined, marginPercent: number): ListPrice | undefined {
  const usd = row && withMargin(row, marginPercent);
  return usd && { kind: "usd", price: usd };
}

/** A server at home may pass requests on to a cloud, as the owner's `provider` says; else it costs nobody anything. */
function publicRow(config: PriceSettings, snapshot: Snapshot, upstream: { name: string; local: boolean }, modelId: string): PriceRow | undefined {
  const configured = config.upstreams.find((one) => one.name === upstream.name);
  const provider = configured && (configured.provider ?? (upstream.local ? undefined : providerOf(configured.url)));
  if (provider === undefined) return undefined;
  // Gemini's compatible API lists `models/gemini-...`.
  const id = [modelId, modelId.replace(/^models\//, "")].map((name) => `${provider}/${name}`).find((name) => Object.hasOwn(snapshot.models, name));
  return id === undefined ? undefined : snapshot.models[id];
}

function toListPrice(price: PriceConfig): ListPrice {
  const { input_sats_per_mtok: input, output_sats_per_mtok: output, input_usd_per_mtok: inputUsd = 0, output_usd_per_mtok: outputUsd = 0 } = price;
  if (input !== undefined && output !== undefined) return { kind: "sats", price: { inputMsatPerMtok: BigInt(input) * 1000n, outputMsatPerMtok: BigInt(output) * 1000n } };
  return { kind: "usd", price: { inputMicros: toMicros(inputUsd), outputMicros: toMicros(outputUsd) } };
}

/** Up, past the noise in a float's last digits. */
function toMicros(usd: number): bigint {
  return BigInt(Math.ceil(Number((usd * 1e6).toPrecision(12))));
}
