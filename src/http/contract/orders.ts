/**
 * What is sold at a price known before it is made: pictures (OpenAI API reference, "Create image"), a search (NanoGPT's docs,
 * "Web search"), one prompt (MaximumSats). Null means absent, as SDKs send it.
 */
import { z } from "zod";
import { maxImagePromptCharacters, maxImages, maxSearchCharacters, maxSearchResults } from "../../base/limits.ts";

const absent = z.null().transform(() => undefined);
const optional = <Schema extends z.ZodType>(schema: Schema, message: string) => z.union([schema, absent], message).optional();

export const imageRequestSchema = z.looseObject({
  model: optional(z.string().min(1).max(256), "must be a model's id"),
  prompt: z.string().min(1).max(maxImagePromptCharacters),
  n: optional(z.int().min(1).max(maxImages), `must be a whole number from 1 to ${maxImages}`),
});

export const dvmRequestSchema = z.looseObject({ prompt: z.string().trim().min(1) });

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
