/** Somebody stands in for a failed upstream only where no use of the call can cost the owner more than it was quoted at. */
import { expect, test } from "bun:test";
import { costOf, covers, type ModelPrice } from "../../src/pricing/quote.ts";
import { SeededRandom } from "../support/random.ts";

const price = (input: bigint, output: bigint, above?: ModelPrice["above"]): ModelPrice => ({ inputMsatPerMtok: input, outputMsatPerMtok: output, ...(above && { above }) });

test.each([
  ["the same price covers itself", price(10n, 20n), price(10n, 20n), true],
  ["a cheaper one is covered", price(10n, 20n), price(9n, 20n), true],
  ["dearer output is not, however cheap the input", price(10n, 20n), price(1n, 21n), false],
  ["dearer input is not, however cheap the output", price(10n, 20n), price(11n, 1n), false],
  ["what runs at home costs nothing", price(1n, 1n), price(0n, 0n), true],
  ["long prompts that cost more are not covered", price(10n, 20n), price(5n, 5n, { tokens: 50, inputMsatPerMtok: 50n, outputMsatPerMtok: 50n }), false],
  ["long prompts are, where the input is short", price(10n, 20n), price(5n, 5n, { tokens: 500, inputMsatPerMtok: 50n, outputMsatPerMtok: 50n }), true],
])("%s", (_what, sold, paid, covered) => {
  expect(covers(sold, paid, 100)).toBe(covered);
});

test("whatever is used of a covered call, the owner never pays more than it earns", () => {
  const random = new SeededRandom(5);
  const some = () => BigInt(random.below(1_000_000));
  let covered = 0;
  for (let i = 0; i < 50_000; i++) {
    const tiered = () => price(some(), some(), random.below(2) ? { tokens: random.below(1_000), inputMsatPerMtok: some(), outputMsatPerMtok: some() } : undefined);
    const [sold, paid, inputTokens] = [tiered(), tiered(), random.below(2_000)];
    if (!covers(sold, paid, inputTokens)) continue;
    covered++;
    const used = { inputTokens, outputTokens: random.below(4_000) };
    if (costOf(used, paid) > costOf(used, sold)) throw new Error(Bun.inspect({ sold, paid, used }));
  }
  expect(covered).toBeGreaterThan(1_000);
});
