/** The real `openai` SDK with a token: `audio.speech`, `audio.transcriptions` and `audio.translations`. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { createReadStream } from "node:fs";
import OpenAI, { APIError, toFile } from "openai";
import { audioConfig, audioModels } from "../support/audio-house.ts";
import { balanceOf, buyToken, endHearth, type RunningHearth, startHearth } from "../support/hearth.ts";
import { heard, type OrderUpstream, spoken, startOrderUpstream } from "../support/order-upstream.ts";
import { readSound } from "../support/sound.ts";

let upstream: OrderUpstream, hearth: RunningHearth;
beforeAll(async () => {
  upstream = startOrderUpstream(audioModels);
  hearth = await startHearth({ command: "serve", config: audioConfig(upstream) });
});
afterEach(() => upstream.behave(undefined));
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop();
});

const sentence = new URL("../fixtures/audio/hello.mp3", import.meta.url).pathname;
const leftMsat = async (key: string) => (await balanceOf(hearth.url, `Bearer ${key}`)).balance_msat;

async function client() {
  const key = await buyToken(hearth.url);
  return { key, openai: new OpenAI({ baseURL: `${hearth.url}/v1`, apiKey: key, maxRetries: 0 }) };
}

test("speech.create answers the sound, charged by the character", async () => {
  const { key, openai } = await client();
  const answer = await openai.audio.speech.create({ model: "speaker", voice: "alloy", input: "Hello!", response_format: "mp3" });
  expect({ sound: Buffer.from(await answer.arrayBuffer()), type: answer.headers.get("content-type"), left: await leftMsat(key) }).toEqual({ sound: spoken, type: "audio/mpeg", left: 997_000 });
});

test("transcriptions.create takes a stream from the disk, and answers its text, charged by the second", async () => {
  const { key, openai } = await client();
  const { text } = await openai.audio.transcriptions.create({ model: "scribe", file: createReadStream(sentence) });
  expect({ text, left: await leftMsat(key) }).toEqual({ text: heard, left: 992_000 });
});

test("transcriptions.create with every field that is sold, and as subtitles", async () => {
  const { openai } = await client();
  const file = () => toFile(readSound("recorded.webm"), "voice.webm");
  const told = await openai.audio.transcriptions.create({
    model: "scribe", file: await file(), response_format: "verbose_json", timestamp_granularities: ["word", "segment"], language: "en", temperature: 0.5, prompt: "Hearth", stream: false,
  });
  expect(told).toMatchObject({ text: heard, duration: 3.16 });
  const asked = { model: "scribe", response_format: "verbose_json", "timestamp_granularities[]": ["word", "segment"], language: "en", temperature: "0.5", prompt: "Hearth" };
  expect(upstream.asked.at(-1)).toMatchObject({ ...asked, file: { name: "sound.webm" } });
  expect(await openai.audio.transcriptions.create({ model: "scribe", file: await file(), response_format: "vtt" })).toStartWith("WEBVTT");
});

test("translations.create answers text", async () => {
  const { openai } = await client();
  expect(await openai.audio.translations.create({ model: "scribe", file: createReadStream(sentence) })).toMatchObject({ text: heard });
});

test("what cannot be timed, and what the model server fails at, are APIErrors that cost nothing", async () => {
  const { key, openai } = await client();
  const failureOf = (work: Promise<unknown>) => work.then(() => undefined, (error: unknown) => (error instanceof APIError ? { status: error.status, code: error.code, param: error.param } : error));
  expect(await failureOf(openai.audio.transcriptions.create({ model: "scribe", file: await toFile(new TextEncoder().encode("no sound"), "a.wav") }))).toEqual({ status: 400, code: "invalid_request", param: "file" });
  upstream.behave(() => new Response("no", { status: 500 }));
  expect(await failureOf(openai.audio.speech.create({ model: "speaker", voice: "alloy", input: "Hello!" }))).toEqual({ status: 503, code: "upstream_unavailable", param: null });
  expect(await leftMsat(key)).toBe(1_000_000);
});
