/** One prompt at one flat price, on the owner's chosen model: what data vending machines sell. */
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs } from "../base/limits.ts";
import type { Msat } from "../money/msat.ts";
import { costOf, type ModelPrice } from "../pricing/quote.ts";
import { rateUnknown } from "../pricing/rate.ts";
import { countInput } from "./chat-sale.ts";
import { ChatTap } from "./chat-tap.ts";
import { coveredPlaces } from "./covered-places.ts";
import { flatCap, tooLongForPrice } from "./flat-cap.ts";
import type { Model, Place } from "./model-directory.ts";
import type { Delivery, Order, OrderTerms } from "./order.ts";
import { type ChatPlan, planChat, upstreamBody } from "./plan.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";
import { askInTurns, readAnswer } from "./upstream-turns.ts";

export type DvmSettings = { model: string; priceMsat: Msat; maxOutputTokens: number; maxPromptCharacters: number };

/** What the shortest prompt is counted as. */
const leastInputTokens = 16;

type DvmParts = {
  /** Output tokens of a free call; undefined where this model has none. */
  trialCap: number | undefined;
  pulse: UpstreamPulse;
};

export function dvmPrice({ priceMsat }: DvmSettings): ModelPrice {
  return { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { call: priceMsat * 1_000_000n } };
}

/** Whether the price pays for an answer to a short prompt; unknown while nobody can say what that costs. */
export function dvmPays({ priceMsat, maxOutputTokens }: DvmSettings, { cost }: Model): boolean | undefined {
  return cost && flatCap(priceMsat, leastInputTokens, maxOutputTokens, cost) !== undefined;
}

/** @throws AppError `rate_unknown`; `invalid_request` for a prompt that is longer than the owner allows, or than the price pays for. */
export async function dvmOrder(prompt: string, settings: DvmSettings, model: Model, { trialCap, pulse }: DvmParts): Promise<Order> {
  const { maxPromptCharacters: most, maxOutputTokens } = settings;
  if (prompt.length > 2 * most || [...prompt].length > most) throw new AppError("invalid_request", `prompt is longer than ${most} characters.`, { param: "prompt" });
  const request = { model: model.id, messages: [{ role: "user", content: prompt }], stream: false, includeUsage: false, n: 1, body: {} };
  const plan = planChat(request, model, { defaultOutputTokens: maxOutputTokens, maxOutputTokens });
  if (model.cost === undefined) throw rateUnknown("What this model costs is not known while the price of bitcoin is not.");
  const { tokens: inputTokens } = await countInput(plan);
  const cap = flatCap(settings.priceMsat, inputTokens, plan.cap, model.cost);
  if (cap === undefined) throw tooLongForPrice("prompt");
  return {
    endpoint: "dvm", model: model.id, price: dvmPrice(settings), rate: undefined, local: model.upstream.local, upstream: model.upstream,
    free: trialCap !== undefined, discounted: false, dropped: [],
    names: ["dvm", model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `One answer of ${model.id}`,
    counts: { inputTokens: 0, outputTokens: 0 },
    question: { prompt },
    deliver: (agreed, free) => answerPrompt(plan, inputTokens, free ? Math.min(cap, trialCap ?? cap) : cap, agreed, free, pulse),
  };
}

async function answerPrompt(plan: ChatPlan, inputTokens: number, cap: number, agreed: OrderTerms, free: boolean, pulse: UpstreamPulse): Promise<Delivery> {
  const { model } = plan;
  const priceMsat = costOf(agreed.counts, agreed.price);
  const turned = await askInTurns({
    kind: "chat", places: coveredPlaces(model, agreed.upstream, (cost) => costOf({ inputTokens, outputTokens: cap }, cost) <= priceMsat),
    clientGone: new AbortController().signal, pulse,
    send: (place, signal) => place.upstream.chat(upstreamBody({ ...plan, model: { ...model, ...place } }, cap), signal),
  });
  if (!turned.ok) throw turned.error;
  const body = await readAnswer(turned.place, turned.answer, turned.stop, { timeoutMs: firstByteTimeoutMs }).catch(() => undefined);
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

type Message = { content?: unknown; reasoning?: unknown; reasoning_content?: unknown };

/** Undefined where there is nothing to read. A model that only thought has still said something. */
function answerText(body: string): string | undefined {
  const { choices } = JSON.parse(body) as { choices: { message?: Message }[] };
  const { content, reasoning, reasoning_content: thinking } = choices[0]?.message ?? {};
  return [content, reasoning, thinking].find((part): part is string => typeof part === "string" && part.trim() !== "");
}
