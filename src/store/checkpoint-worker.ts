/**
 * The only connection that checkpoints, on a thread of its own. PASSIVE only: it holds no writer's lock over its
 * syncs. Its `synchronous` decides whether the database file is synced before the log may be overwritten.
 */
import { Database } from "bun:sqlite";
import { describeError } from "../base/log.ts";
import type { FromCheckpointer, ToCheckpointer } from "./protocol.ts";

declare const self: Worker;
let database: Database | undefined;

function say(message: FromCheckpointer): void {
  self.postMessage(message);
}

function open(path: string): void {
  database = new Database(path, { readwrite: true, create: false });
  database.run("PRAGMA synchronous=NORMAL");
  database.run("PRAGMA wal_autocheckpoint=0");
  database.run("PRAGMA busy_timeout=5000");
}

function checkpoint(): void {
  const statement = database!.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  statement.get();
  statement.finalize();
  say({ kind: "done" });
}

self.onmessage = ({ data }: MessageEvent<ToCheckpointer>) => {
  try {
    if (data.kind === "open") open(data.path);
    else if (data.kind === "checkpoint") checkpoint();
    else {
      database?.close(true);
      say({ kind: "closed" });
    }
  } catch (error) {
    // The log keeps what could not be copied, so nothing is lost; commits themselves will find the disk full.
    if ((error as { code?: unknown }).code === "SQLITE_FULL") return say({ kind: "done" });
    say({ kind: "failed", reason: `checkpoint: ${describeError(error)}` });
  }
};
