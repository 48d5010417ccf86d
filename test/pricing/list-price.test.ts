/** From a listed price to what a call costs: dollars become millisatoshi toward the house, by less than a satoshi a call, and margins never sell below cost. */
import { describe, expect, test } from "bun:test";
import { msat } from "../../src/money/msat.ts";
import { type ListPrice, priceAt, type UsdPrice, withMargin } from "../../src/pricing/list-price.ts";
import { affordableOutputTokens, costOf, type ModelPrice } from "../../src/pricing/quote.ts";
import type { BtcRate } from "../../src/pricing/rate.ts";
import { SeededRandom } from "../support/random.ts";

const rate = (centsPerBtc: bigint): BtcRate => ({ centsPerBtc, atMs: 0 });
const usd = (inputMicros: bigint, outputMicros: bigint, above?: UsdPrice["above"]): ListPrice => ({ kind: "usd", price: { inputMicros, outputMicros, ...(above && { above }) } });

/** Micro-dollars times tokens, over a million tokens, as millisatoshi: a fraction that is compared without being rounded. */
function exactly(micros: { in: bigint; out: bigint }, tokens: { inputTokens: number; outputTokens: number }, cents: bigint) {
  const dividend = (micros.in * BigInt(tokens.inputTokens) + micros.out * BigInt(tokens.outputTokens)) * 100_000_000_000n;
  return { dividend, divisor: cents * 10_000n * 1_000_000n };
}

describe("a price in dollars at a rate", () => {
  const cases: [what: string, micros: bigint, cents: bigint, msatPerMtok: bigint][] = [
    ["a dollar at 100,000 dollars is a thousand sats", 1_000_000n, 10_000_000n, 1_000_000n],
    ["a dollar at 50,000 dollars is twice as many", 1_000_000n, 5_000_000n, 2_000_000n],
    ["what does not divide is rounded up", 1_000_000n, 9_712_345n, 1_029_618n],
    ["a millionth of a dollar is not free", 1n, 10_000_000n, 1n],
    ["a millionth of a dollar at the dearest bitcoin is not free either", 1n, 100_000_000_000n, 1n],
    ["nothing is nothing", 0n, 10_000_000n, 0n],
    ["amounts above 2^53 are exact", 100_000_000_000n, 1n, 1_000_000_000_000_000_000n],
  ];
  test.each(cases)("%s", (_what, micros, cents, expected) => {
    expect(priceAt(usd(micros, micros), rate(cents))).toEqual({ inputMsatPerMtok: expected, outputMsatPerMtok: expected });
  });

  test("input and output are each their own", () => {
    expect(priceAt(usd(2_500_000n, 10_000_000n), rate(10_000_000n))).toEqual({ inputMsatPerMtok: 2_500_000n, outputMsatPerMtok: 10_000_000n });
  });

  test("long prompts keep their bound and get their own price", () => {
    const price = priceAt(usd(1_250_000n, 10_000_000n, { tokens: 200_000, inputMicros: 2_500_000n, outputMicros: 15_000_000n }), rate(10_000_000n));
    expect(price).toEqual({
      inputMsatPerMtok: 1_250_000n, outputMsatPerMtok: 10_000_000n, above: { tokens: 200_000, inputMsatPerMtok: 2_500_000n, outputMsatPerMtok: 15_000_000n },
    });
  });

  test("is no price while the rate is unknown, and a price in sats needs none", () => {
    const sats: ModelPrice = { inputMsatPerMtok: 200_000n, outputMsatPerMtok: 800_000n };
    expect(priceAt(usd(1n, 1n), undefined)).toBeUndefined();
    expect(priceAt({ kind: "sats", price: sats }, undefined)).toEqual(sats);
    expect(priceAt({ kind: "sats", price: sats }, rate(1n))).toEqual(sats);
  });
});

describe("what a call in dollars costs", () => {
  const prices: [input: bigint, output: bigint][] = [
    [0n, 1n], [1n, 0n], [1n, 1n], [75_000n, 300_000n], [150_000n, 600_000n],
    [2_500_000n, 10_000_000n], [15_000_000n, 75_000_000n], [333_333n, 777_777n], [100_000_000_000n, 100_000_000_000n],
  ];
  const counts: [input: number, output: number][] = [
    [0, 1], [1, 0], [1, 1], [12, 34], [999, 1], [1_000, 1_000], [200_000, 1], [200_001, 16_384], [999_999, 1_000_000], [1_000_000, 1_000_000],
  ];
  const rates = [1_000_000n, 4_375_300n, 9_712_345n, 10_000_000n, 33_333_333n, 99_999_999n, 100_000_000_000n];
  const rows = prices.flatMap(([input, output]) => rates.map((cents): [bigint, bigint, bigint] => [input, output, cents]));

  test.each(rows)("at %d and %d micro-dollars a million tokens and %d cents a bitcoin: never under the dollars, and under a satoshi over them", (input, output, cents) => {
    const price = priceAt(usd(input, output), rate(cents))!;
    for (const [inputTokens, outputTokens] of counts) {
      const tokens = { inputTokens, outputTokens };
      const { dividend, divisor } = exactly({ in: input, out: output }, tokens, cents);
      const over = costOf(tokens, price) * divisor - dividend;
      if (over < 0n || over >= 1_000n * divisor) throw new Error(`${inputTokens} + ${outputTokens} tokens are ${Number(over) / Number(divisor)} msat over`);
    }
  });

  test("rounds once for a price and once for a call: an ordinary one is over by less than two millisatoshi", () => {
    const random = new SeededRandom(5);
    for (let i = 0; i < 20_000; i++) {
      const micros = { in: BigInt(random.below(100_000_000)), out: BigInt(random.below(100_000_000)) };
      const [tokens, cents] = [{ inputTokens: random.below(400_000), outputTokens: random.between(1, 400_000) }, BigInt(random.between(100_000, 100_000_000))];
      const { dividend, divisor } = exactly(micros, tokens, cents);
      const over = costOf(tokens, priceAt(usd(micros.in, micros.out), rate(cents))!) * divisor - dividend;
      if (over < 0n || over >= 2n * divisor) throw new Error(`${Bun.inspect({ micros, tokens, cents })} is ${Number(over) / Number(divisor)} msat over`);
    }
  });

  test("falls when a bitcoin is worth more, and never rises", () => {
    const tokens = { inputTokens: 1_234, outputTokens: 567 };
    const costs = [...rates].map((cents) => costOf(tokens, priceAt(usd(2_500_000n, 10_000_000n), rate(cents))!));
    expect(costs).toEqual([...costs].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0)));
    expect(costs[0]).toBeGreaterThan(costs.at(-1)!);
  });
});

describe("long prompts", () => {
  const price = priceAt(usd(1_000_000n, 4_000_000n, { tokens: 200_000, inputMicros: 2_000_000n, outputMicros: 6_000_000n }), rate(10_000_000n))!;
  const cases: [what: string, input: number, output: number, msat: bigint][] = [
    ["a prompt under the bound costs the plain price", 199_999, 1_000, 203_999n],
    ["a prompt of exactly the bound costs the plain price", 200_000, 1_000, 204_000n],
    ["a token more and all of the call costs the higher price, from its first token on", 200_001, 1_000, 406_002n],
    ["a long answer does not make a prompt long", 1_000, 400_000, 1_601_000n],
    ["output of a long prompt costs its higher price too", 300_000, 100_000, 1_200_000n],
  ];
  test.each(cases)("%s", (_what, inputTokens, outputTokens, expected) => {
    expect(costOf({ inputTokens, outputTokens }, price)).toBe(msat(expected));
  });

  const random = new SeededRandom(6);
  function tiered(): ModelPrice {
    const part = () => BigInt(random.between(1, 10 ** random.between(0, 8)));
    return { inputMsatPerMtok: part(), outputMsatPerMtok: part(), above: { tokens: random.between(1, 20_000), inputMsatPerMtok: part(), outputMsatPerMtok: part() } };
  }

  test("the output a balance affords never costs more than the balance, on either side of the bound, and is the most that does not", () => {
    let short = 0, long = 0;
    for (let i = 0; i < 20_000; i++) {
      const table = tiered();
      const [amount, inputTokens] = [msat(BigInt(random.between(1, 10 ** random.between(0, 9)))), random.below(40_000)];
      const most = affordableOutputTokens(amount, inputTokens, table);
      const fits = (outputTokens: number) => costOf({ inputTokens, outputTokens }, table) <= amount;
      if (most < 0 ? fits(0) : !fits(most) || fits(most + 1)) throw new Error(`${amount} msat, ${inputTokens} tokens in, ${Bun.inspect(table)}: ${most}`);
      if (inputTokens > table.above!.tokens) long++;
      else short++;
    }
    expect(Math.min(short, long)).toBeGreaterThan(2_000);
  });

  test("at the bound itself one token of input decides which price the output is counted by", () => {
    const table: ModelPrice = { inputMsatPerMtok: 1_000_000n, outputMsatPerMtok: 1_000_000n, above: { tokens: 10, inputMsatPerMtok: 2_000_000n, outputMsatPerMtok: 5_000_000n } };
    expect([10, 11].map((input) => affordableOutputTokens(msat(100n), input, table))).toEqual([90, 15]);
    expect(affordableOutputTokens(msat(21n), 11, table)).toBe(-1);
  });
});

describe("a cloud's price with the owner's margin", () => {
  const cases: [what: string, row: { in: number; out: number }, percent: number, input: bigint, output: bigint][] = [
    ["20 % are a fifth more", { in: 2_500_000, out: 10_000_000 }, 20, 3_000_000n, 12_000_000n],
    ["no margin is the cloud's own price", { in: 2_500_000, out: 10_000_000 }, 0, 2_500_000n, 10_000_000n],
    ["1,000 % are eleven times as much", { in: 2_500_000, out: 10_000_000 }, 1_000, 27_500_000n, 110_000_000n],
    ["a fraction of a micro-dollar is rounded up", { in: 1, out: 33 }, 1, 2n, 34n],
    ["input that is free stays free", { in: 0, out: 100 }, 20, 0n, 120n],
  ];
  test.each(cases)("%s", (_what, row, percent, inputMicros, outputMicros) => {
    expect(withMargin({ mode: "chat", ...row }, percent)).toEqual({ inputMicros, outputMicros });
  });

  test("is on the price of long prompts as well", () => {
    expect(withMargin({ mode: "chat", in: 100, out: 200, above: { tokens: 200_000, in: 1_000, out: 2_000 } }, 50)).toEqual({
      inputMicros: 150n, outputMicros: 300n, above: { tokens: 200_000, inputMicros: 1_500n, outputMicros: 3_000n },
    });
  });

  test.each([[{ perImage: 40_000 }], [{ perSecond: 100 }], [{ perMchar: 15_000_000 }], [{ in: 100 }], [{ out: 100 }]])("is nothing for what is not sold by the token: %p", (row) => {
    expect(withMargin({ mode: "chat", ...row }, 20)).toBeUndefined();
  });
});
