/**
 * Reads along while a chat answer passes: usage, what was delivered, whether it ended. Pure. It changes no byte; it only
 * says which event the buyer did not ask for.
 */
import { tokensAtLeast, tokensLikely } from "../pricing/estimate.ts";
import { readChatUsage, type Usage, type UsageReport } from "../upstream/usage.ts";

type Choice = { index?: unknown; delta?: Delta; message?: Delta; finish_reason?: unknown };
type Delta = { content?: unknown; reasoning?: unknown; reasoning_content?: unknown; refusal?: unknown; tool_calls?: unknown };
type Chunk = { id?: unknown; created?: unknown; model?: unknown; choices?: unknown; usage?: unknown; x_groq?: { usage?: unknown; error?: unknown } | null; error?: unknown };

/** Events that carry no more text than this on average are a token each. */
const bytesOfTokenEvent = 8;
/** Text is counted in pieces, so that a long answer is not kept. */
const foldAtCharacters = 8_192;

export class ChatTap {
  readonly #includeUsage: boolean;
  #text = "";
  #likelyFolded = 0;
  #contentEvents = 0;
  #contentBytes = 0;
  #usage: UsageReport = { kind: "absent" };
  #finished = false;
  #done = false;
  #failed = false;
  /** The first chunk's own, for a last one of ours that clients take for one of theirs. */
  #head: Pick<Chunk, "id" | "created" | "model"> | undefined;
  readonly #openChoices = new Set<number>();

  constructor(includeUsage: boolean) {
    this.#includeUsage = includeUsage;
  }

  /** The upstream's last word on usage. Zero output beside delivered text is absurd. */
  get usage(): UsageReport {
    if (this.#usage.kind === "reported" && this.#usage.usage.outputTokens === 0 && this.#contentEvents > 0) return { kind: "absurd" };
    return this.#usage;
  }

  /** Anything a buyer could read. */
  get delivered(): boolean {
    return this.#contentEvents > 0;
  }

  /** The model came to an end by itself: a finish reason or the end mark. */
  get finished(): boolean {
    return this.#finished || this.#done;
  }

  get done(): boolean {
    return this.#done;
  }

  /** The upstream reported an error in the middle of its answer. */
  get failed(): boolean {
    return this.#failed;
  }

  /** A chunk that ends every choice still open, as an engine that obeys its cap would. */
  lengthChunk(): string {
    const choices = [...this.#openChoices].map((index) => ({ index, delta: {}, finish_reason: "length" }));
    return JSON.stringify({ ...this.#head, object: "chat.completion.chunk", choices });
  }

  /** Our own count of the output, for billing. An engine that sends token by token has counted for us. */
  get likelyTokens(): number {
    if (this.#contentEvents > 1 && this.#contentBytes <= this.#contentEvents * bytesOfTokenEvent) return this.#contentEvents;
    return Math.max(this.#contentEvents > 0 ? 1 : 0, this.#likelyFolded + tokensLikely(this.#text));
  }

  /** What was surely made by now: the upstream's running usage, or else our least count. */
  get surelyMade(): number {
    const running: Usage | undefined = this.usage.kind === "reported" ? (this.usage as { usage: Usage }).usage : undefined;
    return running?.outputTokens ?? tokensAtLeast(this.#contentEvents, this.#contentBytes);
  }

  /** One event's data. `withhold`: the usage chunk of a buyer who did not ask for it; common clients break on it. */
  see(data: string): "pass" | "withhold" {
    if (data === "[DONE]") {
      this.#done = true;
      return "pass";
    }
    const chunk = parseChunk(data);
    if (chunk === undefined) return "pass";
    // Groq puts the usage of a stream, and why it broke off, into a field of its own.
    if (chunk.error !== undefined || typeof chunk.x_groq?.error === "string") this.#failed = true;
    const report = readChatUsage(chunk.usage ?? chunk.x_groq?.usage);
    if (report.kind !== "absent") this.#usage = report;
    this.#head ??= { id: chunk.id, created: chunk.created, model: chunk.model };
    const choices = Array.isArray(chunk.choices) ? (chunk.choices as Choice[]) : [];
    for (const choice of choices) this.#seeChoice(choice);
    return choices.length === 0 && report.kind !== "absent" && !this.#includeUsage ? "withhold" : "pass";
  }

  /** A whole answer that was not streamed. False when it is not a chat answer at all. */
  seeBody(text: string): boolean {
    const body = parseChunk(text);
    if (!Array.isArray(body?.choices)) return false;
    this.see(text);
    this.#finished = true;
    return true;
  }

  #seeChoice(choice: Choice | null): void {
    if (choice === null || typeof choice !== "object") return;
    const index = typeof choice.index === "number" ? choice.index : 0;
    if (choice.finish_reason) {
      this.#finished = true;
      this.#openChoices.delete(index);
    } else this.#openChoices.add(index);
    const text = deltaText(choice.delta ?? choice.message);
    if (text === "") return;
    this.#contentEvents++;
    this.#contentBytes += Buffer.byteLength(text);
    this.#text += text;
    if (this.#text.length < foldAtCharacters) return;
    this.#likelyFolded += tokensLikely(this.#text);
    this.#text = "";
  }
}

function parseChunk(data: string): Chunk | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as Chunk) : undefined;
  } catch {
    return undefined;
  }
}

function deltaText(delta: Delta | undefined | null): string {
  if (typeof delta !== "object" || delta === null) return "";
  let text = "";
  // Engines call the thinking by one name or the other; some send both with the same words.
  for (const part of [delta.content, delta.reasoning ?? delta.reasoning_content, delta.refusal]) if (typeof part === "string") text += part;
  if (Array.isArray(delta.tool_calls)) text += JSON.stringify(delta.tool_calls);
  return text;
}
