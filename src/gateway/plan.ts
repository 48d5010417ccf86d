/**
 * What a chat request would take: model, upstream, input, cap. Pure: no price is applied, nothing is asked of anybody.
 */
import { AppError } from "../base/errors.ts";
import type { ChatMessage, ChatRequest } from "./chat-request.ts";
import { splitFields } from "./chat-fields.ts";
import type { Model, Place } from "./model-directory.ts";

export type CapLimits = { defaultOutputTokens: number; maxOutputTokens: number };

export type ChatPlan = {
  request: ChatRequest;
  model: Model;
  /** Forwarded besides what the gateway writes itself. */
  passed: Readonly<Record<string, unknown>>;
  /** Fields that nobody here knows: no upstream sees them. */
  unlisted: readonly string[];
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
  const { passed } = fields;
  const refused = refusedField(request, passed, model);
  if (refused !== undefined) throw new AppError("unsupported_field", `${refused} is not taken by the model server of ${model.id}; leave it out.`, { param: refused });
  const standIns = model.standIns.filter((place) => refusedField(request, passed, place) === undefined);
  return { request, model: { ...model, standIns }, passed, unlisted: fields.dropped, cap, leastCap };
}

type Asked = Pick<ChatPlan, "request" | "passed">;

/** The first field that says something, and without which the upstream would make something else. */
function refusedField({ n }: ChatRequest, passed: ChatPlan["passed"], { upstream }: Place): string | undefined {
  return upstream.profile.refuses.find((name) => {
    const value = name === "n" ? n > 1 : passed[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
  });
}

/** Fields that the upstream at this place does not take. */
function withheldNames({ upstream, upstreamModelId }: Place): string[] {
  const { withholds, ofModels, refuses } = upstream.profile;
  return [...withholds, ...refuses, ...ofModels.filter(({ models }) => models.test(upstreamModelId)).flatMap((some) => some.withholds)];
}

/** What the plan's upstream never sees of what was asked; a stand-in may take other fields. */
export function droppedFields(plan: Asked & { model: Place; unlisted: readonly string[] }): string[] {
  return [...plan.unlisted, ...withheldFields(plan)];
}

function withheldFields({ request, passed, model }: Asked & { model: Place }): string[] {
  const inMessages = model.upstream.profile.withholdsInMessages.filter((name) => request.messages.some((message) => (message[name] ?? null) !== null));
  const names = new Set(withheldNames(model).filter((name) => Object.hasOwn(passed, name)));
  return [...names, ...inMessages.map((name) => `messages.${name}`)];
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
 * The body the upstream gets: the buyer's fields that it takes, our model id, one cap under the name it knows, and usage
 * wherever it can be had. Written anew, so that a key given twice means the same to it as it meant to us.
 */
export function upstreamBody(plan: ChatPlan, cap: number): string {
  const { request, model, passed } = plan;
  const { capField, streamUsage, withholdsInMessages } = model.upstream.profile;
  return JSON.stringify({
    ...without(passed, withheldNames(model)),
    model: model.upstreamModelId,
    messages: withholdsInMessages.length === 0 ? request.messages : request.messages.map((message) => without(message, withholdsInMessages)),
    ...(request.n > 1 && { n: request.n }),
    [capField]: cap,
    ...(request.stream && { stream: true }),
    ...(request.stream && streamUsage === "ask" && { stream_options: { include_usage: true } }),
  });
}

function without(fields: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}
