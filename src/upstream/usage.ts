/** Reads what an upstream says a call used. Pure. Not reported is `absent`, never 0. */
import { absurdTokens } from "../base/limits.ts";

/** OpenAI's prompt count includes cached tokens, and its completion count includes reasoning; so do these. */
export type Usage = { inputTokens: number; outputTokens: number };

export type UsageReport = { kind: "reported"; usage: Usage } | { kind: "absent" } | { kind: "absurd" };

function believable(count: unknown): count is number {
  return typeof count === "number" && Number.isSafeInteger(count) && count >= 0 && count <= absurdTokens;
}

/** `usage` as it stands in a chat answer or chunk. A prompt is never nothing, so a zero there is absurd. */
export function readChatUsage(usage: unknown): UsageReport {
  if (usage === undefined || usage === null) return { kind: "absent" };
  if (typeof usage !== "object") return { kind: "absurd" };
  const { prompt_tokens: input, completion_tokens: output } = usage as Record<string, unknown>;
  if (input === undefined && output === undefined) return { kind: "absent" };
  if (!believable(input) || !believable(output) || input === 0) return { kind: "absurd" };
  return { kind: "reported", usage: { inputTokens: input, outputTokens: output } };
}
