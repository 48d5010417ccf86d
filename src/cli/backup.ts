/** `hearth backup` and `hearth restore`: all that a Hearth is, as a folder. A backup is proved before it counts. */
import { closeSync, cpSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import { markRestored, snapshotDatabase } from "../store/snapshot.ts";
import { auditCommand } from "./audit.ts";

const database = "hearth.db";
/** What lies beside the database; each is written whole or not at all, so a copy beside a running Hearth is one of its states. */
const beside = ["keys", "secrets.json", "hearth.toml", "prices.json", "sandbox-node.jsonl"];

export type BackupCommand = { dataDir: string; /** Of the backup. */ folder: string | undefined };

/** The process's exit code. @throws AppError with what to do. */
export function backupCommand({ dataDir, folder }: BackupCommand, print: (line: string) => void): number {
  if (folder === undefined) {
    print("hearth backup FOLDER   a copy of ledger, keys and settings into a new folder; may run beside a running Hearth");
    return 2;
  }
  if (!existsSync(join(dataDir, database))) throw refused(`There is no ledger in ${dataDir}; set HEARTH_DATA_DIR to the data directory.`);
  if (existsSync(folder)) throw refused(`${folder} is there already; name a folder that is not.`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  // Keys first: whatever the ledger has credited was minted under keys that exist before it.
  copyBeside(dataDir, partial);
  snapshotDatabase(join(dataDir, database), join(partial, database));
  if (auditCommand(join(partial, database), print) !== 0) throw refused(`What was copied does not add up; it lies in ${partial} for you to look at.`);
  syncAll(partial);
  renameSync(partial, folder);
  print(`The backup is in ${folder}. It holds your buyers' balances and the keys that open them: keep it like cash.`);
  return 0;
}

export type RestoreCommand = BackupCommand & { nowMs: number };

/** The process's exit code. @throws AppError with what to do. */
export function restoreCommand({ dataDir, folder, nowMs }: RestoreCommand, print: (line: string) => void): number {
  if (folder === undefined) {
    print("hearth restore FOLDER   puts a backup into an empty data directory");
    return 2;
  }
  if (!existsSync(join(folder, database))) throw refused(`${folder} is no backup: there is no ${database} in it.`);
  if (existsSync(join(dataDir, database))) throw refused(`${dataDir} has a ledger already, which is not overwritten; set HEARTH_DATA_DIR to an empty folder, or move this one away.`);
  if (auditCommand(join(folder, database), print) !== 0) throw refused("The backup does not add up; nothing was put back.");
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  copyBeside(folder, dataDir);
  snapshotDatabase(join(folder, database), join(dataDir, `${database}.restoring`));
  markRestored(join(dataDir, `${database}.restoring`), nowMs);
  syncAll(dataDir);
  renameSync(join(dataDir, `${database}.restoring`), join(dataDir, database));
  print(`The backup is in ${dataDir}. What was paid and spent since it was made is not in it: start Hearth, then hearth reconcile tells what your node was paid since, and hearth payouts restored what it paid out; until you have looked at that, no money leaves.`);
  return 0;
}

function copyBeside(from: string, to: string): void {
  for (const name of beside) if (existsSync(join(from, name))) cpSync(join(from, name), join(to, name), { recursive: true, errorOnExist: true, force: false, preserveTimestamps: true });
}

/** A power loss after the word that it is done takes nothing of it. */
function syncAll(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) sync(join(entry.parentPath, entry.name));
  sync(folder);
}

function sync(path: string): void {
  const file = openSync(path, "r");
  fsyncSync(file);
  closeSync(file);
}

function refused(message: string): AppError {
  return new AppError("refused", message);
}
