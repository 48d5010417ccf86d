/** How fast each model makes tokens, learnt from completed calls. Pure. Only used for work that nobody saw. */
import { maxMeasuredModels } from "../base/limits.ts";

/** Weight of the newest call. */
const newest = 0.2;

export class SpeedBook {
  readonly #tokensPerSecond = new Map<string, number>();

  learn(modelId: string, tokens: number, elapsedMs: number): void {
    if (tokens <= 0 || elapsedMs <= 0 || (this.#tokensPerSecond.size >= maxMeasuredModels && !this.#tokensPerSecond.has(modelId))) return;
    const measured = (tokens * 1000) / elapsedMs;
    const known = this.#tokensPerSecond.get(modelId);
    this.#tokensPerSecond.set(modelId, known === undefined ? measured : known * (1 - newest) + measured * newest);
  }

  /** Nothing for a model that was never measured: what is not known is not charged. */
  tokensIn(modelId: string, elapsedMs: number): number {
    return Math.floor(((this.#tokensPerSecond.get(modelId) ?? 0) * elapsedMs) / 1000);
  }
}
