/** One prompt at one flat price, on the owner's chosen model: what data vending machines sell. */
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs } from "../base/limits.ts";
import { msat } from "../money/msat.ts";
import { affordableOutputTokens, costOf, type ModelPrice } from "../pricing/quote.ts";
import { countInput } from "./chat-sale.ts";
import { ChatTap } from "./chat-tap.ts";
import type { Model, Place } from "./model-directory.ts";
import type { Delivery, Order } from "./order.ts";
import { type ChatPlan, planChat, upstreamBody } from "./plan.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";
import { askInTurns, readAnswer } from "./upstream-turns.ts";

export type DvmSettings = { model: string; priceMsat: bigint; maxOutputTokens: number; maxPromptCharacters: number };

/** With fewer an answer is a fragment. */
const leastTokens = 64;

/** @throws AppError `invalid_request` for a prompt that is longer than the flat price pays for. */
export async function dvmOrder(prompt: string, settings: DvmSettings, model: Model, parts: { free: boolean; pulse: UpstreamPulse }): Promise<Order> {
  if (prompt.length > settings.maxPromptCharacters) throw tooLong(settings.maxPromptCharacters);
  const price: ModelPrice = { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { call: settings.priceMsat * 1_000_000n } };
  const request = { model: model.id, messages: [{ role: "user", content: prompt }], stream: false, includeUsage: false, n: 1, body: {} };
  const limits = { defaultOutputTokens: settings.maxOutputTokens, maxOutputTokens: settings.maxOutputTokens };
  const plan = planChat(request, model, limits);
  const cap = await paidCap(plan, settings);
  return {
    endpoint: "dvm", model: model.id, price, rate: undefined, local: model.upstream.local, upstream: model.upstream, free: parts.free, dropped: [],
    names: ["dvm", model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `One answer of ${model.id}`,
    counts: { inputTokens: 0, outputTokens: 0 },
    question: { prompt },
    deliver: (_price, free) => answerPrompt(plan, cap, settings.priceMsat, free, parts.pulse),
  };
}

/** As long as the owner allows, and never so long that it would cost the owner more than it brings. */
async function paidCap(plan: ChatPlan, { priceMsat, maxPromptCharacters }: DvmSettings): Promise<number> {
  const { cost } = plan.model;
  if (cost === undefined) return plan.cap;
  const cap = Math.min(plan.cap, affordableOutputTokens(msat(priceMsat), (await countInput(plan)).tokens, cost));
  if (cap < Math.min(leastTokens, plan.cap)) throw tooLong(maxPromptCharacters);
  return cap;
}

async function answerPrompt(plan: ChatPlan, cap: number, priceMsat: bigint, free: boolean, pulse: UpstreamPulse): Promise<Delivery> {
  const { model } = plan;
  const { tokens: inputTokens } = await countInput(plan);
  const turned = await askInTurns({
    places: [model, ...model.standIns.filter((place) => costOf({ inputTokens, outputTokens: cap }, place.cost) <= priceMsat)],
    clientGone: new AbortController().signal, pulse,
    send: (place, signal) => place.upstream.chat(upstreamBody({ ...plan, model: { ...model, ...place } }, cap), signal),
  });
  if (!turned.ok) throw turned.error;
  const body = await readAnswer(turned.place, turned.answer, turned.stop, firstByteTimeoutMs).catch(() => undefined);
  return deliveryOf(body && new TextDecoder().decode(body), model.id, free, turned.place);
}

function deliveryOf(text: string | undefined, model: string, free: boolean, { upstream }: Place): Delivery {
  const tap = new ChatTap(false);
  const result = text === undefined || !tap.seeBody(text) ? undefined : answerText(text);
  if (result === undefined) throw new AppError("upstream_unavailable", "The model server sent no usable answer; nothing was charged.", { retryable: true, retryAfterSeconds: 5 });
  const { usage } = tap;
  return {
    counts: { inputTokens: 0, outputTokens: 0 },
    ...(usage.kind === "reported" && { tokens: usage.usage }),
    contentType: "application/json",
    body: JSON.stringify({ status: "success", result, model, ...(free && { free: true }) }),
    upstream: upstream.name,
  };
}

/** Undefined where there is nothing to read. */
function answerText(body: string): string | undefined {
  const { choices } = JSON.parse(body) as { choices: { message?: { content?: unknown } }[] };
  const content = choices[0]?.message?.content;
  return typeof content === "string" && content.trim() !== "" ? content : undefined;
}

function tooLong(most: number): AppError {
  return new AppError("invalid_request", `prompt is longer than the flat price pays for; at most ${most} characters, or use /v1/chat/completions.`, { param: "prompt" });
}
