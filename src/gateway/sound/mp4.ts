/**
 * Seconds of the AAC in an MP4 file: the frames it lists (ISO 14496-12), each 1,024 samples (ISO 14496-3). Pure. Which times its
 * headers and tables give to them is not asked: a decoder makes sound of every frame.
 */
import { maxSoundBoxes, maxSoundTracks } from "../../base/limits.ts";
import { nameAt, viewOf } from "./bytes-at.ts";

/** `from` and `to`: what it holds. */
type Box = { name: string; from: number; to: number };
/** `rate` undefined: not AAC, or nobody can say. */
type Track = { rate: number | undefined; frames: number; frameBytes: number };

const samplesOfFrame = 1024;
/** More than a frame of AAC may have for two channels, 6,144 bits each (ISO 14496-3, 4.5.3): who puts several into one listed frame gains nothing. */
const maxFrameBytes = 1_536;

/** Undefined without sound, where a sound track is not AAC, and for fragments of more than sound. */
export function mp4Seconds(bytes: Uint8Array): number | undefined {
  const file = new BoxReader(bytes), top = file.within({ from: 0, to: bytes.length });
  const traks = top.filter(({ name }) => name === "moov").flatMap((moov) => file.all(moov, "trak"));
  if (traks.length > maxSoundTracks) return undefined;
  const tracks = traks.flatMap((trak) => readTrack(file, trak) ?? []);
  if (top.some(({ name }) => name === "moof")) {
    if (tracks.length !== 1 || traks.length !== 1) return undefined;
    countFragments(file, top, tracks[0]!);
  }
  if (tracks.length === 0 || tracks.some(({ rate }) => rate === undefined)) return undefined;
  return Math.max(...tracks.map(({ rate, frames, frameBytes }) => (Math.max(frames, frameBytes / maxFrameBytes) * samplesOfFrame) / rate!));
}

class BoxReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  #read = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
  }

  /** @throws RangeError for too many. */
  within({ from, to }: Pick<Box, "from" | "to">): Box[] {
    const boxes: Box[] = [];
    for (let at = from; at + 8 <= to; ) {
      if (++this.#read > maxSoundBoxes) throw new RangeError("too many boxes");
      const short = this.view.getUint32(at), head = short === 1 ? 16 : 8;
      const size = short === 1 ? Number(this.view.getBigUint64(at + 8)) : short === 0 ? to - at : short;
      if (size < head) break;
      boxes.push({ name: nameAt(this.bytes, at + 4), from: at + head, to: Math.min(at + size, to) });
      at += size;
    }
    return boxes;
  }

  all(box: Box, name: string): Box[] {
    return this.within(box).filter((one) => one.name === name);
  }

  /** The first, by a path of names. */
  find(box: Box, ...names: string[]): Box | undefined {
    return names.reduce<Box | undefined>((parent, name) => parent && this.all(parent, name)[0], box);
  }
}

/** Undefined for a track that is no sound. */
function readTrack(file: BoxReader, trak: Box): Track | undefined {
  const handler = file.find(trak, "mdia", "hdlr"), table = file.find(trak, "mdia", "minf", "stbl");
  if (!handler || !table || nameAt(file.bytes, handler.from + 8) !== "soun") return undefined;
  const track = { rate: rateOf(file, table), frames: 0, frameBytes: 0 };
  for (const { from } of file.all(table, "stsz")) {
    const size = file.view.getUint32(from + 4), count = file.view.getUint32(from + 8);
    track.frames += count;
    if (size > 0) track.frameBytes += size * count;
    else for (let i = 0; i < count; i++) track.frameBytes += file.view.getUint32(from + 12 + 4 * i);
  }
  return track;
}

/** All that is in the file is its sound. */
function countFragments(file: BoxReader, top: readonly Box[], track: Track): void {
  for (const box of top) {
    if (box.name === "mdat") track.frameBytes += box.to - box.from;
    if (box.name === "moof") for (const traf of file.all(box, "traf")) for (const run of file.all(traf, "trun")) track.frames += file.view.getUint32(run.from + 4);
  }
}

/** Of the one kind of sound a track may hold. */
function rateOf(file: BoxReader, table: Box): number | undefined {
  const list = file.find(table, "stsd");
  if (!list || file.view.getUint32(list.from + 4) !== 1) return undefined;
  const [entry] = file.within({ from: list.from + 8, to: list.to });
  if (entry?.name !== "mp4a") return undefined;
  // QuickTime's version 1 has four more numbers.
  const more = file.view.getUint16(entry.from + 8) === 1 ? 16 : 0;
  const inside = { name: "", from: entry.from + 28 + more, to: entry.to };
  const config = file.find(inside, "esds") ?? file.find(inside, "wave", "esds");
  return config && aacRate(file.bytes, config.from + 4);
}

const rates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const aac = 0x40;

/** From descriptors in descriptors (ISO 14496-1, 7.2.6): stream, decoder, and the decoder's own bytes, which decoders obey. */
function aacRate(bytes: Uint8Array, from: number): number | undefined {
  const stream = descriptorAt(bytes, from, 3);
  // Its flags: none of the optional fields.
  const decoder = stream !== undefined && (bytes[stream + 2]! & 0xe0) === 0 ? descriptorAt(bytes, stream + 3, 4) : undefined;
  const own = decoder !== undefined && bytes[decoder] === aac ? descriptorAt(bytes, decoder + 13, 5) : undefined;
  if (own === undefined) return undefined;
  return rates[((bytes[own]! & 7) << 1) | (bytes[own + 1]! >> 7)];
}

/** Where the content of the descriptor with this tag begins. Its size has one to four bytes. */
function descriptorAt(bytes: Uint8Array, from: number, tag: number): number | undefined {
  if (bytes[from] !== tag) return undefined;
  let at = from + 1;
  while (at < from + 4 && bytes[at]! & 128) at++;
  return at + 1;
}
