/**
 * OpenAI's chat request, as far as we read it; other fields are judged by `gateway/chat-fields.ts`.
 * Source: OpenAI API reference, "Create chat completion".
 */
import { z } from "zod";
import { maxMessages } from "../../base/limits.ts";

/** Null means absent, as SDKs send it. */
const absent = z.null().transform(() => undefined);

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });

export const chatMessageSchema = z.looseObject({
  role: z.string().min(1).max(64),
  content: z.union([z.string(), z.array(textPart).max(1_000), z.null()], "must be a string or a list of text parts").optional(),
});

export const chatRequestSchema = z.looseObject({
  model: z.string().min(1).max(256),
  messages: z.array(chatMessageSchema).min(1).max(maxMessages),
  stream: z.union([z.boolean(), absent], "must be true or false").optional(),
  stream_options: z
    .union([z.looseObject({ include_usage: z.union([z.boolean(), absent], "must be true or false").optional() }), absent], "must be an object with include_usage true or false")
    .optional(),
  n: z.union([z.int().min(1).max(16), absent], "must be a whole number from 1 to 16").optional(),
});
