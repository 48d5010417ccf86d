/** Speech as something to order: by the character, through any upstream that has OpenAI's audio/speech. */
import { AppError } from "../base/errors.ts";
import { makeInTurns, type Making, notMade } from "./made-in-turns.ts";
import type { Model } from "./model-directory.ts";
import type { Delivery, Order } from "./order.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";

export type SpeechFormat = keyof typeof typeOfFormat;

export type SpeechRequest = {
  input: string;
  format: SpeechFormat;
  /** The whole parsed body. */
  body: Readonly<Record<string, unknown>>;
};

const endpoint = "audio/speech";
const passed = ["voice", "response_format", "speed", "instructions"];
const ours = new Set(["model", "input", "stream_format", "payment_hash"]);

export const typeOfFormat = { mp3: "audio/mpeg", opus: "audio/ogg", aac: "audio/aac", flac: "audio/flac", wav: "audio/wav", pcm: "audio/pcm" } as const;
/** What a page of ours may be told is sound; anything else could be a page itself. */
const soundTypes = new Set<string>([
  ...Object.values(typeOfFormat), "audio/mp3", "audio/opus", "audio/x-flac", "audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/l16", "audio/mp4", "audio/webm",
]);
/** Servers that do not say. */
const untold = new Set(["", "application/octet-stream", "binary/octet-stream"]);

/** Letters as people count them, or nearly: an emoji is one, not two. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** @throws AppError `unsupported_field`. */
export function speechOrder(request: SpeechRequest, model: Model, pulse: UpstreamPulse): Order {
  const { input, body } = request;
  if ((body.stream_format ?? "audio") !== "audio") throw new AppError("unsupported_field", "stream_format is only for sale as audio; leave it out.", { param: "stream_format" });
  const named = Object.keys(body).filter((name) => body[name] !== null && body[name] !== undefined && !ours.has(name));
  const fields = Object.fromEntries(named.filter((name) => passed.includes(name)).map((name) => [name, body[name]]));
  const character = countCharacters(input);
  const counts = { inputTokens: 0, outputTokens: 0, units: { character } };
  return {
    endpoint, model: model.id, price: model.price, rate: model.rate, local: model.upstream.local, upstream: model.upstream, free: false, discounted: true,
    names: [model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `${model.id}, speech of ${character} character${character === 1 ? "" : "s"}`,
    counts,
    question: { model: body.model ?? undefined, input, ...fields },
    dropped: named.filter((name) => !passed.includes(name)),
    deliver: async (agreed) => ({ counts, ...(await speak(request, fields, { model, agreed, pulse })) }),
  };
}

async function speak({ input, format }: SpeechRequest, fields: object, making: Making): Promise<Omit<Delivery, "counts">> {
  const made = await makeInTurns(making, (place, signal) => place.upstream.post(endpoint, JSON.stringify({ model: place.upstreamModelId, input, ...fields }), signal));
  const contentType = made && soundType(made.contentType, made.body, format);
  if (made === undefined || contentType === undefined) throw notMade("no sound");
  return { contentType, body: made.body, upstream: made.upstream };
}

/** Undefined for what is no sound, whatever it says it is. */
function soundType(said: string, body: Uint8Array, format: SpeechFormat): string | undefined {
  const type = said.split(";")[0]!.trim().toLowerCase();
  // JSON or a page; bare samples alone may begin with any byte.
  const isText = format !== "pcm" && (body[0] === 0x7b || body[0] === 0x3c);
  if (body.length === 0 || isText) return undefined;
  return soundTypes.has(type) ? type : untold.has(type) ? typeOfFormat[format] : undefined;
}
