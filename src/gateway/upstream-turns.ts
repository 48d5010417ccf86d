/**
 * Asks the upstream of a call and, when it fails before its first byte, whoever stands in, one after another. Knows no money: who may
 * be asked is the caller's to say, and so is what a failure costs.
 */
import { AppError } from "../base/errors.ts";
import { errorBodyTimeoutMs, firstByteTimeoutMs, maxAnswerBytes, maxErrorBytes } from "../base/limits.ts";
import { log } from "../base/log.ts";
import type { ModelKind } from "../pricing/public-prices.ts";
import type { UpstreamAnswer } from "../upstream/upstream.ts";
import type { Place } from "./model-directory.ts";
import { isOwnersTrouble, isTheRequests, upstreamRefusal } from "./upstream-errors.ts";
import type { UpstreamPulse } from "./upstream-pulse.ts";

/** Whose fault it was that somebody else is asked: the server's, the owner's key there, or it has that model no more. */
type Failover = { fault: "server" | "owner" | "model" };

/** How asking one upstream came out. */
type Attempt =
  | { kind: "answer"; answer: UpstreamAnswer }
  | { kind: "failed"; error: unknown; failover: Failover | undefined; /** The client left while the model was at it. */ working: boolean };

export type Turned =
  | { ok: true; place: Place; answer: UpstreamAnswer; /** Ends the upstream's work. */ stop: AbortController }
  | { ok: false; /** Asked last, if anybody was. */ place: Place | undefined; error: unknown; working: boolean };

export type TurnsParts = {
  kind: ModelKind;
  /** The first is asked in any case, the others only while they have not failed lately. */
  places: readonly Place[];
  send(place: Place, signal: AbortSignal): Promise<UpstreamAnswer>;
  clientGone: AbortSignal;
  pulse: UpstreamPulse;
};

/** Resolves with the head of a good answer, or with the last failure. Never throws. */
export async function askInTurns({ kind, places: [first, ...others], send, clientGone, pulse }: TurnsParts): Promise<Turned> {
  const standIns = others.filter((one) => !pulse.isCooling(one.upstream.name, kind));
  if (first === undefined) return { ok: false, place: undefined, error: nobody(), working: false };
  for (let place = first; ; ) {
    const stop = new AbortController();
    const attempt = await askOne(place, send, clientGone, stop);
    const { name } = place.upstream;
    if (attempt.kind === "answer") {
      pulse.answered(name, kind);
      return { ok: true, place, answer: attempt.answer, stop };
    }
    const { error, failover, working } = attempt;
    if (failover && failover.fault !== "model") pulse.failed(name, kind, failover.fault === "owner");
    const next = failover && !clientGone.aborted ? standIns.shift() : undefined;
    if (next === undefined) return { ok: false, place, error, working };
    log.info("upstream.failover", { from: name, to: next.upstream.name, model: next.upstreamModelId });
    place = next;
  }
}

/** One upstream, once. */
async function askOne(place: Place, send: TurnsParts["send"], clientGone: AbortSignal, stop: AbortController): Promise<Attempt> {
  // Gone before the upstream heard of it: nothing was made for this call.
  if (clientGone.aborted) return { kind: "failed", error: clientLeft(), failover: undefined, working: false };
  const leave = () => stop.abort(clientLeft());
  clientGone.addEventListener("abort", leave, { once: true });
  const late = setTimeout(() => stop.abort(silent(place)), firstByteTimeoutMs);
  try {
    const answer = await send(place, stop.signal);
    if (answer.status >= 200 && answer.status < 300) return { kind: "answer", answer };
    return { kind: "failed", error: await refusal(place, answer, stop), failover: failoverOf(answer.status), working: false };
  } catch (error) {
    return { kind: "failed", error, failover: clientGone.aborted ? undefined : { fault: "server" }, working: clientGone.aborted };
  } finally {
    clearTimeout(late);
  }
}

async function refusal(place: Place, answer: UpstreamAnswer, stop: AbortController): Promise<AppError> {
  const { name, redact } = place.upstream;
  // Whoever stands in waits for this.
  const body = await readAnswer(place, answer, stop, { timeoutMs: errorBodyTimeoutMs, maxBytes: maxErrorBytes }).catch(() => new Uint8Array(0));
  stop.abort();
  if (isOwnersTrouble(answer.status)) log.error("upstream.refuses_the_owner", { upstream: name, status: answer.status });
  else log.warn("upstream.error", { upstream: name, status: answer.status });
  return upstreamRefusal(answer.status, redact(new TextDecoder().decode(body)));
}

/** The whole body. Some servers send the head of an answer at once and its body when the model is done. @throws when it breaks off or is longer. */
export async function readAnswer(place: Place, answer: UpstreamAnswer, stop: AbortController, { timeoutMs, maxBytes = maxAnswerBytes }: { timeoutMs: number; maxBytes?: number }): Promise<Uint8Array> {
  const late = setTimeout(() => stop.abort(silent(place)), timeoutMs);
  try {
    return await answer.read(maxBytes);
  } finally {
    clearTimeout(late);
  }
}

/** A request that is wrong is wrong everywhere. */
function failoverOf(status: number): Failover | undefined {
  if (isTheRequests(status)) return undefined;
  return { fault: isOwnersTrouble(status) ? "owner" : status === 404 ? "model" : "server" };
}

function clientLeft(): AppError {
  return new AppError("client_left", "The client left.");
}

function nobody(): AppError {
  return new AppError("upstream_unavailable", "No model server can answer at the price that was quoted; nothing was charged.", { retryable: true, retryAfterSeconds: 30 });
}

function silent({ upstream }: Place): AppError {
  return new AppError("upstream_unavailable", `The model server ${upstream.name} did not begin to answer; nothing was charged.`, { retryable: true, retryAfterSeconds: 5 });
}
