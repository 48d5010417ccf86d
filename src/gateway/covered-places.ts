/** Who may answer at a price that was agreed: nobody gains by making the cheap one fail. Pure. */
import type { ModelPrice } from "../pricing/quote.ts";
import type { Model, Place } from "./model-directory.ts";

/**
 * In the order to ask. The upstream that was quoted may always answer, whatever bitcoin did since: that risk is the owner's. Any other
 * only where it is known to cost the owner no more than was agreed.
 * @param quotedUpstream Undefined in terms of an earlier version: then whoever is first now.
 */
export function coveredPlaces(model: Model, quotedUpstream: string | undefined, covered: (cost: ModelPrice) => boolean): Place[] {
  const first: Place & { cost: ModelPrice | undefined } = { upstream: model.upstream, upstreamModelId: model.upstreamModelId, cost: model.cost };
  const quoted = quotedUpstream ?? model.upstream.name;
  return [first, ...model.standIns].filter(({ upstream, cost }) => upstream.name === quoted || (cost !== undefined && covered(cost)));
}
