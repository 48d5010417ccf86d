/**
 * `hearth prices suggest`: measures the owner's own models, one caller at a time, and says what their electricity costs and what to
 * ask for them. Changes nothing: the lines it prints are the owner's to paste.
 */
import { z } from "zod";
import type { Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { maxAnswerBytes } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { ceilDivide } from "../money/msat.ts";
import { tokensLikely } from "../pricing/estimate.ts";
import { priceAt } from "../pricing/list-price.ts";
import type { RateBook } from "../pricing/rate-book.ts";
import type { BtcRate } from "../pricing/rate.ts";
import { microsPerMtok, parseRunningCost, type RunningCost, usdDecimal } from "../pricing/running-cost.ts";
import type { Upstream } from "../upstream/upstream.ts";
import { readChatUsage, type Usage } from "../upstream/usage.ts";

export type SuggestPrice = { args: string[]; /** Cloud upstreams are passed over: theirs is not the owner's electricity. */ upstreams: readonly Upstream[]; rates: RateBook; random: Random };
type Print = (line: string) => void;

type Model = { upstream: Upstream; id: string; /** `upstream/model`: the speed is this machine's, so is the price. */ name: string };
type Counted = "counted by the model server" | "estimated, since the model server reports no usage";
type Run = { tokensPerSecond: number; counted: Counted };
type Speed = Run & { runs: number };
type Row = { side: "input" | "output"; speed: Speed; cost: bigint; price: bigint };
type Suggestion = { ok: true; rows: { input: Row; output: Row } } | { ok: false; why: string };

/** The first answer waits until the model is in memory, from a slow disk perhaps. */
const loadTimeoutMs = 300_000;
/** For the runs of one direction: a minute a model. Also the most that one run may take. */
const sideMs = 30_000;
const runsWanted = 3;
/** A run is made as long as this at the speed seen first, within its bounds. */
const secondsOfRun = 4;
/** As the settings allow, in micro-dollars. */
const maxMicrosPerMtok = 100_000_000_000n;

export const suggestUsage = "hearth prices suggest [MODEL] --watts 65 --tariff 0.30 [--margin 20] [--idle-watts 0]\n                                    what to ask for a model of your own, from its measured speed; tariff in dollars";

/** The process's exit code: 1 when a model could not be measured. @throws AppError when it was asked for wrongly. */
export async function suggestPrice({ args, upstreams, rates, random }: SuggestPrice, print: Print): Promise<number> {
  const { model, running } = readArguments(args);
  const local = upstreams.filter((upstream) => upstream.local);
  if (local.length === 0) return fail(print, "no model server of your own is configured; set HEARTH_UPSTREAM_URL or [[upstreams]] in hearth.toml");
  const { models, silent } = await listModels(local);
  const wanted = models.filter((one) => model === undefined || isNamed(one, model));
  for (const why of silent) print(`FIX   ${why}`);
  if (wanted.length === 0) return fail(print, noSuchModel(model, models));
  await rates.refresh();
  const rate = rates.current();
  const lines: string[] = [];
  let measured = 0;
  for (const one of wanted) {
    print(`${one.name}: loading`);
    const suggestion = await suggest(one, running, random, print);
    if (suggestion.ok) {
      for (const row of [suggestion.rows.input, suggestion.rows.output]) print(rowText(row, rate));
      lines.push(...settingLines(one, suggestion.rows, rate));
      measured++;
    } else print(`FIX   ${one.name}: ${suggestion.why}`);
  }
  if (measured > 0) printLines(lines, running, rate, print);
  return silent.length === 0 && measured === wanted.length ? 0 : 1;
}

function noSuchModel(wanted: string | undefined, models: readonly Model[]): string {
  if (models.length === 0) return "your own servers list no model that chats; load one there, then ask again";
  return `there is no model ${JSON.stringify(wanted)} that chats on your own servers; there are ${models.map((one) => one.name).join(", ")}`;
}

function fail(print: Print, why: string): 1 {
  print(`FIX   ${why}`);
  return 1;
}

const flags = { "--watts": "watts", "--tariff": "tariff", "--margin": "marginPercent", "--idle-watts": "idleWatts" } as const;

function readArguments(args: readonly string[]): { model: string | undefined; running: RunningCost } {
  const said: { [name in (typeof flags)[keyof typeof flags]]?: string } = {};
  let model: string | undefined;
  const words = args.flatMap((word) => (/^--[a-z-]+=/.test(word) ? [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)] : [word]));
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (Object.hasOwn(flags, word)) said[flags[word as keyof typeof flags]] = words[++at] ?? "";
    else if (word.startsWith("-") || model !== undefined) throw new AppError("invalid_arguments", `${JSON.stringify(word)} is not understood.\n${suggestUsage}`);
    else model = word;
  }
  const outcome = parseRunningCost(said);
  if (!outcome.ok) throw new AppError("invalid_arguments", outcome.message);
  return { model, running: outcome.running };
}

async function listModels(upstreams: readonly Upstream[]): Promise<{ models: Model[]; silent: string[] }> {
  const silent: string[] = [];
  const lists = await Promise.all(upstreams.map(async (upstream) => {
    try {
      const chatting = (await upstream.models()).filter(({ modality = "chat" }) => modality === "chat");
      return chatting.map(({ id }): Model => ({ upstream, id, name: `${upstream.name}/${id}` }));
    } catch (error) {
      silent.push(`upstream ${upstream.name}: ${error instanceof AppError ? error.message : describeError(error)} Is it running, and is its url right?`);
      return [];
    }
  }));
  return { models: lists.flat(), silent };
}

/** As buyers may name it, and as Ollama does: `:latest` may be left out. */
function isNamed({ id, name }: Model, wanted: string): boolean {
  return [id, name, id.replace(/:latest$/, ""), name.replace(/:latest$/, "")].includes(wanted);
}

async function suggest(model: Model, running: RunningCost, random: Random, print: Print): Promise<Suggestion> {
  try {
    await ask(model, { prompt: story, capTokens: 1 }, loadTimeoutMs);
    const output = await speedOf(model, writing, print);
    const input = await speedOf(model, reading(random), print);
    const rows = {
      input: { side: "input" as const, speed: input, ...microsPerMtok(running, input.tokensPerSecond) },
      output: { side: "output" as const, speed: output, ...microsPerMtok(running, output.tokensPerSecond) },
    };
    const dearest = rows.input.price > rows.output.price ? rows.input.price : rows.output.price;
    if (dearest > maxMicrosPerMtok) return { ok: false, why: `at this speed a million tokens would have to cost $${usdDecimal(dearest)}, more than the settings allow; sell a faster model` };
    return { ok: true, rows };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { ok: false, why: model.upstream.redact(error.message) };
  }
}

type Question = { prompt: string; capTokens: number };
/** One direction of a chat: how much of it to ask for, and which of its tokens to count. */
type Side = { name: Row["side"]; fewest: number; most: number; question(tokens: number): Question; tokensOf(usage: Usage): number };

const story = "Tell me a long story about a lighthouse. Do not stop before it has a hundred chapters.";

const writing: Side = { name: "output", fewest: 16, most: 256, question: (tokens) => ({ prompt: story, capTokens: tokens }), tokensOf: (usage) => usage.outputTokens };

/** Words that are a token for nearly every model. */
const words = "the and for with that this from have not are was but all one out day time man house work year hand world life water place week point part home room line".split(" ");

/** Longer prompts do not fit the smallest contexts (2,048). In no order that a model server can have kept from an earlier run. */
function reading(random: Random): Side {
  const unheard = (count: number) => [...random.bytes(count)].map((byte) => words[byte % words.length]).join(" ");
  return { name: "input", fewest: 64, most: 1_500, question: (tokens) => ({ prompt: unheard(tokens), capTokens: 1 }), tokensOf: (usage) => usage.inputTokens };
}

/** The median of the runs for which there is time. A short one comes first, to see how long the others may be. */
async function speedOf(model: Model, side: Side, print: Print): Promise<Speed> {
  const endMs = performance.now() + sideMs;
  const first = await run(model, side, side.fewest);
  const tokens = Math.min(side.most, Math.max(side.fewest, Math.round(first.tokensPerSecond * secondsOfRun)));
  const expectedMs = (tokens / first.tokensPerSecond) * 1000;
  const runs: Run[] = [];
  while (runs.length < runsWanted && performance.now() + expectedMs < endMs) {
    runs.push(await run(model, side, tokens));
    print(`${model.name}: ${side.name} run ${runs.length} of ${runsWanted}: ${runs.at(-1)!.tokensPerSecond} tokens/s`);
  }
  // Of a slow model there may be the short run only.
  const sorted = (runs.length > 0 ? runs : [first]).sort((a, b) => a.tokensPerSecond - b.tokensPerSecond);
  return { ...sorted[(sorted.length - 1) >> 1]!, runs: sorted.length };
}

/** The whole time counts, the way there and back included: an error that makes nothing cheaper than it is. */
async function run(model: Model, side: Side, tokens: number): Promise<Run> {
  const begunMs = performance.now();
  const { usage, counted } = await ask(model, side.question(tokens), sideMs);
  const counts = side.tokensOf(usage);
  if (counts === 0) throw new AppError("upstream_unavailable", "it answered without a token; try it with a chat first");
  // Rounded to what is shown, so that the price can be checked with a pocket calculator.
  return { tokensPerSecond: Number(((counts * 1000) / (performance.now() - begunMs)).toPrecision(3)), counted };
}

const answerSchema = z.object({
  choices: z.array(z.object({ message: z.looseObject({ content: z.string().nullish(), reasoning: z.string().nullish(), reasoning_content: z.string().nullish() }) })).min(1),
  usage: z.unknown().optional(),
});

/** @throws AppError with what to do about it. */
async function ask({ upstream, id }: Model, { prompt, capTokens }: Question, timeoutMs: number): Promise<{ usage: Usage; counted: Counted }> {
  const body = JSON.stringify({ model: id, messages: [{ role: "user", content: prompt }], [upstream.profile.capField]: capTokens, stream: false });
  const text = await readAnswer(upstream, body, timeoutMs);
  const parsed = answerSchema.safeParse(parseJson(text));
  if (!parsed.success) throw new AppError("upstream_unavailable", "what it answers is no chat answer; is its url the one that ends in /v1?");
  const report = readChatUsage(parsed.data.usage);
  if (report.kind === "reported") return { usage: report.usage, counted: "counted by the model server" };
  const { content, reasoning, reasoning_content } = parsed.data.choices[0]!.message;
  const usage = { inputTokens: tokensLikely(prompt), outputTokens: tokensLikely(`${reasoning ?? reasoning_content ?? ""}${content ?? ""}`) };
  return { usage, counted: "estimated, since the model server reports no usage" };
}

async function readAnswer(upstream: Upstream, body: string, timeoutMs: number): Promise<string> {
  try {
    const answer = await upstream.chat(body, AbortSignal.timeout(timeoutMs));
    const text = new TextDecoder().decode(await answer.read(maxAnswerBytes));
    if (answer.status === 200) return text;
    throw new AppError("upstream_unavailable", `it answered ${answer.status}: ${text.slice(0, 200)}`);
  } catch (error) {
    if (error instanceof AppError) throw error;
    const why = error instanceof DOMException && error.name === "TimeoutError" ? `it was not done after ${timeoutMs / 1000} s: too slow to be measured, or busy` : `its answer broke off (${describeError(error)})`;
    throw new AppError("upstream_unavailable", why, { cause: error });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function rowText({ side, speed, cost, price }: Row, rate: BtcRate | undefined): string {
  const amount = (micros: bigint) => `$${usdDecimal(micros)}${rate === undefined ? "" : ` (${satsPerMtok(micros, rate)} sats)`}`;
  const runs = speed.runs === 1 ? "1 run" : `median of ${speed.runs} runs`;
  return `  ${side.padEnd(6)} ${speed.tokensPerSecond} tokens/s (${runs}, ${speed.counted}); energy ${amount(cost)} per million tokens; price ${amount(price)}`;
}

function satsPerMtok(micros: bigint, rate: BtcRate): bigint {
  return ceilDivide(priceAt({ kind: "usd", price: { inputMicros: micros, outputMicros: 0n } }, rate)!.inputMsatPerMtok, 1_000n);
}

/** A line in dollars, and the same in sats for who has a bitcoin's price. JSON writes a text as TOML reads it, but for DEL. */
function settingLines({ name }: Model, { input, output }: { input: Row; output: Row }, rate: BtcRate | undefined): string[] {
  const key = JSON.stringify(name).replaceAll("\u007f", "\\u007f");
  const inDollars = `${key} = { input_usd_per_mtok = ${usdDecimal(input.price)}, output_usd_per_mtok = ${usdDecimal(output.price)} }`;
  if (rate === undefined) return [inDollars];
  return [inDollars, `# or ${key} = { input_sats_per_mtok = ${satsPerMtok(input.price, rate)}, output_sats_per_mtok = ${satsPerMtok(output.price, rate)} }`];
}

function printLines(lines: readonly string[], { watts, idleWatts, usdPerKwh, marginPercent }: RunningCost, rate: BtcRate | undefined, print: Print): void {
  print(`\nEnergy: ${watts} W${idleWatts > 0 ? ` less ${idleWatts} W drawn anyway` : ""} at $${usdPerKwh} per kWh. Price: energy and ${marginPercent} % margin.`);
  print(rate === undefined ? "In sats: not known, since no price of bitcoin is; set usd_per_btc." : `Sats at $${usdDecimal(rate.centsPerBtc * 10_000n)} per bitcoin.`);
  print("Not counted: the machine itself, its wear, and the hours in which nobody asks.");
  print("\nTo sell at these, paste the lines under [prices.models] in hearth.toml (that line too, where it is not there yet) and restart Hearth:\n");
  for (const line of ["[prices.models]", ...lines]) print(line);
}
