/** Reads a JSON body within bounds, before anything looks at it. Never echoes what it read. */
import { AppError } from "../base/errors.ts";
import { maxBodyBytes, maxJsonDepth } from "../base/limits.ts";

function tooLarge(): AppError {
  return new AppError("request_too_large", `The body is larger than ${maxBodyBytes} bytes.`);
}

/** The body's text; empty when there is none. @throws AppError `request_too_large`, `invalid_json`. */
export async function readText(request: Request): Promise<string> {
  const declared = Number(request.headers.get("content-length") ?? "0");
  if (declared > maxBodyBytes) throw tooLarge();
  if (request.body === null) return "";
  // A body of declared length is bounded by it; only a chunked one has to be counted as it comes.
  const bytes = request.headers.has("content-length") ? await request.bytes() : await readChunked(request.body);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new AppError("invalid_json", "The body is not UTF-8 text.");
  }
}

async function readChunked(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > maxBodyBytes) throw tooLarge();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Nesting of brackets outside strings; `JSON.parse` accepts millions of levels and stalls on what follows. */
function depthOf(text: string): number {
  let depth = 0, deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Long texts are skipped by the engine's own search.
    if (code === 34) i = endOfString(text, i);
    else if (code === 91 || code === 123) deepest = Math.max(deepest, ++depth);
    else if (code === 93 || code === 125) depth--;
  }
  return deepest;
}

/** Where the closing quote is; the end of the text when there is none. */
function endOfString(text: string, opening: number): number {
  for (let quote = text.indexOf('"', opening + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 92) backslashes++;
    // An odd number takes the quote with it.
    if (backslashes % 2 === 0) return quote;
  }
  return text.length;
}

/** @throws AppError `invalid_json` for what is no JSON, `invalid_request` for JSON that is no object. */
export function parseJsonObject(text: string): Record<string, unknown> {
  if (depthOf(text) > maxJsonDepth) throw new AppError("invalid_json", `The body is nested deeper than ${maxJsonDepth} levels.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AppError("invalid_json", "The body is not valid JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new AppError("invalid_request", "The body must be a JSON object.");
  return value as Record<string, unknown>;
}

/**
 * The number at `name` of the body's own members, as it is written: a float would not tell 1.20 from 1.2000000001.
 * Undefined when there is no number. The text is known to be JSON.
 */
export function numberText(text: string, name: string): string | undefined {
  const written = new Map<object, string>();
  const take = function (this: object, key: string, value: unknown, context?: { source?: string }): unknown {
    if (key === name && typeof value === "number" && context?.source !== undefined) written.set(this, context.source);
    return value;
  };
  const root = JSON.parse(text, take as Parameters<typeof JSON.parse>[1]) as object;
  return written.get(root);
}
