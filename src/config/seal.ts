/**
 * Encrypts what an owner entrusts to Hearth (AES-256-GCM, NIST SP 800-38D), under a key that lies beside it with mode 0600, or better in a
 * credential of systemd, which a copy of the disk does not hold. A sealed text opens under the name it was sealed for and no other.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "../base/bytes.ts";
import type { Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { loadOrMakeSecret } from "./secrets.ts";

const algorithm = "aes-256-gcm";
const keyBytes = 32, nonceBytes = 12, tagBytes = 16;
const version = "v1.";
const credentialName = "hearth-seal";

export type SealPlace = { kind: "systemd" } | { kind: "file"; path: string };

/** systemd.exec(5): `LoadCredential=hearth-seal:...` puts a file into `CREDENTIALS_DIRECTORY`. */
export function sealPlace(dataDir: string, environment: Record<string, string | undefined>): SealPlace {
  const directory = environment.CREDENTIALS_DIRECTORY;
  return directory !== undefined && existsSync(join(directory, credentialName)) ? { kind: "systemd" } : { kind: "file", path: join(dataDir, "keys", "seal") };
}

/** Made at the first call where it is a file. A credential may be any text or bytes of at least 16. */
export function sealKey(dataDir: string, environment: Record<string, string | undefined>, random: Random): Uint8Array {
  const place = sealPlace(dataDir, environment);
  if (place.kind === "file") return loadOrMakeSecret(place.path, keyBytes, random);
  const credential = readFileSync(join(environment.CREDENTIALS_DIRECTORY!, credentialName));
  if (credential.length < 16) throw new AppError("invalid_config", `The systemd credential ${credentialName} has ${credential.length} bytes; at least 16 are needed.`);
  return sha256(credential);
}

/** Whether others on this machine could read the key's file. */
export function isSealExposed(path: string): boolean {
  return existsSync(path) && (statSync(path).mode & 0o077) !== 0;
}

export function seal(text: string, name: string, key: Uint8Array, random: Random): string {
  const nonce = random.bytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce);
  cipher.setAAD(Buffer.from(name));
  const sealed = Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return version + sealed.toString("base64url");
}

/** Undefined for what was sealed under another key or name, or changed since. */
export function unseal(sealed: string, name: string, key: Uint8Array): string | undefined {
  const bytes = Buffer.from(sealed.slice(version.length), "base64url");
  if (!sealed.startsWith(version) || bytes.length < nonceBytes + tagBytes) return undefined;
  try {
    const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes));
    decipher.setAAD(Buffer.from(name));
    decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes)), decipher.final()]).toString("utf8");
  } catch {
    return undefined;
  }
}
