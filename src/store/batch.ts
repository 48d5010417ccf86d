/** Runs a batch of commands in one transaction, each in a savepoint of its own. Answers nobody; syncs nothing. */
import type { Database } from "bun:sqlite";
import { describeError } from "../base/log.ts";
import type { Command, Outcome, Tx } from "./command.ts";
import type { CommandRequest, Failure } from "./protocol.ts";

export type CommandTable = ReadonlyMap<string, Command<never, Outcome>>;
export type Executed =
  | { request: CommandRequest; outcome: Outcome }
  | { request: CommandRequest; failure: Failure };

/** The disk is full. The whole batch is rolled back; SQLite stays usable. */
export class NoSpace extends Error {}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? "");
}

/** Errors that say nothing about the command but that the file or the disk is in trouble. */
function isDiskError(error: unknown): boolean {
  return /^SQLITE_(IOERR|CORRUPT|NOTADB|READONLY|CANTOPEN|PROTOCOL)/.test(codeOf(error));
}

function runOne(tx: Tx, commands: CommandTable, request: CommandRequest): Executed {
  const found = commands.get(request.name);
  if (found === undefined) return { request, failure: { code: "internal", message: `no command ${request.name}` } };
  tx.run("SAVEPOINT command");
  try {
    const outcome = found.run(tx, request.input as never);
    if (!outcome.ok) tx.run("ROLLBACK TO command");
    tx.run("RELEASE command");
    return { request, outcome };
  } catch (error) {
    if (codeOf(error) === "SQLITE_FULL") throw new NoSpace(describeError(error));
    if (isDiskError(error)) throw error;
    tx.run("ROLLBACK TO command");
    tx.run("RELEASE command");
    return { request, failure: { code: "internal", message: `${request.name}: ${describeError(error)}` } };
  }
}

/**
 * Runs and commits. @throws NoSpace with everything rolled back; any other error means the file can no longer be
 * trusted and the process must end.
 */
export function runBatch(database: Database, tx: Tx, commands: CommandTable, batch: readonly CommandRequest[]): Executed[] {
  try {
    tx.run("BEGIN IMMEDIATE");
    const executed = batch.map((request) => runOne(tx, commands, request));
    tx.run("COMMIT");
    return executed;
  } catch (error) {
    // A COMMIT refused for space has rolled back by itself.
    if (database.inTransaction) database.run("ROLLBACK");
    if (codeOf(error) === "SQLITE_FULL") throw new NoSpace(describeError(error));
    throw error;
  }
}
