/** One price of bitcoin out of several: nobody who lies or fails can move it far, and too few know nothing. */
import { describe, expect, test } from "bun:test";
import { medianRate, type RateReading } from "../../src/pricing/rate-median.ts";
import { SeededRandom } from "../support/random.ts";

const names = ["a", "b", "c", "d", "e", "f", "g"];
const readings = (...cents: number[]): RateReading[] => cents.map((one, i) => ({ source: names[i]!, centsPerBtc: BigInt(one) }));

describe("the median of sources that agree", () => {
  const cases: [what: string, said: number[], cents: bigint][] = [
    ["of three it is the one in the middle", [10_000, 10_100, 10_050], 10_050n],
    ["of four the lower of the two in the middle, which is the house's side", [10_000, 10_010, 10_020, 10_030], 10_010n],
    ["of five the one in the middle", [10_040, 10_010, 10_020, 10_030, 10_000], 10_020n],
    ["sources may all say the same", [7, 7, 7], 7n],
    ["numbers are compared as numbers, not as text", [9_999, 10_000, 10_001], 10_000n],
    ["a cent is a price", [1, 1, 1], 1n],
    ["prices above 2^53 are exact", [2 ** 60, 2 ** 60, 2 ** 60], 2n ** 60n],
  ];
  test.each(cases)("%s", (_what, said, cents) => {
    expect(medianRate(readings(...said))).toEqual({ ok: true, centsPerBtc: cents, used: names.slice(0, said.length), dropped: [] });
  });
});

describe("a source that is far off", () => {
  const cases: [what: string, said: number[], cents: bigint, dropped: string[]][] = [
    ["is dropped when it says half as much again", [10_000, 10_010, 10_020, 15_000], 10_010n, ["d"]],
    ["is dropped when it says half as much", [10_000, 10_010, 10_020, 5_000], 10_010n, ["d"]],
    ["is dropped when it says next to nothing", [10_000, 10_010, 10_020, 1], 10_010n, ["d"]],
    ["is dropped when it says a million times as much", [10_000, 10_010, 10_020, 10_000_000_000], 10_010n, ["d"]],
    ["counts when it is exactly 10 % above", [10_000, 10_000, 11_000], 10_000n, []],
    ["counts when it is exactly 10 % below", [9_000, 10_000, 10_000], 10_000n, []],
    ["is dropped when it is a cent more than 10 % above", [10_000, 10_000, 10_000, 11_001], 10_000n, ["d"]],
    ["is dropped when it is a cent more than 10 % below", [10_000, 10_000, 10_000, 8_999], 10_000n, ["d"]],
    ["is dropped with another one on the other side", [10_000, 10_000, 10_000, 20_000, 5_000], 10_000n, ["d", "e"]],
    ["does not shift the median of those that are left", [10_000, 10_010, 10_020, 10_030, 10_040, 20_000, 20_000], 10_020n, ["f", "g"]],
  ];
  test.each(cases)("%s", (_what, said, cents, dropped) => {
    const outcome = medianRate(readings(...said));
    expect(outcome).toMatchObject({ ok: true, centsPerBtc: cents, dropped });
    expect(outcome.ok && [...outcome.used, ...outcome.dropped].sort()).toEqual(names.slice(0, said.length));
  });
});

describe("there is no price", () => {
  test.each([[[]], [[10_000]], [[10_000, 10_000]]])("of fewer than three sources: %p", (said: number[]) => {
    expect(medianRate(readings(...said))).toEqual({ ok: false, reason: "too_few_sources", dropped: [] });
  });

  const cases: [what: string, said: number[], dropped: string[]][] = [
    ["when one of three is off: two are no majority that anybody could check", [10_000, 10_010, 15_000], ["c"]],
    ["when all three say something else", [5_000, 10_000, 20_000], ["a", "c"]],
    ["when two stand against two", [10_000, 10_000, 20_000, 20_000], ["c", "d"]],
  ];
  test.each(cases)("%s", (_what, said, dropped) => {
    expect(medianRate(readings(...said))).toEqual({ ok: false, reason: "sources_disagree", dropped });
  });
});

describe("whatever is said", () => {
  const random = new SeededRandom(4);
  /** Honest seven times in ten. */
  const saidByOne = () => (random.chance(70) ? random.between(95_000, 105_000) : random.between(1, 10 ** random.between(1, 9)));
  const runs = Array.from({ length: 5_000 }, () => readings(...Array.from({ length: random.between(3, 7) }, saidByOne)));

  test("the price is one that a source said, and every source counted is within 10 % of the first median", () => {
    let known = 0;
    for (const said of runs) {
      const outcome = medianRate(said);
      if (!outcome.ok) continue;
      known++;
      expect(said.map((one) => one.centsPerBtc)).toContain(outcome.centsPerBtc);
      const used = said.filter((one) => outcome.used.includes(one.source)).map((one) => Number(one.centsPerBtc));
      if (used.length < 3 || Math.max(...used) * 9 > Math.min(...used) * 11) throw new Error(`${Bun.inspect(said)} made ${Bun.inspect(outcome)}`);
    }
    expect(known).toBeGreaterThan(1_000);
  });

  test("the order in which sources answer changes nothing", () => {
    for (const said of runs) {
      const [there, back] = [medianRate(said), medianRate([...said].reverse())];
      expect(there.ok && there.centsPerBtc).toBe(back.ok && back.centsPerBtc);
      expect([...there.dropped].sort()).toEqual([...back.dropped].sort());
    }
  });

  test("one liar among four honest sources moves the price by no more than they differ", () => {
    for (const lie of [1, 5_000, 9_500, 10_000, 10_500, 11_000, 15_000, 10 ** 9]) {
      const outcome = medianRate(readings(10_000, 10_020, 10_040, 10_060, lie));
      expect(outcome.ok && outcome.centsPerBtc >= 10_000n && outcome.centsPerBtc <= 10_060n).toBe(true);
    }
  });
});
