/** The main thread's side of the writer: sends commands in batches, resolves their promises, never blocks. */
import { AppError } from "../base/errors.ts";
import { maxQueuedCommands, unhurriedMs } from "../base/limits.ts";
import { log } from "../base/log.ts";
import type { Command, Outcome, Writer } from "./command.ts";
import type { CommandRequest, FromWriter, ToWriter, Want } from "./protocol.ts";

type Pending = { sheds: boolean; resolve(outcome: Outcome): void; reject(error: AppError): void };

export class ThreadWriter implements Writer {
  readonly #worker: Worker;
  readonly #onFatal: (reason: string) => void;
  readonly #pending = new Map<number, Pending>();
  #outgoing: CommandRequest[] = [];
  #readers: { seq: number; resolve(): void }[] = [];
  #flushing = false;
  #late: ReturnType<typeof setTimeout> | undefined;
  #sent = 0;
  #through = 0;
  #waitingSheds = 0;
  #full = false;
  #ready = Promise.withResolvers<void>();
  #closed = Promise.withResolvers<void>();

  private constructor(worker: Worker, onFatal: (reason: string) => void) {
    this.#worker = worker;
    this.#onFatal = onFatal;
    worker.onmessage = ({ data }: MessageEvent<FromWriter>) => this.#hear(data);
    worker.onerror = (event) => onFatal(`the writer thread died: ${event.message}`);
    worker.addEventListener("close", () => onFatal("the writer thread ended"));
  }

  /** Opens (and migrates) the database at `path`. `onFatal` must end the process: nothing is written any more. */
  static async open(worker: Worker, path: string, onFatal: (reason: string) => void): Promise<ThreadWriter> {
    const writer = new ThreadWriter(worker, onFatal);
    writer.#tell({ kind: "open", path });
    await writer.#ready.promise;
    return writer;
  }

  /** True while a full disk stops selling. */
  get full(): boolean {
    return this.#full;
  }

  get queued(): number {
    return this.#pending.size;
  }

  executed<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result> {
    return this.#send(command, input, "executed");
  }

  durable<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result> {
    return this.#send(command, input, "durable");
  }

  caughtUp(): Promise<void> {
    // While the disk is full ended calls wait for it; a reader must not wait with them.
    if (this.#through >= this.#sent || this.#full) return Promise.resolve();
    this.#flushSoon();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#readers.push({ seq: this.#sent, resolve });
    return promise;
  }

  /** Finishes what was sent, then closes the database. Nothing can be written afterwards. */
  async close(): Promise<void> {
    this.#flush();
    this.#tell({ kind: "close" });
    await this.#closed.promise;
  }

  #send<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input, want: Want): Promise<Result> {
    if (command.sheds && (this.#waitingSheds >= maxQueuedCommands || this.#full)) {
      const code = this.#full ? "storage_full" : "busy";
      return Promise.reject(turnedAway(code));
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const seq = ++this.#sent;
    if (command.sheds) this.#waitingSheds++;
    this.#pending.set(seq, { sheds: command.sheds, resolve: resolve as (outcome: Outcome) => void, reject });
    this.#outgoing.push({ seq, name: command.name, input, want });
    if (command.unhurried) this.#late ??= setTimeout(() => this.#flush(), unhurriedMs);
    else this.#flushSoon();
    return promise;
  }

  /** Everything sent in this turn of the event loop goes in one message. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    clearTimeout(this.#late);
    this.#late = undefined;
    if (this.#outgoing.length === 0) return;
    const requests = this.#outgoing;
    this.#outgoing = [];
    this.#tell({ kind: "commands", requests });
  }

  #hear(message: FromWriter): void {
    switch (message.kind) {
      case "ready":
        return this.#ready.resolve();
      case "answers":
        return this.#answered(message);
      case "space":
        this.#full = message.full;
        if (message.full) log.error("storage.full", { waiting: this.#pending.size });
        else log.info("storage.free");
        return this.#wakeReaders();
      case "fatal":
        return this.#onFatal(message.reason);
      case "closed":
        return this.#closed.resolve();
    }
  }

  #answered(message: Extract<FromWriter, { kind: "answers" }>): void {
    this.#through = message.through;
    for (const [seq, outcome] of message.outcomes) this.#take(seq)?.resolve(outcome);
    for (const [seq, failure] of message.failures) {
      if (failure.code === "internal") log.error("command.failed", { reason: failure.message });
      this.#take(seq)?.reject(failure.code === "internal" ? new AppError("internal", failure.message) : turnedAway(failure.code));
    }
    this.#wakeReaders();
  }

  #take(seq: number): Pending | undefined {
    const pending = this.#pending.get(seq);
    this.#pending.delete(seq);
    if (pending?.sheds) this.#waitingSheds--;
    return pending;
  }

  #wakeReaders(): void {
    if (this.#readers.length === 0) return;
    const ready = this.#readers.filter((reader) => reader.seq <= this.#through || this.#full);
    this.#readers = this.#readers.filter((reader) => reader.seq > this.#through && !this.#full);
    for (const reader of ready) reader.resolve();
  }

  #tell(message: ToWriter): void {
    this.#worker.postMessage(message);
  }
}

function turnedAway(code: string): AppError {
  const message = code === "storage_full" ? "The disk is full; nothing is sold until it has room." : "Too many requests are waiting.";
  return new AppError(code, message, { retryable: true, retryAfterSeconds: 2 });
}
