/** Seconds of an MP3 file, frame by frame (ISO 11172-3 and 13818-3, layer III). Pure. What its Xing header says is not asked: it may be anybody's. */
import { maxStrangeSoundBytes } from "../../base/limits.ts";
import { afterTags, nameAt, startsWith } from "./bytes-at.ts";

/** In kilobits a second. */
const bitrates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const lowBitrates = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const rates = [44_100, 48_000, 32_000];

type Frame = { bytes: number; seconds: number; sideBytes: number };

/** Undefined for more than a little that is no frame: a decoder may find sound in it where we do not. */
export function mp3Seconds(bytes: Uint8Array): number | undefined {
  let at = afterTags(bytes), strange = 0, seconds = 0, frames = 0;
  while (at + 4 <= bytes.length) {
    const frame = frameAt(bytes, at);
    if (frame === undefined) {
      if (startsWith(bytes, "TAG", at) && bytes.length - at <= 128) break;
      at++;
      if (++strange > maxStrangeSoundBytes) return undefined;
      continue;
    }
    if (frames++ > 0 || !isInfo(bytes, at, frame)) seconds += frame.seconds;
    at += frame.bytes;
  }
  return frames === 0 ? undefined : seconds;
}

function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  const second = bytes[at + 1]!, third = bytes[at + 2]!;
  if (bytes[at] !== 0xff || (second & 0xe6) !== 0xe2) return undefined;
  const version = (second >> 3) & 3, bitrate = third >> 4, rate = (third >> 2) & 3;
  if (version === 1 || bitrate === 0 || bitrate === 15 || rate === 3) return undefined;
  const first = version === 3, hertz = rates[rate]! / (first ? 1 : version === 2 ? 2 : 4), samples = first ? 1152 : 576;
  const kilobits = (first ? bitrates : lowBitrates)[bitrate]!, mono = bytes[at + 3]! >> 6 === 3;
  return { bytes: Math.floor((samples * kilobits * 125) / hertz) + ((third >> 1) & 1), seconds: samples / hertz, sideBytes: first ? (mono ? 17 : 32) : mono ? 9 : 17 };
}

/** The first frame of many files is silent: it says how many there are. */
function isInfo(bytes: Uint8Array, at: number, { sideBytes }: Frame): boolean {
  const name = nameAt(bytes, at + 4 + sideBytes);
  return name === "Xing" || name === "Info";
}
