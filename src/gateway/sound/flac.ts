/** Seconds of a FLAC file: the blocks of its frames (RFC 9639, section 9), which its header may tell more exactly and not otherwise. Pure. */
import { afterTags, viewOf } from "./bytes-at.ts";

const rates = [0, 88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
/** By so much the count may be off: now and then some bytes in a frame look like the head of another. */
const likeCount = 0.02;

type Frame = { seconds: number; headBytes: number };

export function flacSeconds(bytes: Uint8Array): number | undefined {
  const head = readHead(bytes, afterTags(bytes) + 4);
  if (head === undefined) return undefined;
  let counted = 0;
  for (let at = head.end; at < bytes.length; ) {
    const frame = bytes[at] === 0xff ? frameAt(bytes, at, head.rate) : undefined;
    counted += frame?.seconds ?? 0;
    at += frame?.headBytes ?? 1;
  }
  return Math.abs(head.saidSeconds - counted) <= counted * likeCount ? head.saidSeconds : counted;
}

/** The metadata blocks, of which the first says rate and length. */
function readHead(bytes: Uint8Array, start: number): { rate: number; saidSeconds: number; end: number } | undefined {
  const view = viewOf(bytes), info = start + 4;
  const rate = view.getUint32(info + 10) >>> 12;
  if (bytes[start]! & 127 || rate === 0) return undefined;
  const samples = (bytes[info + 13]! & 15) * 2 ** 32 + view.getUint32(info + 14);
  for (let at = start; ; ) {
    const word = view.getUint32(at);
    at += 4 + (word & 0xffffff);
    if (word >>> 31) return { rate, saidSeconds: samples / rate, end: at };
  }
}

/** By its sync code, its fields and the checksum over them. */
function frameAt(bytes: Uint8Array, at: number, fileRate: number): Frame | undefined {
  const size = bytes[at + 2]! >> 4, rate = bytes[at + 2]! & 15, fourth = bytes[at + 3]!;
  if ((bytes[at + 1]! & 0xfe) !== 0xf8 || size === 0 || rate === 15 || fourth >> 4 > 10 || ((fourth >> 1) & 7) === 3 || fourth & 1) return undefined;
  const sizeAt = at + 4 + numberBytes(bytes[at + 4]!);
  const rateAt = sizeAt + (size === 6 ? 1 : size === 7 ? 2 : 0);
  const end = rateAt + (rate === 12 ? 1 : rate > 12 ? 2 : 0);
  if (end >= bytes.length || checksum(bytes, at, end) !== bytes[end]) return undefined;
  const hertz = rateOf(bytes, rate, rateAt, fileRate);
  return hertz === 0 ? undefined : { seconds: blockOf(bytes, size, sizeAt) / hertz, headBytes: end + 1 - at };
}

/** The frame's number is written as UTF-8 writes letters. */
function numberBytes(first: number): number {
  return first < 0x80 ? 1 : Math.clz32(~(first << 24));
}

function blockOf(bytes: Uint8Array, size: number, at: number): number {
  if (size === 1) return 192;
  if (size < 6) return 576 << (size - 2);
  if (size === 6) return bytes[at]! + 1;
  return size === 7 ? ((bytes[at]! << 8) | bytes[at + 1]!) + 1 : 256 << (size - 8);
}

function rateOf(bytes: Uint8Array, rate: number, at: number, fileRate: number): number {
  if (rate === 0) return fileRate;
  if (rate < 12) return rates[rate]!;
  if (rate === 12) return bytes[at]! * 1000;
  return ((bytes[at]! << 8) | bytes[at + 1]!) * (rate === 13 ? 1 : 10);
}

/** CRC-8 with the polynomial x^8 + x^2 + x + 1. */
const crcTable = Uint8Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 128 ? 7 : 0)) & 255;
  return crc;
});

function checksum(bytes: Uint8Array, from: number, to: number): number {
  let crc = 0;
  for (let at = from; at < to; at++) crc = crcTable[crc ^ bytes[at]!]!;
  return crc;
}
