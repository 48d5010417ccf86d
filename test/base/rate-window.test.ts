/** So many events in so much time: who is let in, who waits and how long, and what is forgotten when there is no more room. */
import { describe, expect, test } from "bun:test";
import { AssertionError } from "../../src/base/assert.ts";
import { RateWindow } from "../../src/base/rate-window.ts";

/** `at` is the time, in milliseconds, for the test to move. */
function rateWindow({ limit = 2, windowMs = 60_000, maxKeys = 3 } = {}) {
  const time = { at: 1_000_000 };
  return { time, window: new RateWindow({ limit, windowMs, maxKeys, clock: { nowMs: () => time.at } }) };
}

const allowed = { allowed: true, retryAfterSeconds: 0 };
const wait = (retryAfterSeconds: number) => ({ allowed: false, retryAfterSeconds });

describe("one key", () => {
  test.each([1, 2, 5])("%d events are let in, the next one waits for the rest of the window", (limit) => {
    const { window } = rateWindow({ limit });
    expect(Array.from({ length: limit + 2 }, () => window.hit("a"))).toEqual([...Array(limit).fill(allowed), wait(60), wait(60)]);
  });

  test.each([[0, wait(60)], [1, wait(60)], [1_000, wait(59)], [58_999, wait(2)], [59_000, wait(1)], [59_999, wait(1)], [60_000, allowed], [1_000_000, allowed]])(
    "%d ms after the window began, a full one answers %o", (laterMs, answer) => {
      const { time, window } = rateWindow({ limit: 1 });
      window.hit("a");
      time.at += laterMs;
      expect([window.peek("a"), window.hit("a")]).toEqual([answer, answer]);
    });

  test("whoever waits as long as told is let in, whatever the window", () => {
    for (const windowMs of [1, 999, 1_000, 1_001, 59_999]) {
      const { time, window } = rateWindow({ limit: 1, windowMs });
      window.hit("a");
      time.at += window.hit("a").retryAfterSeconds * 1_000;
      expect({ windowMs, ...window.hit("a") }).toEqual({ windowMs, ...allowed });
    }
  });

  test("whoever keeps trying waits no longer than whoever does not", () => {
    const { time, window } = rateWindow({ limit: 1 });
    window.hit("a");
    for (let second = 1; second < 60; second++) {
      time.at += 1_000;
      expect(window.hit("a")).toEqual(wait(60 - second));
    }
    time.at += 1_000;
    expect(window.hit("a")).toEqual(allowed);
  });

  test("a new window counts from nothing, and from its own first event", () => {
    const { time, window } = rateWindow();
    window.hit("a"), window.hit("a");
    time.at += 90_000;
    expect([window.hit("a"), window.hit("a"), window.hit("a")]).toEqual([allowed, allowed, wait(60)]);
  });

  test("asking counts nothing", () => {
    const { window } = rateWindow({ limit: 1 });
    expect([window.peek("a"), window.peek("a"), window.hit("a"), window.peek("a"), window.peek("b")]).toEqual([allowed, allowed, allowed, wait(60), allowed]);
  });

  test("a clock that was set back locks nobody out for as long", () => {
    const { time, window } = rateWindow({ limit: 1 });
    window.hit("a");
    time.at -= 3_600_000;
    expect([window.hit("a"), window.hit("a")]).toEqual([allowed, wait(60)]);
  });
});

describe("many keys", () => {
  test("one key's events are nobody else's", () => {
    const { window } = rateWindow({ limit: 1 });
    expect([window.hit("a"), window.hit("b"), window.hit("__proto__"), window.hit("a"), window.hit("b"), window.hit("__proto__")])
      .toEqual([allowed, allowed, allowed, wait(60), wait(60), wait(60)]);
  });

  test("without room the key goes whose window began first, not the one seen last", () => {
    const { time, window } = rateWindow({ limit: 1 });
    for (const key of ["a", "b", "c", "a"]) window.hit(key), time.at++;
    window.hit("d");
    expect(["a", "b", "c", "d"].map((key) => window.peek(key).allowed)).toEqual([true, false, false, false]);
  });

  test("a key that began anew is young again", () => {
    const { time, window } = rateWindow({ limit: 1 });
    window.hit("a");
    time.at += 50_000;
    window.hit("b");
    time.at += 10_000;
    window.hit("a"), window.hit("c"), window.hit("d");
    expect(["a", "b", "c", "d"].map((key) => window.peek(key).allowed)).toEqual([false, true, false, false]);
  });

  test("what is over makes room before anybody who still counts has to go", () => {
    const { time, window } = rateWindow({ limit: 1 });
    window.hit("a"), window.hit("b");
    time.at += 59_999;
    window.hit("c");
    time.at += 1;
    window.hit("d"), window.hit("e");
    expect(["c", "d", "e"].map((key) => window.peek(key))).toEqual([wait(60), wait(60), wait(60)]);
  });

  test("a key that is already counted takes nobody's place", () => {
    const { window } = rateWindow({ limit: 2 });
    for (const key of ["a", "b", "c", "c", "b", "a"]) window.hit(key);
    expect(["a", "b", "c"].map((key) => window.peek(key).allowed)).toEqual([false, false, false]);
  });

  test("a flood of a million keys leaves only the last ones counted", () => {
    const { window } = rateWindow({ limit: 1, maxKeys: 1_000 });
    for (let key = 0; key < 1_000_000; key++) window.hit(`${key}`);
    expect(Array.from({ length: 1_000_000 }, (_, key) => window.peek(`${key}`).allowed).indexOf(false)).toBe(999_000);
  });
});

test.each([["limit", 0], ["limit", 1.5], ["limit", NaN], ["windowMs", 0], ["windowMs", Infinity], ["maxKeys", 0], ["maxKeys", -1]])(
  "a bound that bounds nothing is our own mistake: %s %d", (name, value) => expect(() => rateWindow({ [name]: value })).toThrow(AssertionError));
