/** An upstream's count is believed only when it can be true. */
import { expect, test } from "bun:test";
import { absurdTokens } from "../../src/base/limits.ts";
import { readChatUsage, type UsageReport } from "../../src/upstream/usage.ts";

const absent: UsageReport = { kind: "absent" };
const absurd: UsageReport = { kind: "absurd" };
const reported = (inputTokens: number, outputTokens: number): UsageReport => ({ kind: "reported", usage: { inputTokens, outputTokens } });
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

test.each(cases)("%s", (_what, usage, report) => {
  expect(readChatUsage(usage)).toEqual(report);
});
