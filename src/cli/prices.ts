/** `hearth prices`: which public prices are in use; `update` fetches newer ones, `suggest` measures what to ask for own models. Takes effect at the next start. */
import { mkdirSync } from "node:fs";
import { loadPrices, publicTableUrl, updatePrices } from "../pricing/price-table.ts";
import { suggestPrice, suggestUsage, type SuggestPrice } from "./suggest-price.ts";

export type PricesCommand = SuggestPrice & { dataDir: string };

/** The process's exit code. @throws AppError with what to do. */
export async function pricesCommand(command: PricesCommand, print: (line: string) => void): Promise<number> {
  const { args: [verb, ...rest], dataDir } = command;
  if (verb === "suggest") return suggestPrice({ ...command, args: rest }, print);
  if (verb !== undefined && verb !== "update") {
    print(`hearth prices                       the public prices in use\nhearth prices update [URL|FILE]     newer ones, from the net or a file\n${suggestUsage}`);
    return 2;
  }
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const prices = verb === "update" ? await updatePrices(dataDir, rest[0] ?? publicTableUrl, new Date().toISOString().slice(0, 10)) : loadPrices(dataDir);
  print(`${Object.keys(prices.models).length} models, taken on ${prices.takenOn} from ${prices.source}`);
  if (verb === "update") print("Restart Hearth to sell at these.");
  return 0;
}
