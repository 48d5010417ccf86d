/** What a buyer is told when a model server answers with an error. Pure. Its own 401, 402 and 403 are the owner's trouble. */
import { AppError } from "../base/errors.ts";

/** Statuses by which a model server says that the request itself is wrong. */
const namesTheRequest = new Set([400, 413, 422]);
const longestMessage = 300;

export function upstreamRefusal(status: number, body: string): AppError {
  if (namesTheRequest.has(status))
    return new AppError("invalid_request", `The model server refused the request: ${refusalMessage(body)}`);
  if (status === 429)
    return new AppError("upstream_unavailable", "The model server is busy; nothing was charged.", { retryable: true, retryAfterSeconds: 10 });
  return new AppError("upstream_unavailable", "The model server cannot answer; nothing was charged.", { retryable: true, retryAfterSeconds: 5 });
}

/** Whether an upstream says by this that the request itself is wrong: then it is so at every other. */
export function isTheRequests(status: number): boolean {
  return namesTheRequest.has(status);
}

/** Whether the owner must act: their key or their account at the upstream is refused. */
export function isOwnersTrouble(status: number): boolean {
  return status === 401 || status === 402 || status === 403;
}

type Told = { message?: unknown; error?: unknown; detail?: unknown; msg?: unknown };

function refusalMessage(body: string): string {
  try {
    const told = messageIn(JSON.parse(body));
    if (told !== undefined) return told.slice(0, longestMessage);
  } catch {
    // Not JSON: nothing worth showing.
  }
  return "it gave no reason.";
}

/** OpenAI's `error.message`, Gemini's list of one, Mistral's `message.detail[].msg`, vLLM's `message`. */
function messageIn(value: unknown, depth = 0): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null || depth > 4) return undefined;
  if (Array.isArray(value)) return messageIn(value[0], depth + 1);
  const { error, message, detail, msg } = value as Told;
  for (const part of [error, message, detail, msg]) {
    const told = part === undefined ? undefined : messageIn(part, depth + 1);
    if (told !== undefined) return told;
  }
  return undefined;
}
