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

function refusalMessage(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown } | string };
    const message = typeof error === "string" ? error : error?.message;
    if (typeof message === "string") return message.slice(0, longestMessage);
  } catch {
    // Not JSON: nothing worth showing.
  }
  return "it gave no reason.";
}
