/** Turns what a buyer asks for into an order: which model or service, at which price. It knows what the owner has switched on. */
import { AppError } from "../base/errors.ts";
import { type ListPrice, priceAt } from "../pricing/list-price.ts";
import type { ModelKind } from "../pricing/public-prices.ts";
import type { ModelPrice } from "../pricing/quote.ts";
import type { BtcRate } from "../pricing/rate.ts";
import type { SearchEngine, SearchQuery } from "../upstream/search.ts";
import { type DvmSettings, dvmOrder, dvmPays, dvmPrice } from "./dvm-order.ts";
import type { TrialOffer } from "./gateway.ts";
import { type ImageRequest, imageOrder } from "./image-order.ts";
import type { Model, ModelDirectory } from "./model-directory.ts";
import type { Order } from "./order.ts";
import { searchOrder } from "./search-order.ts";
import { type SpeechRequest, speechOrder } from "./speech-order.ts";
import { type TranscriptionRequest, transcriptionOrder } from "./transcription-order.ts";

export type SearchOffer = { engine: SearchEngine; price: ListPrice };

export type PlannerParts = {
  directory: ModelDirectory;
  /** Undefined while switched off. */
  dvm: DvmSettings | undefined;
  search: SearchOffer | undefined;
  trial: TrialOffer;
  rate(): BtcRate | undefined;
  discountPercent: number;
  nowMs(): number;
};

export class OrderPlanner {
  readonly #parts: PlannerParts;

  constructor(parts: PlannerParts) {
    this.#parts = parts;
  }

  /** @throws AppError `model_not_found`, `unsupported_field`. */
  image(request: ImageRequest): Order {
    return imageOrder(request, this.#model(request.body.model, "image"), this.#parts.directory.pulse);
  }

  /** @throws AppError `model_not_found`, `unsupported_field`. */
  speech(request: SpeechRequest): Order {
    return speechOrder(request, this.#model(request.body.model, "speech"), this.#parts.directory.pulse);
  }

  /** @throws AppError `model_not_found`, `unsupported_field`. */
  transcription(request: TranscriptionRequest): Order {
    return transcriptionOrder(request, this.#model(request.body.model, "transcription"), this.#parts.directory.pulse);
  }

  /** Without a name the cheapest of its kind. */
  #model(name: unknown, kind: ModelKind): Model {
    return this.#parts.directory.get(typeof name === "string" ? name : "auto", kind);
  }

  /** @throws AppError `dvm_off`, `invalid_request`. */
  async dvm(prompt: string): Promise<Order> {
    const { directory, trial } = this.#parts;
    const sold = this.#dvm();
    if (!sold) throw new AppError("dvm_off", "There is no model for single prompts here; POST /v1/chat/completions sells chat.");
    const { dvm, model } = sold;
    return dvmOrder(prompt, dvm, model, { trialCap: trial.models.includes(model.id) ? trial.maxOutputTokens : undefined, pulse: directory.pulse });
  }

  /** Undefined where it is switched off, or its price pays for no answer. */
  #dvm(): { dvm: DvmSettings; model: Model } | undefined {
    const { dvm, directory } = this.#parts;
    const model = dvm && directory.find(dvm.model);
    return dvm && model?.kind === "chat" && dvmPays(dvm, model) !== false ? { dvm, model } : undefined;
  }

  /** @throws AppError `not_found`. */
  search(query: SearchQuery, dropped: readonly string[]): Order {
    const offer = this.#parts.search;
    if (!offer) throw new AppError("not_found", "Web search is not for sale here.");
    const { nowMs } = this.#parts;
    const { price, rate, shownRate } = this.#searchPrice(offer);
    return searchOrder(query, { engine: offer.engine, price, rate, shownRate, nowMs, dropped });
  }

  #searchPrice({ price }: SearchOffer) {
    const shownRate = this.#parts.rate();
    return { price: priceAt(price, shownRate, this.#parts.discountPercent), rate: price.kind === "usd" ? shownRate : undefined, shownRate };
  }

  /** What is sold by the call at this moment: for documents. */
  flatOffers(): FlatOffers {
    const { search } = this.#parts;
    const sold = this.#dvm();
    const price = search && this.#searchPrice(search).price;
    return {
      dvm: sold && { model: sold.model.id, price: dvmPrice(sold.dvm), maxPromptCharacters: sold.dvm.maxPromptCharacters },
      search: search && price ? { provider: search.engine.name, price } : undefined,
    };
  }
}

export type FlatOffers = {
  dvm: { model: string; price: ModelPrice; maxPromptCharacters: number } | undefined;
  search: { provider: string; price: ModelPrice } | undefined;
};
