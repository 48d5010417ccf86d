/** How long a file of sound is for the one who pays by the second: by what a decoder makes of it, whatever its headers say. */
import { describe, expect, test } from "bun:test";
import { timeSound } from "../../src/gateway/sound/length.ts";
import { chunk, joined, numbers, patched, placeOf, readSound, soundNames, wavOf } from "../support/sound.ts";

const secondsOf = (bytes: Uint8Array) => timeSound(bytes)?.seconds;
const formats: Record<string, string> = {
  "hello.wav": "wav", "mulaw.wav": "wav", "hello.mp3": "mp3", "vbr.mp3": "mp3", "headless.mp3": "mp3", "hello.flac": "flac", "opus.ogg": "ogg", "vorbis.ogg": "ogg",
  "hello.m4a": "m4a", "fragments.mp4": "m4a", "hello.webm": "webm", "recorded.webm": "webm",
};

describe("one sentence of 3.16 seconds", () => {
  test.each(Object.entries(formats))("%s has four, begun ones counted", (name, extension) => expect(timeSound(readSound(name))).toMatchObject({ seconds: 4, extension }));

  test.each(soundNames.filter((name) => formats[name] === undefined))("%s is of a codec that is not timed, and is refused", (name) => expect(timeSound(readSound(name))).toBeUndefined());

  test.each(["hello.mp3", "hello.flac", "opus.ogg", "vorbis.ogg", "headless.mp3"])("%s ten times over has ten times as much: its first header does not speak for the rest", (name) => {
    const file = readSound(name), seconds = secondsOf(joined(...Array.from({ length: 10 }, () => file)))!;
    expect(seconds).toBeGreaterThanOrEqual(31);
    expect(seconds).toBeLessThanOrEqual(35);
  });

  test.each(Object.keys(formats))("%s cut off anywhere is refused or shorter, never longer", (name) => {
    const file = readSound(name);
    for (let length = 0; length < file.length; length += 97) expect(secondsOf(file.subarray(0, length)) ?? 0).toBeLessThanOrEqual(4);
  });
});

describe("WAV", () => {
  const rows: [what: string, bytes: Uint8Array, seconds: number | undefined][] = [
    ["an hour", wavOf(3_600), 3_600],
    ["a begun second", wavOf(2.01), 3],
    ["an hour that a fact chunk calls one second", wavOf(3_600, { fact: 1 }), 3_600],
    ["a stream whose size nobody knew", wavOf(5, { data: 0xffffffff / 8_000 }), 5],
    ["a stream whose size was left empty", wavOf(5, { data: 0 }), 5],
    ["sound in two chunks", joined(wavOf(2), chunk("data", new Uint8Array(16_000))), 4],
    ["a format that comes twice", joined(wavOf(2), chunk("fmt ", numbers([1, 2], [8, 2], [384_000, 4], [0, 4], [0, 2], [32, 2]))), undefined],
    ["no sound", wavOf(0), undefined],
    ["a rate of nothing", patched(wavOf(2), 24, [0, 0, 0, 0]), undefined],
    ["no channels", patched(wavOf(2), 22, [0, 0]), undefined],
    ["thousands of chunks", joined(wavOf(1).subarray(0, 12), ...Array.from({ length: 2_000 }, () => chunk("junk", new Uint8Array(0)))), undefined],
  ];
  test.each(rows)("%s", (_what, bytes, seconds) => expect(secondsOf(bytes)).toBe(seconds));
});

describe("a header that lies", () => {
  const mp3 = readSound("hello.mp3"), flac = readSound("hello.flac"), ogg = readSound("opus.ogg"), vorbis = readSound("vorbis.ogg");
  const m4a = readSound("hello.m4a"), webm = readSound("hello.webm"), recorded = readSound("recorded.webm");
  const xing = Math.max(Buffer.from(mp3).indexOf("Info"), Buffer.from(mp3).indexOf("Xing"));
  const lastPage = Buffer.from(vorbis).lastIndexOf("OggS");
  const rows: [what: string, bytes: Uint8Array, seconds: number | undefined][] = [
    ["an MP3 whose Xing header counts one frame", patched(mp3, xing + 8, [0, 0, 0, 1]), 4],
    ["a FLAC whose header counts one sample", patched(flac, 8 + 14, [0, 0, 0, 1]), 4],
    ["an Ogg of Opus whose last page is at no time", patched(ogg, Buffer.from(ogg).lastIndexOf("OggS") + 6, new Uint8Array(8)), 4],
    ["an Ogg of Opus that skips all of it", patched(ogg, placeOf(ogg, "OpusHead") + 10, [255, 255]), 4],
    ["an Ogg of Vorbis whose last page is at its first sample: by half at least", patched(vorbis, lastPage + 6, [1, 0, 0, 0, 0, 0, 0, 0]), 2],
    ["an Ogg of Vorbis whose last page is years away", patched(vorbis, lastPage + 6, [0, 0, 0, 0, 0, 1, 0, 0]), 4],
    ["an MP4 whose media lasts a tick", patched(m4a, placeOf(m4a, "mdhd") + 4 + 16, [0, 0, 0, 1]), 4],
    ["an MP4 whose time goes a thousand times as fast", patched(m4a, placeOf(m4a, "mdhd") + 4 + 12, [0, 0x7a, 0x12, 0]), 4],
    ["an MP4 that lists one frame, as large as many", patched(patched(m4a, placeOf(m4a, "stsz") + 12, [0, 0, 0, 1]), placeOf(m4a, "stsz") + 16, [0, 0xff, 0xff, 0xff]), 1_399],
    ["a WebM with a block that ends behind its file, as if all were in it", patched(recorded, placeOf(recorded, "\xa3\x99") + 1, [1, 0, 0, 0, 0, 0x10, 0, 0]), undefined],
    ["a WebM with a block that ends behind its cluster", patched(recorded, placeOf(recorded, "\xa3\x99") + 1, [0x46, 0x60]), undefined],
    ["a WebM whose header says a millisecond", patched(webm, placeOf(webm, "\x44\x89") + 3, [0x3f, 0xf0, 0, 0, 0, 0, 0, 0]), 4],
  ];
  test.each(rows)("%s", (_what, bytes, seconds) => expect(secondsOf(bytes)).toBe(seconds));
});

describe("what is no sound", () => {
  const large = 25 * 1024 * 1024;
  const patterns: [what: string, bytes: readonly number[]][] = [
    ["ones", [255]], ["zeros", [0]], ["heads of MP3 frames", [255, 224]], ["heads of FLAC frames", [255, 248, 201, 24, 0]], ["empty elements", [0xec, 0x80]],
    ["empty boxes", [0, 0, 0, 8, 102, 114, 101, 101]],
  ];
  const starts: [what: string, bytes: Uint8Array][] = [["nothing", new Uint8Array(0)], ...Object.keys(formats).map((name): [string, Uint8Array] => [name, readSound(name)])];

  test.each(patterns)("25 MB of %s, after any beginning, take no longer than a blink", (_what, pattern) => {
    const fill = new Uint8Array(large);
    for (let at = 0; at < large; at++) fill[at] = pattern[at % pattern.length]!;
    for (const [, start] of starts) {
      fill.set(start);
      const beganMs = performance.now();
      timeSound(fill);
      expect(performance.now() - beganMs).toBeLessThan(1_000);
    }
  }, 60_000);

  const others = [["nothing", ""], ["text", "Hello from Hearth. ".repeat(100)], ["a page", "<html></html>"], ["a picture", "\x89PNG\r\n\x1a\n"], ["other RIFF", "RIFF\x00\x00\x00\x00AVI "]];
  test.each(others)("%s is refused", (_what, text) => {
    expect(timeSound(new Uint8Array(Buffer.from(text, "latin1")))).toBeUndefined();
  });

  test("an MP3 with more strange bytes than a tag has is refused: they may be sound to somebody", () => {
    expect(secondsOf(joined(readSound("headless.mp3"), new Uint8Array(4_000)))).toBe(4);
    expect(secondsOf(joined(readSound("headless.mp3"), new Uint8Array(40_000)))).toBeUndefined();
  });
});
