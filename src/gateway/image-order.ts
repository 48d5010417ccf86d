/** Pictures as something to order: by the image, through any upstream that has OpenAI's images/generations. */
import { AppError } from "../base/errors.ts";
import { maxImageBytes } from "../base/limits.ts";
import { isLocalUrl } from "../upstream/local-address.ts";
import { makeInTurns, type Making, notMade } from "./made-in-turns.ts";
import type { Model, Place } from "./model-directory.ts";
import type { Delivery, Order } from "./order.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";

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
    endpoint, model: model.id, price: model.price, rate: model.rate, local: model.upstream.local, upstream: model.upstream, free: false, discounted: true,
    names: [model.id, `${model.upstream.name}/${model.upstreamModelId}`],
    memo: `${model.id}, ${n} image${n === 1 ? "" : "s"}`,
    counts: { inputTokens: 0, outputTokens: 0, units: { image: n } },
    question: { model: request.body.model ?? undefined, prompt, n, ...fields },
    dropped: named.filter((name) => !passed.includes(name) && !refused.has(name)),
    deliver: (agreed) => makeImages({ prompt, n, ...fields }, { model, agreed, pulse, maxBytes: n * maxImageBytes }),
  };
}

async function makeImages(fields: { n: number; [field: string]: unknown }, making: Making): Promise<Delivery> {
  const made = await makeInTurns(making, (place, signal) => place.upstream.post(endpoint, JSON.stringify({ model: place.upstreamModelId, ...fields, ...formatOf(place, fields) }), signal));
  const images = made && countImages(made.body);
  if (!made || !images) throw notMade("no picture");
  const counts = { inputTokens: 0, outputTokens: 0, units: { image: Math.min(images, fields.n) } };
  return { counts, contentType: "application/json", body: made.body, upstream: made.upstream };
}

/** A server at home would answer with an address that no buyer reaches. */
function formatOf({ upstream }: Place, { response_format: asked }: Readonly<Record<string, unknown>>): object {
  return upstream.local && (asked === undefined || asked === "url") ? { response_format: "b64_json" } : {};
}

function isPicture(one: { b64_json?: unknown; url?: unknown } | null): boolean {
  if (typeof one?.b64_json === "string") return true;
  return typeof one?.url === "string" && URL.canParse(one.url) && !isLocalUrl(one.url);
}

/** Undefined for what is no answer of this kind. */
function countImages(body: Uint8Array): number | undefined {
  try {
    const { data } = JSON.parse(new TextDecoder().decode(body)) as { data?: unknown };
    return Array.isArray(data) ? data.filter(isPicture).length : undefined;
  } catch {
    return undefined;
  }
}
