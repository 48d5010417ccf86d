/**
 * What the sandbox model says, and which ways of misbehaving it knows. Pure: the same request always gets the same
 * answer. It never repeats a word of the prompt and refuses to tokenize: its tokens are counted, not estimated.
 */
import * as z from "zod";

export const sandboxModels = ["sandbox", "sandbox-think", "sandbox-loop"] as const;

/** Where `sandbox-loop` ends when the request has no cap: ten times a context of 4,096, as Ollama does. */
export const sandboxLoopTokens = 40_960;

/** OpenAI's own bound on `n`. */
const maxChoices = 128;

/** All off by default. `misbehave` replaces the whole set; `{}` is a well-behaved model. */
export type ModelFaults = {
  /** The set applies to this many chat calls, then all of it is off. Without it: until told otherwise. */
  times?: number;
  /** Pause before every token, instead of the server's own pace. */
  tokenDelayMs?: number;
  /** Answer with this HTTP status and an error in OpenAI's shape. */
  status?: number;
  /** Take the request and never answer a byte. */
  hang?: boolean;
  /** Wait this long before the status line. */
  firstByteDelayMs?: number;
  /** Reset the connection before any byte of an answer. */
  drop?: boolean;
  /** Reset the connection after this many tokens; a buffered answer arrives half. */
  breakAfterTokens?: number;
  /** Fall silent after this many tokens and keep the connection; a buffered answer arrives half. */
  stallAfterTokens?: number;
  /** Report no usage, asked or not. */
  noUsage?: boolean;
  /** Sent wherever usage is due, instead of the truth. */
  usage?: unknown;
  /** Running usage in every chunk, asked or not (vLLM's `continuous_usage_stats`). */
  usageEveryChunk?: boolean;
  /** Usage in the finish chunk, asked or not, and no extra chunk. */
  usageInFinishChunk?: boolean;
  /** End the stream without `[DONE]`. */
  noDone?: boolean;
  /** Make this many tokens per choice, whatever the cap says. */
  ignoreCap?: number;
  /** 200 with an HTML page. */
  notJson?: boolean;
  /** The first token's event is exactly this many bytes; a buffered answer grows by as many. */
  hugeEvent?: number;
  /** Lines of the stream end in `\r\n`. */
  crlf?: boolean;
  /** The whole stream in one write. */
  oneWrite?: boolean;
  /** Every write is cut into pieces of this many bytes, through characters too. */
  splitBytes?: number;
};

const messageSchema = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))]).nullish(),
});
const count = z.int().min(1).nullish();
const requestSchema = z.looseObject({
  model: z.string(),
  messages: z.array(messageSchema).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: count,
  max_completion_tokens: count,
  n: z.int().min(1).max(maxChoices).nullish(),
  tool_choice: z.unknown().optional(),
  tools: z.array(z.looseObject({ function: z.looseObject({ name: z.string(), parameters: z.unknown().optional() }) })).nullish(),
});

export type SandboxMessage = z.infer<typeof messageSchema>;
type Body = z.infer<typeof requestSchema>;
type Tool = NonNullable<Body["tools"]>[number];

export type SandboxRequest = {
  model: string;
  messages: readonly SandboxMessage[];
  stream: boolean;
  includeUsage: boolean;
  /** Tokens per choice; `undefined` when the request has no cap. */
  cap: number | undefined;
  choices: number;
  /** The tool the answer calls; `undefined` when the answer is text. */
  tool: Tool | undefined;
};

export type SandboxRefusal = { status: number; message: string; code: string; param: string | null };

/** A chat request as the sandbox understands it, or the error it answers. */
export function readSandboxRequest(body: unknown): { request: SandboxRequest } | { refusal: SandboxRefusal } {
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) {
    const param = parsed.error.issues[0]?.path.join(".") || null;
    const message = `Invalid value for ${param ?? "the request body"}.`;
    return { refusal: { status: 400, message, code: "invalid_value", param } };
  }
  const { model, messages, stream, stream_options, max_tokens, max_completion_tokens, n } = parsed.data;
  if (!sandboxModels.some((known) => known === model)) {
    const message = `The model does not exist. Known: ${sandboxModels.join(", ")}.`;
    return { refusal: { status: 404, message, code: "model_not_found", param: "model" } };
  }
  return {
    request: {
      model,
      messages,
      stream: stream ?? false,
      includeUsage: stream_options?.include_usage ?? false,
      cap: max_completion_tokens ?? max_tokens ?? undefined,
      choices: n ?? 1,
      tool: toolToCall(parsed.data),
    },
  };
}

/** After a tool's result comes text, or an agent would call for ever. */
function toolToCall({ tools, tool_choice, messages }: Body): Tool | undefined {
  if (tool_choice === "none" || messages.at(-1)?.role === "tool") return undefined;
  return tools?.[0];
}

function textOf({ content }: SandboxMessage): string {
  if (typeof content === "string") return content;
  return content?.map((part) => part.text ?? "").join("") ?? "";
}

/** The exact prompt count: UTF-8 bytes of all message text / 4, rounded up, + 4 per message. Tools are free. */
export function sandboxPromptTokens(messages: readonly SandboxMessage[]): number {
  const bytes = messages.reduce((sum, message) => sum + Buffer.byteLength(textOf(message)), 0);
  return Math.ceil(bytes / 4) + 4 * messages.length;
}

/** One token. `call` opens the tool call (its text is the tool's name), `arguments` continues it. */
export type Piece = { part: "reasoning" | "content" | "call" | "arguments"; text: string };

export type SandboxAnswer = {
  promptTokens: number;
  /** Tokens of each choice; all choices are the same. */
  tokens: number;
  finish: "stop" | "length" | "tool_calls";
  /** The token at this place of a choice, from 0. */
  pieceAt(index: number): Piece;
  /** How many of the first `tokens` of a choice are reasoning. */
  reasoningIn(tokens: number): number;
};

const thinking = ["First", " I", " look", " at", " the", " question", ",", " then", " I", " answer", "."];
const loop = ["tick", " tock", " ding", " dong", " "];

export function sandboxAnswer(request: SandboxRequest, faults: ModelFaults): SandboxAnswer {
  const loops = request.model === "sandbox-loop" && request.tool === undefined;
  const script = loops ? [] : scriptFor(request);
  const rest = loops ? loop : request.tool ? [" "] : greeting(request.messages);
  const restPart = request.tool ? "arguments" : "content";
  const whole = loops ? sandboxLoopTokens : script.length;
  const cut = loops || (request.cap ?? whole) < whole;
  const natural = request.tool ? "tool_calls" : "stop";
  const reasoning = script.filter((piece) => piece.part === "reasoning").length;
  return {
    promptTokens: sandboxPromptTokens(request.messages),
    tokens: faults.ignoreCap ?? Math.min(whole, request.cap ?? whole),
    finish: cut && faults.ignoreCap === undefined ? "length" : natural,
    pieceAt: (index) =>
      script[index] ?? { part: restPart, text: rest[(index - script.length) % rest.length] ?? "" },
    reasoningIn: (tokens) => Math.min(tokens, reasoning),
  };
}

function scriptFor(request: SandboxRequest): Piece[] {
  if (request.tool) return callOf(request.tool);
  const content = greeting(request.messages).map((text): Piece => ({ part: "content", text }));
  if (request.model !== "sandbox-think") return content;
  return [...thinking.map((text): Piece => ({ part: "reasoning", text })), ...content];
}

function greeting(messages: readonly SandboxMessage[]): string[] {
  const last = messages.findLast((message) => message.role === "user");
  let characters = 0;
  for (const _ of last ? textOf(last) : "") characters++;
  return [
    "Hello", " from", " the", " Hearth", " sandbox", " 🔥", "!", " Your", " last", " message", " has", " ",
    String(characters), " characters", ".", " I", " am", " not", " a", " real", " model", " –", " but", " every",
    " token", " of", " this", " reply", " is", " counted", " and", " paid", ".",
  ];
}

/** Nine tokens: the name, then eight pieces of arguments with one field of the tool's own schema. */
function callOf(tool: Tool): Piece[] {
  const field = JSON.stringify(fieldOf(tool.function.parameters)).slice(1, -1);
  const pieces = ["{", '"', field, '":', '"', "Par", "is", '"}'];
  return [{ part: "call", text: tool.function.name }, ...pieces.map((text): Piece => ({ part: "arguments", text }))];
}

const parametersSchema = z.looseObject({
  required: z.array(z.string()).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
});

function fieldOf(parameters: unknown): string {
  const parsed = parametersSchema.safeParse(parameters);
  if (!parsed.success) return "city";
  return parsed.data.required?.[0] ?? Object.keys(parsed.data.properties ?? {})[0] ?? "city";
}
