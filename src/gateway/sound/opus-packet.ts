/** How long an Opus packet sounds, by its first two bytes (RFC 6716, section 3.1). Pure. A decoder makes exactly that of it. */

export const opusRate = 48_000;

/** Milliseconds of a frame, by the upper five bits in groups of four: speech at three widths, both kinds twice, music at four. */
const speech = [10, 20, 40, 60], mixed = [10, 20, 10, 20], music = [2.5, 5, 10, 20];
const frameMs = [...speech, ...speech, ...speech, ...mixed, ...music, ...music, ...music, ...music];

/** In samples at `opusRate`. @param second Undefined where the packet is one byte long. */
export function opusSamples(first: number | undefined, second: number | undefined): number {
  if (first === undefined) return 0;
  const code = first & 3;
  const frames = code === 0 ? 1 : code === 3 ? (second ?? 0) & 63 : 2;
  return (frames * frameMs[first >> 3]! * opusRate) / 1000;
}
