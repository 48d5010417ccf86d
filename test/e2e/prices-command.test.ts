/** `hearth prices`: newer public prices from a file or the net; what cannot be read leaves the old ones. */
import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeDataDir, removeDataDir, runHearth } from "../support/hearth.ts";

const dataDir = makeDataDir();
const served: { text: string; status: number } = { text: "", status: 200 };
const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response(served.text, { status: served.status }) });
afterAll(async () => {
  await server.stop(true);
  removeDataDir(dataDir);
});

const prices = (...args: string[]) => runHearth(["prices", ...args], { HEARTH_DATA_DIR: dataDir });
const line = (n: number) => ({ litellm_provider: "openai", mode: "chat", input_cost_per_token: n * 1e-7, output_cost_per_token: n * 4e-7 });
const table = (count: number) => JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, n) => [`gpt-${n + 1}`, line(n + 1)])));

describe("hearth prices", () => {
  test("names the prices it came with", async () => {
    const { code, output } = await prices();
    expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^1\d{3} models, taken on 2026-\d\d-\d\d from litellm [\d.]+\n$/) as string });
  });

  const refused: [what: string, text: string, status: number][] = [
    ["no JSON", "<html>", 200], ["a list", "[]", 200], ["a handful of models", table(5), 200], ["an error", table(300), 500],
  ];
  test.each(refused)("update from what is %s is refused in one sentence, and changes nothing", async (_what, text, status) => {
    const before = (await prices()).output;
    Object.assign(served, { text, status });
    const { code, output } = await prices("update", server.url.href);
    expect({ code, lines: output.trimEnd().split("\n").length }).toEqual({ code: 2, lines: 1 });
    expect((await prices()).output).toBe(before);
  });

  test("update from the net, and from a file, is in use from then on", async () => {
    Object.assign(served, { text: table(300), status: 200 });
    expect((await prices("update", server.url.href)).output).toContain("300 models, taken on ");
    expect((await prices()).output).toContain(`300 models, taken on `);
    const path = join(dataDir, "table.json");
    writeFileSync(path, table(301));
    expect((await prices("update", path)).code).toBe(0);
    expect((await prices()).output).toContain("301 models");
  });

  test("a spoilt file of its own is passed over for the prices it came with", async () => {
    writeFileSync(join(dataDir, "prices.json"), '{"models": 5}');
    const { code, output } = await prices();
    expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("from litellm") as string });
  });
});
