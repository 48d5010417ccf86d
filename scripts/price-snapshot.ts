// Writes src/pricing/snapshot.json, the public prices Hearth is born with: read from the table that the litellm package
// (MIT) carries, which its maintainers keep from the providers' own price pages. Needs pip and unzip.
//   bun scripts/price-snapshot.ts            the newest release
//   bun scripts/price-snapshot.ts 1.109.1    a certain one
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPublicTable, type Snapshot } from "../src/pricing/public-prices.ts";

const tableInWheel = "litellm/model_prices_and_context_window_backup.json";
const target = new URL("../src/pricing/snapshot.json", import.meta.url).pathname;

function run(command: string[], cwd: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd, maxBuffer: 64 * 1024 * 1024 });
  if (exitCode !== 0) throw new Error(`${command[0]} ended with ${exitCode}: ${stderr.toString()}`);
  return stdout.toString();
}

const [version] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "prices-"));
try {
  run(["pip", "download", "--no-deps", "--quiet", version === undefined ? "litellm" : `litellm==${version}`], folder);
  const wheel = readdirSync(folder).find((name) => name.endsWith(".whl"))!;
  const table = JSON.parse(run(["unzip", "-p", wheel, tableInWheel], folder)) as Record<string, unknown>;
  const models = readPublicTable(table);
  const snapshot: Snapshot = { source: `litellm ${/^litellm-([\d.]+)/.exec(wheel)![1]}`, licence: "MIT", takenOn: new Date().toISOString().slice(0, 10), models };
  const rows = Object.entries(models).map(([id, price]) => `${JSON.stringify(id)}:${JSON.stringify(price)}`);
  writeFileSync(target, `${JSON.stringify({ ...snapshot, models: {} }).replace("\"models\":{}}", '"models":{')}\n${rows.join(",\n")}\n}}\n`);
  process.stdout.write(`${rows.length} models of ${snapshot.source}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
