/** What every contestant is asked and what the upstream answers: one request, one answer, one price. Pure. */
import { costOf } from "../src/pricing/quote.ts";

export const modelId = "bench";
export const frameCount = 64;
/** What the upstream reports for every answer. */
export const usage = { inputTokens: 20, outputTokens: frameCount };
/** Sats per million tokens, as hearth.toml has it. */
export const price = { inputSatsPerMtok: 200, outputSatsPerMtok: 800 };
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
