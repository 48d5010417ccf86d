/** What every contestant is asked and what the upstream answers: one request, one answer, one price. Pure. */
import { costOf } from "../src/pricing/quote.ts";

export const modelId = "bench";
export const frameCount = 64;
/** What the upstream reports for every answer. */
export const usage = { inputTokens: 20, outputTokens: frameCount };
/** Sats per million tokens, as hearth.toml has it. */
export const price = { inputSatsPerMtok: 200, outputSatsPerMtok: 800 };
/**
 * The house of 300 models: each upstream lists `ownModels` of its own, and all of them list `modelId`. The cheapest for that one
 * asks what the house of one model asks, so that a call costs the same in both, and is neither the first nor the last in the list.
 */
export const ownModels = 60;
export const places = [
  { name: "place-1", price: { inputSatsPerMtok: 300, outputSatsPerMtok: 1_200 } },
  { name: "place-2", price: { inputSatsPerMtok: 400, outputSatsPerMtok: 1_600 } },
  { name: "place-3", price },
  { name: "place-4", price: { inputSatsPerMtok: 600, outputSatsPerMtok: 2_400 } },
  { name: "place-5", price: { inputSatsPerMtok: 250, outputSatsPerMtok: 1_000 } },
] as const;
export const cheapestPlace = "place-3";
export const modelsOfAllPlaces = places.length * ownModels + 1;

/** What the upstream lists to this asker, which may be one of `places`. */
export function listedModels(asker: string): string[] {
  const own = places.some((place) => place.name === asker) ? ownModels : 0;
  return [...Array.from({ length: own }, (_, index) => `${asker}/model-${index + 1}-instruct`), modelId];
}

/** What one whole call costs. */
export const exactCostMsat = costOf(usage, { inputMsatPerMtok: BigInt(price.inputSatsPerMtok) * 1000n, outputMsatPerMtok: BigInt(price.outputSatsPerMtok) * 1000n });

const messages = [
  { role: "system", content: "You are the voice of a small house. Answer in plain words and keep it short." },
  { role: "user", content: "What does a fireplace do for a room besides making it warm? Two sentences will do." },
];

export const chatBody = JSON.stringify({ model: modelId, messages, max_tokens: frameCount, temperature: 0.2 });
/** Usage is asked for, so that no contestant may leave a frame out. */
export const streamBody = JSON.stringify({ model: modelId, messages, max_tokens: frameCount, temperature: 0.2, stream: true, stream_options: { include_usage: true } });

/** The text of the frame at `index`; a reader sees by it that none is missing and none came twice. */
export function frameText(index: number): string {
  return `t${index} `;
}
