/** Turns what a buyer asks for into an order: which model or service, at which price. It knows what the owner has switched on. */
import { AppError } from "../base/errors.ts";
import { type ListPrice, priceAt } from "../pricing/list-price.ts";
import type { ModelPrice } from "../pricing/quote.ts";
import type { BtcRate } from "../pricing/rate.ts";
import type { SearchEngine, SearchQuery } from "../upstream/search.ts";
import { type DvmSettings, dvmOrder } from "./dvm-order.ts";
import { type ImageRequest, imageOrder } from "./image-order.ts";
import type { ModelDirectory } from "./model-directory.ts";
import type { Order } from "./order.ts";
import { searchOrder } from "./search-order.ts";

export type SearchOffer = { engine: SearchEngine; price: ListPrice };

export type PlannerParts = {
  directory: ModelDirectory;
  /** Undefined while switched off. */
  dvm: DvmSettings | undefined;
  search: SearchOffer | undefined;
  trialModels: readonly string[];
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
    const { directory } = this.#parts;
    const { model = "auto" } = request.body as { model?: string };
    return imageOrder(request, directory.get(model, "image"), directory.pulse);
  }

  /** @throws AppError `dvm_off`, `invalid_request`. */
  async dvm(prompt: string): Promise<Order> {
    const { dvm, directory, trialModels } = this.#parts;
    const model = dvm && directory.find(dvm.model);
    if (!dvm || model?.kind !== "chat") throw new AppError("dvm_off", "There is no model for single prompts here; POST /v1/chat/completions sells chat.");
    return dvmOrder(prompt, dvm, model, { free: trialModels.includes(model.id), pulse: directory.pulse });
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
  flatOffers(): { dvm: { model: string; price: ModelPrice } | undefined; search: { provider: string; price: ModelPrice } | undefined } {
    const { dvm, search, directory } = this.#parts;
    const model = dvm && directory.find(dvm.model);
    const price = search && this.#searchPrice(search).price;
    return {
      dvm: dvm && model?.kind === "chat" ? { model: model.id, price: { inputMsatPerMtok: 0n, outputMsatPerMtok: 0n, perMillion: { call: dvm.priceMsat * 1_000_000n } } } : undefined,
      search: search && price ? { provider: search.engine.name, price } : undefined,
    };
  }
}
