/** Takes orders: quote, reserve, have it made, settle. It decides nothing about money beyond the quote and what was made of it. */
import type { Asker } from "../accounts/asker.ts";
import { AppError } from "../base/errors.ts";
import type { Reservation } from "../charge/sale.ts";
import { costOf } from "../pricing/quote.ts";
import { rateUnknown } from "../pricing/rate.ts";
import type { ChatAnswer, Estimate, Quoted, Till } from "./gateway.ts";
import type { LoadBook } from "./load-book.ts";
import { decodeOrderTerms, type Delivery, type Order, orderSale } from "./order.ts";

type BillAnswer = Extract<ChatAnswer, { kind: "bill" }>;

export class OrderDesk {
  readonly #till: Till;
  readonly #loads: LoadBook;

  constructor(parts: { till: Till; loads: LoadBook }) {
    this.#till = parts.till;
    this.#loads = parts.loads;
  }

  /**
   * Answers an order, or says what it costs. Whatever is thrown, nothing was charged. Who leaves while it is made has bought it: the
   * upstream is paid for it in any case.
   * @throws AppError of the order's own, and the till's.
   */
  async take(callId: string, order: Order, asker: Asker, clientGone: AbortSignal): Promise<ChatAnswer> {
    const opening = await this.#till.open(callId, asker, orderSale(order));
    if (opening.kind === "bill") return { ...opening, quoted: quotedOf(order) };
    if (opening.kind === "too_poor") return opening;
    const { reservation } = opening;
    const delivery = await this.#deliver(order, reservation, clientGone);
    const charged = this.#till.settle(reservation, endOf(order, delivery, reservation));
    return {
      kind: "answer", contentType: delivery.contentType, body: toBytes(delivery.body), reservation, charged, dropped: order.dropped, loweredCap: undefined,
    };
  }

  async #deliver(order: Order, reservation: Reservation, clientGone: AbortSignal): Promise<Delivery> {
    const over = order.upstream && this.#loads.begin(order.upstream.name);
    try {
      if (clientGone.aborted) throw new AppError("client_left", "The client left.");
      return await order.deliver(decodeOrderTerms(reservation.terms), reservation.free);
    } catch (error) {
      this.#till.settle(reservation, { act: "void", reason: clientGone.aborted ? "client_left" : "upstream_failed" });
      throw error;
    } finally {
      over?.();
    }
  }

  /** What it would cost. Free, and nothing is made for it. @throws AppError `rate_unknown`. */
  quote(order: Order): Estimate {
    const { quote } = orderSale(order);
    if (quote === undefined) throw rateUnknown();
    const { ceilingMsat } = quote;
    return { model: order.model, local: order.local, maxTokens: undefined, rate: order.rate, leastMsat: ceilingMsat, expectedMsat: ceilingMsat, mostMsat: ceilingMsat, waitSeconds: order.upstream ? this.#loads.waitSeconds(order.upstream) : 0 };
  }

  /** The price of the least that can be ordered there, for those who only ask what this is. */
  async probe(order: Order, asker: Pick<Asker, "address">): Promise<BillAnswer> {
    return { kind: "bill", bill: await this.#till.bill(orderSale(order), asker), quoted: quotedOf(order) };
  }
}

function endOf(order: Order, delivery: Delivery, { terms }: Reservation) {
  const { inputTokens, outputTokens } = delivery.tokens ?? delivery.counts;
  const upstreamCostMicros = delivery.tokens?.costMicros;
  return {
    act: "post" as const,
    costMsat: costOf(delivery.counts, decodeOrderTerms(terms).price),
    record: { endpoint: order.endpoint, model: order.model, upstream: delivery.upstream, ending: "completed", inputTokens, outputTokens, estimated: false, upstreamCostMicros },
  };
}

function quotedOf({ model, local, discounted }: Order): Quoted {
  return { model, local, discounted, routedModel: undefined, maxTokens: undefined, inputTokens: undefined };
}

function toBytes(body: Uint8Array | string): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : body;
}
