/**
 * Seconds of an Ogg file, packet by packet through all its pages (RFC 3533): Opus exactly, Vorbis by its own word within what its
 * packets can hold. Pure. Streams that follow each other in one file are all counted: decoders play them all.
 */
import { startsWith, viewOf } from "./bytes-at.ts";
import { opusRate, opusSamples } from "./opus-packet.ts";

type Stream = {
  codec: "opus" | "vorbis" | "index";
  rate: number;
  /** Samples of the longest packet there is, where a packet does not say its own. */
  longPacket: number;
  /** Packets at the start that are no sound. */
  heads: number;
  samples: number;
  saidSamples: number;
};

type Page = { serial: number; granule: number; tableAt: number; segments: number; bodyAt: number; begins: boolean; continues: boolean };

/** Undefined for other codecs, and for bytes between pages: a decoder passes over them, and we may not see what it finds. */
export function oggSeconds(bytes: Uint8Array): number | undefined {
  const view = viewOf(bytes), done: Stream[] = [], open = new Map<number, Stream>();
  for (let at = 0; at + 27 <= bytes.length; ) {
    if (!startsWith(bytes, "OggS", at)) return undefined;
    const page = readPage(bytes, view, at);
    if (page.begins) {
      const stream = readStart(bytes, view, page.bodyAt);
      if (stream === undefined) return undefined;
      open.set(page.serial, stream);
      done.push(stream);
    }
    const stream = open.get(page.serial);
    if (stream === undefined) return undefined;
    at = countPage(bytes, page, stream);
  }
  return done.reduce((sum, stream) => sum + secondsOf(stream), 0);
}

function readPage(bytes: Uint8Array, view: DataView, at: number): Page {
  const flags = bytes[at + 5]!, segments = bytes[at + 26]!;
  return {
    serial: view.getUint32(at + 14, true), granule: Number(view.getBigInt64(at + 6, true)), tableAt: at + 27, segments, bodyAt: at + 27 + segments,
    begins: (flags & 2) !== 0, continues: (flags & 1) !== 0,
  };
}

function readStart(bytes: Uint8Array, view: DataView, at: number): Stream | undefined {
  const start = { samples: 0, saidSamples: 0, longPacket: 0 };
  if (startsWith(bytes, "OpusHead", at)) return { ...start, codec: "opus", rate: opusRate, heads: 2 };
  if (startsWith(bytes, "fishead", at)) return { ...start, codec: "index", rate: 1, heads: Infinity };
  const rate = view.getUint32(at + 12, true);
  return startsWith(bytes, "\x01vorbis", at) && rate > 0 ? { ...start, codec: "vorbis", rate, heads: 3, longPacket: 2 ** (bytes[at + 28]! >> 4) / 2 } : undefined;
}

/** Where the next page begins. A packet ends with its first segment below 255. */
function countPage(bytes: Uint8Array, { tableAt, segments, bodyAt, continues, granule }: Page, stream: Stream): number {
  let at = bodyAt, starts = !continues;
  for (let segment = tableAt; segment < tableAt + segments; segment++) {
    const size = bytes[segment]!;
    if (starts && size > 0 && --stream.heads < 0) stream.samples += stream.codec === "opus" ? opusSamples(bytes[at], size > 1 ? bytes[at + 1] : undefined) : stream.longPacket;
    starts = size < 255;
    at += size;
  }
  if (granule > 0) stream.saidSamples = granule;
  return at;
}

/** Vorbis mixes long and short packets, mostly long: below half of what they could all be, its word is not believed. */
function secondsOf({ codec, rate, samples, saidSamples }: Stream): number {
  return (codec === "vorbis" ? Math.min(samples, Math.max(samples / 2, saidSamples)) : samples) / rate;
}
