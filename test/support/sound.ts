/** Files of sound for tests, honest and lying. Those in test/fixtures/audio are ffmpeg's, of one sentence of 3.16 seconds. */
import { readdirSync, readFileSync } from "node:fs";

const folder = new URL("../fixtures/audio/", import.meta.url).pathname;
export const soundNames = readdirSync(folder).toSorted();

export function readSound(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(folder + name));
}

/** A WAV of silence: 8,000 samples of a byte each second. `claims`: seconds its header says instead. */
export function wavOf(seconds: number, claims: { fact?: number; data?: number } = {}): Uint8Array<ArrayBuffer> {
  const bytes = Math.round(seconds * 8_000);
  const fact = claims.fact === undefined ? Buffer.alloc(0) : chunk("fact", numbers([claims.fact * 8_000, 4]));
  const format = chunk("fmt ", numbers([1, 2], [1, 2], [8_000, 4], [8_000, 4], [1, 2], [8, 2]));
  const data = chunk("data", Buffer.alloc(bytes, 128), claims.data === undefined ? bytes : claims.data * 8_000);
  return new Uint8Array(Buffer.concat([chunk("RIFF", Buffer.concat([Buffer.from("WAVE"), format, fact, data]))]));
}

export function chunk(name: string, body: Uint8Array, size = body.length): Buffer {
  return Buffer.concat([Buffer.from(name), numbers([size, 4]), body]);
}

/** Little-endian. */
export function numbers(...values: [value: number, bytes: 2 | 4][]): Buffer {
  return Buffer.concat(values.map(([value, bytes]) => {
    const buffer = Buffer.alloc(bytes);
    if (bytes === 2) buffer.writeUInt16LE(value);
    else buffer.writeUInt32LE(value);
    return buffer;
  }));
}

/** A copy with other bytes at a place. */
export function patched(bytes: Uint8Array, at: number, change: Uint8Array | readonly number[]): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy.set(change, at);
  return copy;
}

export function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}

/** Where a text begins. @throws when it is not there. */
export function placeOf(bytes: Uint8Array, text: string): number {
  const at = Buffer.from(bytes).indexOf(text, 0, "latin1");
  if (at < 0) throw new Error(`there is no ${text}`);
  return at;
}
