/**
 * Which models are for sale, at which upstreams and at which price. Lists are read again in the background. A name that
 * several upstreams list is one model: the cheapest healthy one serves it, the others stand in for it.
 */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { modelRefreshMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { type ListPrice, priceAt } from "../pricing/list-price.ts";
import type { ModelKind } from "../pricing/public-prices.ts";
import { type ModelPrice, units } from "../pricing/quote.ts";
import type { BtcRate } from "../pricing/rate.ts";
import type { Upstream, UpstreamModel } from "../upstream/upstream.ts";
import { UpstreamPulse } from "./upstream-pulse.ts";

/** One upstream that serves a model. */
export type Place = { upstreamModelId: string; upstream: Upstream };

/** In tokens, where the maker says so. */
export type Limits = { maxInputTokens?: number | undefined; maxOutputTokens?: number | undefined };

export type Model = Place & Limits & {
  /** What buyers call it. */
  id: string;
  kind: ModelKind;
  /** At this moment's rate; undefined while a price in dollars has none. */
  price: ModelPrice | undefined;
  /** What the owner pays for it; undefined where nobody can say. */
  cost?: ModelPrice | undefined;
  /** What that rate is, for a price in dollars. */
  rate: BtcRate | undefined;
  createdS: number;
  /** Who serves it when this upstream fails, the cheapest first, with what the owner pays there; undefined where nobody can say. */
  standIns: readonly (Place & { cost: ModelPrice | undefined })[];
};

export type ModelForSale = Model & { price: ModelPrice };

export type UpstreamHealth = {
  name: string;
  healthy: boolean;
  modelsForSale: number;
  modelsWithoutPrice: number;
  /** It refuses the owner's key or account. */
  refusesOwner: boolean;
};

/** What a model is listed at and what it costs the owner; undefined: without a price it is not for sale. */
export type PriceOf = (upstream: Upstream, model: UpstreamModel) => (Limits & { price: ListPrice; cost: ListPrice; kind?: ModelKind | undefined }) | undefined;

type Listing = { upstream: Upstream; models: UpstreamModel[]; healthy: boolean };
/** A model at one upstream, in the owner's order. */
type Entry = Limits & { kind: ModelKind; upstream: Upstream; upstreamModelId: string; price: ListPrice; cost: ListPrice; createdS: number };
type Group = { id: string; entries: Entry[] };

type Priced = Place & Limits & { kind: ModelKind; price: ModelPrice; cost: ModelPrice | undefined; rate: BtcRate | undefined; createdS: number };

export class ModelDirectory {
  readonly pulse: UpstreamPulse;
  readonly #listings: Listing[];
  readonly #priceOf: PriceOf;
  readonly #aliases: Readonly<Record<string, string>>;
  readonly #discountPercent: number;
  readonly #rate: () => BtcRate | undefined;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #startedS: number;
  #byId = new Map<string, Group>();
  #listed: Group[] = [];

  constructor(parts: { upstreams: readonly Upstream[]; priceOf: PriceOf; rate: () => BtcRate | undefined; aliases: Readonly<Record<string, string>>; discountPercent?: number; clock: Clock }) {
    this.#listings = parts.upstreams.map((upstream) => ({ upstream, models: [], healthy: false }));
    this.#priceOf = parts.priceOf;
    this.#aliases = parts.aliases;
    this.#discountPercent = parts.discountPercent ?? 0;
    this.#rate = parts.rate;
    this.#clock = parts.clock;
    this.#startedS = Math.floor(parts.clock.nowMs() / 1000);
    this.pulse = new UpstreamPulse(parts.clock);
  }

  /** In the owner's order of upstreams, aliases last. */
  list(): readonly ModelForSale[] {
    return this.#listed.map((group) => this.#priced(group)).filter((model) => model !== undefined);
  }

  /** Those that are sold by one kind of route. */
  listKind(kind: ModelKind): readonly ModelForSale[] {
    return this.list().filter((model) => model.kind === kind);
  }

  /** By its id, by an alias, by `upstream/id` (that one only), or by `auto`: the cheapest of its kind. */
  find(id: string, kind: ModelKind = "chat"): Model | undefined {
    const cheapest = id === "auto" ? this.cheapest(kind) : undefined;
    const group = id === "auto" ? this.#listed.find(({ entries }) => entries[0]!.kind === kind) : this.#byId.get(id);
    return cheapest ?? (group && (this.#priced(group) ?? unpriced(group)));
  }

  cheapest(kind: ModelKind = "chat"): ModelForSale | undefined {
    return this.listKind(kind).reduce<ModelForSale | undefined>((best, model) => (best && weightOf(best) <= weightOf(model) ? best : model), undefined);
  }

  /** The cheapest upstream that has not failed lately; where all have, the cheapest gets another chance. */
  #priced({ id, entries }: Group): ModelForSale | undefined {
    const rate = this.#rate();
    const priced = entries.map((entry) => pricedAt(entry, rate, this.#discountPercent)).filter((one) => one !== undefined);
    if (priced.length > 1) priced.sort((a, b) => Number(this.#isCooling(a)) - Number(this.#isCooling(b)) || compare(weightOf(a), weightOf(b)));
    const [first, ...others] = priced;
    // Who has no price at this moment still answers for what was paid while it had one.
    const unpriced = entries.filter((entry) => priceAt(entry.price, rate) === undefined);
    return first && { id, ...first, standIns: [...others, ...unpriced.map(placeOf)] };
  }

  #isCooling({ upstream, kind }: Priced): boolean {
    return this.pulse.isCooling(upstream.name, kind);
  }

  health(): UpstreamHealth[] {
    return this.#listings.map(({ upstream, models, healthy }) => {
      const kinds = models.map((model) => soldAs(model, this.#priceOf(upstream, model)));
      const { name } = upstream;
      return { name, healthy, modelsForSale: healthy ? kinds.filter(isSold).length : 0, modelsWithoutPrice: kinds.filter((kind) => kind === undefined).length, refusesOwner: this.pulse.refusesOwner(name) };
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
    const groups = new Map<string, Group>();
    const alone = new Map<string, Group>();
    for (const { upstream, models, healthy } of this.#listings)
      for (const model of healthy ? models : []) {
        const listed = this.#priceOf(upstream, model);
        const kind = soldAs(model, listed);
        if (!listed || !isSold(kind)) continue;
        // Ollama lists `tiny:latest` and everybody asks for `tiny`.
        const name = model.id.replace(/:latest$/, "");
        const entry = { ...listed, ...limitsOf(model, listed), kind, upstream, upstreamModelId: name, createdS: model.createdS ?? this.#startedS };
        const group = groups.get(name) ?? { id: name, entries: [] };
        groups.set(name, group);
        // Nobody stands in for what it does not do.
        if (group.entries.every((one) => one.kind === kind)) group.entries.push(entry);
        for (const long of [`${upstream.name}/${name}`, `${upstream.name}/${model.id}`]) alone.set(long, { id: name, entries: [entry] });
        alone.set(model.id, group);
      }
    const byId = new Map([...alone, ...groups]);
    const aliases = Object.entries(this.#aliases).flatMap(([id, target]) => (byId.has(id) || !byId.has(target) ? [] : [{ id, entries: byId.get(target)!.entries }]));
    for (const group of aliases) byId.set(group.id, group);
    this.#byId = byId;
    this.#listed = [...groups.values(), ...aliases];
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

  /** A model of this kind. @throws AppError `model_not_found`, which says where a model of another kind is sold. */
  get(id: string, kind: ModelKind): Model {
    const model = this.find(id, kind);
    const name = JSON.stringify(id.slice(0, 100));
    if (!model) throw new AppError("model_not_found", `The model ${name} is not for sale here; GET /v1/models lists what is.`, { param: "model" });
    if (model.kind !== kind) throw new AppError("model_not_found", `The model ${name} is not sold by this route: it makes ${products[model.kind]}.`, { param: "model" });
    return model;
  }
}

const products: Record<ModelKind, string> = { chat: "text", image: "pictures", transcription: "text of speech", speech: "speech", other: "something else" };

/** Known, and paid requests for it are served; but nobody can say what a new one costs. */
function unpriced({ id, entries }: Group): Model {
  const [first, ...others] = entries;
  const { kind, createdS } = first!;
  return { id, kind, ...placeOf(first!), createdS, price: undefined, rate: undefined, standIns: others.map(placeOf) };
}

function placeOf({ upstream, upstreamModelId }: Entry): Place & { cost: undefined } {
  return { upstream, upstreamModelId, cost: undefined };
}

function pricedAt({ kind, upstream, upstreamModelId, price: listed, cost: paid, createdS, maxInputTokens, maxOutputTokens }: Entry, rate: BtcRate | undefined, discountPercent: number): Priced | undefined {
  const price = priceAt(listed, rate, discountPercent);
  if (price === undefined) return undefined;
  return { kind, upstream, upstreamModelId, price, cost: priceAt(paid, rate), rate: listed.kind === "usd" ? rate : undefined, createdS, maxInputTokens, maxOutputTokens };
}

/** What its own server does not call a chat model is not sold as one. Undefined: without a price it is not for sale. */
export function soldAs({ modality }: UpstreamModel, listed: { kind?: ModelKind | undefined } | undefined): ModelKind | undefined {
  if (listed === undefined) return undefined;
  const kind = listed.kind ?? "chat";
  return kind === "chat" && modality !== undefined && modality !== "chat" ? "other" : kind;
}

/** No route sells embeddings and the like, whatever their price. */
export function isSold(kind: ModelKind | undefined): kind is Exclude<ModelKind, "other"> {
  return kind !== undefined && kind !== "other";
}

/** The server's own word counts before the public table. */
function limitsOf({ contextTokens, maxOutputTokens }: UpstreamModel, listed: Limits): Limits {
  return { maxInputTokens: contextTokens ?? listed.maxInputTokens, maxOutputTokens: maxOutputTokens ?? listed.maxOutputTokens };
}

/** For comparing only: what an ordinary call costs, a thousand tokens read and half as many written, or one of what it is sold by. */
function weightOf({ price }: { price: ModelPrice }): bigint {
  const tokens = 1_000n * price.inputMsatPerMtok + 500n * price.outputMsatPerMtok;
  return units.reduce((sum, unit) => sum + (price.perMillion?.[unit] ?? 0n), tokens);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
