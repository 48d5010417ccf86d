/** `hearth prices`: which public prices are in use; `hearth prices update` fetches newer ones. Takes effect at the next start. */
import { mkdirSync } from "node:fs";
import { loadPrices, publicTableUrl, updatePrices } from "../pricing/price-table.ts";

/** The process's exit code. @throws AppError with what to do. */
export async function pricesCommand(args: string[], dataDir: string, print: (line: string) => void): Promise<number> {
  const [verb, from = publicTableUrl] = args;
  if (verb !== undefined && verb !== "update") {
    print("hearth prices                       the public prices in use\nhearth prices update [URL|FILE]     newer ones, from the net or a file");
    return 2;
  }
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const prices = verb === "update" ? await updatePrices(dataDir, from, new Date().toISOString().slice(0, 10)) : loadPrices(dataDir);
  print(`${Object.keys(prices.models).length} models, taken on ${prices.takenOn} from ${prices.source}`);
  if (verb === "update") print("Restart Hearth to sell at these.");
  return 0;
}
