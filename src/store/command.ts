/**
 * A named write. Rooms describe their writes as commands, the writer thread runs them: small synchronous functions of
 * a transaction and an input, the unit of atomicity. Nothing here opens a database.
 */

export type SqlValue = string | number | bigint | null | Uint8Array;

/** What a command (or a read) may do with the database: plain SQL, prepared once per text. */
export interface Tx {
  /** Runs one statement; answers how many rows it changed. */
  run(sql: string, ...values: SqlValue[]): number;
  /** The first row, or undefined. Integers are bigints. */
  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined;
  all<Row>(sql: string, ...values: SqlValue[]): Row[];
}

/** An outcome with `ok: false` is a refusal: everything the command wrote is rolled back, nothing else is. */
export type Outcome = { ok: boolean };

export type Command<Input, Result extends Outcome> = {
  readonly name: string;
  /**
   * Whether it may be turned away (503) when the queue or the disk is full: true for what starts a call or makes a
   * quote, false for what ends a call or credits a payment, which is always taken.
   */
  readonly sheds: boolean;
  /** Nobody waits for its answer, so it may ride along with the next command (at most 2 ms later). */
  readonly unhurried: boolean;
  readonly run: (tx: Tx, input: Input) => Result;
};

/** Declares a command. Inputs and outcomes cross a thread: plain data only. */
export function command<Input, Result extends Outcome>(
  name: string,
  run: (tx: Tx, input: Input) => Result,
  options: { sheds?: boolean; unhurried?: boolean } = {},
): Command<Input, Result> {
  return { name, sheds: options.sheds ?? false, unhurried: options.unhurried ?? false, run };
}

/** What the rooms call. One implementation runs the writer thread; tests run commands in place. */
export interface Writer {
  /** Answered once every later command sees it. For the reserve and the void of a call only: a crash voids them anyway. */
  executed<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result>;
  /** Answered once it is on the disk. For whatever a client is told has happened. */
  durable<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result>;
  /** Resolves when every command sent so far is executed, so that a read that follows sees them. */
  caughtUp(): Promise<void>;
}
