/** Seconds of a WAV file: the bytes of its sound by its rate. Pure. A `fact` chunk says how long it is, too, and is not asked. */
import { maxSoundChunks } from "../../base/limits.ts";
import { nameAt, viewOf } from "./bytes-at.ts";

const pcm = 1, float = 3, aLaw = 6, muLaw = 7, extensible = 0xfffe;
const timed = new Set([pcm, float, aLaw, muLaw]);

/** Undefined for what cannot be timed: other codecs in WAV's clothes, two formats, no sound. */
export function wavSeconds(bytes: Uint8Array): number | undefined {
  const view = viewOf(bytes);
  let bytesPerSecond: number | undefined, soundBytes = 0;
  for (let at = 12, chunks = 0; at + 8 <= bytes.length; ) {
    if (++chunks > maxSoundChunks) return undefined;
    const name = nameAt(bytes, at), size = view.getUint32(at + 4, true), start = at + 8, left = bytes.length - start;
    if (name === "fmt ") {
      if (bytesPerSecond !== undefined) return undefined;
      bytesPerSecond = rateOf(view, start, size);
      if (bytesPerSecond === undefined) return undefined;
    }
    if (name === "data") {
      // Who writes a stream does not know its size yet, and who reads one reads to the end.
      soundBytes += size === 0 ? left : Math.min(size, left);
      if (size === 0) break;
    }
    at = start + size + (size & 1);
  }
  return bytesPerSecond === undefined ? undefined : soundBytes / bytesPerSecond;
}

/** Bytes a second. The header's own figure for that, and its block size, are not what decoders go by. */
function rateOf(view: DataView, start: number, size: number): number | undefined {
  const tag = view.getUint16(start, true);
  const codec = tag === extensible && size >= 26 ? view.getUint16(start + 24, true) : tag;
  const channels = view.getUint16(start + 2, true), rate = view.getUint32(start + 4, true), bits = view.getUint16(start + 14, true);
  const bytesPerSample = codec === aLaw || codec === muLaw ? 1 : Math.ceil(bits / 8);
  const known = timed.has(codec) && channels >= 1 && channels <= 8 && rate >= 1_000 && rate <= 384_000 && bytesPerSample >= 1 && bytesPerSample <= 8;
  return known ? channels * rate * bytesPerSample : undefined;
}
