/** Prices by the image, second, character and call: what is charged is never below the exact price and less than a sat above it. */
import { describe, expect, test } from "bun:test";
import { ceilToSat, msat } from "../../src/money/msat.ts";
import { priceAt, type UsdPrice } from "../../src/pricing/list-price.ts";
import { affordableOutputTokens, costOf, type Counts, covers, type ModelPrice, type PerUnit, type Unit, units } from "../../src/pricing/quote.ts";
import { SeededRandom } from "../support/random.ts";

const none = { inputTokens: 0, outputTokens: 0 };
const inMsat = (perMillion: PerUnit<bigint>, tokens = 0n): ModelPrice => ({ inputMsatPerMtok: tokens, outputMsatPerMtok: tokens, perMillion });
const million = 1_000_000n;

const costs: [what: string, price: ModelPrice, counts: Counts, expectedMsat: bigint][] = [
  ["one image", inMsat({ image: 21_000n * million }), { ...none, units: { image: 1 } }, 21_000n],
  ["ten images", inMsat({ image: 21_000n * million }), { ...none, units: { image: 10 } }, 210_000n],
  ["a second at a thousandth of a millisat", inMsat({ second: 1_000n }), { ...none, units: { second: 1 } }, 1n],
  ["a thousand of them", inMsat({ second: 1_000n }), { ...none, units: { second: 1_000 } }, 1n],
  ["a thousand and one", inMsat({ second: 1_000n }), { ...none, units: { second: 1_001 } }, 2n],
  ["an hour of sound", inMsat({ second: 150n * million }), { ...none, units: { second: 3_600 } }, 540_000n],
  ["a page spoken", inMsat({ character: 22_500_000n }), { ...none, units: { character: 3_000 } }, 67_500n],
  ["a call is one call, whatever is counted", inMsat({ call: 7_000n * million }), none, 7_000n],
  ["a call and an image", inMsat({ call: 7_000n * million, image: 1_000n * million }), { ...none, units: { image: 2 } }, 9_000n],
  ["a call and tokens", inMsat({ call: 7_000n * million }, million), { inputTokens: 3, outputTokens: 4 }, 7_007n],
  ["a unit nobody counted", inMsat({ image: 21_000n * million }), none, 1n],
  ["a unit that has no price", inMsat({ call: million }), { ...none, units: { image: 5 } }, 1n],
];
test.each(costs)("%s", (_what, price, counts, expectedMsat) => {
  expect(costOf(counts, price)).toBe(msat(expectedMsat));
});

test("over prices x counts x rates: never below the exact price in dollars, and less than a sat above it", () => {
  const random = new SeededRandom(11);
  for (let round = 0; round < 5_000; round++) {
    const unit = units[random.below(units.length)]!;
    // From a millionth of a dollar for a unit up to a hundred dollars, at 100 to 10,000,000 dollars a bitcoin.
    const micros = BigInt(random.between(1, 100_000_000));
    const centsPerBtc = BigInt(random.between(10_000, 1_000_000_000));
    const count = unit === "call" ? 1 : random.between(1, 5_000);
    const list: UsdPrice = { inputMicros: 0n, outputMicros: 0n, perMillion: { [unit]: micros * million } };
    const price = priceAt({ kind: "usd", price: list }, { centsPerBtc, atMs: 0 })!;
    const sats = ceilToSat(costOf({ ...none, units: { [unit]: count } }, price));
    // Exact: micros x count / 1e6 dollars, in sats 1e8 x 100 / cents of them.
    const exact = micros * BigInt(count) * 10_000_000_000n, divisor = million * centsPerBtc;
    const over = sats * divisor - exact;
    if (over < 0n || over >= divisor) throw new Error(Bun.inspect({ unit, micros, centsPerBtc, count, sats }));
  }
});

describe("who stands in", () => {
  const cases: [what: string, price: PerUnit<bigint>, cost: PerUnit<bigint>, covered: boolean][] = [
    ["at the same price", { image: 5n }, { image: 5n }, true],
    ["for less", { image: 5n }, { image: 4n }, true],
    ["for nothing", { image: 5n }, {}, true],
    ["not for more", { image: 5n }, { image: 6n }, false],
    ["not with a fee for the call that nobody pays", { image: 5n }, { image: 4n, call: 1n }, false],
    ["not by another unit", { image: 5n }, { second: 1n }, false],
  ];
  test.each(cases)("%s", (_what, price, cost, covered) => {
    expect(covers(inMsat(price), inMsat(cost), 0)).toBe(covered);
  });
});

test("a balance pays the call's fee before its first token", () => {
  const price = inMsat({ call: 1_000n * million }, million);
  expect(affordableOutputTokens(msat(1_015n), 5, price)).toBe(10);
  expect(affordableOutputTokens(msat(1_004n), 5, price)).toBe(-1);
});

test("a discount comes off every unit, and a price in sats needs no rate", () => {
  const perMillion = Object.fromEntries(units.map((unit: Unit) => [unit, 1_001n])) as PerUnit<bigint>;
  expect(priceAt({ kind: "sats", price: inMsat(perMillion) }, undefined, 10)?.perMillion).toEqual(Object.fromEntries(units.map((unit) => [unit, 901n])) as PerUnit<bigint>);
});
