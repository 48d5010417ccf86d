/** Quotes learn how many tokens a word really is, within bounds that a buyer's choice of texts cannot leave. */
import { describe, expect, test } from "bun:test";
import { FactorBook } from "../../src/gateway/factor-book.ts";

const model = "llama3";
const start = 135;

/** `percents`: real tokens per hundred words, one a call. */
function taught(percents: readonly number[], { words = 1_000, overhead = 8 } = {}): number {
  const book = new FactorBook();
  for (const percent of percents) book.learn(model, { words, overhead }, overhead + (words * percent) / 100);
  return book.percent(model, model);
}

const times = (count: number, percent: number) => Array.from({ length: count }, () => percent);

describe("the factor of a model", () => {
  const cases: [what: string, percents: number[], expected: number][] = [
    ["is its family's while nothing is known", [], start],
    ["is its family's while too little is known", times(99, 120), start],
    ["is what the hundredth call took, once a hundred are known", times(100, 125), 125],
    ["rises for a tokenizer that makes more of a word", times(100, 320), 320],
    ["is not what most took but what nearly all stayed under", [...times(96, 110), ...times(4, 180)], 180],
    ["leaves out the one in a hundred", [...times(99, 130), 390], 130],
    ["falls by a tenth at most, however cheap the texts that somebody chose", times(500, 10), 122],
    ["never rises without end", times(100, 2_000), 400],
    ["forgets what is long past", [...times(400, 380), ...times(500, 130)], 130],
  ];
  test.each(cases)("%s", (_what, percents, expected) => {
    expect(taught(percents)).toBe(expected);
  });

  test("learns nothing from short prompts, where the template around them is most", () => {
    expect(taught(times(200, 900), { words: 99 })).toBe(start);
  });

  test("is one for each model", () => {
    const book = new FactorBook();
    for (let call = 0; call < 100; call++) book.learn("a", { words: 1_000, overhead: 0 }, 1_500);
    expect([book.percent("a", "a"), book.percent("b", "b"), book.percent("c", "gpt-4o")]).toEqual([150, 135, 102]);
  });

  test("of more models than are remembered the later ones keep their family's", () => {
    const book = new FactorBook();
    for (let one = 0; one < 1_000; one++) book.learn(`m${one}`, { words: 1_000, overhead: 0 }, 1_500);
    for (let call = 0; call < 100; call++) book.learn("late", { words: 1_000, overhead: 0 }, 3_000);
    expect(book.percent("late", "late")).toBe(start);
  });
});
