/** The only file that knows which status an error becomes, and OpenAI's shape for it. */
import { z } from "zod";
import { AppError } from "../base/errors.ts";
import { defaultRetrySeconds } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";

const statusOf: Record<string, number> = {
  invalid_request: 400,
  invalid_json: 400,
  invalid_amount: 400,
  invalid_payment: 400,
  invalid_invoice: 400,
  amount_mismatch: 400,
  own_invoice: 400,
  invoice_already_used: 400,
  unsupported_field: 400,
  invalid_token: 401,
  no_account: 401,
  login_required: 401,
  wrong_code: 401,
  wrong_password: 401,
  narrowed_credential: 403,
  claim_secret_required: 403,
  claim_first: 403,
  wrong_token: 403,
  forbidden_origin: 403,
  not_found: 404,
  model_not_found: 404,
  dvm_off: 404,
  method_not_allowed: 405,
  conflict: 409,
  already_claimed: 409,
  not_paid: 409,
  cannot_reconcile: 409,
  duplicate_request: 409,
  request_too_large: 413,
  idempotency_mismatch: 422,
  already_running: 429,
  too_many_invoices: 429,
  too_many_streams: 429,
  too_many_tries: 429,
  payout_limit: 429,
  client_left: 499,
  internal: 500,
  upstream_unavailable: 503,
  node_unavailable: 503,
  no_inbound: 503,
  topups_paused: 503,
  payouts_off: 503,
  settlement_unknown: 503,
  rate_unknown: 503,
  storage_full: 503,
  busy: 503,
};

/** OpenAI's `type` by status. */
function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 402) return "insufficient_quota";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

export function errorObject(code: string, message: string, status: number, param?: string) {
  return { message, type: typeOf(status), code, param: param ?? null };
}

/** Anything thrown, as an answer in OpenAI's shape. What is not an `AppError` is our mistake: 500, one log line, no detail. */
export function errorResponse(error: unknown, requestId: string, headers: Record<string, string> = {}, reader: "buyer" | "owner" = "buyer"): Response {
  const own = toAppError(error, requestId);
  const known = reader === "buyer" && own.code === "node_unavailable" ? nodeTrouble(own, requestId) : own;
  const status = statusOf[known.code] ?? 500;
  const all: Record<string, string> = { ...headers, "x-request-id": requestId, "Cache-Control": "no-store" };
  // The openai SDK repeats 429 and 5xx by itself; elsewhere a repetition changes nothing.
  if (known.retryable) all["Retry-After"] = String(known.retryAfterSeconds ?? defaultRetrySeconds);
  if (!known.retryable) all["x-should-retry"] = "false";
  return Response.json({ error: errorObject(known.code, known.message, status, known.param) }, { status, headers: all });
}

function toAppError(error: unknown, requestId: string): AppError {
  if (error instanceof z.ZodError) return invalidRequest(error);
  if (error instanceof AppError && error.code in statusOf) {
    if (error.code === "internal") log.error("request.failed", { request: requestId, reason: error.message });
    return error.code === "internal" ? ourMistake() : error;
  }
  log.error("request.failed", { request: requestId, reason: describeError(error) });
  return ourMistake();
}

/** Where the owner's node is and what is wrong with it is nobody else's to know. */
function nodeTrouble(error: AppError, requestId: string): AppError {
  log.warn("node.unavailable", { request: requestId, reason: error.message });
  return new AppError("node_unavailable", "The Lightning node of this house cannot be asked at the moment; nothing was charged.", { retryable: true, retryAfterSeconds: error.retryAfterSeconds ?? defaultRetrySeconds });
}

function ourMistake(): AppError {
  return new AppError("internal", "Hearth made a mistake; nothing was charged for this request.");
}

/** Names the field and what would be right, never the value: values are prompts. */
function invalidRequest(error: z.ZodError): AppError {
  const issue = error.issues[0];
  const path = issue?.path.map(String).join(".") ?? "";
  return new AppError("invalid_request", path === "" ? (issue?.message ?? "Invalid request.") : `${path}: ${issue!.message}`, { param: path || undefined });
}
