/** What electricity makes a token cost: exact to the micro-dollar, never less than it is, and nonsense is refused with what to do. */
import { describe, expect, test } from "bun:test";
import { microsPerMtok, parseRunningCost, type RunningCostTexts, usdDecimal } from "../../src/pricing/running-cost.ts";

const home = { watts: 65, idleWatts: 0, usdPerKwh: 0.3, marginPercent: 0 };

describe("the energy of a million tokens", () => {
  const cases: [what: string, setting: Partial<typeof home>, tokensPerSecond: number, cost: bigint][] = [
    // 3.6 million tokens an hour at one kilowatt: a million tokens take 1/3.6 kWh.
    ["a round one is exact", { watts: 1_000, usdPerKwh: 0.36 }, 1_000, 100_000n],
    ["a household's is rounded up to the micro-dollar", {}, 20, 270_834n],
    ["half the speed costs twice as much", { watts: 1_000, usdPerKwh: 0.36 }, 500, 200_000n],
    ["of a large machine", { watts: 10_000, usdPerKwh: 0.5 }, 2_000, 694_445n],
    ["a slow board's is dear", { watts: 12, usdPerKwh: 0.4 }, 0.5, 2_666_667n],
    ["what is drawn anyway is not counted", { watts: 65, idleWatts: 5, usdPerKwh: 0.36 }, 100, 60_000n],
    ["the least there is, rounded up", { watts: 0.001, usdPerKwh: 0.001 }, 1_000_000, 1n],
    ["next to nothing is not nothing", { watts: 1e-9, usdPerKwh: 1e-9 }, 1e9, 1n],
    ["the most there is", { watts: 100_000, usdPerKwh: 10 }, 0.01, 27_777_777_777_778n],
    ["no more for the noise of floats", { watts: 0.1 + 0.2, usdPerKwh: 0.12 }, 0.1, 100_000n],
  ];
  test.each(cases)("%s", (_what, setting, tokensPerSecond, cost) => {
    expect(microsPerMtok({ ...home, ...setting }, tokensPerSecond)).toEqual({ cost, price: cost });
  });

  test("the margin is added to it and rounded up", () => {
    const sold = (marginPercent: number) => microsPerMtok({ ...home, marginPercent }, 20).price;
    expect([0, 1, 50, 100, 1_000].map(sold)).toEqual([270_834n, 273_543n, 406_251n, 541_668n, 2_979_174n]);
  });

  test("is never below the exact fraction, at any speed", () => {
    for (let tokensPerSecond = 1; tokensPerSecond <= 2_000; tokensPerSecond++) {
      // 65 W x 0.30 $/kWh x 10^6 / (3.6 x speed), in whole numbers.
      const exact = 195_000_000n, by = 36n * BigInt(tokensPerSecond);
      expect(microsPerMtok(home, tokensPerSecond).cost).toBe((exact + by - 1n) / by);
    }
  });
});

describe("what is typed", () => {
  const good: RunningCostTexts = { watts: "65", tariff: "0.30", idleWatts: "8", marginPercent: "50" };

  test("is read as numbers", () => expect(parseRunningCost(good)).toEqual({ ok: true, running: { watts: 65, idleWatts: 8, usdPerKwh: 0.3, marginPercent: 50 } }));
  test("may leave out what the machine draws anyway, and the margin", () =>
    expect(parseRunningCost({ watts: "65.5", tariff: "0.3" })).toEqual({ ok: true, running: { watts: 65.5, idleWatts: 0, usdPerKwh: 0.3, marginPercent: 20 } }));

  const nonsense: [what: string, flag: string, said: RunningCostTexts, value: string, fix: string][] = [
    ["no watts", "--watts", { watts: undefined }, "is missing", "such as --watts 65"],
    ["no power at all", "--watts", { watts: "0" }, 'is "0"', "above 0"],
    ["less than none", "--watts", { watts: "-65" }, 'is "-65"', "above 0"],
    ["milliwatts", "--watts", { watts: "650000" }, 'is "650000"', "up to 100000"],
    ["a word", "--watts", { watts: "NaN" }, 'is "NaN"', "such as --watts 65"],
    ["no end", "--watts", { watts: "Infinity" }, 'is "Infinity"', "such as --watts 65"],
    ["nothing between the quotes", "--watts", { watts: "" }, 'is ""', "such as --watts 65"],
    ["its unit", "--watts", { watts: "65W" }, 'is "65W"', "such as --watts 65"],
    ["an exponent", "--watts", { watts: "1e2" }, 'is "1e2"', "such as --watts 65"],
    ["more idle than busy", "--idle-watts", { idleWatts: "65" }, 'is "65"', "less than --watts (65)"],
    ["less than no idle draw", "--idle-watts", { idleWatts: "-1" }, 'is "-1"', "from 0"],
    ["no tariff", "--tariff", { tariff: undefined }, "is missing", "--tariff 0.30 for 30 cents"],
    ["cents", "--tariff", { tariff: "30" }, 'is "30"', "--tariff 0.30 for 30 cents"],
    ["a comma", "--tariff", { tariff: "0,30" }, 'is "0,30"', "--tariff 0.30 for 30 cents"],
    ["free electricity", "--tariff", { tariff: "0" }, 'is "0"', "above 0"],
    ["a currency", "--tariff", { tariff: "$0.30" }, 'is "$0.30"', "in dollars"],
    ["half a percent", "--margin", { marginPercent: "0.5" }, 'is "0.5"', "whole percent from 0 to 1000"],
    ["a loss", "--margin", { marginPercent: "-10" }, 'is "-10"', "whole percent from 0 to 1000"],
    ["too much", "--margin", { marginPercent: "1001" }, 'is "1001"', "whole percent from 0 to 1000"],
  ];
  test.each(nonsense)("%s is refused with the flag, the value and the fix: %s", (_what, flag, said, value, fix) => {
    const outcome = parseRunningCost({ ...good, ...said });
    if (outcome.ok) throw new Error("this was accepted");
    expect(outcome.message).toStartWith(`${flag} ${value}: `);
    expect(outcome.message).toContain(fix);
  });
});

test.each([[1n, "0.000001"], [404_229n, "0.404229"], [1_500_000n, "1.5"], [2_000_000n, "2"], [123_456_000_007n, "123456.000007"]] as const)("%p micro-dollars are %s dollars", (micros, text) => {
  expect(usdDecimal(micros)).toBe(text);
});
