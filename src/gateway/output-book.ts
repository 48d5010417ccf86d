/** How long each model's answers are, learnt from completed calls. Pure. For what a quote expects; nobody is charged by it. */
import { maxMeasuredModels } from "../base/limits.ts";

/** Weight of the newest call. */
const newest = 0.1;
/** Of the cap, for a model nobody has asked yet. */
const firstGuess = 0.25;

export class OutputBook {
  readonly #tokens = new Map<string, number>();

  learn(modelId: string, outputTokens: number): void {
    if (this.#tokens.size >= maxMeasuredModels && !this.#tokens.has(modelId)) return;
    const known = this.#tokens.get(modelId);
    this.#tokens.set(modelId, known === undefined ? outputTokens : known * (1 - newest) + outputTokens * newest);
  }

  /** Output tokens one choice is expected to have, from 1 to its cap. */
  expected(modelId: string, cap: number): number {
    return Math.max(1, Math.min(cap, Math.round(this.#tokens.get(modelId) ?? cap * firstGuess)));
  }
}
