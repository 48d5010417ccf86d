/** A copy of the database as one moment has it, made beside a running Hearth; and the mark of one that was put back. */
import { Database } from "bun:sqlite";

/** @param to A file that is not there yet. */
export function snapshotDatabase(from: string, to: string): void {
  // Reads through the log, writes to the new file only.
  const database = new Database(from, { readwrite: true, create: false, strict: true });
  try {
    database.run("PRAGMA busy_timeout=5000");
    database.run("VACUUM INTO ?", [to]);
  } finally {
    database.close();
  }
}

const mark = "restored_at_ms";

/** Nobody else has the database open. */
export function markRestored(path: string, atMs: number): void {
  const database = new Database(path, { readwrite: true, create: false, strict: true });
  try {
    database.run("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", [mark, String(atMs)]);
  } finally {
    database.close();
  }
}
