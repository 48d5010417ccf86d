/** Reading of binary formats: names and tags at a place. Pure. Beyond the end the reads of a view throw `RangeError`, which `length.ts` alone catches. */

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Four bytes as text. */
export function nameAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!);
}

export function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Where the sound begins behind the ID3 tags in front of it (id3.org, ID3v2.4.0, section 3.1), which every decoder passes over. */
export function afterTags(bytes: Uint8Array): number {
  let at = 0;
  while (startsWith(bytes, "ID3", at) && at + 10 <= bytes.length) {
    const size = ((bytes[at + 6]! & 127) << 21) | ((bytes[at + 7]! & 127) << 14) | ((bytes[at + 8]! & 127) << 7) | (bytes[at + 9]! & 127);
    at += 10 + size + (bytes[at + 5]! & 16 ? 10 : 0);
  }
  return at;
}
