/**
 * What a chat request would take: model, upstream, input, cap. Pure: no price is applied, nothing is asked of anybody.
 */
import { AppError } from "../base/errors.ts";
import type { ChatMessage, ChatRequest } from "./chat-request.ts";
import { splitFields } from "./chat-fields.ts";
import type { Model } from "./model-directory.ts";

export type CapLimits = { defaultOutputTokens: number; maxOutputTokens: number };

export type ChatPlan = {
  request: ChatRequest;
  model: Model;
  /** Forwarded besides what the gateway writes itself. */
  passed: Readonly<Record<string, unknown>>;
  dropped: readonly string[];
  /** Most output tokens of one choice. */
  cap: number;
  /** The smallest cap still worth having, where the client named none; else the cap itself. */
  leastCap: number;
};

/** Below it an answer is a fragment. */
const leastUsefulCap = 256;

/** @throws AppError `unsupported_field`, `invalid_request`. */
export function planChat(request: ChatRequest, model: Model, limits: CapLimits): ChatPlan {
  const fields = splitFields(request.body);
  if (!fields.ok) throw new AppError(fields.code, fields.message, { param: fields.param });
  const cap = Math.min(fields.wantedCap ?? limits.defaultOutputTokens, limits.maxOutputTokens, model.maxOutputTokens ?? Infinity);
  const leastCap = fields.wantedCap === undefined ? Math.min(cap, Math.max(leastUsefulCap, Math.ceil(limits.defaultOutputTokens / 4))) : cap;
  return { request, model, passed: fields.passed, dropped: fields.dropped, cap, leastCap };
}

/** All text the upstream will read, in no particular order: what the input is counted from. */
export function promptTexts(plan: ChatPlan): string[] {
  const texts: string[] = [];
  for (const message of plan.request.messages) collectText(message, texts);
  for (const name of ["tools", "functions", "response_format"]) {
    const value = plan.passed[name];
    if (value !== undefined) texts.push(JSON.stringify(value));
  }
  return texts;
}

function collectText(message: ChatMessage, texts: string[]): void {
  const { role, content, ...others } = message;
  texts.push(role);
  if (typeof content === "string") texts.push(content);
  else for (const part of content ?? []) texts.push(part.text);
  for (const value of Object.values(others)) {
    if (typeof value === "string") texts.push(value);
    else if (value !== undefined && value !== null) texts.push(JSON.stringify(value));
  }
}

/**
 * The body the upstream gets: the buyer's fields, our model id, one cap under the name the upstream knows, and usage
 * wherever it can be had. Written anew, so that a key given twice means the same to it as it meant to us.
 */
export function upstreamBody(plan: ChatPlan, cap: number): string {
  const { request, model } = plan;
  return JSON.stringify({
    ...plan.passed,
    model: model.upstreamModelId,
    messages: request.messages,
    ...(request.n > 1 ? { n: request.n } : {}),
    [model.upstream.capField]: cap,
    ...(request.stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  });
}
