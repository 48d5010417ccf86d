/**
 * Seconds of the Opus in a WebM file, block by block (RFC 8794, RFC 9559). Pure. Browsers record it without a length, and
 * where it has one, anybody may have written it: neither that nor the blocks' times are asked.
 */
import { maxSoundElements, maxSoundTracks } from "../../base/limits.ts";
import { startsWith } from "./bytes-at.ts";
import { opusRate, opusSamples } from "./opus-packet.ts";

const id = {
  segment: 0x18538067, tracks: 0x1654ae6b, entry: 0xae, number: 0xd7, type: 0x83, codec: 0x86, encodings: 0x6d80,
  cluster: 0x1f43b675, group: 0xa0, block: 0xa1, simpleBlock: 0xa3,
};
/** What is entered; all else is passed over by its size. So a size that is not known yet does no harm. */
const entered = new Set([id.segment, id.tracks, id.entry, id.cluster, id.group]);
const sound = 2, laced = 6;

type Track = { number: number; type: number; opus: boolean; encoded: boolean; samples: number };
type Element = { id: number; size: number; from: number };

/** Undefined without sound, for other codecs, and for frames laced together, which WebM forbids and nobody writes. */
export function webmSeconds(bytes: Uint8Array): number | undefined {
  const tracks: Track[] = [], ends = [bytes.length];
  for (let at = 0, elements = 0; at < bytes.length; ) {
    if (++elements > maxSoundElements) return undefined;
    while (ends.at(-1)! <= at) ends.pop();
    const element = elementAt(bytes, at), isEntered = entered.has(element.id), end = element.from + element.size;
    // What ends behind whatever it is in may hide sound: a decoder looks inside for where to go on.
    if (end > ends.at(-1)! && !(isEntered && element.size === Infinity)) return undefined;
    if (element.id === id.entry) tracks.push({ number: 0, type: 0, opus: false, encoded: false, samples: 0 });
    if (tracks.length > maxSoundTracks || (!isEntered && !readElement(bytes, element, tracks))) return undefined;
    if (isEntered && end < ends.at(-1)!) ends.push(end);
    at = isEntered ? element.from : end;
  }
  const heard = tracks.filter(({ type }) => type === sound);
  const clear = heard.length > 0 && heard.every(({ opus, encoded }) => opus && !encoded) && new Set(tracks.map(({ number }) => number)).size === tracks.length;
  return clear ? Math.max(...heard.map(({ samples }) => samples)) / opusRate : undefined;
}

/** False for what cannot be timed. */
function readElement(bytes: Uint8Array, element: Element, tracks: Track[]): boolean {
  const track = tracks.at(-1), { from, size } = element;
  if (element.id === id.block || element.id === id.simpleBlock) return countBlock(bytes, element, tracks);
  if (track === undefined) return true;
  if (element.id === id.number) track.number = unsignedAt(bytes, from, size);
  if (element.id === id.type) track.type = unsignedAt(bytes, from, size);
  if (element.id === id.codec) track.opus = size === 6 && startsWith(bytes, "A_OPUS", from);
  if (element.id === id.encodings) track.encoded = true;
  return true;
}

function countBlock(bytes: Uint8Array, { from, size }: Element, tracks: Track[]): boolean {
  const track = numberAt(bytes, from), flagsAt = from + track.bytes + 2;
  const its = tracks.find(({ number, type }) => number === track.value && type === sound);
  if (its === undefined) return true;
  if (bytes[flagsAt]! & laced) return false;
  const left = from + size - flagsAt - 1;
  its.samples += opusSamples(left > 0 ? bytes[flagsAt + 1] : undefined, left > 1 ? bytes[flagsAt + 2] : undefined);
  return true;
}

/** @throws RangeError beyond the end, and for what is no element. */
function elementAt(bytes: Uint8Array, at: number): Element {
  const name = numberAt(bytes, at), size = numberAt(bytes, at + name.bytes);
  if (name.bytes > 4) throw new RangeError("no element");
  return { id: name.value + 2 ** (7 * name.bytes), size: size.value === 2 ** (7 * size.bytes) - 1 ? Infinity : size.value, from: at + name.bytes + size.bytes };
}

/** A number whose first bit that is set tells how many bytes it has, one to eight; without that bit. */
function numberAt(bytes: Uint8Array, at: number): { value: number; bytes: number } {
  const first = bytes[at] ?? 0, length = Math.clz32(first) - 23;
  if (length > 8) throw new RangeError("no number");
  return { value: (first & (2 ** (8 - length) - 1)) * 2 ** (8 * (length - 1)) + unsignedAt(bytes, at + 1, length - 1), bytes: length };
}

function unsignedAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < Math.min(size, 8); i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
