/** The public prices this Hearth was born with. */
import type { Snapshot } from "./public-prices.ts";
import table from "./snapshot.json" with { type: "json" };

export const bundledPrices = table as Snapshot;
