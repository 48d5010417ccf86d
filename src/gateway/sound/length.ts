/**
 * How long a file of sound is, before anybody has paid for it. Pure. It is what a decoder makes of the file, counted by its
 * frames: lengths written in headers are free to write. Time is linear in the size, and what is not understood is not timed.
 */
import { maxSoundSeconds } from "../../base/limits.ts";
import { afterTags, nameAt, startsWith } from "./bytes-at.ts";
import { flacSeconds } from "./flac.ts";
import { mp3Seconds } from "./mp3.ts";
import { mp4Seconds } from "./mp4.ts";
import { oggSeconds } from "./ogg.ts";
import { wavSeconds } from "./wav.ts";
import { webmSeconds } from "./webm.ts";

/** `extension`: what a model server is to know the format by. */
type Format = { extension: string; mediaType: string; seconds(bytes: Uint8Array): number | undefined };

const wav: Format = { extension: "wav", mediaType: "audio/wav", seconds: wavSeconds };
const mp3: Format = { extension: "mp3", mediaType: "audio/mpeg", seconds: mp3Seconds };
const flac: Format = { extension: "flac", mediaType: "audio/flac", seconds: flacSeconds };
const ogg: Format = { extension: "ogg", mediaType: "audio/ogg", seconds: oggSeconds };
const mp4: Format = { extension: "m4a", mediaType: "audio/mp4", seconds: mp4Seconds };
const webm: Format = { extension: "webm", mediaType: "audio/webm", seconds: webmSeconds };

/** Whole seconds, rounded up. */
export type TimedSound = { bytes: Uint8Array; seconds: number; extension: string; mediaType: string };

/** Undefined for what cannot be timed. */
export function timeSound(bytes: Uint8Array): TimedSound | undefined {
  const format = formatOf(bytes), seconds = format && readSeconds(format, bytes);
  if (format === undefined || seconds === undefined || !(seconds > 0 && seconds <= maxSoundSeconds)) return undefined;
  return { bytes, seconds: Math.ceil(seconds), extension: format.extension, mediaType: format.mediaType };
}

function readSeconds(format: Format, bytes: Uint8Array): number | undefined {
  try {
    return format.seconds(bytes);
  } catch (error) {
    // It ends in the middle of something.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function formatOf(bytes: Uint8Array): Format | undefined {
  if (startsWith(bytes, "RIFF")) return nameAt(bytes, 8) === "WAVE" ? wav : undefined;
  if (startsWith(bytes, "OggS")) return ogg;
  if (startsWith(bytes, "ftyp", 4)) return mp4;
  if (startsWith(bytes, "\x1a\x45\xdf\xa3")) return webm;
  return startsWith(bytes, "fLaC", afterTags(bytes)) ? flac : bytes.length > 4 ? mp3 : undefined;
}
