/** Secrets that Hearth makes for itself: files only the owner's user can read, written so that a crash leaves all or nothing. */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { assert } from "../base/assert.ts";
import type { Random } from "../base/clock.ts";

/**
 * The secret at `path`, made at the first call. On the disk before it is used: a credential minted under a key that a
 * power loss takes away would be money lost.
 */
export function loadOrMakeSecret(path: string, bytes: number, random: Random): Uint8Array {
  if (!existsSync(path)) makeSecret(path, random.bytes(bytes));
  const secret = new Uint8Array(Buffer.from(readFileSync(path, "utf8").trim(), "hex"));
  assert(secret.length === bytes, `${path} holds ${bytes} bytes in hex`);
  return secret;
}

/** In hex; undefined where none was made yet. */
export function readSecret(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}

function makeSecret(path: string, secret: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", 0o600);
  writeSync(file, Buffer.from(secret).toString("hex") + "\n");
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, path);
  const directory = openSync(dirname(path), "r");
  fsyncSync(directory);
  closeSync(directory);
}
