/**
 * The LLM surface: plan, quote, reserve, relay, settle. It decides nothing about money beyond the quote and the count,
 * and knows no Lightning and no HTTP route.
 */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs, maxAnswerBytes, stallTimeoutMs } from "../base/limits.ts";
import { log } from "../base/log.ts";
import type { Asker } from "../accounts/asker.ts";
import type { Bill, Opening } from "../charge/charge.ts";
import type { CallEnd, Reservation, Sale, Settled } from "../charge/sale.ts";
import { type Msat, minMsat } from "../money/msat.ts";
import { tokensLikely } from "../pricing/estimate.ts";
import { costOf, covers } from "../pricing/quote.ts";
import type { BtcRate } from "../pricing/rate.ts";
import type { UpstreamAnswer } from "../upstream/upstream.ts";
import { type Ending, endCall } from "./call-end.ts";
import type { ChatRequest } from "./chat-request.ts";
import { type ChatTerms, chatSale, countInput, decodeTerms, paidCap } from "./chat-sale.ts";
import { ChatTap } from "./chat-tap.ts";
import type { Model, ModelDirectory } from "./model-directory.ts";
import { type CapLimits, type ChatPlan, planChat, promptTexts, upstreamBody } from "./plan.ts";
import { OutputBook } from "./output-book.ts";
import { relayStream } from "./relay-stream.ts";
import { SpeedBook } from "./speed-book.ts";
import { isOwnersTrouble, isTheRequests, upstreamRefusal } from "./upstream-errors.ts";

/** What the till must do for the gateway. */
export type Till = {
  open(callId: string, asker: Asker, sale: Sale): Promise<Opening>;
  bill(sale: Sale, asker: Pick<Asker, "address">): Promise<Bill>;
  settle(reservation: Reservation, end: CallEnd): Settled;
};

/** Free calls: on which models, and how long an answer may be. */
export type TrialOffer = { models: readonly string[]; maxOutputTokens: number };

/** What a call would cost: with the shortest answer, with a usual one, at its ceiling. */
export type Estimate = { model: string; local: boolean; maxTokens: number; rate: BtcRate | undefined; leastMsat: Msat; expectedMsat: Msat; mostMsat: Msat };

/** Facts about what was quoted, for the body of a 402. */
export type Quoted = { model: string; routedModel: string | undefined; local: boolean; maxTokens: number; inputTokens: number };

export type ChatAnswer =
  | { kind: "bill"; bill: Bill; quoted: Quoted }
  | Extract<Opening, { kind: "too_poor" }>
  | {
      kind: "answer";
      contentType: string;
      body: Uint8Array | ReadableStream<Uint8Array>;
      reservation: Reservation;
      /** Known now only for an answer that was not streamed. */
      charged: Settled | undefined;
      dropped: readonly string[];
      /** Set when the balance paid for less than the default cap. */
      loweredCap: number | undefined;
    };

/** Whose fault it was that somebody else is asked: the server's, the owner's key there, or it has that model no more. */
type Failover = { fault: "server" | "owner" | "model" };

/** How asking one upstream came out. */
type Attempt =
  | { kind: "answer"; answer: UpstreamAnswer }
  | { kind: "failed"; error: unknown; failover: Failover | undefined; /** The client left while the model was at it. */ working: boolean };

/** One paid call on its way. */
type Call = { plan: ChatPlan; terms: ChatTerms; cap: number; reservation: Reservation; tap: ChatTap; clientGone: AbortSignal; stop: AbortController };

export class Gateway {
  readonly #directory: ModelDirectory;
  readonly #till: Till;
  readonly #limits: CapLimits;
  readonly #trial: TrialOffer;
  readonly #clock: Clock;
  readonly #speeds = new SpeedBook();
  readonly #outputs = new OutputBook();

  constructor(parts: { directory: ModelDirectory; till: Till; limits: CapLimits; trial: TrialOffer; clock: Clock }) {
    this.#directory = parts.directory;
    this.#till = parts.till;
    this.#limits = parts.limits;
    this.#trial = parts.trial;
    this.#clock = parts.clock;
  }

  /**
   * Answers a chat request, or says what it costs. Whatever is thrown, nothing was charged.
   * @throws AppError `model_not_found`, `unsupported_field`, `invalid_request`, `upstream_unavailable`, and the till's.
   */
  async chat(callId: string, request: ChatRequest, asker: Asker, clientGone: AbortSignal): Promise<ChatAnswer> {
    const plan = planChat(request, this.#model(request.model), this.#limits);
    const inputTokens = await countInput(plan);
    const opening = await this.#till.open(callId, asker, chatSale(plan, inputTokens, this.#trialCap(plan)));
    if (opening.kind === "bill") return { ...opening, quoted: quotedOf(plan, inputTokens) };
    if (opening.kind === "too_poor") return opening;
    const { reservation } = opening;
    const terms = decodeTerms(reservation.terms);
    const cap = paidCap(plan, terms, reservation.amountMsat);
    const call = { plan, terms, cap, reservation, tap: new ChatTap(request.includeUsage), clientGone, stop: new AbortController() };
    return this.#answer(call);
  }

  #model(id: string): Model {
    const model = this.#directory.find(id);
    if (!model) throw modelNotFound(id);
    return model;
  }

  /** What a chat request would cost. Free, and nothing is made for it. @throws AppError as `chat` does before it asks for money. */
  async quote(request: ChatRequest): Promise<Estimate> {
    const plan = planChat(request, this.#model(request.model), this.#limits);
    const { quote } = chatSale(plan, await countInput(plan));
    const { price, id, rate } = plan.model;
    if (quote === undefined || price === undefined) throw rateUnknown();
    const inputTokens = promptTexts(plan).reduce((sum, text) => sum + tokensLikely(text), 0);
    const outputTokens = this.#outputs.expected(id, plan.cap) * request.n;
    return {
      model: id, local: plan.model.upstream.local, maxTokens: plan.cap, rate,
      leastMsat: costOf({ inputTokens, outputTokens: request.n }, price),
      expectedMsat: minMsat(costOf({ inputTokens, outputTokens }, price), quote.ceilingMsat),
      mostMsat: quote.ceilingMsat,
    };
  }

  /** The price of the least anybody can buy, for those who only ask what this is: the smallest call of the cheapest model. */
  async probe(asker: Pick<Asker, "address">): Promise<Extract<ChatAnswer, { kind: "bill" }>> {
    const model = this.#directory.cheapest();
    if (!model) throw nothingForSale();
    const body = { max_tokens: 1 };
    const plan = planChat({ model: model.id, messages: [], stream: false, includeUsage: false, n: 1, body }, model, this.#limits);
    return { kind: "bill", bill: await this.#till.bill(chatSale(plan, 1), asker), quoted: quotedOf(plan, 1) };
  }

  #trialCap({ model, request }: ChatPlan): number | undefined {
    return request.n === 1 && this.#trial.models.includes(model.id) ? this.#trial.maxOutputTokens : undefined;
  }

  async #answer(call: Call): Promise<ChatAnswer> {
    const answer = await this.#callUpstream(call);
    const { plan, reservation } = call;
    const lowered = call.cap < plan.cap ? call.cap : undefined;
    const common = { kind: "answer" as const, reservation, dropped: plan.dropped, loweredCap: lowered };
    if (/^text\/event-stream\b/i.test(answer.contentType) && plan.request.stream)
      return { ...common, contentType: "text/event-stream; charset=utf-8", body: this.#stream(call, answer.body), charged: undefined };
    const body = await this.#readBody(call, answer);
    return { ...common, contentType: "application/json", body, charged: this.#settle(call, "completed") };
  }

  /**
   * Resolves with the head of a good answer; on any other the reservation is void before the error is thrown. Before that
   * whoever stands in is asked, under the same reservation, if what they cost is covered by what was quoted.
   */
  async #callUpstream(call: Call): Promise<UpstreamAnswer> {
    const { model } = call.plan;
    const { price, inputTokens } = call.terms;
    const standIns = model.standIns.filter((place) => covers(price, place.cost, inputTokens) && !this.#directory.pulse.isCooling(place.upstream.name));
    for (let next = 0; ; next++) {
      const attempt = await this.#ask(call);
      if (attempt.kind === "answer") {
        this.#directory.pulse.answered(call.plan.model.upstream.name);
        return attempt.answer;
      }
      const { error, failover } = attempt;
      if (failover && failover.fault !== "model") this.#directory.pulse.failed(call.plan.model.upstream.name, failover.fault === "owner");
      const place = failover && !call.clientGone.aborted ? standIns[next] : undefined;
      if (place === undefined) {
        // Left while the model was working: the upstream has made tokens for it.
        if (attempt.working) this.#settle(call, "client_left");
        else this.#till.settle(call.reservation, { act: "void", reason: call.clientGone.aborted ? "client_left" : "upstream_failed" });
        throw error;
      }
      log.info("upstream.failover", { from: call.plan.model.upstream.name, to: place.upstream.name, model: model.id });
      call.plan = { ...call.plan, model: { ...model, ...place } };
      call.stop = new AbortController();
    }
  }

  /** One upstream, once. */
  async #ask(call: Call): Promise<Attempt> {
    const { plan, stop, clientGone } = call;
    if (clientGone.aborted) {
      // Gone before the upstream heard of it: nothing was made for this call.
      return { kind: "failed", error: new AppError("client_left", "The client left."), failover: undefined, working: false };
    }
    const leave = () => stop.abort(new AppError("client_left", "The client left."));
    clientGone.addEventListener("abort", leave, { once: true });
    const late = setTimeout(() => stop.abort(silent(plan)), firstByteTimeoutMs);
    try {
      const answer = await plan.model.upstream.chat(upstreamBody(plan, call.cap), stop.signal);
      if (answer.status >= 200 && answer.status < 300) return { kind: "answer", answer };
      const error = await this.#refusal(call, answer);
      return { kind: "failed", error, failover: failoverOf(answer.status), working: false };
    } catch (error) {
      return { kind: "failed", error, failover: clientGone.aborted ? undefined : { fault: "server" }, working: clientGone.aborted };
    } finally {
      clearTimeout(late);
    }
  }

  async #refusal(call: Call, answer: UpstreamAnswer): Promise<AppError> {
    const { upstream } = call.plan.model;
    const { name } = upstream;
    const text = upstream.redact(new TextDecoder().decode(await this.#read(call, answer, stallTimeoutMs).catch(() => new Uint8Array(0))));
    if (isOwnersTrouble(answer.status)) log.error("upstream.refuses_the_owner", { upstream: name, status: answer.status });
    else log.warn("upstream.error", { upstream: name, status: answer.status });
    return upstreamRefusal(answer.status, text);
  }

  /** Some servers send the head of an answer at once and its body when the model is done. */
  async #read(call: Call, answer: UpstreamAnswer, timeoutMs: number): Promise<Uint8Array> {
    const late = setTimeout(() => call.stop.abort(silent(call.plan)), timeoutMs);
    try {
      return await answer.read(maxAnswerBytes);
    } finally {
      clearTimeout(late);
    }
  }

  async #readBody(call: Call, answer: UpstreamAnswer): Promise<Uint8Array> {
    let body: Uint8Array | undefined;
    try {
      body = await this.#read(call, answer, firstByteTimeoutMs);
    } catch (error) {
      if (call.clientGone.aborted) {
        this.#settle(call, "client_left");
        throw error;
      }
    }
    if (body !== undefined && call.tap.seeBody(new TextDecoder().decode(body))) return body;
    call.stop.abort();
    this.#till.settle(call.reservation, { act: "void", reason: "upstream_broke" });
    throw new AppError("upstream_unavailable", "The model server sent no usable answer; nothing was charged.", { retryable: true, retryAfterSeconds: 5 });
  }

  #stream(call: Call, body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    return relayStream({
      body,
      tap: call.tap,
      paidTokens: call.cap * call.plan.request.n,
      clientGone: call.clientGone,
      stopUpstream: () => call.stop.abort(),
      finish: (ending) => {
        const { chargedMsat, spendableMsat } = this.#settle(call, ending);
        return `: hearth cost_msat=${chargedMsat}${spendableMsat === undefined ? "" : ` balance_msat=${spendableMsat}`}\n\n`;
      },
    });
  }

  #learn({ model, request }: ChatPlan, outputTokens: number, elapsedMs: number): void {
    this.#speeds.learn(model.id, outputTokens, elapsedMs);
    this.#outputs.learn(model.id, outputTokens / request.n);
  }

  #settle(call: Call, ending: Ending): Settled {
    const { plan, tap, terms } = call;
    const elapsedMs = this.#clock.nowMs() - call.reservation.startedAtMs;
    const { usage } = tap;
    if (usage.kind !== "reported" && ending === "completed") log.warn(`upstream.usage_${usage.kind}`, { upstream: plan.model.upstream.name, model: plan.model.id });
    if (usage.kind === "reported" && ending === "completed") this.#learn(plan, usage.usage.outputTokens, elapsedMs);
    const delivered = {
      usage,
      outputTokens: ending === "cap_reached" ? tap.surelyMade : tap.likelyTokens,
      delivered: tap.delivered,
      likelyInputTokens: () => promptTexts(plan).reduce((sum, text) => sum + tokensLikely(text), 0),
      unseenTokens: Math.min(call.cap * plan.request.n, this.#speeds.tokensIn(plan.model.id, elapsedMs)),
    };
    const labels = { endpoint: "chat/completions", model: plan.model.id, upstream: plan.model.upstream.name };
    return this.#till.settle(call.reservation, endCall(ending, delivered, terms, labels));
  }
}

/** A request that is wrong is wrong everywhere. */
function failoverOf(status: number): Failover | undefined {
  if (isTheRequests(status)) return undefined;
  return { fault: isOwnersTrouble(status) ? "owner" : status === 404 ? "model" : "server" };
}

function quotedOf(plan: ChatPlan, inputTokens: number): Quoted {
  const { model, request } = plan;
  return { model: model.id, routedModel: request.model === "auto" ? model.id : undefined, local: model.upstream.local, maxTokens: plan.cap, inputTokens };
}

function modelNotFound(id: string): AppError {
  return new AppError("model_not_found", `The model ${JSON.stringify(id.slice(0, 100))} is not for sale here; GET /v1/models lists what is.`, { param: "model" });
}

function rateUnknown(): AppError {
  return new AppError("rate_unknown", "This model is priced in dollars, and the price of bitcoin is not known at the moment.", { retryable: true, retryAfterSeconds: 30 });
}

function silent(plan: ChatPlan): AppError {
  return new AppError("upstream_unavailable", `The model server ${plan.model.upstream.name} did not begin to answer; nothing was charged.`, { retryable: true, retryAfterSeconds: 5 });
}

function nothingForSale(): AppError {
  return new AppError("upstream_unavailable", "No model is for sale at the moment.", { retryable: true, retryAfterSeconds: 30 });
}
