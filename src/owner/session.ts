/** Who may pass the owner's door: by a one-time code from the console, or by the password; then by a session. */
import { equalBytes, sha256, toBase64, toHex } from "../base/bytes.ts";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { maxOwnerSessions, ownerCodeMinutes, ownerCodeTries, ownerSessionHours } from "../base/limits.ts";

export class OwnerSessions {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #consoleKey: Uint8Array;
  readonly #checkPassword: (password: string) => Promise<boolean>;
  #code: { hash: Uint8Array; diesAtMs: number; tries: number } | undefined;
  /** By the hash of the session's token: a dump of memory opens nothing. */
  readonly #sessions = new Map<string, number>();
  #wrongPasswords = 0;
  #nextPasswordAtMs = 0;

  /** @param parts.consoleKey Lies in the data directory: who can read it there is the owner. */
  constructor(parts: { clock: Clock; random: Random; consoleKey: Uint8Array; checkPassword: (password: string) => Promise<boolean> }) {
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#consoleKey = parts.consoleKey;
    this.#checkPassword = parts.checkPassword;
  }

  /** A new one-time code; the one before it dies. */
  issueCode(): string {
    const code = toBase64(this.#random.bytes(12)).replaceAll("+", "-").replaceAll("/", "_");
    this.#code = { hash: sha256(code), diesAtMs: this.#clock.nowMs() + ownerCodeMinutes * 60_000, tries: 0 };
    return code;
  }

  /** A session's token. @throws AppError `wrong_code`. */
  openWithCode(code: string): string {
    const known = this.#code;
    const dead = !known || this.#clock.nowMs() >= known.diesAtMs || ++known.tries > ownerCodeTries;
    if (dead || !equalBytes(sha256(code), known.hash))
      throw new AppError("wrong_code", "This code is wrong, used or too old; restart Hearth for a new one, or log in with the password.");
    this.#code = undefined;
    return this.#open();
  }

  /** A session's token. @throws AppError `wrong_password`, `too_many_tries`. */
  async openWithPassword(password: string): Promise<string> {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#nextPasswordAtMs)
      throw new AppError("too_many_tries", "Too many wrong passwords; wait a little.", { retryable: true, retryAfterSeconds: Math.ceil((this.#nextPasswordAtMs - nowMs) / 1000) });
    // Counted before the slow check, so that tries sent at once do not all pass it.
    if (++this.#wrongPasswords > ownerCodeTries) this.#nextPasswordAtMs = nowMs + 1000 * 2 ** Math.min(this.#wrongPasswords - ownerCodeTries, 10);
    if (!(await this.#checkPassword(password))) throw new AppError("wrong_password", "This is not the owner's password.");
    this.#wrongPasswords = 0;
    this.#nextPasswordAtMs = 0;
    return this.#open();
  }

  isOpen(token: string | undefined): boolean {
    const diesAtMs = token === undefined ? undefined : this.#sessions.get(keyOf(token));
    return diesAtMs !== undefined && this.#clock.nowMs() < diesAtMs;
  }

  /** Whether this is the key of the console's own commands, in hex. */
  isConsole(key: string): boolean {
    return equalBytes(new Uint8Array(Buffer.from(key, "hex")), this.#consoleKey);
  }

  close(token: string): void {
    this.#sessions.delete(keyOf(token));
  }

  #open(): string {
    const nowMs = this.#clock.nowMs();
    for (const [key, diesAtMs] of this.#sessions) if (diesAtMs <= nowMs || this.#sessions.size >= maxOwnerSessions) this.#sessions.delete(key);
    const token = toHex(this.#random.bytes(32));
    this.#sessions.set(keyOf(token), nowMs + ownerSessionHours * 3_600_000);
    return token;
  }
}

function keyOf(token: string): string {
  return toHex(sha256(token));
}
