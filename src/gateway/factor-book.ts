/**
 * How many tokens each model really makes of a word, learnt from completed calls. Pure. It corrects the factor its family starts with, so
 * that quotes are neither too low for an unusual tokenizer nor too high for a good one.
 */
import { maxMeasuredModels } from "../base/limits.ts";
import { familyFactorPercent } from "../pricing/estimate.ts";

/** Fewer calls tell nothing about the hundredth. */
const leastSamples = 100;
const keptSamples = 500;
/** Of fewer words the template around them is most. */
const leastWords = 100;
/** Buyers choose their texts: many cheap calls must not talk the factor down by more than a tenth, nor up without end. */
const lowestShare = 0.9, highestPercent = 400;

/** A prompt as it was quoted: `overhead` is what is no words, the templates around messages. */
export type PromptCount = { words: number; overhead: number };

export class FactorBook {
  readonly #samples = new Map<string, number[]>();
  /** Worked out again after a new sample, when somebody asks. */
  readonly #percents = new Map<string, number>();

  /** @param inputTokens As the model's server counted them. */
  learn(modelId: string, { words, overhead }: PromptCount, inputTokens: number): void {
    if (words < leastWords) return;
    const samples = this.#samples.get(modelId) ?? [];
    if (samples.length === 0 && this.#samples.size >= maxMeasuredModels) return;
    samples.push(Math.ceil((Math.max(0, inputTokens - overhead) * 100) / words));
    if (samples.length > keptSamples) samples.shift();
    this.#samples.set(modelId, samples);
    this.#percents.delete(modelId);
  }

  /** Percent to multiply a count of words with. @param upstreamModelId What tells the family. */
  percent(modelId: string, upstreamModelId: string): number {
    const start = familyFactorPercent(upstreamModelId);
    const samples = this.#samples.get(modelId);
    if (samples === undefined || samples.length < leastSamples) return start;
    const known = this.#percents.get(modelId) ?? p99Of(samples);
    this.#percents.set(modelId, known);
    return Math.min(highestPercent, Math.max(Math.ceil(start * lowestShare), known));
  }
}

function p99Of(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1]!;
}
