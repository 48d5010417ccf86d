/**
 * Has something made by a model's upstream, or by whoever stands in at no more cost, and reads all of it. Nobody's leaving ends it: what a
 * cloud has begun it charges for.
 */
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs } from "../base/limits.ts";
import { covers } from "../pricing/quote.ts";
import type { UpstreamAnswer } from "../upstream/upstream.ts";
import { coveredPlaces } from "./covered-places.ts";
import type { Model, Place } from "./model-directory.ts";
import type { OrderTerms } from "./order.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";
import { askInTurns, readAnswer } from "./upstream-turns.ts";

/** `maxBytes`: of the answer, where it is not that of any. */
export type Making = { model: Model; agreed: OrderTerms; pulse: UpstreamPulse; maxBytes?: number };
export type Made = { contentType: string; body: Uint8Array; /** Who made it, by name. */ upstream: string };

/** Undefined when the answer broke off. @throws AppError when nobody began one. */
export async function makeInTurns({ model, agreed, pulse, maxBytes }: Making, send: (place: Place, signal: AbortSignal) => Promise<UpstreamAnswer>): Promise<Made | undefined> {
  const places = coveredPlaces(model, agreed.upstream, (cost) => covers(agreed.price, cost, 0));
  const turned = await askInTurns({ kind: model.kind, places, clientGone: new AbortController().signal, pulse, send });
  if (!turned.ok) throw turned.error;
  const reading = { timeoutMs: firstByteTimeoutMs, ...(maxBytes !== undefined && { maxBytes }) };
  const body = await readAnswer(turned.place, turned.answer, turned.stop, reading).catch(() => undefined);
  return body && { contentType: turned.answer.contentType, body, upstream: turned.place.upstream.name };
}

/** @param what What was sent in its place, e.g. `no sound`. */
export function notMade(what: string): AppError {
  return new AppError("upstream_unavailable", `The model server sent ${what}; nothing was charged.`, { retryable: true, retryAfterSeconds: 5 });
}
