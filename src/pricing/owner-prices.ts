/** The owner's price of a model. Pure. A model of somebody else's server without a price is not for sale. */
import type { Config, PriceConfig } from "../config/schema.ts";
import type { ModelPrice } from "./quote.ts";

/** What a local model costs until the owner says otherwise: about what small hosted models cost, in sats per million tokens. */
const localDefault: PriceConfig = { input_sats_per_mtok: 200, output_sats_per_mtok: 800 };

/** Looked up as `upstream/model`, then `model`, then the upstream's price, then (local models only) the default. */
export function ownerPrice(config: Pick<Config, "prices" | "upstreams">, upstream: { name: string; local: boolean }, modelId: string): ModelPrice | undefined {
  const { models } = config.prices;
  const short = modelId.replace(/:latest$/, "");
  const own = [`${upstream.name}/${modelId}`, `${upstream.name}/${short}`, modelId, short].find((name) => Object.hasOwn(models, name));
  if (own !== undefined) return toModelPrice(models[own]!);
  const ofUpstream = config.upstreams.find((one) => one.name === upstream.name)?.price;
  if (ofUpstream) return toModelPrice(ofUpstream);
  return upstream.local ? toModelPrice(config.prices.default ?? localDefault) : undefined;
}

function toModelPrice(price: PriceConfig): ModelPrice {
  return { inputMsatPerMtok: BigInt(price.input_sats_per_mtok) * 1000n, outputMsatPerMtok: BigInt(price.output_sats_per_mtok) * 1000n };
}
