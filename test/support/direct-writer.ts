/**
 * A writer and a reader over one database in memory, for tests without threads. Commands run at once and in place, by
 * the code that the writer thread runs: one transaction, a savepoint each, a refusal or a failure rolled back.
 */
import type { Database } from "bun:sqlite";
import { AppError } from "../../src/base/errors.ts";
import { type Executed, runBatch } from "../../src/store/batch.ts";
import type { Command, Outcome, Tx, Writer } from "../../src/store/command.ts";
import { migrate } from "../../src/store/migrations.ts";
import { openForWriting } from "../../src/store/open.ts";
import type { CommandRequest } from "../../src/store/protocol.ts";
import type { Reader } from "../../src/store/reader.ts";
import { SqliteTx } from "../../src/store/sqlite-tx.ts";

/** One command with its input, to be run together with others. */
export type Step = { command: Command<never, Outcome>; input: unknown };

export function step<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Step {
  return { command: command as unknown as Command<never, Outcome>, input };
}

export class DirectWriter implements Writer {
  readonly #database: Database;
  readonly #tx: SqliteTx;
  readonly #commands = new Map<string, Command<never, Outcome>>();
  #seq = 0;

  /** `path` only for a test of the file itself. */
  constructor(path = ":memory:") {
    this.#database = openForWriting(path);
    migrate(this.#database);
    this.#tx = new SqliteTx(this.#database);
  }

  /** What the main thread reads with. */
  get reader(): Reader {
    return this.#tx;
  }

  /** The transaction's interface without a transaction: for arranging a test and for audits. */
  get tx(): Tx {
    return this.#tx;
  }

  async executed<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result> {
    return this.run(command, input);
  }

  async durable<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result> {
    return this.run(command, input);
  }

  async caughtUp(): Promise<void> {}

  /** @throws AppError `internal` when the command threw, as the writer's caller sees it. */
  run<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Result {
    const [executed] = this.runTogether([step(command, input)]);
    if (executed && "outcome" in executed) return executed.outcome as Result;
    throw new AppError("internal", executed?.failure.message ?? "nothing was executed");
  }

  /** Several commands in one transaction, as they come along under load. */
  runTogether(steps: readonly Step[]): Executed[] {
    const requests = steps.map(({ command, input }): CommandRequest => {
      this.#commands.set(command.name, command);
      // What cannot cross a thread must not work here either.
      return { seq: ++this.#seq, name: command.name, input: structuredClone(input), want: "durable" };
    });
    return runBatch(this.#database, this.#tx, this.#commands, requests).map((executed) => structuredClone(executed));
  }

  close(): void {
    this.#tx.finalize();
    this.#database.close(true);
  }
}
