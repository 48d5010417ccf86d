/** Every kind of server, by its recorded answers and against a server as strict as itself. */
import { afterAll, describe, expect, test } from "bun:test";
import { type ServerKind, serverKinds } from "../../src/config/providers.ts";
import { ChatTap } from "../../src/gateway/chat-tap.ts";
import type { Model } from "../../src/gateway/model-directory.ts";
import { droppedFields, planChat, upstreamBody } from "../../src/gateway/plan.ts";
import { openAiCompatible } from "../../src/upstream/openai-compatible.ts";
import { eventData, SseFramer } from "../../src/upstream/sse.ts";
import type { UpstreamModel } from "../../src/upstream/upstream.ts";
import type { Usage } from "../../src/upstream/usage.ts";
import { manners, type StrictServer, startStrictServer } from "./strict-server.ts";

type Dialect = {
  models: UpstreamModel[];
  usage: Usage;
  /** Of the stream, where it says something else. */
  streamed?: Usage;
  /** Of everything a buyer may send. */
  dropped: string[];
  capField: "max_tokens" | "max_completion_tokens";
};

const usage = (inputTokens: number, outputTokens: number, costMicros?: number): Usage => ({ inputTokens, outputTokens, ...(costMicros !== undefined && { costMicros }) });
const engineFields = ["top_k", "min_p", "repeat_penalty", "repetition_penalty", "think", "chat_template_kwargs"];
const echoed = ["messages.refusal", "messages.annotations", "messages.reasoning", "messages.reasoning_content"];

const dialects: Record<ServerKind, Dialect> = {
  ollama: {
    models: [{ id: "qwen3:8b", createdS: 1754006400 }, { id: "nomic-embed-text:latest", createdS: 1754006401, modality: "embedding" }, { id: "somebody/tuned:latest", createdS: 1754006402 }],
    usage: usage(9, 27), dropped: [...engineFields, "logit_bias", "tool_choice", "parallel_tool_calls", "verbosity"], capField: "max_tokens",
  },
  "llama.cpp": {
    models: [{ id: "gemma-3-4b-it-Q4_K_M.gguf", createdS: 1760000000, contextTokens: 8192 }],
    usage: usage(12, 5), dropped: ["repetition_penalty", "think", "reasoning", "verbosity"], capField: "max_tokens",
  },
  vllm: {
    models: [{ id: "Qwen/Qwen3-8B", createdS: 1760000000, contextTokens: 40960 }],
    usage: usage(14, 30), dropped: ["repeat_penalty", "think", "reasoning", "verbosity"], capField: "max_tokens",
  },
  lmstudio: {
    models: [
      { id: "qwen/qwen3-4b", createdS: undefined, contextTokens: 4096, modality: "chat" }, { id: "llama-3.2-3b-instruct", createdS: undefined, contextTokens: 131072, modality: "chat" },
      { id: "text-embedding-nomic-embed-text-v1.5", createdS: undefined, contextTokens: 2048, modality: "embedding" },
    ],
    usage: usage(24, 53), capField: "max_tokens",
    dropped: ["min_p", "repetition_penalty", "logprobs", "top_logprobs", "parallel_tool_calls", "reasoning", "think", "verbosity", "chat_template_kwargs"],
  },
  openai: {
    models: [
      { id: "gpt-4o-mini", createdS: 1721172741 }, { id: "o4-mini", createdS: 1744225351 }, { id: "gpt-5.1", createdS: 1762547951 }, { id: "text-embedding-3-small", createdS: 1705948997, modality: "embedding" },
      { id: "whisper-1", createdS: 1677532384, modality: "audio" }, { id: "dall-e-3", createdS: 1698785189, modality: "image" }, { id: "omni-moderation-latest", createdS: 1731689265, modality: "other" },
    ],
    usage: usage(8, 9), capField: "max_completion_tokens",
    dropped: [...engineFields, "reasoning", "reasoning_effort", "verbosity", "messages.reasoning", "messages.reasoning_content"],
  },
  openrouter: {
    models: [
      { id: "anthropic/claude-sonnet-5", createdS: 1776351100, contextTokens: 1_000_000, maxOutputTokens: 128_000, modality: "chat", listedPrice: { in: 3_000_000, out: 15_000_000 } },
      // Its first provider gives less context, and thinking is dearer than text, by a hair that is rounded up.
      { id: "google/gemini-3.7-flash", createdS: 1776351100, contextTokens: 262_144, modality: "chat", listedPrice: { in: 375_000, out: 2_000_001, perImage: 1 } },
      { id: "openai/gpt-5.4", createdS: 1776351100, contextTokens: 1_050_000, maxOutputTokens: 128_000, modality: "chat", listedPrice: { in: 2_500_000, out: 15_000_000, above: { tokens: 271_999, in: 5_000_000, out: 22_500_000 } } },
      { id: "perplexity/sonar-pro", createdS: 1776351100, contextTokens: 200_000, maxOutputTokens: 8_000, modality: "chat", listedPrice: { in: 3_000_000, out: 15_000_000, perCall: 7_000 } },
      { id: "google/gemini-3-flash-image", createdS: 1776351100, contextTokens: 32_768, maxOutputTokens: 8_192, modality: "image", listedPrice: { in: 300_000, out: 2_500_000, perImage: 1_238 } },
      { id: "meta-llama/llama-3.3-70b-instruct:free", createdS: 1776351100, contextTokens: 65_536, modality: "chat" },
      { id: "openrouter/auto", createdS: 1776351100, contextTokens: 2_000_000, modality: "chat" },
    ],
    usage: usage(194, 21, 897), streamed: usage(194, 21, 898), dropped: ["repeat_penalty", "think", "chat_template_kwargs"], capField: "max_tokens",
  },
  xai: {
    models: [
      { id: "grok-4.3", createdS: 1776384000, contextTokens: 1_000_000, listedPrice: { in: 1_250_000, out: 2_500_000, above: { tokens: 200_000, in: 2_500_000, out: 5_000_000 } } },
      { id: "grok-3-mini", createdS: 1776384000, contextTokens: 1_000_000, listedPrice: { in: 300_000, out: 500_000 } },
      { id: "grok-imagine-image", createdS: 1776384001, modality: "image" },
    ],
    // 94 tokens of thinking stand beside the 9 of text.
    usage: usage(32, 103, 285), capField: "max_completion_tokens",
    dropped: [...engineFields, "reasoning", "verbosity", "presence_penalty", "frequency_penalty", "stop", "messages.name"],
  },
  groq: {
    models: [
      { id: "llama-3.3-70b-versatile", createdS: 1733447754, contextTokens: 131_072, maxOutputTokens: 32_768 }, { id: "whisper-large-v3", createdS: 1733447754, contextTokens: 448, maxOutputTokens: 448, modality: "audio" },
      { id: "groq/compound", createdS: 1733447754, contextTokens: 131_072, maxOutputTokens: 8_192, modality: "other" },
    ],
    usage: usage(23, 19), dropped: [...engineFields, "reasoning", "verbosity", "logit_bias", "logprobs", "top_logprobs", "messages.name", ...echoed], capField: "max_completion_tokens",
  },
  mistral: {
    models: [
      { id: "mistral-small-latest", createdS: 1760000000, contextTokens: 131_072, modality: "chat" }, { id: "mistral-embed", createdS: 1760000000, contextTokens: 8_192, modality: "embedding" },
      { id: "mistral-ocr-latest", createdS: 1760000000, contextTokens: 16_384, modality: "other" },
    ],
    usage: usage(12, 6), capField: "max_tokens",
    dropped: [...engineFields, "seed", "logit_bias", "logprobs", "top_logprobs", "reasoning", "reasoning_effort", "verbosity", "messages.name", ...echoed],
  },
  gemini: {
    models: [
      { id: "gemini-2.5-flash", createdS: undefined }, { id: "gemini-embedding-001", createdS: undefined, modality: "embedding" }, { id: "gemini-2.5-flash-image", createdS: undefined, modality: "image" },
      { id: "gemini-2.5-flash-preview-tts", createdS: undefined, modality: "audio" }, { id: "veo-3.0-generate-001", createdS: undefined, modality: "other" },
    ],
    // 382 tokens of thoughts are in the total only.
    usage: usage(20, 533), capField: "max_tokens",
    dropped: [...engineFields, "seed", "logit_bias", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "reasoning", "verbosity", ...echoed],
  },
  // Prices of a server nobody here knows may be in any unit.
  generic: { models: [{ id: "any-model", createdS: undefined }, { id: "second", createdS: undefined, contextTokens: 32_768, maxOutputTokens: 4_096 }], usage: usage(7, 3), dropped: [], capField: "max_tokens" },
};

const servers = new Map<ServerKind, StrictServer>(serverKinds.map((kind) => [kind, startStrictServer(kind)]));
afterAll(() => servers.forEach((server) => server.stop()));

const local = new Set<ServerKind>(["ollama", "llama.cpp", "vllm", "lmstudio"]);

/** Engines must be recognised; a cloud is known by its address, and here by the owner's word. */
function upstreamOf(kind: ServerKind, profile: ServerKind | undefined = local.has(kind) ? undefined : kind) {
  return openAiCompatible({ name: "one", url: servers.get(kind)!.url, key: undefined, capField: undefined, profile });
}

/** Everything the surface lets through, and a conversation in which other servers' answers were sent back. */
const everything = {
  temperature: 0.7, top_p: 0.9, top_k: 40, min_p: 0.05, stop: ["x"], seed: 7, presence_penalty: 0.1, frequency_penalty: 0.1, repeat_penalty: 1.1, repetition_penalty: 1.1, logit_bias: { "1": 1 },
  logprobs: true, top_logprobs: 2, tool_choice: "auto", parallel_tool_calls: true, reasoning_effort: "low", reasoning: { effort: "low" }, think: true, verbosity: "low", chat_template_kwargs: { enable_thinking: false },
  tools: [{ type: "function", function: { name: "now" } }], response_format: { type: "text" }, max_tokens: 60, max_completion_tokens: 50, num_predict: 40,
};
const messages = [
  { role: "user", content: "Hello", name: "ada" },
  { role: "assistant", content: "Hi.", refusal: "", annotations: [], reasoning: "Greet.", reasoning_content: "Greet.", audio: null },
  { role: "user", content: "And now?" },
];

async function planFor(kind: ServerKind, stream: boolean, profile?: ServerKind) {
  const upstream = upstreamOf(kind, profile);
  const [first] = await upstream.models();
  const model: Model = { id: first!.id, kind: "chat", upstreamModelId: first!.id, upstream, price: undefined, rate: undefined, createdS: 0, standIns: [] };
  const request = { model: model.id, messages, stream, includeUsage: false, n: 1, body: { ...everything, model: model.id, messages, stream } };
  return { upstream, plan: planChat(request, model, { defaultOutputTokens: 100, maxOutputTokens: 1_000 }) };
}

async function readAll(kind: ServerKind, stream: boolean): Promise<ChatTap> {
  const { upstream, plan } = await planFor(kind, stream);
  const answer = await upstream.chat(upstreamBody(plan, plan.cap), AbortSignal.timeout(5_000));
  const text = new TextDecoder().decode(await answer.read(1_000_000));
  expect({ status: answer.status, text: answer.status === 200 ? "" : text }).toEqual({ status: 200, text: "" });
  const tap = new ChatTap(false);
  if (stream) for (const event of new SseFramer().push(new TextEncoder().encode(text))) tap.see(eventData(event) ?? "");
  else tap.seeBody(text);
  return tap;
}

describe.each([...serverKinds])("%s", (kind) => {
  const dialect = dialects[kind];

  test("is known by its address, its list or the owner's word, and its list is read", async () => {
    const upstream = upstreamOf(kind);
    expect(await upstream.models()).toEqual(dialect.models);
    expect(upstream.profile.name).toBe(kind);
  });

  test("takes a request that names everything there is: what it would refuse or not read is left out and named", async () => {
    const { plan } = await planFor(kind, false);
    expect([...droppedFields(plan)].sort()).toEqual([...dialect.dropped].sort());
    await readAll(kind, false);
    const sent = servers.get(kind)!.bodies.at(-1)!;
    expect(sent).toMatchObject({ [dialect.capField]: 60, tools: everything.tools });
    expect(Object.keys(sent).filter((name) => dialect.dropped.includes(name) || (/max_.*tokens|num_predict/.test(name) && name !== dialect.capField))).toEqual([]);
  });

  test("its plain answer is charged by what it says was used", async () => {
    const tap = await readAll(kind, false);
    expect([tap.usage, tap.finished, tap.delivered]).toEqual([{ kind: "reported", usage: dialect.usage }, true, true]);
  });

  test("its stream is charged by what it says was used", async () => {
    const tap = await readAll(kind, true);
    expect([tap.usage, tap.finished, tap.done, tap.delivered]).toEqual([{ kind: "reported", usage: dialect.streamed ?? dialect.usage }, true, true, true]);
  });
});

describe("the strict servers would notice", () => {
  test.each(serverKinds.filter((kind) => kind !== "generic"))("%s refuses what a server nobody knows is sent", async (kind) => {
    const { upstream, plan } = await planFor(kind, true, "generic");
    const answer = await upstream.chat(upstreamBody(plan, plan.cap), AbortSignal.timeout(5_000));
    expect(answer.status).toBeGreaterThanOrEqual(400);
  });

  test.each(serverKinds.filter((kind) => !manners[kind].usageUnasked))("%s streams no usage unless it is asked", async (kind) => {
    const stream = async (options: object) => {
      const body = JSON.stringify({ messages: [], stream: true, ...options });
      return (await fetch(`${servers.get(kind)!.url}/chat/completions`, { method: "POST", body })).text();
    };
    expect(await stream({})).not.toContain("prompt_tokens");
    expect(await stream({ stream_options: { include_usage: true } })).toContain("prompt_tokens");
  });
});
