/** What a call costs: rounded up by less than a millisatoshi, and a cap that its money always pays for. */
import { describe, expect, test } from "bun:test";
import { msat } from "../../src/money/msat.ts";
import { affordableOutputTokens, costOf, type ModelPrice } from "../../src/pricing/quote.ts";
import { SeededRandom } from "../support/random.ts";

const price = (inputMsatPerMtok: bigint, outputMsatPerMtok: bigint): ModelPrice => ({ inputMsatPerMtok, outputMsatPerMtok });
const tokens = (inputTokens: number, outputTokens: number) => ({ inputTokens, outputTokens });

describe("the cost of a call", () => {
  const cases: [what: string, input: number, output: number, price: ModelPrice, msat: bigint][] = [
    ["a million tokens cost the listed price", 1_000_000, 0, price(5_000n, 9n), 5_000n],
    ["input and output are priced each by its own", 1_000_000, 2_000_000, price(5_000n, 9_000n), 23_000n],
    ["a thousandth over is a whole millisatoshi", 1_000_001, 0, price(1_000n, 0n), 1_001n],
    ["exact amounts are not rounded", 1_000, 1_000, price(1_000n, 2_000n), 3n],
    ["input and output are rounded together, not each", 500, 500, price(1_000n, 1_000n), 1n],
    ["the least fraction is a millisatoshi", 1, 0, price(1n, 1n), 1n],
    ["no tokens still cost a millisatoshi", 0, 0, price(1_000n, 1_000n), 1n],
    ["a free price still costs a millisatoshi", 1_000, 1_000, price(0n, 0n), 1n],
  ];
  test.each(cases)("%s", (_what, input, output, price, expected) => {
    expect(costOf(tokens(input, output), price)).toBe(msat(expected));
  });

  test("amounts above 2^53 are exact, and more than all bitcoin is a mistake", () => {
    expect(costOf(tokens(1_000_000, 1), price(2n ** 53n + 1n, 1n))).toBe(msat(2n ** 53n + 2n));
    expect(() => costOf(tokens(10_000_000, 1), price(2n ** 60n, 1n))).toThrow("21 million");
  });

  test("is never below the exact cost and less than a millisatoshi above it", () => {
    const random = new SeededRandom(1);
    for (let i = 0; i < 20_000; i++) {
      const [input, output] = [random.below(200_000), random.below(20_000)];
      const table = price(BigInt(random.below(10 ** random.between(0, 9))), BigInt(random.below(10 ** random.between(0, 9))));
      const exact = BigInt(input) * table.inputMsatPerMtok + BigInt(output) * table.outputMsatPerMtok;
      const over = costOf(tokens(input, output), table) * 1_000_000n - exact;
      if (over < 0n || (over >= 1_000_000n && exact > 0n)) throw new Error(`${input} + ${output} tokens at ${Bun.inspect(table)} are rounded by ${over}`);
    }
  });

  test("never falls when there are more tokens", () => {
    const table = price(333n, 777n);
    for (let output = 0, before = 0n; output < 5_000; output++) {
      const cost = costOf(tokens(100, output), table);
      expect(cost).toBeGreaterThanOrEqual(before);
      before = cost;
    }
  });
});

describe("the output a balance affords", () => {
  const cases: [what: string, amount: bigint, input: number, price: ModelPrice, affordable: number][] = [
    ["all of it goes to output when there is no input", 10n, 0, price(1_000_000n, 1_000_000n), 10],
    ["the input is paid first", 10n, 4, price(1_000_000n, 1_000_000n), 6],
    ["only whole tokens count", 10n, 0, price(1n, 3_000_000n), 3],
    ["the input alone can take all", 10n, 10, price(1_000_000n, 1_000_000n), 0],
    ["the input can be too much", 10n, 11, price(1_000_000n, 1_000_000n), -1],
    ["output can be free", 10n, 10, price(1_000_000n, 0n), Number.MAX_SAFE_INTEGER],
  ];
  test.each(cases)("%s", (_what, amount, input, price, affordable) => {
    expect(affordableOutputTokens(msat(amount), input, price)).toBe(affordable);
  });

  test("free output is not affordable to whom the input is too much", () => {
    expect(affordableOutputTokens(msat(10n), 11, price(1_000_000n, 0n))).toBe(-1);
  });

  test("is the most whose cost is still within the amount: one token more is too much", () => {
    const random = new SeededRandom(2);
    for (let i = 0; i < 20_000; i++) {
      const table = price(BigInt(random.below(10 ** random.between(0, 9))), BigInt(random.between(1, 10 ** random.between(0, 9))));
      const [amount, input] = [msat(BigInt(random.between(1, 10 ** random.between(0, 9)))), random.below(20_000)];
      const most = affordableOutputTokens(amount, input, table);
      const fits = (output: number) => costOf(tokens(input, output), table) <= amount;
      const right = most < 0 ? !fits(0) : fits(most) && !fits(most + 1);
      if (!right) throw new Error(`${amount} msat, ${input} tokens in, ${Bun.inspect(table)}: ${most}`);
    }
  });

  test("the cap that was quoted is affordable from its own ceiling", () => {
    const random = new SeededRandom(3);
    for (let i = 0; i < 5_000; i++) {
      const table = price(BigInt(random.below(1_000_000)), BigInt(random.between(1, 1_000_000)));
      const [input, cap] = [random.below(100_000), random.between(1, 8_192)];
      expect(affordableOutputTokens(costOf(tokens(input, cap), table), input, table)).toBeGreaterThanOrEqual(cap);
    }
  });
});
