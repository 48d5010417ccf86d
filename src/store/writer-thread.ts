/**
 * The writer thread's loop. It owns the only read-write connection: one transaction per drain, answers *executed*
 * after COMMIT and *durable* after a sync of the log that began after that COMMIT. See decision "The writer" in
 * `src/README.md` for the five conditions this rests on.
 */
import type { Database } from "bun:sqlite";
import { assert } from "../base/assert.ts";
import { checkpointPages, logCheckCommands, maxBatchCommands, pausePages, spaceRetryMs } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { type CommandTable, type Executed, NoSpace, runBatch } from "./batch.ts";
import type { Command, Outcome } from "./command.ts";
import { migrate } from "./migrations.ts";
import { openForWriting, openLog } from "./open.ts";
import type { CommandRequest, FromCheckpointer, FromWriter, ToCheckpointer, ToWriter } from "./protocol.ts";
import { SqliteTx } from "./sqlite-tx.ts";

declare const self: Worker;

/**
 * Starts the two threads of `sync-worker.ts` and `checkpoint-worker.ts`. Given by the entry point, because only its own
 * place is the same in the source tree and in the compiled file.
 */
export type WriterThreads = { startSyncer(): Worker; startCheckpointer(): Worker };

type LogSize = { log: bigint; checkpointed: bigint };

class WriterThread {
  readonly #commands: CommandTable;
  readonly #database: Database;
  readonly #tx: SqliteTx;
  readonly #log: number;
  readonly #syncer: Worker;
  readonly #checkpointer: Worker;
  #queue: CommandRequest[] = [];
  /** Committed, wanting durable, not covered by a sync yet. */
  #waiting: [number, Outcome][] = [];
  #covered: [number, Outcome][] = [];
  #scheduled = false;
  #syncing = false;
  #checkpointing = false;
  #paused = false;
  #full = false;
  #closing = false;
  #commandsSinceCheck = 0;
  #through = 0;
  /** The newest command that arrived, turned away or not. */
  #taken = 0;

  constructor(path: string, commands: CommandTable, threads: WriterThreads) {
    this.#commands = commands;
    this.#syncer = threads.startSyncer();
    this.#checkpointer = threads.startCheckpointer();
    this.#database = openForWriting(path);
    migrate(this.#database);
    this.#tx = new SqliteTx(this.#database);
    this.#log = openLog(path);
    this.#watch(this.#syncer, "sync");
    this.#watch(this.#checkpointer, "checkpoint");
    this.#syncer.onmessage = ({ data }: MessageEvent<string>) => this.#synced(data);
    this.#checkpointer.onmessage = ({ data }: MessageEvent<FromCheckpointer>) => this.#checkpointed(data);
    this.#tellCheckpointer({ kind: "open", path });
  }

  take(requests: CommandRequest[]): void {
    this.#taken = requests.at(-1)!.seq;
    for (const request of requests) {
      if (this.#full && this.#sheds(request)) this.#turnAway([request]);
      else this.#queue.push(request);
    }
    this.#schedule();
  }

  close(): void {
    this.#closing = true;
    this.#schedule();
    this.#closeWhenIdle();
  }

  #sheds(request: CommandRequest): boolean {
    return this.#commands.get(request.name)?.sheds ?? true;
  }

  #turnAway(requests: CommandRequest[]): void {
    const failure = { code: "storage_full", message: "The disk is full." };
    this.#say({ kind: "answers", outcomes: [], failures: requests.map((r) => [r.seq, failure]), through: this.#through });
  }

  // setImmediate, so that every message that is already there comes along in one transaction.
  #schedule(): void {
    if (this.#scheduled || this.#paused || this.#full || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => this.#drain());
  }

  #drain(): void {
    this.#scheduled = false;
    if (this.#paused || this.#queue.length === 0) return;
    const batch = this.#queue.splice(0, maxBatchCommands);
    try {
      this.#answer(runBatch(this.#database, this.#tx, this.#commands, batch));
    } catch (error) {
      if (error instanceof NoSpace) return this.#waitForSpace(batch);
      return fatal(`the database failed: ${describeError(error)}`);
    }
    if (this.#full) {
      this.#full = false;
      this.#say({ kind: "space", full: false });
    }
    this.#sync();
    this.#considerCheckpoint(batch.length);
    this.#schedule();
    this.#closeWhenIdle();
  }

  #answer(executed: Executed[]): void {
    const message = { kind: "answers" as const, outcomes: [] as [number, Outcome][], failures: [] as [number, { code: string; message: string }][], through: 0 };
    for (const one of executed) {
      if ("failure" in one) message.failures.push([one.request.seq, one.failure]);
      // A refusal waits as well: what it refers to (an invoice credited before) may not be on the disk yet.
      else if (one.request.want === "durable") this.#waiting.push([one.request.seq, one.outcome]);
      else message.outcomes.push([one.request.seq, one.outcome]);
    }
    // Commands that were turned away in between are answered too: a reader must not wait for them.
    message.through = this.#through = this.#queue.length === 0 ? this.#taken : executed.at(-1)!.request.seq;
    this.#say(message);
  }

  /** Keeps what must not be lost, turns the rest away, stops selling and tries again every second. */
  #waitForSpace(batch: CommandRequest[]): void {
    const kept = [...batch, ...this.#queue];
    this.#queue = kept.filter((request) => !this.#sheds(request));
    this.#turnAway(kept.filter((request) => this.#sheds(request)));
    if (!this.#full) this.#say({ kind: "space", full: true });
    this.#full = true;
    setTimeout(() => this.#drainOrProbe(), spaceRetryMs);
  }

  #drainOrProbe(): void {
    // A checkpoint that pauses us also ends the pause; the retry must not get lost in it.
    if (this.#paused) return void setTimeout(() => this.#drainOrProbe(), spaceRetryMs);
    if (this.#queue.length > 0) return this.#drain();
    this.#full = false;
    this.#through = this.#taken;
    this.#say({ kind: "answers", outcomes: [], failures: [], through: this.#through });
    this.#say({ kind: "space", full: false });
  }

  // One sync at a time is the group commit. It answers what was committed before it began, and nothing later.
  #sync(): void {
    if (this.#syncing || this.#waiting.length === 0) return;
    this.#syncing = true;
    this.#covered = this.#waiting;
    this.#waiting = [];
    this.#syncer.postMessage(this.#log);
  }

  #synced(failed: string): void {
    if (failed !== "") return fatal(`the disk refused to store the log: ${failed}; check the disk`);
    const outcomes = this.#covered;
    this.#covered = [];
    this.#syncing = false;
    this.#say({ kind: "answers", outcomes, failures: [], through: this.#through });
    this.#sync();
    this.#closeWhenIdle();
  }

  #logSize(): LogSize {
    return this.#tx.get<LogSize>("PRAGMA wal_checkpoint(NOOP)")!;
  }

  #considerCheckpoint(commands: number): void {
    this.#commandsSinceCheck += commands;
    if (this.#commandsSinceCheck < logCheckCommands || this.#checkpointing) return;
    this.#commandsSinceCheck = 0;
    const { log, checkpointed } = this.#logSize();
    if (log - checkpointed >= BigInt(checkpointPages)) this.#startCheckpoint();
  }

  #startCheckpoint(): void {
    this.#checkpointing = true;
    this.#tellCheckpointer({ kind: "checkpoint" });
  }

  #checkpointed(message: FromCheckpointer): void {
    if (message.kind === "failed") return fatal(message.reason);
    if (message.kind === "closed") return this.#closeDatabase();
    this.#checkpointing = false;
    if (this.#paused) {
      this.#paused = false;
      this.#schedule();
    } else {
      const { log, checkpointed } = this.#logSize();
      if (log > BigInt(pausePages) && log !== checkpointed) {
        // It never caught up, because we write while it copies: stop writing for one round, small by now.
        this.#paused = true;
        this.#startCheckpoint();
      }
    }
    if (this.#queue.length === 0 && !this.#paused) this.#tick();
    this.#closeWhenIdle();
  }

  /** A write that changes nothing resets the copied log, so that its header's sync is paid while nobody waits. */
  #tick(): void {
    const { log, checkpointed } = this.#logSize();
    if (log === 0n || log !== checkpointed) return;
    try {
      this.#database.run("UPDATE boot SET id = id WHERE id = (SELECT max(id) FROM boot)");
    } catch (error) {
      if (String((error as { code?: unknown }).code) !== "SQLITE_FULL") fatal(`the database failed: ${describeError(error)}`);
    }
  }

  #closeWhenIdle(): void {
    if (!this.#closing || this.#queue.length > 0 || this.#scheduled || this.#syncing || this.#checkpointing) return;
    this.#closing = false;
    this.#tellCheckpointer({ kind: "close" });
  }

  #closeDatabase(): void {
    this.#tx.finalize();
    this.#database.close(true);
    this.#say({ kind: "closed" });
  }

  #watch(worker: Worker, name: string): void {
    worker.onerror = (event) => fatal(`the ${name} thread died: ${event.message}`);
    worker.addEventListener("close", () => fatal(`the ${name} thread ended`));
  }

  #tellCheckpointer(message: ToCheckpointer): void {
    this.#checkpointer.postMessage(message);
  }

  #say(message: FromWriter): void {
    self.postMessage(message);
  }
}

/** `process.exit` in a Worker ends only the Worker, so the main thread is told to end the process. */
function fatal(reason: string): void {
  self.postMessage({ kind: "fatal", reason } satisfies FromWriter);
}

/** Turns this Worker into the writer of every command in `list`. */
export function runWriterThread(list: readonly Command<never, Outcome>[], threads: WriterThreads): void {
  const commands = new Map(list.map((one) => [one.name, one]));
  assert(commands.size === list.length, "command names are unique");
  let thread: WriterThread | undefined;
  self.onmessage = ({ data }: MessageEvent<ToWriter>) => {
    if (data.kind === "commands") return thread!.take(data.requests);
    if (data.kind === "close") return thread!.close();
    try {
      thread = new WriterThread(data.path, commands, threads);
      self.postMessage({ kind: "ready" } satisfies FromWriter);
    } catch (error) {
      fatal(`the database cannot be opened: ${describeError(error)}`);
    }
  };
}
