/** Secrets that Hearth makes for itself, each in a file of its own. */
import { existsSync, readFileSync } from "node:fs";
import { assert } from "../base/assert.ts";
import type { Random } from "../base/clock.ts";
import { writePrivateFile } from "./write-file.ts";

/**
 * The secret at `path`, made at the first call. On the disk before it is used: a credential minted under a key that a
 * power loss takes away would be money lost.
 */
export function loadOrMakeSecret(path: string, bytes: number, random: Random): Uint8Array {
  if (!existsSync(path)) writePrivateFile(path, Buffer.from(random.bytes(bytes)).toString("hex") + "\n");
  const secret = new Uint8Array(Buffer.from(readFileSync(path, "utf8").trim(), "hex"));
  assert(secret.length === bytes, `${path} holds ${bytes} bytes in hex`);
  return secret;
}

/** In hex; undefined where none was made yet. */
export function readSecret(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}
