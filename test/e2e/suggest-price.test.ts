/** `hearth prices suggest`: what it prints follows from the speed it measured, and can be pasted and sold at. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, buyCredential, type ChatBody, endHearth, hello, makeDataDir, removeDataDir, runHearth, startHearth } from "../support/hearth.ts";

type Question = { model: string; max_tokens?: number; max_completion_tokens?: number; messages: { content: string }[] };

/** A model server with a pace: so long for a word read, so long for a word written. A word is a token. */
class PacedServer {
  readonly asked: Question[] = [];
  readonly #server;

  constructor(models: Record<string, "usage" | "no usage" | "no chat" | "secret">, key?: string) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1", port: 0,
      routes: {
        "/v1/models": () => Response.json({ data: Object.keys(models).map((id) => ({ id })) }),
        "/v1/chat/completions": async (request) => {
          const question = (await request.json()) as Question;
          this.asked.push(question);
          const kind = models[question.model];
          if (kind === "no chat") return Response.json({ error: { message: "this model does not chat" } }, { status: 400 });
          if (kind === "secret") return new Response(`bad key ${key}`, { status: 401 });
          const read = question.messages[0]!.content.split(" ").length, written = Math.min(question.max_tokens ?? 1_000, 400);
          await Bun.sleep(2 + read * 0.02 + written * 0.2);
          const choices = [{ index: 0, message: { role: "assistant", content: "word ".repeat(written).trim() }, finish_reason: "length" }];
          return Response.json({ choices, ...(kind === "usage" && { usage: { prompt_tokens: read, completion_tokens: written, total_tokens: read + written } }) });
        },
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/v1`;
  }

  stop(): Promise<void> {
    return this.#server.stop(true);
  }
}

let attic: PacedServer, cellar: PacedServer;
const folders: string[] = [];
beforeAll(() => {
  attic = new PacedServer({ "qwen3:8b": "usage", "own \"model\"": "usage", "old:latest": "no usage" });
  cellar = new PacedServer({ "qwen3:8b": "usage", wordless: "no chat", locked: "secret" }, "sk-live-4242");
});
afterAll(async () => {
  await Promise.all([attic.stop(), cellar.stop()]);
  folders.forEach(removeDataDir);
});

const server = (name: string, url: string, more = "") => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\n${more}`;

function folderWith(config: string): string {
  const folder = makeDataDir();
  folders.push(folder);
  writeFileSync(join(folder, "hearth.toml"), config);
  return folder;
}

function suggest(config: string, ...args: string[]) {
  return runHearth(["prices", "suggest", ...args], { HEARTH_DATA_DIR: folderWith(config) });
}

const power = ["--watts", "65", "--tariff", "0.30"];

type Row = { side: string; tokensPerSecond: string; counted: string; energy: string; energySats: string | undefined; price: string; priceSats: string | undefined };
/** Of each model, input before output. */
function rowsOf(output: string): Row[] {
  const row = /^ {2}(input|output) +([\d.]+) tokens\/s \((?:median of \d runs|1 run), ([^)]+)\); energy \$([\d.]+)(?: \((\d+) sats\))? per million tokens; price \$([\d.]+)(?: \((\d+) sats\))?$/gm;
  return [...output.matchAll(row)].map(([, side, tokensPerSecond, counted, energy, energySats, price, priceSats]) =>
    ({ side: side!, tokensPerSecond: tokensPerSecond!, counted: counted!, energy: energy!, energySats, price: price!, priceSats }));
}

const pastedFrom = (output: string) => output.slice(output.indexOf("\n[prices.models]\n"));
const ceilDivide = (a: bigint, b: bigint) => (a + b - 1n) / b;
const micros = (dollars: string) => BigInt(Math.round(Number(dollars) * 1e6));

/** In whole numbers: watts x dollars x 10^12 / (3.6 x tokens per second), both sides by a thousand. */
function energyOf(watts: bigint, cents: bigint, { tokensPerSecond }: Row): bigint {
  const [whole, places = ""] = tokensPerSecond.split(".");
  const scale = 10n ** BigInt(places.length);
  return ceilDivide(watts * cents * 100_000n * scale, 36n * BigInt(whole! + places));
}

describe("hearth prices suggest", () => {
  test("prices what the printed speed costs in electricity, and the margin on it, in dollars and sats", async () => {
    const { code, output } = await suggest(`usd_per_btc = 80000\n${server("attic", attic.url)}`, "qwen3:8b", ...power, "--idle-watts", "5", "--margin", "50");
    const rows = rowsOf(output);
    expect({ code, sides: rows.map((row) => row.side) }).toEqual({ code: 0, sides: ["input", "output"] });
    for (const row of rows) {
      expect(row.counted).toBe("counted by the model server");
      const cost = energyOf(60n, 30n, row), price = ceilDivide(cost * 150n, 100n);
      expect([micros(row.energy), micros(row.price)]).toEqual([cost, price]);
      // A dollar is 1,250 sats.
      expect([BigInt(row.energySats!), BigInt(row.priceSats!)]).toEqual([ceilDivide(cost * 1_250n, 1_000_000n), ceilDivide(price * 1_250n, 1_000_000n)]);
    }
    for (const said of ["65 W less 5 W", "$0.3 per kWh", "50 % margin", "$80000 per bitcoin", "Not counted: the machine itself"]) expect(output).toContain(said);
  });

  test("reads faster than it writes on a server that does, and asks no prompt twice to find out", async () => {
    attic.asked.length = 0;
    const { output } = await suggest(server("attic", attic.url), "attic/qwen3:8b", ...power);
    const [input, written] = rowsOf(output);
    expect(Number(input!.tokensPerSecond)).toBeGreaterThan(Number(written!.tokensPerSecond));
    const long = attic.asked.filter((question) => question.max_tokens === 1 && question.messages[0]!.content.split(" ").length >= 64).map((question) => question.messages[0]!.content);
    expect(long.length).toBeGreaterThan(1);
    expect(new Set(long.map((prompt) => prompt.slice(0, 200))).size).toBe(long.length);
  });

  test("what it prints can be pasted: Hearth starts with it and charges that price", async () => {
    const config = `usd_per_btc = 100000\n${server("attic", attic.url)}${server("cellar", cellar.url)}`;
    // A rack at a dear tariff, so that a short answer costs many msat.
    const { output } = await suggest(config, "qwen3:8b", "--watts", "100000", "--tariff", "10");
    const rows = rowsOf(output);
    expect(rows).toHaveLength(4);
    const hearth = await startHearth({ command: "serve", config: `${config}\n${pastedFrom(output)}` });
    for (const [at, name] of ["attic", "cellar"].entries()) {
      const body: ChatBody = { ...hello, model: `${name}/qwen3:8b`, max_tokens: 300 };
      const answer = await ask(hearth.url, body, await buyCredential(hearth.url, body));
      const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
      // At this price of bitcoin a micro-dollar is a millisatoshi.
      const [input, written] = rows.slice(2 * at, 2 * at + 2).map((row) => micros(row.price));
      const cost = ceilDivide(BigInt(usage.prompt_tokens) * input! + BigInt(usage.completion_tokens) * written!, 1_000_000n);
      expect(cost).toBeGreaterThan(1_000n);
      expect(answer.headers.get("x-hearth-cost-msat")).toBe(String(cost));
    }
    await endHearth(hearth);
  });

  test("the lines in sats can be pasted as well, and a name with quotes stays that name", async () => {
    const config = server("attic", attic.url);
    const { output } = await suggest(config, 'own "model"', ...power);
    const inSats = pastedFrom(output).split("\n").filter((line) => /^(\[|# or )/.test(line)).map((line) => line.replace("# or ", "")).join("\n");
    const priced = (Bun.TOML.parse(inSats) as { prices: { models: Record<string, object> } }).prices.models;
    const [input, written] = rowsOf(output);
    expect(priced).toEqual({ 'attic/own "model"': { input_sats_per_mtok: Number(input!.priceSats), output_sats_per_mtok: Number(written!.priceSats) } });
    await endHearth(await startHearth({ command: "serve", config: `${config}\n${inSats}` }));
  });

  test("without a model it measures all there are, and says which it could not: the others are priced, the code is 1", async () => {
    const { code, output } = await suggest(`${server("attic", attic.url)}${server("cellar", cellar.url, 'key = "sk-live-4242"\n')}`, ...power);
    expect({ code, rows: rowsOf(output).length }).toEqual({ code: 1, rows: 8 });
    expect(output).toContain("FIX   cellar/wordless: it answered 400: ");
    expect(output).toContain("this model does not chat");
    expect(output).toContain("FIX   cellar/locked: it answered 401: bad key ***");
    expect(output).not.toContain("4242");
    expect(Object.keys((Bun.TOML.parse(pastedFrom(output)) as { prices: { models: object } }).prices.models)).toEqual(["attic/qwen3:8b", 'attic/own "model"', "attic/old:latest", "cellar/qwen3:8b"]);
  });

  test("a server that reports no usage is measured by an estimate, which is said", async () => {
    const { code, output } = await suggest(server("attic", attic.url), "old", ...power);
    expect({ code, counted: rowsOf(output).map((row) => row.counted) }).toEqual({ code: 0, counted: Array<string>(2).fill("estimated, since the model server reports no usage") });
  });

  test("without a price of bitcoin it speaks of dollars only", async () => {
    const source = (name: string) => `[[rate_sources]]\nname = "${name}"\nurl = "http://127.0.0.1:1/${name}"\npath = "USD"\n`;
    const { code, output } = await suggest(["a", "b", "c"].map(source).join("") + server("attic", attic.url), "qwen3:8b", ...power);
    expect({ code, sats: rowsOf(output).map((row) => row.priceSats) }).toEqual({ code: 0, sats: [undefined, undefined] });
    expect(output).toContain("In sats: not known");
    expect(output).not.toContain("sats_per_mtok");
  });

  const inVain: [what: string, config: () => string, args: string[], code: number, said: string[]][] = [
    ["no upstream", () => "", power, 1, ["no model server of your own is configured", "HEARTH_UPSTREAM_URL"]],
    ["a cloud only", () => server("cloud", "https://llm.example.com/v1"), power, 1, ["no model server of your own is configured"]],
    ["a server at home that passes on to a cloud", () => server("attic", attic.url, 'provider = "openai"\n'), power, 1, ["no model server of your own is configured"]],
    ["a model nobody has", () => server("attic", attic.url), ["qwen4", ...power], 1, ['no model "qwen4"', 'there are attic/qwen3:8b, attic/own "model", attic/old:latest']],
    ["a server that is down", () => server("attic", "http://127.0.0.1:1/v1"), power, 1, ["FIX   upstream attic: The model server attic gave no model list", "is its url right?"]],
    ["no watts", () => server("attic", attic.url), ["--tariff", "0.30"], 2, ["--watts is missing", "such as --watts 65"]],
    ["a flag without its value", () => server("attic", attic.url), ["--watts=65", "--tariff"], 2, ['--tariff is ""', "such as --tariff 0.30"]],
    ["a flag nobody knows", () => server("attic", attic.url), [...power, "--volts", "230"], 2, ['"--volts" is not understood', "hearth prices suggest [MODEL] --watts"]],
    ["two models", () => server("attic", attic.url), ["qwen3:8b", "old", ...power], 2, ['"old" is not understood']],
  ];
  test.each(inVain)("%s: it says so and what to do, and suggests nothing", async (_what, config, args, expected, said) => {
    const { code, output } = await suggest(config(), ...args);
    expect(code).toBe(expected);
    for (const part of said) expect(output).toContain(part);
    expect(output).not.toContain("[prices.models]");
  });
});
