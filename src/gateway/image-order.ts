/** Pictures as something to order: by the image, through any upstream that has OpenAI's images/generations. */
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs } from "../base/limits.ts";
import { covers, type ModelPrice } from "../pricing/quote.ts";
import type { Model } from "./model-directory.ts";
import type { Delivery, Order } from "./order.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";
import { askInTurns, readAnswer } from "./upstream-turns.ts";

export type ImageRequest = {
  prompt: string;
  n: number;
  /** The whole parsed body. */
  body: Readonly<Record<string, unknown>>;
};

const endpoint = "images/generations";

/** They change how a picture looks; its price is the dearest there is of its model. */
const passed = ["size", "quality", "style", "background", "moderation", "output_format", "output_compression", "response_format", "negative_prompt", "seed"];
const ours = new Set(["model", "prompt", "n", "user", "payment_hash"]);
/** Values by which a refused field says nothing. */
const refused = new Map<string, readonly unknown[]>([["stream", [false]], ["partial_images", [0]], ["image", []], ["images", []], ["mask", []], ["input_fidelity", []]]);

/** @throws AppError `unsupported_field`. */
export function imageOrder(request: ImageRequest, model: Model, pulse: UpstreamPulse): Order {
  const named = Object.keys(request.body).filter((name) => request.body[name] !== null && request.body[name] !== undefined && !ours.has(name));
  const wrong = named.find((name) => refused.get(name)?.includes(request.body[name]) === false);
  if (wrong !== undefined) throw new AppError("unsupported_field", `${wrong} is not for sale here; leave it out.`, { param: wrong });
  const fields = Object.fromEntries(named.filter((name) => passed.includes(name)).map((name) => [name, request.body[name]]));
  const { prompt, n } = request;
  return {
    endpoint, model: model.id, price: model.price, rate: model.rate, local: model.upstream.local, upstream: model.upstream, free: false,
    names: [model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `${model.id}, ${n} image${n === 1 ? "" : "s"}`,
    counts: { inputTokens: 0, outputTokens: 0, units: { image: n } },
    question: { model: request.body.model, prompt, n, ...fields },
    dropped: named.filter((name) => !passed.includes(name) && !refused.has(name)),
    deliver: (price) => makeImages(model, { prompt, n, ...fields }, price, pulse),
  };
}

/** Nobody's leaving ends it: what a cloud has begun it charges for. */
async function makeImages(model: Model, fields: { n: number; [field: string]: unknown }, price: ModelPrice, pulse: UpstreamPulse): Promise<Delivery> {
  const turned = await askInTurns({
    places: [model, ...model.standIns.filter((place) => covers(price, place.cost, 0))],
    clientGone: new AbortController().signal, pulse,
    send: (place, signal) => place.upstream.post(endpoint, JSON.stringify({ model: place.upstreamModelId, ...fields }), signal),
  });
  if (!turned.ok) throw turned.error;
  const body = await readAnswer(turned.place, turned.answer, turned.stop, firstByteTimeoutMs).catch(() => undefined);
  const made = body && countImages(body);
  if (!body || !made) throw new AppError("upstream_unavailable", "The model server sent no picture; nothing was charged.", { retryable: true, retryAfterSeconds: 5 });
  const counts = { inputTokens: 0, outputTokens: 0, units: { image: Math.min(made, fields.n) } };
  return { counts, contentType: "application/json", body, upstream: turned.place.upstream.name };
}

/** Undefined for what is no answer of this kind. */
function countImages(body: Uint8Array): number | undefined {
  try {
    const { data } = JSON.parse(new TextDecoder().decode(body)) as { data?: unknown };
    return Array.isArray(data) ? data.filter((one) => typeof one?.b64_json === "string" || typeof one?.url === "string").length : undefined;
  } catch {
    return undefined;
  }
}
