/**
 * Keeps a way to the node open: begins a session, looks whether it lives, throws it away and begins another, more and more slowly while
 * that fails. A connection says that it is there long after it is gone, so only an answer counts as life.
 */
import { lncFirstRetryMs, lncHealthMs, lncHealthTimeoutMs, lncLastRetryMs, lncSoundMs, nodeCallTimeoutMs } from "../base/limits.ts";
import { systemClock } from "../base/clock.ts";
import { describeError, log } from "../base/log.ts";
import type { Pairing } from "./lnc-pairing.ts";
import type { SessionTerms } from "./lnc-protocol.ts";
import { LncEnd, LncSession } from "./lnc-session.ts";

/** Anything the node says to it is a sign of life, a refusal too. */
const healthCall = "lnrpc.Lightning.GetInfo";

export type LncLinkParts = {
  openWorker(): Worker;
  wasm: { path: string; sum: string };
  mailbox: string;
  pairing: Pairing;
  /** Kept as soon as it is known; where that fails there will be no coming back. */
  onRemoteKey(key: string): void;
  /** Each time there is a connection. What it throws ends that. */
  onConnected(terms: SessionTerms, pairing: Pairing): void;
};

export class LncLink {
  readonly #parts: LncLinkParts;
  #pairing: Pairing;
  #session: LncSession | undefined;
  #connected = false;
  #waitingSinceMs = performance.now();
  /** A session that works, or why there is none yet. It changes with each that is begun. */
  #up = Promise.withResolvers<LncSession>();
  #trouble: string | undefined;
  #checking = false;
  #watching: ReturnType<typeof setInterval> | undefined;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: LncLinkParts) {
    this.#parts = parts;
    this.#pairing = parts.pairing;
    this.#up.promise.catch(() => undefined);
  }

  start(): void {
    this.#running ??= this.#run();
    this.#watching ??= setInterval(() => this.#look(), lncHealthMs);
    this.#watching.unref();
  }

  /** Resolves once there is a connection. @throws LncEnd with why the try that is under way came to nothing. */
  async connected(): Promise<void> {
    await this.#up.promise;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#watching);
    await this.#session?.leave();
    await this.#running;
  }

  /** @throws LncEnd */
  async call(method: string, request: object): Promise<unknown> {
    const beganAtMs = performance.now();
    const session = await this.#ready();
    try {
      return await session.call(method, request, Math.max(1, nodeCallTimeoutMs - (performance.now() - beganAtMs)));
    } catch (error) {
      if (error instanceof LncEnd && !error.connected) void this.#check(session);
      throw error;
    }
  }

  /** @throws LncEnd */
  async *stream(method: string, request: object, signal: AbortSignal): AsyncGenerator<unknown> {
    if (signal.aborted) return;
    const session = await this.#ready(signal);
    if (!signal.aborted) yield* session.stream(method, request, signal);
  }

  /** Waits for a connection that has been lost just now, or begun; where it takes longer or has failed nobody is kept waiting. @throws LncEnd */
  async #ready(signal?: AbortSignal): Promise<LncSession> {
    if (this.#trouble !== undefined) throw new LncEnd(this.#trouble, false);
    const late = Promise.withResolvers<never>();
    const giveUp = () => late.reject(new LncEnd("the connection is still being made", false));
    const timer = setTimeout(giveUp, Math.max(0, this.#waitingSinceMs + nodeCallTimeoutMs - performance.now()));
    signal?.addEventListener("abort", giveUp);
    try {
      return await Promise.race([this.#up.promise, late.promise]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    for (let waitMs = lncFirstRetryMs, attempt = 0; !signal.aborted; attempt++) {
      const session = await this.#begin(attempt);
      if (session) {
        const fromMs = performance.now();
        const why = await session.over;
        this.#connected = false;
        this.#waitingSinceMs = performance.now();
        if (signal.aborted) break;
        log.warn("lnc.lost", { reason: why });
        this.#up = Promise.withResolvers();
        this.#up.promise.catch(() => undefined);
        // Where the node behind it hangs, a connection is no success.
        if (performance.now() - fromMs >= lncSoundMs) waitMs = lncFirstRetryMs;
      }
      await systemClock.sleep(waitMs, signal);
      waitMs = Math.min(waitMs * 2, lncLastRetryMs);
    }
    this.#up.reject(new LncEnd("it was stopped", false));
  }

  /** Undefined where it could not be made; the reason is kept for whoever asks. */
  async #begin(attempt: number): Promise<LncSession | undefined> {
    const { openWorker, wasm, mailbox } = this.#parts;
    const { phrase, localKey, remoteKey, proven } = this.#pairing;
    // Who was interrupted in the middle of a pairing cannot know how far the other end came: both are tried in turn.
    const asPaired = proven || attempt % 2 === 0;
    const beginning = { do: "connect", wasm: wasm.path, sum: wasm.sum, mailbox, phrase, localKey, remoteKey: asPaired ? (remoteKey ?? "") : "" } as const;
    const session = new LncSession(openWorker(), beginning, (key) => this.#takeRemoteKey(key));
    this.#session = session;
    try {
      const terms = await session.connect();
      this.#pairing = { ...this.#pairing, proven: true };
      this.#parts.onConnected(terms, this.#pairing);
      this.#trouble = undefined;
      this.#connected = true;
      this.#up.resolve(session);
      return session;
    } catch (error) {
      this.#trouble = describeError(error);
      session.end(this.#trouble);
      this.#up.reject(new LncEnd(this.#trouble, false));
      if (!this.#stopping.signal.aborted) log.warn("lnc.not_connected", { reason: this.#trouble });
      this.#up = Promise.withResolvers();
      this.#up.promise.catch(() => undefined);
      return undefined;
    }
  }

  #takeRemoteKey(key: string): void {
    this.#pairing = { ...this.#pairing, remoteKey: key };
    try {
      this.#parts.onRemoteKey(key);
    } catch (error) {
      log.error("lnc.key_not_kept", { reason: describeError(error) });
    }
  }

  #look(): void {
    const session = this.#session;
    if (session && performance.now() - session.heardAtMs >= lncHealthMs) void this.#check(session);
  }

  /** Two calls without an answer end a session. */
  async #check(session: LncSession): Promise<void> {
    if (this.#checking || !this.#connected || session !== this.#session) return;
    this.#checking = true;
    try {
      if (!(await isAlive(session)) && !(await isAlive(session))) session.end("the node does not answer");
    } finally {
      this.#checking = false;
    }
  }
}

async function isAlive(session: LncSession): Promise<boolean> {
  return session.call(healthCall, {}, lncHealthTimeoutMs).then(() => true, (error: unknown) => error instanceof LncEnd && error.connected);
}
