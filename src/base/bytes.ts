/** Hex, base64 and the two hashes we use. Throws nothing: what does not decode is `undefined`. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";

const hex32 = /^[0-9a-f]{64}$/i;
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** 32 bytes from exactly 64 hex digits of either case. */
export function decodeHex32(text: string): Uint8Array | undefined {
  return hex32.test(text) ? new Uint8Array(Buffer.from(text, "hex")) : undefined;
}

/** Standard base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Standard or url-safe base64, with or without padding. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  if (!base64.test(standard) || standard.replaceAll("=", "").length % 4 === 1) return undefined;
  return new Uint8Array(Buffer.from(standard, "base64"));
}

export function sha256(bytes: Uint8Array | string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

export function hmacSha256(key: Uint8Array | string, bytes: Uint8Array | string): Uint8Array {
  return new Uint8Array(createHmac("sha256", key).update(bytes).digest());
}

/** Compares in a time that depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
