/** Reads what an upstream says a call used. Pure. Not reported is `absent`, never 0. */
import { absurdTokens } from "../base/limits.ts";
import { microsOf } from "./listed-price.ts";

/** OpenAI's prompt count includes cached tokens, and its completion count includes reasoning; so do these. */
export type Usage = {
  inputTokens: number;
  outputTokens: number;
  /** What the owner paid for the call, in micro-dollars, where the upstream says so. */
  costMicros?: number;
};

export type UsageReport = { kind: "reported"; usage: Usage } | { kind: "absent" } | { kind: "absurd" };

type Fields = Readonly<Record<string, unknown>>;

function believable(count: unknown): count is number {
  return typeof count === "number" && Number.isSafeInteger(count) && count >= 0 && count <= absurdTokens;
}

/** `usage` as it stands in a chat answer or chunk. A prompt is never nothing, so a zero there is absurd. */
export function readChatUsage(usage: unknown): UsageReport {
  if (usage === undefined || usage === null) return { kind: "absent" };
  if (typeof usage !== "object") return { kind: "absurd" };
  const fields = usage as Fields;
  const { prompt_tokens: input, completion_tokens: output } = fields;
  if (input === undefined && output === undefined) return { kind: "absent" };
  if (!believable(input) || !believable(output) || input === 0) return { kind: "absurd" };
  const costMicros = costOf(fields);
  return { kind: "reported", usage: { inputTokens: input, outputTokens: outputOf(fields, input, output), ...(costMicros !== undefined && { costMicros }) } };
}

/**
 * xAI ("reasoning token consumption will be counted separately from completion_tokens, but will be counted in the total_tokens",
 * docs.x.ai) and Gemini's compatible endpoint leave thinking out of `completion_tokens`, and bill it. Everywhere else the total is the
 * sum, so the rule needs no profile; and a count that includes thinking is never smaller than the thinking.
 */
function outputOf(usage: Fields, input: number, output: number): number {
  const { total_tokens: total, completion_tokens_details: details } = usage;
  const thinking = (details as Fields | null | undefined)?.reasoning_tokens;
  return Math.max(output, believable(total) ? total - input : 0, believable(thinking) ? thinking : 0);
}

/** xAI's own unit: ten thousand million to the dollar. */
const ticksPerMicro = 10_000;

/** OpenRouter's `cost` is in credits, which are dollars; with the owner's own key at a maker the maker's bill comes on top. */
function costOf({ cost, cost_in_usd_ticks: ticks, is_byok: ownKey, cost_details: details }: Fields): number | undefined {
  if (typeof ticks === "number" && Number.isSafeInteger(ticks) && ticks >= 0) return Math.ceil(ticks / ticksPerMicro);
  const charged = microsOf(cost, 1n);
  if (charged === undefined || ownKey !== true) return charged;
  const makers = microsOf((details as Fields | null | undefined)?.upstream_inference_cost, 1n);
  return makers === undefined ? undefined : charged + makers;
}
