/** The owner's secrets by name, sealed in one file. Settings name them as `secret:NAME`. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { maxSecretBytes } from "../base/limits.ts";
import { seal, sealKey, unseal } from "./seal.ts";
import { writePrivateFile } from "./write-file.ts";

const fileSchema = z.record(z.string(), z.string());
const nameShape = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export class SealedSecrets {
  readonly #path: string;
  readonly #key: () => Uint8Array;
  readonly #random: Random;

  /** The key is made when the first secret is kept. */
  constructor(dataDir: string, environment: Record<string, string | undefined>, random: Random) {
    this.#path = join(dataDir, "secrets.json");
    this.#key = () => sealKey(dataDir, environment, random);
    this.#random = random;
  }

  names(): string[] {
    return Object.keys(this.#read()).sort();
  }

  /** @throws AppError `invalid_config`. */
  get(name: string): string {
    const sealed = this.#read();
    if (!Object.hasOwn(sealed, name)) throw invalid(`There is no secret "${name}"; keep it with hearth secret set ${name}.`);
    const text = unseal(sealed[name]!, name, this.#key());
    if (text === undefined) throw invalid(`The secret "${name}" cannot be opened: the key it was sealed under is another one. Set it again with hearth secret set ${name}.`);
    return text;
  }

  /** @throws AppError `invalid_config`. */
  set(name: string, text: string): void {
    if (!nameShape.test(name)) throw invalid(`A secret's name has up to 64 small letters, digits, dots and dashes, such as openai; ${JSON.stringify(name.slice(0, 64))} does not.`);
    if (text === "" || Buffer.byteLength(text) > maxSecretBytes) throw invalid(`A secret has 1 to ${maxSecretBytes} bytes.`);
    this.#write({ ...this.#read(), [name]: seal(text, name, this.#key(), this.#random) });
  }

  /** False where there was none. */
  remove(name: string): boolean {
    const { [name]: gone, ...others } = this.#read();
    if (gone !== undefined) this.#write(others);
    return gone !== undefined;
  }

  #read(): Record<string, string> {
    if (!existsSync(this.#path)) return {};
    try {
      return fileSchema.parse(JSON.parse(readFileSync(this.#path, "utf8")));
    } catch {
      throw invalid(`${this.#path} cannot be read as what Hearth wrote; set its secrets again, or put a copy in its place.`);
    }
  }

  #write(sealed: Record<string, string>): void {
    writePrivateFile(this.#path, JSON.stringify(sealed, null, 1) + "\n");
  }
}

function invalid(message: string): AppError {
  return new AppError("invalid_config", message);
}
