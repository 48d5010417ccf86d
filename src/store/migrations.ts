/**
 * Brings a database to the newest schema. Each migration is one transaction that also raises `user_version`, so a kill
 * in the middle leaves either the old schema or the new one, and any older version walks through all of them.
 */
import type { Database } from "bun:sqlite";
import { AppError } from "../base/errors.ts";
import { spine } from "./migrations/0001-spine.ts";
import { accounts } from "./migrations/0002-accounts.ts";
import { upstreamCost } from "./migrations/0003-upstream-cost.ts";
import { payouts } from "./migrations/0004-payouts.ts";

/** In order, never edited after a release. */
const migrations: readonly string[] = [spine, accounts, upstreamCost, payouts];

export function migrate(database: Database): void {
  const { user_version } = database.query("PRAGMA user_version").get() as { user_version: bigint };
  const version = Number(user_version);
  if (version > migrations.length)
    throw new AppError("database_too_new", `The data directory was written by a newer Hearth (schema ${version}); this one knows ${migrations.length}.`);
  for (let next = version; next < migrations.length; next++) {
    database.transaction(() => {
      database.run(migrations[next]!);
      database.run(`PRAGMA user_version = ${next + 1}`);
    })();
  }
}
