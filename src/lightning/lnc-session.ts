/** One life of the Worker: from its start until it is of no use. Gives every call its deadline; what is lost is said, never asked again. */
import { lncConnectMs, lncGoodbyeMs, lncStartMs } from "../base/limits.ts";
import type { FromLnc, SessionTerms, ToLnc } from "./lnc-protocol.ts";

/** How a call or a stream ended. `connected` is false where it is our own connection that failed. */
export class LncEnd extends Error {
  readonly connected: boolean;

  constructor(words: string, connected: boolean) {
    super(words);
    this.connected = connected;
  }
}

export type LncBeginning = ToLnc & { do: "connect" };

type Waiting = { resolve(value: unknown): void; reject(end: LncEnd): void };
type Listening = { message(value: unknown): void; end(end: LncEnd): void };

export class LncSession {
  readonly #worker: Worker;
  readonly #beginning: LncBeginning;
  readonly #onRemoteKey: (key: string) => void;
  readonly #calls = new Map<number, Waiting>();
  readonly #streams = new Map<number, Listening>();
  readonly #started = Promise.withResolvers<void>();
  readonly #connected = Promise.withResolvers<SessionTerms>();
  readonly #over = Promise.withResolvers<string>();
  #status = "";
  #count = 0;
  #ended: string | undefined;
  #heardAtMs = performance.now();

  constructor(worker: Worker, beginning: LncBeginning, onRemoteKey: (key: string) => void) {
    this.#worker = worker;
    this.#beginning = beginning;
    this.#onRemoteKey = onRemoteKey;
    // Whoever waits for them hears of it in `connect`.
    for (const { promise } of [this.#started, this.#connected]) promise.catch(() => undefined);
    worker.onmessage = ({ data }: MessageEvent<FromLnc>) => this.#hear(data);
    worker.onerror = (event) => this.end(`its Worker failed (${/^\w*Error: .*/m.exec(event.message)?.[0] ?? "no reason told"})`);
    worker.addEventListener("close", () => this.end("its Worker ended"));
  }

  /** Why it is over. Resolves once it is. */
  get over(): Promise<string> {
    return this.#over.promise;
  }

  /** When the node last answered anything, by `performance.now`. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** @throws Error with what kept it. */
  async connect(): Promise<SessionTerms> {
    await within(lncStartMs, this.#started.promise, () => "its program does not start");
    return within(lncConnectMs, this.#connected.promise, () => `no connection through the mailbox${this.#status === "" ? "" : ` (${this.#status})`}`);
  }

  /** @throws LncEnd */
  call(method: string, request: object, deadlineMs: number): Promise<unknown> {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(new LncEnd(this.#ended, false));
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        // Nothing of it stays behind.
        this.#tell({ do: "cancel", id });
        reject(new LncEnd("it does not answer", false));
      }, deadlineMs);
      const settle = <T>(act: (value: T) => void) => (value: T) => (clearTimeout(timer), act(value));
      this.#calls.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#tell({ do: "call", id, method, request });
    });
  }

  /** Messages until the other end ends it or `signal` fires. @throws LncEnd */
  async *stream(method: string, request: object, signal: AbortSignal): AsyncGenerator<unknown> {
    const id = ++this.#count;
    const held: unknown[] = [];
    let end: LncEnd | undefined;
    let changed = Promise.withResolvers<void>();
    const wake = () => (changed.resolve(), (changed = Promise.withResolvers<void>()));
    if (this.#ended !== undefined) throw new LncEnd(this.#ended, false);
    this.#streams.set(id, { message: (value) => (held.push(value), wake()), end: (said) => ((end = said), wake()) });
    signal.addEventListener("abort", wake);
    this.#tell({ do: "stream", id, method, request });
    try {
      while (!signal.aborted) {
        if (held.length > 0) yield held.shift();
        else if (end?.message === "EOF") return;
        else if (end) throw end;
        else await changed.promise;
      }
    } finally {
      signal.removeEventListener("abort", wake);
      if (this.#streams.delete(id)) this.#tell({ do: "cancel", id });
    }
  }

  /** Leaves nothing running. */
  end(why: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    this.#worker.terminate();
    const lost = new Error(why);
    this.#started.reject(lost);
    this.#connected.reject(lost);
    for (const { reject } of this.#calls.values()) reject(new LncEnd(why, false));
    for (const { end } of this.#streams.values()) end(new LncEnd(why, false));
    this.#calls.clear();
    this.#streams.clear();
    this.#over.resolve(why);
  }

  /** Says goodbye first: without it the other end waits a quarter of a minute before it takes the next connection. */
  async leave(): Promise<void> {
    if (this.#ended === undefined) {
      this.#tell({ do: "disconnect" });
      await Bun.sleep(lncGoodbyeMs);
    }
    this.end("it was stopped");
  }

  #tell(what: ToLnc): void {
    if (this.#ended === undefined) this.#worker.postMessage(what);
  }

  #hear(what: FromLnc): void {
    switch (what.told) {
      case "loaded":
        return this.#tell(this.#beginning);
      case "started":
        return this.#started.resolve();
      case "remote_key":
        return this.#onRemoteKey(what.key);
      case "status":
        this.#status = what.status;
        return;
      case "connected":
        this.#heardAtMs = performance.now();
        return this.#connected.resolve({ rights: what.rights, endsAtMs: what.endsAtMs });
      case "answer":
        return this.#answered(what.id, what.value);
      case "message":
        this.#heardAtMs = performance.now();
        return this.#streams.get(what.id)?.message(what.value);
      case "ended":
        return this.#failed(what.id, new LncEnd(what.words, what.connected));
      case "broken":
        return this.end(what.why);
    }
  }

  #answered(id: number, value: unknown): void {
    this.#heardAtMs = performance.now();
    this.#calls.get(id)?.resolve(value);
    this.#calls.delete(id);
  }

  #failed(id: number, end: LncEnd): void {
    // A refusal is an answer too.
    if (end.connected) this.#heardAtMs = performance.now();
    this.#calls.get(id)?.reject(end);
    this.#streams.get(id)?.end(end);
    this.#calls.delete(id);
    this.#streams.delete(id);
  }
}

async function within<T>(ms: number, work: Promise<T>, late: () => string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(late())), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
