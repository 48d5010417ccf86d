/**
 * What is sold at a price known before it is made: pictures, speech and the text of sound (OpenAI API reference, "Create image", "Create
 * speech", "Create transcription"), a search (NanoGPT's docs, "Web search"), one prompt (MaximumSats). Null means absent, as SDKs send it.
 */
import { z } from "zod";
import {
  maxImagePromptCharacters, maxImages, maxSearchCharacters, maxSearchResults, maxSoundSeconds,
  maxSpeechCharacters, maxSpeechInstructionsCharacters, maxTranscriptionPromptCharacters,
} from "../../base/limits.ts";
import { countCharacters } from "../../gateway/speech-order.ts";

const absent = z.null().transform(() => undefined);
const optional = <Schema extends z.ZodType>(schema: Schema, message: string) => z.union([schema, absent], message).optional();

/** One of a few that its server knows. */
const word = optional(z.string().max(64), "must be a short text");

const model = optional(z.string().min(1).max(256), "must be a model's id");

export const imageRequestSchema = z.looseObject({
  model,
  prompt: z.string().min(1).max(maxImagePromptCharacters),
  n: optional(z.int().min(1).max(maxImages), `must be a whole number from 1 to ${maxImages}`),
  negative_prompt: optional(z.string().max(maxImagePromptCharacters), `must be a text of at most ${maxImagePromptCharacters} characters`),
  size: word, quality: word, style: word, background: word, moderation: word, output_format: word, response_format: word,
  output_compression: optional(z.number(), "must be a number"),
  seed: optional(z.number(), "must be a number"),
});

/** How long it may be the owner says. */
export const dvmRequestSchema = z.looseObject({ prompt: z.string().trim().min(1) });

const isSpeakable = (text: string) => text.length <= 2 * maxSpeechCharacters && countCharacters(text) <= maxSpeechCharacters;

export const speechRequestSchema = z.looseObject({
  model,
  input: z.string().min(1).refine(isSpeakable, `must have at most ${maxSpeechCharacters} characters`),
  voice: optional(z.string().min(1).max(256), "must be the name of a voice"),
  response_format: optional(z.enum(["mp3", "opus", "aac", "flac", "wav", "pcm"]), "must be mp3, opus, aac, flac, wav or pcm"),
  speed: optional(z.number().min(0.25).max(4), "must be a number from 0.25 to 4"),
  instructions: optional(z.string().max(maxSpeechInstructionsCharacters), `must have at most ${maxSpeechInstructionsCharacters} characters`),
});

/** The fields of a form are texts. */
export const translationRequestSchema = z.looseObject({
  file: z.file("must be an upload").min(1),
  model: z.string().min(1).max(256).optional(),
  prompt: z.string().max(maxTranscriptionPromptCharacters).optional(),
  response_format: z.enum(["json", "text", "srt", "verbose_json", "vtt"]).optional(),
  temperature: z.string().regex(/^(0(\.\d{1,6})?|1(\.0{1,6})?)$/, "must be a number from 0 to 1").optional(),
  stream: z.string().optional(),
});

export const transcriptionRequestSchema = translationRequestSchema.extend({
  language: z.string().regex(/^[A-Za-z]{2,20}(-[A-Za-z0-9]{2,8})*$/, "must be a language, e.g. en").optional(),
  "timestamp_granularities[]": z.array(z.enum(["word", "segment"])).max(2).optional(),
});

/** What a quote is asked for with, in place of the sound. */
export const soundQuoteSchema = z.looseObject({ model, seconds: z.number().positive().max(maxSoundSeconds) });

const domain = z.string().regex(/^[a-z0-9.-]{1,253}$/i, "must be a domain such as example.org");
const domains = optional(z.array(domain).max(20), "must be a list of up to 20 domains");
const count = optional(z.int().min(1).max(maxSearchResults), `must be a whole number from 1 to ${maxSearchResults}`);

export const searchRequestSchema = z.looseObject({
  query: z.string().trim().min(1).max(maxSearchCharacters),
  max_results: count,
  maxResults: count,
  includeDomains: domains,
  excludeDomains: domains,
});
