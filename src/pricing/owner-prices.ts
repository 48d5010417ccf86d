/** The price of a model as it is listed. Pure. A model of somebody else's server without a price is not for sale. */
import { providerOf } from "../config/providers.ts";
import type { Config, PriceConfig } from "../config/schema.ts";
import { type ListPrice, withMargin } from "./list-price.ts";
import { kindOfMode, type ModelKind, type PriceRow, type Snapshot } from "./public-prices.ts";
import type { PerUnit, Unit } from "./quote.ts";

/** What a local model costs until the owner says otherwise: about what small hosted models cost, in sats per million tokens. */
const localDefault: PriceConfig = { input_sats_per_mtok: 200, output_sats_per_mtok: 800 };

export type PriceSettings = Pick<Config, "prices" | "upstreams">;

/** Limits are the maker's, in tokens, where the public table has them. `kind`: undefined where neither price nor table tells. */
export type PriceAndCost = { price: ListPrice; cost: ListPrice; kind: ModelKind | undefined; maxInputTokens: number | undefined; maxOutputTokens: number | undefined };

type UpstreamName = { name: string; local: boolean };

/** A price as the server itself lists it. */
export type ListedRow = Pick<Required<PriceRow>, "in" | "out"> & Pick<PriceRow, "above" | "perCall">;

const nothing: ListPrice = { kind: "sats", price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n } };

/** What a model is listed at, and what it costs the owner: nothing where it runs at home, the public price, or else what it is listed at. */
export function priceAndCost(config: PriceSettings, snapshot: Snapshot, upstream: UpstreamName, modelId: string, listed?: ListedRow): PriceAndCost | undefined {
  const price = listPrice(config, snapshot, upstream, modelId, listed);
  if (price === undefined) return undefined;
  const row = bestRow(config, snapshot, upstream, modelId, listed);
  const usd = publicPrice(row, 0);
  const made = row && kindOfMode(row.mode);
  // Pictures and sound at a price of tokens, or of the call, would be given away: nobody counts their tokens beforehand.
  const kind = kindSoldBy(price) ?? (made === undefined || made === "chat" ? made : "other");
  return { price, cost: usd ?? (upstream.local ? nothing : price), kind, maxInputTokens: row?.maxIn, maxOutputTokens: row?.maxOut };
}

/** What its own server asks, where it says so, counts before the public table: it is newer. */
function bestRow(config: PriceSettings, snapshot: Snapshot, upstream: UpstreamName, modelId: string, listed: ListedRow | undefined): PriceRow | undefined {
  const row = publicRow(config, snapshot, upstream, modelId);
  return listed === undefined ? row : { mode: "chat", maxIn: row?.maxIn, maxOut: row?.maxOut, ...listed };
}

/** Undefined for tokens, which several kinds are sold by. */
function kindSoldBy({ price }: ListPrice): ModelKind | undefined {
  const sold = price.perMillion;
  if (sold?.image !== undefined) return "image";
  if (sold?.second !== undefined) return "transcription";
  return sold?.character === undefined ? undefined : "speech";
}

/**
 * Looked up as `upstream/model`, then `model`, then the upstream's price, then what its server asks or the public price of its
 * provider, with the margin, then (local models only) the default.
 */
export function listPrice(config: PriceSettings, snapshot: Snapshot, upstream: UpstreamName, modelId: string, listed?: ListedRow): ListPrice | undefined {
  const { models } = config.prices;
  const short = modelId.replace(/:latest$/, "");
  const own = [`${upstream.name}/${modelId}`, `${upstream.name}/${short}`, modelId, short].find((name) => Object.hasOwn(models, name));
  if (own !== undefined) return toListPrice(models[own]!);
  const configured = config.upstreams.find((one) => one.name === upstream.name);
  if (configured?.price) return toListPrice(configured.price);
  const usd = publicPrice(bestRow(config, snapshot, upstream, modelId, listed), config.prices.margin_percent);
  return usd ?? (upstream.local ? toListPrice(config.prices.default ?? localDefault) : undefined);
}

function publicPrice(row: PriceRow | undefined, marginPercent: number): ListPrice | undefined {
  const usd = row && withMargin(row, marginPercent);
  return usd && { kind: "usd", price: usd };
}

/** A server at home may pass requests on to a cloud, as the owner's `provider` says; else it costs nobody anything. */
function publicRow(config: PriceSettings, snapshot: Snapshot, upstream: UpstreamName, modelId: string): PriceRow | undefined {
  const configured = config.upstreams.find((one) => one.name === upstream.name);
  const provider = configured && (configured.provider ?? (upstream.local ? undefined : providerOf(configured.url)));
  if (provider === undefined) return undefined;
  // Gemini's compatible API lists `models/gemini-...`.
  const ids = [modelId, modelId.replace(/^models\//, "")].map((name) => `${provider}/${name}`);
  const own = ids.find((id) => Object.hasOwn(snapshot.models, id));
  const row = own === undefined ? undefined : snapshot.models[own];
  if (row !== undefined && (row.perImage !== undefined || kindOfMode(row.mode) !== "image")) return row;
  const perImage = dearestImage(snapshot, ids);
  return perImage === undefined ? row : { mode: "image_generation", perImage };
}

type Variants = { dearest: number; qualities: Set<string> };
const variantsOf = new WeakMap<Snapshot, Map<string, Variants>>();

/**
 * Pictures are listed by size and quality (`openai/high/1024-x-1024/gpt-image-1`): what a buyer asks for costs at most the dearest. Where
 * the table knows lesser qualities and no high one, nobody knows what that costs.
 */
function dearestImage(snapshot: Snapshot, ids: readonly string[]): number | undefined {
  const variants = variantsOf.get(snapshot) ?? readVariants(snapshot);
  variantsOf.set(snapshot, variants);
  const found = ids.map((id) => variants.get(id)).find((one) => one !== undefined);
  if (found === undefined) return undefined;
  const { dearest, qualities } = found;
  const lesser = qualities.has("low") || qualities.has("medium") || qualities.has("standard");
  return lesser && !qualities.has("high") && !qualities.has("hd") ? undefined : dearest;
}

/** By `provider/model`. Read once: a list of three hundred models would walk through the table three hundred times. */
function readVariants({ models }: Snapshot): Map<string, Variants> {
  const all = new Map<string, Variants>();
  for (const [id, { perImage }] of Object.entries(models)) {
    const [provider, ...parts] = id.split("/");
    if (perImage === undefined || parts.length < 2) continue;
    // The model itself may have slashes in its name: every ending is one it may be asked by.
    for (let from = 1; from < parts.length; from++) {
      const name = `${provider}/${parts.slice(from).join("/")}`;
      const known = all.get(name) ?? { dearest: 0, qualities: new Set<string>() };
      known.dearest = Math.max(known.dearest, perImage);
      known.qualities.add(parts[0]!);
      all.set(name, known);
    }
  }
  return all;
}

export function toListPrice(price: PriceConfig): ListPrice {
  const { input_sats_per_mtok: input, output_sats_per_mtok: output, input_usd_per_mtok: inputUsd, output_usd_per_mtok: outputUsd } = price;
  const inSats = Object.keys(price).some((name) => name.includes("sats"));
  if (inSats) return { kind: "sats", price: { inputMsatPerMtok: BigInt(input ?? 0) * 1000n, outputMsatPerMtok: BigInt(output ?? 0) * 1000n, ...unitsOf(price, "sats", 1_000n) } };
  return { kind: "usd", price: { inputMicros: toMicros(inputUsd ?? 0), outputMicros: toMicros(outputUsd ?? 0), ...unitsOf(price, "usd", million) } };
}

const million = 1_000_000n;
const unitNames: readonly [name: "image" | "second" | "call", unit: Unit][] = [["image", "image"], ["second", "second"], ["call", "call"]];

/** @param parts Thousandths of a sat or millionths of a dollar: what the amounts are kept in. */
function unitsOf(price: PriceConfig, currency: "sats" | "usd", parts: bigint): { perMillion?: PerUnit<bigint> } {
  const toParts = (amount: number) => up(amount * Number(parts));
  const sold: { [unit in Unit]?: bigint } = {};
  for (const [name, unit] of unitNames) {
    const amount = price[`${currency}_per_${name}`];
    if (amount !== undefined) sold[unit] = toParts(amount) * million;
  }
  const characters = price[`${currency}_per_mchar`];
  if (characters !== undefined) sold.character = toParts(characters);
  return Object.keys(sold).length === 0 ? {} : { perMillion: sold };
}

/** Up, past the noise in a float's last digits. */
function up(amount: number): bigint {
  return BigInt(Math.ceil(Number(amount.toPrecision(12))));
}

function toMicros(usd: number): bigint {
  return up(usd * 1e6);
}
