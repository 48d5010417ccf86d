/** Which models are for sale, at which upstream and at which price. Lists are read again in the background. */
import type { Clock } from "../base/clock.ts";
import { modelRefreshMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { type ListPrice, priceAt } from "../pricing/list-price.ts";
import type { ModelPrice } from "../pricing/quote.ts";
import type { BtcRate } from "../pricing/rate.ts";
import type { Upstream, UpstreamModel } from "../upstream/upstream.ts";

export type ModelForSale = {
  /** What buyers call it. */
  id: string;
  upstreamModelId: string;
  upstream: Upstream;
  /** At this moment's rate. */
  price: ModelPrice;
  /** What that rate is, for a price in dollars. */
  rate: BtcRate | undefined;
  createdS: number;
};

type Entry = Omit<ModelForSale, "price" | "rate"> & { list: ListPrice };

export type UpstreamHealth = { name: string; healthy: boolean; modelsForSale: number; modelsWithoutPrice: number };

/** The listed price, or undefined: without one a model is not for sale. */
export type PriceOf = (upstream: Upstream, modelId: string) => ListPrice | undefined;

type Listing = { upstream: Upstream; models: UpstreamModel[]; healthy: boolean };

export class ModelDirectory {
  readonly #listings: Listing[];
  readonly #priceOf: PriceOf;
  readonly #rate: () => BtcRate | undefined;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #startedS: number;
  #byId = new Map<string, Entry>();
  #listed: Entry[] = [];

  constructor(upstreams: readonly Upstream[], priceOf: PriceOf, rate: () => BtcRate | undefined, clock: Clock) {
    this.#listings = upstreams.map((upstream) => ({ upstream, models: [], healthy: false }));
    this.#priceOf = priceOf;
    this.#rate = rate;
    this.#clock = clock;
    this.#startedS = Math.floor(clock.nowMs() / 1000);
  }

  /** In the owner's order of upstreams. */
  list(): readonly ModelForSale[] {
    return this.#listed.map((entry) => this.#priced(entry)).filter((model) => model !== undefined);
  }

  /** By its id, by `upstream/id`, or by `auto`: the cheapest. */
  find(id: string): ModelForSale | undefined {
    const entry = this.#byId.get(id);
    return id === "auto" ? this.cheapest() : entry && this.#priced(entry);
  }

  /** Whether it would be for sale if the price of bitcoin were known. */
  waitsForRate(id: string): boolean {
    return this.#byId.has(id);
  }

  #priced(entry: Entry): ModelForSale | undefined {
    const rate = entry.list.kind === "usd" ? this.#rate() : undefined;
    const price = priceAt(entry.list, rate);
    return price && { ...entry, price, rate };
  }

  cheapest(): ModelForSale | undefined {
    const price = (model: ModelForSale) => model.price.inputMsatPerMtok + model.price.outputMsatPerMtok;
    return this.list().reduce<ModelForSale | undefined>((best, model) => (best && price(best) <= price(model) ? best : model), undefined);
  }

  health(): UpstreamHealth[] {
    return this.#listings.map(({ upstream, models, healthy }) => {
      const priced = models.filter((model) => this.#priceOf(upstream, model.id)).length;
      return { name: upstream.name, healthy, modelsForSale: healthy ? priced : 0, modelsWithoutPrice: models.length - priced };
    });
  }

  /** Asks every upstream once. An upstream that fails keeps its last list but sells nothing until it answers. */
  async refresh(): Promise<void> {
    await Promise.all(this.#listings.map((listing) => this.#read(listing)));
    this.#rebuild();
  }

  async #read(listing: Listing): Promise<void> {
    try {
      listing.models = await listing.upstream.models();
      if (!listing.healthy) log.info("upstream.up", { upstream: listing.upstream.name, models: listing.models.length });
      listing.healthy = true;
    } catch (error) {
      if (listing.healthy) log.warn("upstream.down", { upstream: listing.upstream.name, reason: describeError(error) });
      listing.healthy = false;
    }
  }

  #rebuild(): void {
    const byId = new Map<string, Entry>();
    const listed: Entry[] = [];
    for (const { upstream, models, healthy } of this.#listings) {
      if (!healthy) continue;
      for (const model of models) {
        const list = this.#priceOf(upstream, model.id);
        if (!list) continue;
        // Ollama lists `tiny:latest` and everybody asks for `tiny`.
        const name = model.id.replace(/:latest$/, "");
        const long = `${upstream.name}/${name}`;
        // The first upstream that lists a name owns it; the others are reached by their long one.
        const id = byId.has(name) ? long : name;
        const entry = { id, upstreamModelId: name, upstream, list, createdS: model.createdS ?? this.#startedS };
        listed.push(entry);
        for (const alias of [id, long, model.id]) if (!byId.has(alias)) byId.set(alias, entry);
      }
    }
    this.#byId = byId;
    this.#listed = listed;
  }

  /** Keeps the lists fresh until `stop`. */
  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#clock.sleep(modelRefreshMs, this.#stop.signal);
      if (!this.#stop.signal.aborted) await this.refresh();
    }
  }

  stop(): void {
    this.#stop.abort();
  }
}
