/** How long somebody would wait for a model server, by what runs there and how long its calls took. */
import { expect, test } from "bun:test";
import { LoadBook } from "../../src/gateway/load-book.ts";

let nowMs = 0;
const clock = { nowMs: () => nowMs };
const house = { name: "attic", places: 1 };

function taught(seconds: number): LoadBook {
  const book = new LoadBook(clock);
  const over = book.begin(house.name);
  nowMs += seconds * 1_000;
  over();
  return book;
}

const waits: [what: string, running: number, places: number | undefined, seconds: number][] = [
  ["nobody is there", 0, 1, 0],
  ["one call is at the only place", 1, 1, 10],
  ["three calls are at the only place", 3, 1, 30],
  ["one of two places is free", 1, 2, 0],
  ["both places are taken", 2, 2, 5],
  ["a cloud's places are not known", 50, undefined, 0],
];
test.each(waits)("when calls take ten seconds and %s", (_what, running, places, seconds) => {
  const book = taught(10);
  for (let call = 0; call < running; call++) book.begin(house.name);
  expect(book.waitSeconds({ name: house.name, places })).toBe(seconds);
});

test("nothing is said of a server whose calls nobody has timed", () => {
  const book = new LoadBook(clock);
  book.begin(house.name);
  expect(book.waitSeconds(house)).toBe(0);
});

test("a call that is told to be over twice is over once", () => {
  const book = taught(10);
  const [first] = [book.begin(house.name), book.begin(house.name)];
  first!();
  first!();
  expect(book.waitSeconds(house)).toBe(9);
});

test("a clock set back makes no time of less than nothing", () => {
  const book = new LoadBook(clock);
  const over = book.begin(house.name);
  nowMs -= 3_600_000;
  over();
  book.begin(house.name);
  expect(book.waitSeconds(house)).toBe(0);
});
