/**
 * What a pairing is and where it is kept: sealed, as one secret. A phrase works once: the first to use it is known by its key from then on,
 * so our key is on the disk before the phrase is used, and the node's as soon as it is known.
 */
import { z } from "zod";
import { toHex } from "../base/bytes.ts";
import type { Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { SealedSecrets } from "../config/sealed-secrets.ts";

const pairingSchema = z.object({ phrase: z.string(), localKey: z.string(), remoteKey: z.string().optional() });

export type Pairing = z.infer<typeof pairingSchema> & {
  /** There was a connection with it. */
  proven: boolean;
};

const keptName = "lnc-pairing";
/** One that was begun and has not connected yet: the one that works stays until then. */
const begunName = "lnc-pairing-begun";
const phraseWords = 10;
const keyBytes = 32;

/** The words as they are compared and kept. @throws AppError `invalid_config`, which shows none of them. */
export function readPhrase(text: string): string {
  const words = text.trim().toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length !== phraseWords) throw new AppError("invalid_config", `A pairing phrase has ${phraseWords} words; ${words.length} came. Make one with litcli sessions add, or in Lightning Terminal under Lightning Node Connect.`);
  if (!words.every((word) => /^[a-z]{3,8}$/.test(word))) throw new AppError("invalid_config", "A pairing phrase has words of small letters and nothing else.");
  return words.join(" ");
}

export class Pairings {
  readonly #secrets: SealedSecrets;
  readonly #random: Random;

  constructor(secrets: SealedSecrets, random: Random) {
    this.#secrets = secrets;
    this.#random = random;
  }

  /** The one that works. */
  get kept(): Pairing | undefined {
    return this.#read(keptName, true);
  }

  /** For this phrase: the one that works or was begun with it, else a new one, which is kept before it is used. */
  begin(phrase: string): Pairing {
    const known = [this.kept, this.#read(begunName, false)].find((one) => one?.phrase === phrase);
    if (known) return known;
    // A number above the curve's order is taken modulo it; the chance is 2^-128.
    const fresh = { phrase, localKey: toHex(this.#random.bytes(keyBytes)) };
    this.#secrets.set(begunName, JSON.stringify(fresh));
    return { ...fresh, proven: false };
  }

  /** The node's key, of a pairing that was begun; nothing changes for one that works. */
  keepRemoteKey(remoteKey: string): void {
    const begun = this.#read(begunName, false);
    if (begun) this.#secrets.set(begunName, JSON.stringify({ phrase: begun.phrase, localKey: begun.localKey, remoteKey }));
  }

  /** This one works: it takes the other's place. */
  adopt({ phrase, localKey, remoteKey }: Pairing): void {
    const kept = this.kept;
    if (kept?.localKey !== localKey || kept.remoteKey !== remoteKey) this.#secrets.set(keptName, JSON.stringify({ phrase, localKey, remoteKey }));
    if (this.#read(begunName, false)?.phrase === phrase) this.#secrets.remove(begunName);
  }

  /** What was begun with this phrase and never got an answer: the phrase is as good as before. */
  forgetUnused(phrase: string): void {
    const begun = this.#read(begunName, false);
    if (begun?.phrase === phrase && begun.remoteKey === undefined) this.#secrets.remove(begunName);
  }

  #read(name: string, proven: boolean): Pairing | undefined {
    if (!this.#secrets.names().includes(name)) return undefined;
    const parsed = pairingSchema.safeParse(tryJson(this.#secrets.get(name)));
    if (!parsed.success) throw new AppError("invalid_config", `The secret "${name}" is not what Hearth wrote; remove it with hearth secret remove ${name} and pair again with hearth lnc pair.`);
    return { ...parsed.data, proven };
  }
}

/** Its complaint would quote the words. */
function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
