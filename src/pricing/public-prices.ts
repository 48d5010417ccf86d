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
  maxIn?: number;
  maxOut?: number;
  mode: string;
};

/** `models` by `provider/model`, provider as in `knownProviders`. */
export type Snapshot = { source: string; licence: string; takenOn: string; models: Record<string, PriceRow> };

const modes = new Set(["chat", "responses", "completion", "embedding", "moderation", "image_generation", "image_edit", "audio_transcription", "audio_speech", "video_generation"]);

/** A line of the public table, or undefined for what is not for resale. Unknown fields are passed over, odd numbers refuse the line. */
export function readPublicRow(name: string, value: unknown): { id: string; price: PriceRow } | undefined {
  const row = value as Record<string, unknown>;
  const provider = typeof row?.litellm_provider === "string" && Object.hasOwn(knownProviders, row.litellm_provider) ? knownProviders[row.litellm_provider] : undefined;
  if (provider === undefined || typeof row.mode !== "string" || !modes.has(row.mode)) return undefined;
  const model = name.startsWith(`${row.litellm_provider as string}/`) ? name.slice((row.litellm_provider as string).length + 1) : name;
  const tokens = tokenPrice(row, "");
  const price: PriceRow = {
    mode: row.mode,
    ...tokens,
    ...amount("cacheRead", row.cache_read_input_token_cost, perMillion),
    ...amount("cacheWrite", row.cache_creation_input_token_cost, perMillion),
    ...longPrompts(row),
    ...amount("perImage", row.output_cost_per_image ?? (row.mode === "image_generation" ? row.input_cost_per_image : undefined), perOne),
    ...amount("perSecond", row.input_cost_per_second ?? row.output_cost_per_second, perOne),
    ...amount("perMchar", row.input_cost_per_character, perMillion),
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

/** A free line is no price: it is a promotion, or a gap. */
function tokenPrice(row: Record<string, unknown>, suffix: string): TokenPrice | undefined {
  const [input, output] = [micros(row[`input_cost_per_token${suffix}`], perMillion), micros(row[`output_cost_per_token${suffix}`] ?? (row.mode === "embedding" ? 0 : undefined), perMillion)];
  return input === undefined || output === undefined || input + output === 0 ? undefined : { in: input, out: output };
}

function longPrompts(row: Record<string, unknown>): Pick<PriceRow, "above"> {
  const suffixes = Object.keys(row).map((field) => /^input_cost_per_token(_above_(\d+)k_tokens)$/.exec(field)).filter((match) => match !== null);
  // Of several steps the lowest bound at the highest price: nobody sells a longer prompt at a loss.
  const steps = suffixes.map(([, suffix, thousands]) => ({ tokens: Number(thousands) * 1000, price: tokenPrice(row, suffix!) })).filter((step) => step.price !== undefined);
  if (steps.length === 0) return {};
  return { above: { tokens: Math.min(...steps.map((step) => step.tokens)), in: Math.max(...steps.map((step) => step.price!.in)), out: Math.max(...steps.map((step) => step.price!.out)) } };
}
