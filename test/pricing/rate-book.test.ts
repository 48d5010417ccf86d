/** The price of bitcoin as Hearth remembers it: how old it may get, who is asked how often, and the owner's own word. */
import { afterEach, describe, expect, test } from "bun:test";
import { rateFreezeMs, rateRefreshMs, rateRetryMs, rateWarnMs } from "../../src/base/limits.ts";
import { RateBook } from "../../src/pricing/rate-book.ts";
import type { RateSource } from "../../src/pricing/rate-source.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const minuteMs = 60_000;

/** Sources that say what the test wants, and count how often they were asked. */
function world(options: { fixedCents?: bigint; sources?: number } = {}) {
  const clock = new VirtualClock();
  const said: (bigint | Error)[] = Array.from({ length: options.sources ?? 3 }, () => 10_000n);
  let asked = 0;
  const sources = said.map((_one, i): RateSource => ({
    name: `source-${i}`,
    async read() {
      asked++;
      const answer = said[i]!;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  }));
  const book = new RateBook({ sources, clock, fixedCents: options.fixedCents });
  books.push(book);
  const sayAll = (answer: bigint | Error) => void said.fill(answer);
  return { clock, book, said, sayAll, rounds: () => asked / said.length };
}

const books: RateBook[] = [];
afterEach(() => books.splice(0).forEach((book) => book.stop()));

const down = new Error("connection refused");

describe("before any source has answered", () => {
  test("the price is unknown, and says that there never was one", () => {
    const { book } = world();
    expect(book.state()).toEqual({ kind: "unknown", lastAtMs: undefined });
    expect(book.current()).toBeUndefined();
  });

  test("a round in which all fail leaves it unknown", async () => {
    const { book, sayAll } = world();
    sayAll(down);
    expect(await book.refresh()).toBe(false);
    expect(book.state()).toEqual({ kind: "unknown", lastAtMs: undefined });
  });

  test("no sources at all are no price", async () => {
    const { book } = world({ sources: 0 });
    expect(await book.refresh()).toBe(false);
    expect(book.current()).toBeUndefined();
  });
});

describe("a price that was read", () => {
  test("is known with the time it was true", async () => {
    const { book, clock } = world();
    expect(await book.refresh()).toBe(true);
    expect(book.current()).toEqual({ centsPerBtc: 10_000n, atMs: clock.nowMs() });
    expect(book.state()).toMatchObject({ kind: "known", by: "sources", ageMs: 0, stale: false });
  });

  const ages: [what: string, ageMs: number, state: object][] = [
    ["is fresh a moment before ten minutes", 10 * minuteMs - 1, { kind: "known", stale: false }],
    ["is stale from ten minutes on, and still counts", 10 * minuteMs, { kind: "known", stale: true }],
    ["still counts a moment before an hour", 60 * minuteMs - 1, { kind: "known", stale: true }],
    ["counts no more after an hour", 60 * minuteMs, { kind: "unknown" }],
    ["counts no more after a day", 24 * 60 * minuteMs, { kind: "unknown" }],
  ];
  test.each(ages)("%s", async (_what, ageMs, state) => {
    const { book, clock } = world();
    await book.refresh();
    const readAtMs = clock.nowMs();
    await clock.advance(ageMs);
    expect(book.state()).toMatchObject(state);
    expect(book.current()?.atMs).toBe(book.state().kind === "known" ? readAtMs : undefined);
  });

  test("the limits of the house are the design's: ten minutes to a warning, sixty to a freeze", () => {
    expect([rateWarnMs, rateFreezeMs]).toEqual([10 * minuteMs, 60 * minuteMs]);
  });

  test("that is too old is named by its time, for the owner", async () => {
    const { book, clock } = world();
    await book.refresh();
    const readAtMs = clock.nowMs();
    await clock.advance(rateFreezeMs);
    expect(book.state()).toEqual({ kind: "unknown", lastAtMs: readAtMs });
  });

  test.each([[rateWarnMs, "known"], [rateFreezeMs, "unknown"]] as const)("does not become young when the clock is set back by %d ms", async (backMs, kind) => {
    const startMs = Date.UTC(2026, 5, 1);
    let nowMs: number = startMs;
    const clock = { nowMs: () => nowMs, sleep: () => Promise.resolve() };
    const sources = [1, 2, 3].map((i) => ({ name: `source-${i}`, read: async () => 10_000n }));
    const book = new RateBook({ sources, clock, fixedCents: undefined });
    await book.refresh();
    nowMs = startMs - backMs;
    expect(book.state()).toMatchObject(kind === "known" ? { kind, stale: true, ageMs: backMs } : { kind, lastAtMs: startMs });
  });

  test("outlives a round that fails, with its own age", async () => {
    const { book, clock, sayAll } = world();
    await book.refresh();
    const first = book.current();
    sayAll(down);
    await clock.advance(5 * minuteMs);
    expect(await book.refresh()).toBe(false);
    expect(book.current()).toEqual(first);
    expect(book.state()).toMatchObject({ ageMs: 5 * minuteMs });
  });

  test("outlives a round of sources that disagree", async () => {
    const { book, said } = world();
    await book.refresh();
    said.splice(0, 3, 5_000n, 10_000n, 20_000n);
    expect(await book.refresh()).toBe(false);
    expect(book.current()?.centsPerBtc).toBe(10_000n);
  });

  test("is replaced by the next good round, and a frozen one thaws", async () => {
    const { book, clock, sayAll } = world();
    await book.refresh();
    await clock.advance(rateFreezeMs);
    sayAll(20_000n);
    expect(await book.refresh()).toBe(true);
    expect(book.current()).toEqual({ centsPerBtc: 20_000n, atMs: clock.nowMs() });
  });

  test("is made without a source that fails while three others answer", async () => {
    const { book, said } = world({ sources: 4 });
    said[1] = down;
    expect(await book.refresh()).toBe(true);
    said[2] = down;
    expect(await book.refresh()).toBe(false);
  });

  test("is made without a source that throws no error but a text", async () => {
    const { clock, book: _unused } = world();
    const good = (name: string): RateSource => ({ name, read: async () => 10_000n });
    const odd: RateSource = { name: "odd", read: () => Promise.reject("a text") };
    const book = new RateBook({ sources: [good("a"), odd, good("b"), good("c")], clock, fixedCents: undefined });
    expect(await book.refresh()).toBe(true);
  });
});

describe("while it runs", () => {
  test("sources are asked at once, then every two minutes", async () => {
    const { book, clock, rounds } = world();
    void book.run();
    await clock.settle();
    expect(rounds()).toBe(1);
    await clock.advance(rateRefreshMs - 1);
    expect(rounds()).toBe(1);
    await clock.advance(1);
    expect(rounds()).toBe(2);
    await clock.advance(10 * rateRefreshMs);
    expect(rounds()).toBe(12);
  });

  test("after a failed round they are asked again sooner, until one succeeds", async () => {
    const { book, clock, rounds, sayAll } = world();
    sayAll(down);
    void book.run();
    await clock.advance(3 * rateRetryMs);
    expect(rounds()).toBe(4);
    sayAll(10_000n);
    await clock.advance(rateRetryMs);
    expect(rounds()).toBe(5);
    expect(book.current()?.centsPerBtc).toBe(10_000n);
    await clock.advance(rateRefreshMs - 1);
    expect(rounds()).toBe(5);
  });

  test("sources that stay down freeze the price after an hour, and their return brings it back within the retry time", async () => {
    const { book, clock, sayAll } = world();
    void book.run();
    await clock.settle();
    sayAll(down);
    await clock.advance(rateFreezeMs - 1);
    expect(book.state()).toMatchObject({ kind: "known", stale: true });
    await clock.advance(1);
    expect(book.state()).toMatchObject({ kind: "unknown" });
    sayAll(30_000n);
    await clock.advance(rateRetryMs);
    expect(book.current()?.centsPerBtc).toBe(30_000n);
  });

  test("a healthy price never gets old", async () => {
    const { book, clock } = world();
    void book.run();
    for (let passed = 0; passed < 3 * rateFreezeMs; passed += 7 * minuteMs) {
      await clock.advance(7 * minuteMs);
      expect(book.state()).toMatchObject({ kind: "known", stale: false });
    }
  });

  test("stopping ends it, and nobody is asked any more", async () => {
    const { book, clock, rounds } = world();
    const running = book.run();
    await clock.settle();
    book.stop();
    await running;
    await clock.advance(10 * rateRefreshMs);
    expect(rounds()).toBe(1);
  });
});

describe("the owner's own price", () => {
  test("is the price at any time, and no source is asked for another one", async () => {
    const { book, clock, rounds } = world({ fixedCents: 12_345n });
    await book.run();
    await book.refresh();
    await clock.advance(48 * 60 * minuteMs);
    expect(book.state()).toEqual({ kind: "known", rate: { centsPerBtc: 12_345n, atMs: clock.nowMs() }, by: "owner", ageMs: 0, stale: false });
    expect(rounds()).toBe(0);
  });
});
