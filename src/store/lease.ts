/** Two Hearths never share a data directory: the second one is refused with one sentence. */
import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { AppError } from "../base/errors.ts";

/** Takes the lease until the process ends, however it ends: the lock belongs to the open file. */
export function takeLease(path: string): { release(): void } {
  const database = new Database(path, { create: true });
  try {
    database.run("PRAGMA busy_timeout=0");
    database.run("BEGIN EXCLUSIVE");
  } catch (cause) {
    database.close();
    throw new AppError("data_directory_in_use", `Another Hearth already runs on this data directory (${path} is locked).`, { cause });
  }
  return { release: () => database.close() };
}

/** Whether somebody holds it now. */
export function isLeased(path: string): boolean {
  if (!existsSync(path)) return false;
  try {
    takeLease(path).release();
    return false;
  } catch {
    return true;
  }
}
