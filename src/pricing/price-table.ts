/** The public prices in use: those Hearth was born with, or newer ones that the owner has fetched into the data directory. */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { AppError } from "../base/errors.ts";
import { maxPriceTableBytes, priceTableTimeoutMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";
import { readPublicTable, type Snapshot } from "./public-prices.ts";
import { bundledPrices } from "./snapshot.ts";

/** The table that litellm's maintainers keep (MIT); the bundled snapshot is read from a release of the same. */
export const publicTableUrl = "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json";

/** A table with fewer lines than this is not the one we know: better the old prices than a handful. */
const fewestModels = 200;

const tokens = z.int().min(0).optional();
const snapshotSchema = z.object({
  source: z.string(), licence: z.string(), takenOn: z.iso.date(),
  models: z.record(z.string(), z.object({
    mode: z.string(), in: tokens, out: tokens, cacheRead: tokens, cacheWrite: tokens, perImage: tokens, perSecond: tokens, perMchar: tokens, perCall: tokens, maxIn: tokens, maxOut: tokens,
    above: z.object({ tokens: z.int(), in: z.int(), out: z.int() }).optional(),
  })),
});

const pathIn = (dataDir: string) => join(dataDir, "prices.json");

/** The newer of the two. A file that cannot be read is said and passed over. */
export function loadPrices(dataDir: string): Snapshot {
  const path = pathIn(dataDir);
  if (!existsSync(path)) return bundledPrices;
  try {
    const fetched: Snapshot = snapshotSchema.parse(JSON.parse(readFileSync(path, "utf8")));
    return fetched.takenOn >= bundledPrices.takenOn ? fetched : bundledPrices;
  } catch (error) {
    log.warn("prices.unreadable", { path, reason: describeError(error) });
    return bundledPrices;
  }
}

/**
 * Reads the public table from a URL or a file and keeps what is for resale. @param today YYYY-MM-DD.
 * @throws AppError `invalid_prices`, with what is there left as it was.
 */
export async function updatePrices(dataDir: string, from: string, today: string): Promise<Snapshot> {
  const models = readPublicTable(parseTable(await readText(from)));
  const count = Object.keys(models).length;
  if (count < fewestModels) throw new AppError("invalid_prices", `${from} has only ${count} models with a price; this is not the table Hearth knows.`);
  const snapshot: Snapshot = { source: from, licence: "MIT", takenOn: today, models };
  const path = pathIn(dataDir);
  writeFileSync(`${path}.new`, JSON.stringify(snapshot));
  renameSync(`${path}.new`, path);
  return snapshot;
}

async function readText(from: string): Promise<string> {
  try {
    if (!/^https?:/.test(from)) return readFileSync(from, "utf8");
    const answer = await fetch(from, { signal: AbortSignal.timeout(priceTableTimeoutMs) });
    if (!answer.ok || answer.body === null) throw new Error(`it answered ${answer.status}`);
    return new TextDecoder().decode(await readBounded(answer.body, maxPriceTableBytes));
  } catch (error) {
    throw new AppError("invalid_prices", `${from} cannot be read: ${describeError(error)}`);
  }
}

function parseTable(text: string): Record<string, unknown> {
  try {
    const table: unknown = JSON.parse(text);
    if (typeof table === "object" && table !== null && !Array.isArray(table)) return table as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new AppError("invalid_prices", "This is no table of prices in JSON.");
}
