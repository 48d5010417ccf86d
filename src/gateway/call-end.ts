/** What an ended call costs: the design's table of endings, money section 7. Pure. */
import type { CallEnd, CallRecord } from "../charge/sale.ts";
import { costOf, type TokenCounts } from "../pricing/quote.ts";
import type { Usage, UsageReport } from "../upstream/usage.ts";
import type { ChatTerms } from "./chat-sale.ts";

export type Ending =
  | "completed"
  /** We stopped the upstream because it went on past the paid cap. */
  | "cap_reached"
  | "upstream_broke"
  | "client_left";

export type Delivered = {
  usage: UsageReport;
  /** Our own count of what the model made. */
  outputTokens: number;
  /** Whether a buyer could read any of it. */
  delivered: boolean;
  /** Our own count of the prompt. */
  likelyInputTokens: number;
  /** By time and the model's measured speed; for thinking that nobody saw. */
  unseenTokens: number;
};

export type CallLabels = Pick<CallRecord, "endpoint" | "model" | "upstream">;

export function endCall(ending: Ending, delivered: Delivered, terms: ChatTerms, labels: CallLabels): CallEnd {
  const tokens = countTokens(ending, delivered);
  if (tokens === undefined) return { act: "void", reason: ending };
  const { inputTokens, outputTokens, estimated } = tokens;
  const { usage } = delivered;
  return {
    act: "post",
    costMsat: costOf({ inputTokens, outputTokens }, terms.price),
    record: { ...labels, ending, inputTokens, outputTokens, estimated, ...(usage.kind === "reported" && { upstreamCostMicros: usage.usage.costMicros }) },
  };
}

/** Undefined: nothing is owed. */
function countTokens(ending: Ending, delivered: Delivered): (TokenCounts & { estimated: boolean }) | undefined {
  // Broken before anything could be read is an error before the first byte, whatever the upstream says it used.
  if (ending === "upstream_broke" && !delivered.delivered) return undefined;
  if (delivered.usage.kind === "reported") return { ...(delivered.usage as { usage: Usage }).usage, estimated: false };
  const ours = { inputTokens: delivered.likelyInputTokens, outputTokens: delivered.outputTokens, estimated: true };
  switch (ending) {
    case "completed":
    case "cap_reached":
    case "upstream_broke":
      return ours;
    // The upstream worked for a buyer who then left: what it made by then is owed, seen or not.
    case "client_left":
      return delivered.delivered ? ours : { ...ours, outputTokens: delivered.unseenTokens };
  }
}
