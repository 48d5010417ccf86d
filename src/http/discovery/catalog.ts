/** The catalogs of 402ai (shapes 8), NanoGPT's matrix (shapes 9) and MaximumSats' prices (shapes 10). Absent is left out, never null. */
import type { ModelForSale } from "../../gateway/model-directory.ts";
import { toJsonNumber } from "../../money/msat.ts";
import { type ModelPrice, type Unit, units } from "../../pricing/quote.ts";
import type { BtcRate } from "../../pricing/rate.ts";
import { isPlain, leastSats, pathUnder, type Service, type SoldRoute, soldRoutes, usdPerMtok } from "./service.ts";

/** 402ai's clients refuse to start unless this parses, and die of an entry without a model. They put a prefix before every path. */
export function catalog(service: Service) {
  const { rate } = service;
  const endpoints = soldRoutes(service).filter((sold) => isPlain(sold) && !sold.route.absolute).map((sold) => catalogEntry(sold, service));
  return {
    ...(rate && { btc_usd: Number(rate.centsPerBtc) / 100, btc_usd_updated_at: new Date(rate.atMs).toISOString() }),
    apis: endpoints.length === 0 ? {} : { openai: { name: "OpenAI compatible", endpoints } },
  };
}

function catalogEntry({ route, models, leastSats: least }: SoldRoute, { rate, minPriceSats }: Service) {
  const entry = { path: pathUnder("/v1", route), method: route.method, description: route.summary };
  const body = exampleBody(route.path, models[0]?.id);
  const example = body && { example: route.form ? { content_type: "multipart", file_field: "file", fields: body } : { content_type: "json", body } };
  if (models.length === 0) return { ...entry, price_type: "flat", price_sats: least, ...example };
  return { ...entry, price_type: "per_model", models: Object.fromEntries(models.map((model) => [model.id, catalogModel(model, rate, minPriceSats)])), ...example };
}

/** A request that works as it is printed; of a form, the fields besides its file. */
export function exampleBody(path: string, model: string | undefined): object | undefined {
  switch (path) {
    case "/chat/completions":
      return { model, messages: [{ role: "user", content: "Hello" }] };
    case "/images/generations":
      return { model, prompt: "A neon bitcoin logo" };
    case "/audio/speech":
      return { model, input: "Hello from Hearth.", voice: "alloy" };
    case "/audio/transcriptions":
    case "/audio/translations":
      return { model };
    case "/data/web/search":
      return { query: "bitcoin lessons", max_results: 3 };
    case "/api/dvm":
      return { prompt: "Name five prices." };
    default:
      return undefined;
  }
}

function catalogModel({ price }: ModelForSale, rate: BtcRate | undefined, minPriceSats: number) {
  const sats = leastSats(price, minPriceSats);
  return {
    price_sats: sats,
    ...(rate && { price_usd_cents: Number((BigInt(sats) * rate.centsPerBtc * 100n) / 100_000_000n) / 100 }),
    ...(rate && soldByTokens(price) && { input_usd_per_mtok: usdPerMtok(price.inputMsatPerMtok, rate), output_usd_per_mtok: usdPerMtok(price.outputMsatPerMtok, rate) }),
  };
}

/** @param all Also rows of what is not sold at the moment. */
export function endpointMatrix(service: Service, all: boolean) {
  const sold = soldRoutes(service);
  const rows = sold.filter(isPlain).map(({ route }) => ({
    endpoint: pathUnder("/api/v1", route),
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
  const { rate, trial } = service;
  const priced = soldRoutes(service).filter(isPlain).map(({ route, models, leastSats: least }) => ({
    path: pathUnder("/v1", route),
    price_sats: least,
    ...(models.length > 0 && { models: Object.fromEntries(models.map((model) => [model.id, modelPricing(model, rate)])) }),
  }));
  return {
    l402_enabled: true,
    ...(trial.models.length > 0 && { free_tier_per_ip_per_day: trial.calls }),
    priced_endpoints: priced.sort((a, b) => (a.path < b.path ? -1 : 1)),
    payment_hints: { header_name: "X-Payment-Hash", query_param_name: "payment_hash", status_code: 402 },
  };
}

function soldByTokens({ perMillion }: ModelPrice): boolean {
  return perMillion?.image === undefined && perMillion?.second === undefined && perMillion?.character === undefined;
}

/** Tokens and characters per million, images, seconds and calls one by one. */
export function modelPricing({ price }: Pick<ModelForSale, "price">, rate: BtcRate | undefined) {
  return { ...(soldByTokens(price) && tokenPricing(price, rate)), ...unitPricing(price, rate) };
}

function tokenPricing(price: ModelPrice, rate: BtcRate | undefined) {
  const { above } = price;
  return {
    input_msat_per_mtok: toJsonNumber(price.inputMsatPerMtok),
    output_msat_per_mtok: toJsonNumber(price.outputMsatPerMtok),
    ...(rate && { input_usd_per_mtok: usdPerMtok(price.inputMsatPerMtok, rate), output_usd_per_mtok: usdPerMtok(price.outputMsatPerMtok, rate) }),
    ...(above && {
      above: { input_tokens: above.tokens, input_msat_per_mtok: toJsonNumber(above.inputMsatPerMtok), output_msat_per_mtok: toJsonNumber(above.outputMsatPerMtok) },
    }),
  };
}

const perOne: Readonly<Record<Unit, string>> = { image: "image", second: "second", character: "mchar", call: "call" };

function unitPricing({ perMillion }: ModelPrice, rate: BtcRate | undefined): Record<string, number> {
  const shown: Record<string, number> = {};
  for (const unit of units) {
    const millionMsat = perMillion?.[unit];
    if (millionMsat === undefined) continue;
    const msat = unit === "character" ? millionMsat : (millionMsat + 999_999n) / 1_000_000n;
    shown[`msat_per_${perOne[unit]}`] = toJsonNumber(msat);
    if (rate) shown[`usd_per_${perOne[unit]}`] = usdPerMtok(msat, rate);
  }
  return shown;
}
