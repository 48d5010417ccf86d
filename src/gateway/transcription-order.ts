/** Text of sound as something to order: by the second, as we count them, through any upstream that has OpenAI's audio routes. */
import { assert } from "../base/assert.ts";
import { AppError } from "../base/errors.ts";
import { sha256, toHex } from "../base/bytes.ts";
import { log } from "../base/log.ts";
import { type Made, makeInTurns, type Making, notMade } from "./made-in-turns.ts";
import type { Model } from "./model-directory.ts";
import type { Delivery, Order } from "./order.ts";
import { type TimedSound, timeSound } from "./sound/length.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";

export type TranscriptionEndpoint = "audio/transcriptions" | "audio/translations";
export type TranscriptFormat = "json" | "text" | "srt" | "verbose_json" | "vtt";

export type TranscriptionRequest = {
  endpoint: TranscriptionEndpoint;
  seconds: number;
  /** Undefined when only the price is asked for. */
  sound: TimedSound | undefined;
  format: TranscriptFormat;
  /** The fields of the form, those named `...[]` as lists. */
  body: Readonly<Record<string, unknown>>;
};

const passed: Readonly<Record<TranscriptionEndpoint, readonly string[]>> = {
  "audio/transcriptions": ["language", "prompt", "response_format", "temperature", "timestamp_granularities[]"],
  "audio/translations": ["prompt", "response_format", "temperature"],
};
const ours = new Set(["file", "model", "stream", "seconds", "payment_hash"]);

/** @throws AppError `invalid_request`. */
export function measureSound(bytes: Uint8Array): TimedSound {
  const sound = timeSound(bytes);
  if (sound) return sound;
  throw new AppError("invalid_request", "The length of this file cannot be told; send WAV, MP3, FLAC, Ogg (Opus, Vorbis), MP4 (AAC) or WebM (Opus).", { param: "file" });
}

/** @throws AppError `unsupported_field`. */
export function transcriptionOrder(request: TranscriptionRequest, model: Model, pulse: UpstreamPulse): Order {
  const { endpoint, seconds, sound, body } = request;
  if (body.stream !== undefined && body.stream !== "false") throw new AppError("unsupported_field", "stream is not for sale here; leave it out.", { param: "stream" });
  const named = Object.keys(body).filter((name) => !ours.has(name));
  const fields = Object.fromEntries(named.filter((name) => passed[endpoint].includes(name)).map((name) => [name, body[name] as string | string[]]));
  const counts = { inputTokens: 0, outputTokens: 0, units: { second: seconds } };
  return {
    endpoint, model: model.id, price: model.price, rate: model.rate, local: model.upstream.local, upstream: model.upstream, free: false, discounted: true,
    names: [model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `${model.id}, ${seconds} second${seconds === 1 ? "" : "s"} of sound`,
    counts,
    // Asked for only when somebody pays. What the file was called says nothing about it.
    get question() {
      return { model: body.model, file: sound && toHex(sha256(sound.bytes)), seconds, ...fields };
    },
    dropped: named.filter((name) => !passed[endpoint].includes(name)),
    deliver: async (agreed) => ({ counts, ...(await transcribe(request, fields, { model, agreed, pulse })) }),
  };
}

/** The form is written anew: our name for the file, the fields we know, nothing else. */
async function transcribe(request: TranscriptionRequest, fields: Record<string, string | string[]>, making: Making): Promise<Omit<Delivery, "counts">> {
  const { endpoint, sound, format } = request;
  assert(sound !== undefined, "a price was to be delivered");
  const file = new File([sound.bytes as Uint8Array<ArrayBuffer>], `sound.${sound.extension}`, { type: sound.mediaType });
  const made = await makeInTurns(making, (place, signal) => place.upstream.post(endpoint, formOf(file, { model: place.upstreamModelId, ...fields }), signal));
  const heard = made && readTranscript(made, format);
  if (made === undefined || heard === undefined) throw notMade("no text");
  const { upstream, body } = made;
  // It is paid by its own count: then the owner loses, and should know.
  const said = Math.ceil(heard.seconds);
  if (said > request.seconds + 1) log.warn("transcription.longer_than_counted", { upstream, counted: request.seconds, said, format: sound.extension });
  return { contentType: format.endsWith("json") ? "application/json" : "text/plain; charset=utf-8", body, upstream };
}

function formOf(file: File, fields: Record<string, string | string[]>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) for (const one of [value].flat()) form.append(name, one);
  form.append("file", file);
  return form;
}

/** Silence has a transcript, too: it is empty. Undefined for what is none. */
function readTranscript({ body, contentType }: Made, format: TranscriptFormat): { /** By the upstream's word; 0 where it says nothing. */ seconds: number } | undefined {
  const text = new TextDecoder().decode(body).trimStart();
  if (format.endsWith("json")) return readJson(text);
  const isPage = contentType.startsWith("text/html") || text.startsWith("{") || text.startsWith("<");
  return isPage || (format === "vtt" && !text.startsWith("WEBVTT")) ? undefined : { seconds: 0 };
}

function readJson(json: string): { seconds: number } | undefined {
  try {
    const { text, duration, usage } = JSON.parse(json) as { text?: unknown; duration?: unknown; usage?: { seconds?: unknown } | null };
    const seconds = Number(usage?.seconds ?? duration ?? 0);
    return typeof text === "string" ? { seconds: Number.isFinite(seconds) ? seconds : 0 } : undefined;
  } catch {
    return undefined;
  }
}
