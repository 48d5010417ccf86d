/**
 * Opens the database with the settings that durability rests on. Refuses an SQLite that can lose a log.
 * Nothing else in this process may open the database or its `-shm` as a file: closing it drops SQLite's locks.
 */
import { Database } from "bun:sqlite";
import { closeSync, fstatSync, fsyncSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { AppError } from "../base/errors.ts";

/** Before it, a log that is reset at the wrong moment can lose a commit; `wal_checkpoint(NOOP)` needs 3.51.0. */
const oldestSqlite = [3, 51, 3] as const;

function refuseOldSqlite(database: Database): void {
  const { version } = database.query("SELECT sqlite_version() AS version").get() as { version: string };
  const parts = version.split(".").map(Number);
  for (let i = 0; i < oldestSqlite.length; i++) {
    if ((parts[i] ?? 0) > oldestSqlite[i]!) return;
    if ((parts[i] ?? 0) < oldestSqlite[i]!)
      throw new AppError("sqlite_too_old", `SQLite ${version} can lose writes; Hearth needs ${oldestSqlite.join(".")} or newer.`);
  }
}

/** The only read-write connection. The checkpointer has one of its own, with the same `synchronous`. */
export function openForWriting(path: string): Database {
  const database = new Database(path, { create: true, strict: true, safeIntegers: true });
  refuseOldSqlite(database);
  database.run("PRAGMA journal_mode=WAL");
  // Never OFF: after a reset SQLite itself must sync the new log's header before frames overwrite old ones.
  database.run("PRAGMA synchronous=NORMAL");
  database.run("PRAGMA wal_autocheckpoint=0");
  database.run("PRAGMA busy_timeout=5000");
  database.run("PRAGMA foreign_keys=ON");
  // Without it INSERT OR REPLACE slips past the triggers that keep the journal append-only.
  database.run("PRAGMA recursive_triggers=ON");
  return database;
}

export function openForReading(path: string): Database {
  const database = new Database(path, { readwrite: true, create: false, strict: true, safeIntegers: true });
  database.run("PRAGMA busy_timeout=5000");
  database.run("PRAGMA query_only=ON");
  return database;
}

/**
 * The descriptor whose sync makes commits durable. Must be opened after SQLite made the log and again whenever the
 * database was closed and reopened: a sync of a deleted log still answers ok.
 */
export function openLog(path: string): number {
  const log = openSync(`${path}-wal`, "r+");
  fsyncSync(log);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory); // the file's name must be on the disk too
  closeSync(directory);
  if (fstatSync(log).ino !== statSync(`${path}-wal`).ino)
    throw new AppError("log_replaced", "The database's log was replaced while it was opened; is another program using it?");
  return log;
}
