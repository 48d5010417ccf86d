/** Our own mistakes: a failed assertion is a bug, never an answer to bad input. */

export class AssertionError extends Error {
  override name = "AssertionError";
}

/** Throws when `condition` is false. The message says what must hold, not what went wrong. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(`must hold: ${message}`);
}

/** Marks the branch of a switch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
