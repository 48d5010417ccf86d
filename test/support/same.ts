/** Fails with both sides in its words. For comparisons that run millions of times, which expect() is too slow for. */

export function same(what: string, real: unknown, expected: unknown): void {
  if (Bun.deepEquals(real, expected)) return;
  throw new Error(`${what}: is ${Bun.inspect(real)}, the rules say ${Bun.inspect(expected)}`);
}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`must hold: ${what}`);
}
