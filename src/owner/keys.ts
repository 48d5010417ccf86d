/** The owner's hand on tokens: see them, show one again, replace one that leaked, end one. The money stays where it is. */
import { findKey, findNewestKey, type Key, listKeys, revokeKey, rotateKey } from "../accounts/keys.ts";
import { deriveToken, hashToken } from "../accounts/token.ts";
import { decodeHex32 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { spendable } from "../ledger/account.ts";
import { getAccount } from "../ledger/transfers.ts";
import type { Msat } from "../money/msat.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";

export type KeyLine = Key & { balanceMsat: Msat };

/** Keys of one page of the list. */
const pageSize = 100;

export class OwnerKeys {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #tokenKey: Uint8Array;

  constructor(parts: { reader: Reader; writer: Writer; clock: Clock; tokenKey: Uint8Array }) {
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.#clock = parts.clock;
    this.#tokenKey = parts.tokenKey;
  }

  /** By payment hash, from after `afterPaymentHash`. */
  list(afterPaymentHash: string): KeyLine[] {
    return listKeys(this.#reader, afterPaymentHash, pageSize).map((key) => this.#line(key));
  }

  /** @param name A token, or the payment hash it was claimed with. @throws AppError `not_found`. */
  show(name: string): { token: string; key: KeyLine } {
    return this.#shown(this.#find(name));
  }

  /** A new token in the place of the old one, which opens nothing any more. @throws AppError `not_found`, `conflict`. */
  async rotate(name: string): Promise<{ token: string; key: KeyLine }> {
    const { paymentHash, generation } = this.#find(name);
    const hash = hashToken(deriveToken(this.#tokenKey, paymentHash, generation + 1));
    const outcome = await this.#writer.durable(rotateKey, { paymentHash, fromGeneration: generation, hash, atMs: this.#clock.nowMs() });
    if (!outcome.ok) throw new AppError("conflict", "This token was replaced at the same time; look at it again.");
    return this.#shown(this.#find(paymentHash));
  }

  /** @throws AppError `not_found`. */
  async revoke(name: string): Promise<KeyLine> {
    const { paymentHash } = this.#find(name);
    await this.#writer.durable(revokeKey, { paymentHash, atMs: this.#clock.nowMs() });
    return this.#line(this.#find(paymentHash));
  }

  #find(name: string): Key {
    const paymentHash = decodeHex32(name) ? name.toLowerCase() : findKey(this.#reader, hashToken(name))?.paymentHash;
    const key = paymentHash === undefined ? undefined : findNewestKey(this.#reader, paymentHash);
    if (key === undefined) throw new AppError("not_found", "There is no such token; name it by itself or by the payment hash it was claimed with.");
    return key;
  }

  #shown(key: Key): { token: string; key: KeyLine } {
    return { token: deriveToken(this.#tokenKey, key.paymentHash, key.generation), key: this.#line(key) };
  }

  #line(key: Key): KeyLine {
    return { ...key, balanceMsat: spendable(getAccount(this.#reader, key.accountId)) };
  }
}
