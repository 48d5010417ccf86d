/**
 * Random walks over all that moves money, against a model written from the rules. The short run; the long one is in
 * `test/durability/`. `HEARTH_SEED=N` replays the walk that a failure names.
 */
import { expect, test } from "bun:test";
import { walkLedger, walkSize } from "../support/ledger-walk.ts";

const everyOutcome = [
  "boot, calls in flight", "boot, idle",
  "open", "open, again", "open, failed",
  "credit, now", "credit, before", "credit, foreign", "credit, failed", "credit, rolled over",
  "forget, true", "forget, false",
  "reserve, whole", "reserve, whole, nothing left", "reserve, part", "reserve, again", "reserve, refused", "reserve, refused, nothing left", "reserve, failed",
  "post, within", "post, cost nothing", "post, above the reservation", "post, ended before",
  "void, true", "void, false",
];

test("whatever happens in whatever order, every account holds what the rules of money say", () => {
  const { seeds, steps } = walkSize(20);
  const reached = new Map<string, number>();
  for (const seed of seeds) for (const [kind, count] of walkLedger(seed, steps).reached) reached.set(kind, (reached.get(kind) ?? 0) + count);
  // A walk that never gets somewhere proves nothing about it.
  if (seeds.length * steps >= 20_000) expect([...reached.keys()].sort()).toEqual([...everyOutcome].sort());
}, 120_000);

test("the same seed takes the same steps", () => {
  expect(walkLedger(7, 300)).toEqual(walkLedger(7, 300));
  expect(walkLedger(7, 300)).not.toEqual(walkLedger(8, 300));
});
