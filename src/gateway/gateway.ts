/**
 * The LLM surface: plan, quote, reserve, relay, settle. It decides nothing about money beyond the quote and the count,
 * and knows no Lightning and no HTTP route.
 */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { firstByteTimeoutMs } from "../base/limits.ts";
import { log } from "../base/log.ts";
import type { Asker } from "../accounts/asker.ts";
import type { Bill, Opening } from "../charge/charge.ts";
import type { CallEnd, Reservation, Sale, Settled } from "../charge/sale.ts";
import { type Msat, minMsat } from "../money/msat.ts";
import { costOf, covers } from "../pricing/quote.ts";
import { type BtcRate, rateUnknown } from "../pricing/rate.ts";
import type { UpstreamAnswer } from "../upstream/upstream.ts";
import { type Ending, endCall } from "./call-end.ts";
import type { ChatRequest } from "./chat-request.ts";
import { type ChatTerms, chatSale, countInput, decodeTerms, type InputCount, paidCap } from "./chat-sale.ts";
import { ChatTap } from "./chat-tap.ts";
import { coveredPlaces } from "./covered-places.ts";
import { flatCap, isFlat, tooLongForPrice } from "./flat-cap.ts";
import type { LoadBook } from "./load-book.ts";
import type { ModelDirectory } from "./model-directory.ts";
import { type CapLimits, type ChatPlan, droppedFields, planChat, upstreamBody } from "./plan.ts";
import type { Learnt } from "./learnt.ts";
import { relayStream } from "./relay-stream.ts";
import { askInTurns, readAnswer } from "./upstream-turns.ts";

/** What the till must do for the gateway. */
export type Till = {
  open(callId: string, asker: Asker, sale: Sale): Promise<Opening>;
  bill(sale: Sale, asker: Pick<Asker, "address">): Promise<Bill>;
  settle(reservation: Reservation, end: CallEnd): Settled;
};

/** Free calls: on which models, and how long an answer may be. */
export type TrialOffer = { models: readonly string[]; maxOutputTokens: number };

/** What a call would cost: with the shortest answer, with a usual one, at its ceiling. */
export type Estimate = { model: string; local: boolean; maxTokens: number | undefined; rate: BtcRate | undefined; leastMsat: Msat; expectedMsat: Msat; mostMsat: Msat; /** Until it would be begun. */ waitSeconds: number };

/** Facts about what was quoted, for the body of a 402. */
export type Quoted = { model: string; /** Whether the owner's discount is in the price. */ discounted: boolean; routedModel: string | undefined; local: boolean; /** Where tokens are sold. */ maxTokens: number | undefined; inputTokens: number | undefined };

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

/** One paid call on its way. */
type Call = {
  plan: ChatPlan; terms: ChatTerms; cap: number; reservation: Reservation; tap: ChatTap; clientGone: AbortSignal; stop: AbortController;
  likelyInputTokens: number;
  /** When the upstream that serves it was asked. */
  askedAtMs: number;
  /** Tells the book of loads. */
  over(): void;
};

export class Gateway {
  readonly #directory: ModelDirectory;
  readonly #till: Till;
  readonly #limits: CapLimits;
  readonly #trial: TrialOffer;
  readonly #clock: Clock;
  readonly #learnt: Learnt;
  readonly #loads: LoadBook;

  constructor(parts: { directory: ModelDirectory; till: Till; limits: CapLimits; trial: TrialOffer; clock: Clock; /** From earlier calls. */ learnt: Learnt; loads: LoadBook }) {
    this.#directory = parts.directory;
    this.#till = parts.till;
    this.#limits = parts.limits;
    this.#trial = parts.trial;
    this.#clock = parts.clock;
    this.#learnt = parts.learnt;
    this.#loads = parts.loads;
  }

  async #plan(request: ChatRequest): Promise<{ plan: ChatPlan; input: InputCount }> {
    const plan = planChat(request, this.#directory.get(request.model, "chat"), this.#limits);
    const input = await countInput(plan, this.#learnt.factors.percent(plan.model.id, plan.model.upstreamModelId));
    return { plan: withinFlatPrice(plan, input.tokens), input };
  }

  /**
   * Answers a chat request, or says what it costs. Whatever is thrown, nothing was charged.
   * @throws AppError `model_not_found`, `unsupported_field`, `invalid_request`, `upstream_unavailable`, and the till's.
   */
  async chat(callId: string, request: ChatRequest, asker: Asker, clientGone: AbortSignal): Promise<ChatAnswer> {
    const { plan, input } = await this.#plan(request);
    const opening = await this.#till.open(callId, asker, chatSale(plan, input, this.#trialCap(plan)));
    if (opening.kind === "bill") return { ...opening, quoted: quotedOf(plan, input.tokens) };
    if (opening.kind === "too_poor") return opening;
    const { reservation } = opening;
    const terms = decodeTerms(reservation.terms);
    const cap = paidCap(plan, terms, reservation.amountMsat);
    const call = { plan, terms, cap, reservation, tap: new ChatTap(request.includeUsage), clientGone, stop: new AbortController(), likelyInputTokens: input.likely, askedAtMs: reservation.startedAtMs, over: this.#loads.begin(plan.model.upstream.name) };
    return this.#answer(call);
  }

  /** What a chat request would cost. Free, and nothing is made for it. @throws AppError as `chat` does before it asks for money. */
  async quote(request: ChatRequest): Promise<Estimate> {
    const { plan, input } = await this.#plan(request);
    const { quote } = chatSale(plan, input);
    const { price, id, rate } = plan.model;
    if (quote === undefined || price === undefined) throw rateUnknown();
    const { likely: inputTokens } = input;
    const outputTokens = this.#learnt.outputs.expected(id, plan.cap) * request.n;
    return {
      model: id, local: plan.model.upstream.local, maxTokens: plan.cap, rate,
      leastMsat: costOf({ inputTokens, outputTokens: request.n }, price),
      expectedMsat: minMsat(costOf({ inputTokens, outputTokens }, price), quote.ceilingMsat),
      mostMsat: quote.ceilingMsat,
      waitSeconds: this.#loads.waitSeconds(plan.model.upstream),
    };
  }

  /** The price of the least anybody can buy, for those who only ask what this is: the smallest call of the cheapest model. */
  async probe(asker: Pick<Asker, "address">): Promise<Extract<ChatAnswer, { kind: "bill" }>> {
    const model = this.#directory.cheapest();
    if (!model) throw nothingForSale();
    const body = { max_tokens: 1 };
    const plan = planChat({ model: model.id, messages: [], stream: false, includeUsage: false, n: 1, body }, model, this.#limits);
    return { kind: "bill", bill: await this.#till.bill(chatSale(plan, { tokens: 1, learnable: undefined }), asker), quoted: quotedOf(plan, 1) };
  }

  #trialCap({ model, request }: ChatPlan): number | undefined {
    return request.n === 1 && this.#trial.models.includes(model.id) ? this.#trial.maxOutputTokens : undefined;
  }

  async #answer(call: Call): Promise<ChatAnswer> {
    const answer = await this.#callUpstream(call);
    const { plan, reservation } = call;
    const dropped = droppedFields(plan);
    const lowered = call.cap < plan.cap ? call.cap : undefined;
    const common = { kind: "answer" as const, reservation, dropped, loweredCap: lowered };
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
    const { plan, clientGone } = call;
    const { model } = plan;
    const { price, inputTokens, upstream } = call.terms;
    const turned = await askInTurns({
      kind: "chat", places: coveredPlaces(model, upstream, (cost) => covers(price, cost, inputTokens)), clientGone, pulse: this.#directory.pulse,
      send: (place, signal) => {
        call.askedAtMs = this.#clock.nowMs();
        return place.upstream.chat(upstreamBody({ ...plan, model: { ...model, ...place } }, call.cap), signal);
      },
    });
    call.plan = { ...plan, model: { ...model, ...turned.place } };
    if (turned.ok) {
      call.stop = turned.stop;
      return turned.answer;
    }
    // Left while the model was working: the upstream has made tokens for it.
    if (turned.working) this.#settle(call, "client_left");
    else this.#end(call, { act: "void", reason: clientGone.aborted ? "client_left" : "upstream_failed" });
    throw turned.error;
  }

  async #readBody(call: Call, answer: UpstreamAnswer): Promise<Uint8Array> {
    let body: Uint8Array | undefined;
    try {
      body = await readAnswer(call.plan.model, answer, call.stop, { timeoutMs: firstByteTimeoutMs });
    } catch (error) {
      if (call.clientGone.aborted) {
        this.#settle(call, "client_left");
        throw error;
      }
    }
    if (body !== undefined && call.tap.seeBody(new TextDecoder().decode(body))) return body;
    call.stop.abort();
    this.#end(call, { act: "void", reason: "upstream_broke" });
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

  #settle(call: Call, ending: Ending): Settled {
    const { plan, tap, terms } = call;
    const elapsedMs = this.#clock.nowMs() - call.askedAtMs;
    const { usage } = tap;
    if (usage.kind !== "reported" && ending === "completed") log.warn(`upstream.usage_${usage.kind}`, { upstream: plan.model.upstream.name, model: plan.model.id });
    if (usage.kind === "reported" && ending === "completed") this.#learnt.learn({ model: plan.model.id, choices: plan.request.n, terms: call.reservation.terms, elapsedMs, ...usage.usage });
    const delivered = {
      usage,
      outputTokens: ending === "cap_reached" ? tap.surelyMade : tap.likelyTokens,
      delivered: tap.delivered,
      likelyInputTokens: call.likelyInputTokens,
      unseenTokens: Math.min(call.cap * plan.request.n, this.#learnt.speeds.tokensIn(plan.model.id, elapsedMs)),
    };
    const labels = { endpoint: "chat/completions", model: plan.model.id, upstream: plan.model.upstream.name };
    return this.#end(call, endCall(ending, delivered, terms, labels));
  }

  #end(call: Call, end: CallEnd): Settled {
    call.over();
    return this.#till.settle(call.reservation, end);
  }
}

/** A call at a flat price is as long as the price pays for. @throws AppError `invalid_request`. */
function withinFlatPrice(plan: ChatPlan, inputTokens: number): ChatPlan {
  const { price, cost } = plan.model;
  if (price === undefined || cost === undefined || !isFlat(price)) return plan;
  const cap = flatCap(costOf({ inputTokens: 0, outputTokens: 0 }, price), inputTokens, plan.cap * plan.request.n, cost);
  if (cap === undefined) throw tooLongForPrice("messages");
  const each = Math.max(1, Math.floor(cap / plan.request.n));
  return { ...plan, cap: each, leastCap: Math.min(plan.leastCap, each) };
}

function quotedOf(plan: ChatPlan, inputTokens: number): Quoted {
  const { model, request } = plan;
  return { model: model.id, discounted: true, routedModel: request.model === "auto" ? model.id : undefined, local: model.upstream.local, maxTokens: plan.cap, inputTokens };
}

function nothingForSale(): AppError {
  return new AppError("upstream_unavailable", "No model is for sale at the moment.", { retryable: true, retryAfterSeconds: 30 });
}
