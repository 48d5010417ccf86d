/** The catalogs of 402ai (shapes 8), NanoGPT's matrix (shapes 9) and MaximumSats' prices (shapes 10). Absent is left out, never null. */
import type { ModelForSale } from "../../gateway/model-directory.ts";
import { toJsonNumber } from "../../money/msat.ts";
import type { BtcRate } from "../../pricing/rate.ts";
import { leastSats, type Service, soldRoutes, usdPerMtok } from "./service.ts";

/** 402ai's clients refuse to start unless this parses, and die of an entry without a model. */
export function catalog(service: Service) {
  const { models, rate, minPriceSats } = service;
  const endpoints = soldRoutes(service).filter((route) => !route.path.includes(":")).map((route) => ({
    path: `/v1${route.path}`,
    method: route.method,
    price_type: "per_model",
    description: route.summary,
    models: Object.fromEntries(models.map((model) => [model.id, catalogModel(model, rate, minPriceSats)])),
    example: { content_type: "json", body: { model: models[0]!.id, messages: [{ role: "user", content: "Hello" }] } },
  }));
  return {
    ...(rate && { btc_usd: Number(rate.centsPerBtc) / 100, btc_usd_updated_at: new Date(rate.atMs).toISOString() }),
    apis: endpoints.length === 0 ? {} : { openai: { name: "OpenAI compatible", endpoints } },
  };
}

function catalogModel(model: ModelForSale, rate: BtcRate | undefined, minPriceSats: number) {
  const sats = leastSats(model, minPriceSats);
  return {
    price_sats: sats,
    ...(rate && { price_usd_cents: Number((BigInt(sats) * rate.centsPerBtc * 100n) / 100_000_000n) / 100 }),
    ...(rate && { input_usd_per_mtok: usdPerMtok(model.price.inputMsatPerMtok, rate), output_usd_per_mtok: usdPerMtok(model.price.outputMsatPerMtok, rate) }),
  };
}

/** @param all Also rows of what is not sold at the moment. */
export function endpointMatrix(service: Service, all: boolean) {
  const sold = soldRoutes(service);
  const rows = sold.filter((route) => !route.path.includes(":")).map((route) => ({
    endpoint: `/api/v1${route.path}`,
    method: route.method,
    supported: true,
    schemes: ["lightning-l402"],
    streaming: route.streaming ? "stable" : "unsupported",
    async: false,
    quoteType: route.quoteType,
    notes: "Change stays on the credential and pays for later requests.",
  }));
  return { object: "x402.endpoint_support.list", version: "2026-11-01", data: rows, meta: { count: rows.length, totalCount: rows.length, unsupportedIncluded: all } };
}

export function pricing(service: Service) {
  const { models, rate, trial, minPriceSats } = service;
  const least = Math.min(...models.map((model) => leastSats(model, minPriceSats)));
  const priced = soldRoutes(service).filter((route) => !route.path.includes(":")).map((route) => ({
    path: `/v1${route.path}`,
    price_sats: least,
    models: Object.fromEntries(models.map((model) => [model.id, modelPricing(model, rate)])),
  }));
  return {
    l402_enabled: true,
    ...(trial.models.length > 0 && { free_tier_per_ip_per_day: trial.calls }),
    priced_endpoints: priced.sort((a, b) => (a.path < b.path ? -1 : 1)),
    payment_hints: { header_name: "X-Payment-Hash", query_param_name: "payment_hash", status_code: 402 },
  };
}

/** Per million tokens. */
export function modelPricing({ price }: ModelForSale, rate: BtcRate | undefined) {
  return {
    input_msat_per_mtok: toJsonNumber(price.inputMsatPerMtok),
    output_msat_per_mtok: toJsonNumber(price.outputMsatPerMtok),
    ...(rate && { input_usd_per_mtok: usdPerMtok(price.inputMsatPerMtok, rate), output_usd_per_mtok: usdPerMtok(price.outputMsatPerMtok, rate) }),
    ...(price.above && {
      above: {
        input_tokens: price.above.tokens,
        input_msat_per_mtok: toJsonNumber(price.above.inputMsatPerMtok),
        output_msat_per_mtok: toJsonNumber(price.above.outputMsatPerMtok),
      },
    }),
  };
}
