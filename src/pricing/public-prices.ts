/**
 * Public prices of cloud models. Pure. They come as a dated snapshot with Hearth, and as the same table from the net when
 * the owner asks for it; both are read by the same rules. Amounts are micro-dollars, rounded up.
 */
import { knownProviders } from "../config/providers.ts";

export type TokenPrice = {
  /** Per million tokens. */
  in: number;
  out: number;
};

/** One line of the snapshot. What a provider does not say is left out. */
export type PriceRow = Partial<TokenPrice> & {
  cacheRead?: number;
  cacheWrite?: number;
  /** The price of all tokens of a call whose input is longer than `tokens`. */
  above?: TokenPrice & { tokens: number };
  perImage?: number;
  perSecond?: number;
  perMchar?: number;
  /** For the call itself, besides its tokens. */
  perCall?: number;
  maxIn?: number | undefined;
  maxOut?: number | undefined;
  mode: string;
};

/** `models` by `provider/model`, provider as in `knownProviders`. */
export type Snapshot = { source: string; licence: string; takenOn: string; models: Record<string, PriceRow> };

const modes = new Set(["chat", "responses", "completion", "embedding", "moderation", "image_generation", "image_edit", "audio_transcription", "audio_speech", "video_generation"]);

/** What a model makes, which decides the route that sells it. */
export type ModelKind = "chat" | "image" | "transcription" | "speech" | "other";

export function kindOfMode(mode: string): ModelKind {
  if (mode === "chat" || mode === "responses" || mode === "completion") return "chat";
  if (mode === "image_generation") return "image";
  if (mode === "audio_transcription") return "transcription";
  return mode === "audio_speech" ? "speech" : "other";
}

/** All lines of the public table that are for resale, by `provider/model`; of two with one name the first counts. */
export function readPublicTable(table: Record<string, unknown>): Record<string, PriceRow> {
  const models: Record<string, PriceRow> = {};
  for (const name of Object.keys(table).sort()) {
    const row = readPublicRow(name, table[name]);
    if (row && !Object.hasOwn(models, row.id)) models[row.id] = row.price;
  }
  return models;
}

/** A line of the public table, or undefined for what is not for resale. Unknown fields are passed over, odd numbers refuse the line. */
export function readPublicRow(name: string, value: unknown): { id: string; price: PriceRow } | undefined {
  const row = value as Record<string, unknown>;
  const provider = typeof row?.litellm_provider === "string" && Object.hasOwn(knownProviders, row.litellm_provider) ? knownProviders[row.litellm_provider] : undefined;
  if (provider === undefined || typeof row.mode !== "string" || !modes.has(row.mode)) return undefined;
  if (hasFeePerSearch(row, provider, name) || micros(row.input_cost_per_request ?? 0, perOne) === undefined) return undefined;
  const model = name.startsWith(`${row.litellm_provider as string}/`) ? name.slice((row.litellm_provider as string).length + 1) : name;
  const tokens = tokenPrice(row);
  const long = tokens ? longPrompts(row, tokens) : {};
  if (long === undefined) return undefined;
  const price: PriceRow = {
    mode: row.mode,
    ...tokens,
    ...amount("cacheRead", row.cache_read_input_token_cost, perMillion),
    ...amount("cacheWrite", row.cache_creation_input_token_cost, perMillion),
    ...long,
    ...amount("perImage", row.output_cost_per_image ?? (row.mode === "image_generation" ? row.input_cost_per_image : undefined), perOne),
    ...amount("perSecond", row.input_cost_per_second ?? row.output_cost_per_second, perOne),
    ...amount("perMchar", row.input_cost_per_character, perMillion),
    ...amount("perCall", row.input_cost_per_request, perOne),
    ...count("maxIn", row.max_input_tokens),
    ...count("maxOut", row.max_output_tokens),
  };
  const priced = tokens !== undefined || price.perImage !== undefined || price.perSecond !== undefined || price.perMchar !== undefined;
  return priced ? { id: `${provider}/${model}`, price } : undefined;
}

const perMillion = 1e12;
const perOne = 1e6;

/** Dollars to micro-dollars, up. The table holds floats such as 1.5e-07, whose last digits are noise. */
function micros(value: unknown, scale: number): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return undefined;
  const exact = Math.ceil(Number((value * scale).toPrecision(12)));
  return Number.isSafeInteger(exact) ? exact : undefined;
}

function amount<Name extends string>(name: Name, value: unknown, scale: number): { [name in Name]?: number } {
  const found = micros(value, scale);
  return (found === undefined || found === 0 ? {} : { [name]: found }) as { [name in Name]?: number };
}

function count<Name extends string>(name: Name, value: unknown): { [name in Name]?: number } {
  return (Number.isSafeInteger(value) && (value as number) > 0 ? { [name]: value } : {}) as { [name in Name]?: number };
}

/** Some ask a fee for each search besides; what has no price row here is not sold. */
function hasFeePerSearch(row: Record<string, unknown>, provider: string, name: string): boolean {
  return (row.search_context_cost_per_query !== undefined && (provider === "perplexity" || /search/.test(name)));
}

/** A free half is no price: it is a promotion, or a gap. Thinking is part of the output, so the dearer of the two is its price. */
function tokenPrice(row: Record<string, unknown>): TokenPrice | undefined {
  const input = micros(row.input_cost_per_token, perMillion);
  if (row.mode === "embedding") return input === undefined || input === 0 ? undefined : { in: input, out: micros(row.output_cost_per_token, perMillion) ?? 0 };
  const outputs = [row.output_cost_per_token, row.output_cost_per_reasoning_token].filter((value) => value !== undefined).map((value) => micros(value, perMillion));
  if (input === undefined || input === 0 || outputs.length === 0 || outputs.includes(undefined)) return undefined;
  const out = Math.max(...(outputs as number[]));
  return out === 0 ? undefined : { in: input, out };
}

/** Undefined where a step cannot be read: then the line has no price at all. */
function longPrompts(row: Record<string, unknown>, base: TokenPrice): Pick<PriceRow, "above"> | undefined {
  const bounds = Object.keys(row).map((field) => /^(?:input|output)_cost_per_token_above_(\d+)k_tokens$/.exec(field)?.[1]).filter((thousands) => thousands !== undefined);
  if (bounds.length === 0) return {};
  const half = (side: "input" | "output", thousands: string, otherwise: number) => {
    const value = row[`${side}_cost_per_token_above_${thousands}k_tokens`];
    return value === undefined || value === 0 ? otherwise : micros(value, perMillion);
  };
  const steps = bounds.map((thousands) => ({ tokens: Number(thousands) * 1000, in: half("input", thousands, base.in), out: half("output", thousands, base.out) }));
  if (steps.some((step) => step.in === undefined || step.out === undefined)) return undefined;
  if (steps.every((step) => step.in === base.in && step.out === base.out)) return {};
  // Of several steps the lowest bound at the highest price: nobody sells a longer prompt at a loss.
  const most = (values: (number | undefined)[]) => Math.max(...(values as number[]));
  return { above: { tokens: Math.min(...steps.map((step) => step.tokens)), in: most([...steps.map((step) => step.in), base.in]), out: most([...steps.map((step) => step.out), base.out]) } };
}
