/** An upstream's count is believed only when it can be true. */
import { expect, test } from "bun:test";
import { absurdTokens } from "../../src/base/limits.ts";
import { readChatUsage, type UsageReport } from "../../src/upstream/usage.ts";

const absent: UsageReport = { kind: "absent" };
const absurd: UsageReport = { kind: "absurd" };
const reported = (inputTokens: number, outputTokens: number, costMicros?: number): UsageReport => ({
  kind: "reported", usage: { inputTokens, outputTokens, ...(costMicros !== undefined && { costMicros }) },
});
const counts = (prompt: unknown, completion: unknown) => ({ prompt_tokens: prompt, completion_tokens: completion });

const cases: [what: string, usage: unknown, report: UsageReport][] = [
  ["counts", counts(12, 34), reported(12, 34)],
  ["counts among details", { ...counts(12, 34), total_tokens: 46, completion_tokens_details: { reasoning_tokens: 30 } }, reported(12, 34)],
  ["an answer of no tokens", counts(12, 0), reported(12, 0)],
  ["the most that is believed", counts(absurdTokens, absurdTokens), reported(absurdTokens, absurdTokens)],
  ["no usage", undefined, absent],
  ["usage null, as in every chunk but the last", null, absent],
  ["usage without the two counts", { total_tokens: 46 }, absent],
  ["an empty object", {}, absent],
  ["a prompt of nothing", counts(0, 34), absurd],
  ["both zero", counts(0, 0), absurd],
  ["one token too many to believe", counts(12, absurdTokens + 1), absurd],
  ["a billion", counts(12, 1_000_000_000), absurd],
  ["a negative count", counts(12, -1), absurd],
  ["a negative prompt", counts(-12, 1), absurd],
  ["half a token", counts(12, 0.5), absurd],
  ["no number", counts(Number.NaN, 1), absurd],
  ["infinity", counts(12, Infinity), absurd],
  ["text instead of a number", counts("12", "34"), absurd],
  ["only one of the counts", { prompt_tokens: 12 }, absurd],
  ["only the other one", { completion_tokens: 34 }, absurd],
  ["null counts", counts(null, null), absurd],
  ["a number instead of an object", 46, absurd],
  ["text instead of an object", "46", absurd],
];

const thinking = (tokens: unknown) => ({ completion_tokens_details: { reasoning_tokens: tokens } });

cases.push(
  ["thinking that only the total has", { ...counts(20, 151), total_tokens: 553 }, reported(20, 533)],
  ["thinking beside the text", { ...counts(32, 9), total_tokens: 135, ...thinking(94) }, reported(32, 103)],
  ["thinking beside the text, without a total", { ...counts(21, 0), ...thinking(60) }, reported(21, 60)],
  ["thinking within the text", { ...counts(12, 34), total_tokens: 46, ...thinking(34) }, reported(12, 34)],
  ["a total below the sum", { ...counts(12, 34), total_tokens: 40 }, reported(12, 34)],
  ["a total below the prompt", { ...counts(12, 34), total_tokens: 0 }, reported(12, 34)],
  ["a total nobody believes", { ...counts(12, 34), total_tokens: absurdTokens + 1 }, reported(12, 34)],
  ["a total that is no number", { ...counts(12, 34), total_tokens: "4600" }, reported(12, 34)],
  ["thinking nobody believes", { ...counts(12, 34), ...thinking(-94), total_tokens: 46 }, reported(12, 34)],
  ["details that are null", { ...counts(12, 34), completion_tokens_details: null }, reported(12, 34)],
  ["what the owner paid, in dollars", { ...counts(12, 34), cost: 0.000897 }, reported(12, 34, 897)],
  ["what the owner paid, rounded up to a micro-dollar", { ...counts(12, 34), cost: 1.5e-7 }, reported(12, 34, 1)],
  ["a call that cost nothing", { ...counts(12, 34), cost: 0 }, reported(12, 34, 0)],
  ["a fee beside the maker's own bill", { ...counts(12, 34), cost: 0.01, is_byok: true, cost_details: { upstream_inference_cost: 0.19 } }, reported(12, 34, 200_000)],
  ["a fee beside a bill nobody told", { ...counts(12, 34), cost: 0.01, is_byok: true, cost_details: { upstream_inference_cost: null } }, reported(12, 34)],
  ["a maker's bill that is part of the cost", { ...counts(12, 34), cost: 0.19, is_byok: false, cost_details: { upstream_inference_cost: 0.19 } }, reported(12, 34, 190_000)],
  ["xAI's ticks", { ...counts(10_120, 1_499), total_tokens: 14_428, ...thinking(2_809), cost_in_usd_ticks: 232_856_000 }, reported(10_120, 4_308, 23_286)],
  ["a cost below nothing", { ...counts(12, 34), cost: -1 }, reported(12, 34)],
  ["a cost in another shape", { ...counts(12, 34), cost: { total_cost: 0.1 } }, reported(12, 34)],
);

test.each(cases)("%s", (_what, usage, report) => {
  expect(readChatUsage(usage)).toEqual(report);
});
