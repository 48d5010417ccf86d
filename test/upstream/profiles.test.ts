/** Which server is which: by the owner's word, by its address, by its list of models; and which of its models take what. */
import { describe, expect, test } from "bun:test";
import { configSchema } from "../../src/config/schema.ts";
import { type ServerKind, serverKinds } from "../../src/config/providers.ts";
import { modalityOf, type Modality, type ModalityHints } from "../../src/upstream/modality.ts";
import { openAiCompatible } from "../../src/upstream/openai-compatible.ts";
import { profileOf, profiles, recognise } from "../../src/upstream/profiles.ts";

test.each<[url: string, kind: ServerKind | undefined]>([
  ["https://api.openai.com/v1", "openai"], ["https://openrouter.ai/api/v1", "openrouter"], ["https://api.x.ai/v1", "xai"], ["https://api.groq.com/openai/v1", "groq"],
  ["https://api.mistral.ai/v1", "mistral"], ["https://generativelanguage.googleapis.com/v1beta/openai", "gemini"], ["https://api.deepseek.com", undefined], ["https://api.anthropic.com/v1", undefined],
  ["http://127.0.0.1:11434/v1", undefined], ["https://openrouter.ai.example.com/v1", undefined], ["https://notx.ai/v1", undefined], ["https://example.com/api.groq.com/v1", undefined],
])("%s is %s", (url, kind) => {
  expect(profileOf(url, undefined)?.name).toBe(kind);
  expect(profileOf(url, "vllm")?.name).toBe("vllm");
});

test.each<[what: string, owners: (string | undefined)[], kind: ServerKind]>([
  ["Ollama by its library", ["library"], "ollama"], ["Ollama with models of others", ["somebody", "library", "hf"], "ollama"], ["vLLM", ["vllm", "vllm"], "vllm"],
  ["llama.cpp", ["llamacpp"], "llama.cpp"], ["LM Studio", ["organization_owner"], "lmstudio"], ["a house of several engines", ["vllm", "llamacpp"], "generic"],
  ["a house that lists an engine among others", ["vllm", "openai"], "generic"], ["nobody's models", [undefined], "generic"], ["an owner that is a word of the language", ["constructor"], "generic"], ["no model at all", [], "generic"],
])("%s", (_what, owners, kind) => {
  expect(recognise(owners.map((owned_by) => ({ owned_by }))).name).toBe(kind);
});

test("every profile goes by its own name, and withholds nothing that the gateway writes itself", () => {
  expect(serverKinds.map((kind) => profiles[kind].name)).toEqual([...serverKinds]);
  const written = ["model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "role", "content", "tool_calls", "tool_call_id", "tools"];
  const withheld = serverKinds.flatMap((kind) => [...profiles[kind].withholds, ...profiles[kind].withholdsInMessages, ...profiles[kind].ofModels.flatMap((some) => some.withholds)]);
  expect(withheld.filter((name) => written.includes(name))).toEqual([]);
});

test("the owner may say what a server is, and which cap it honours", () => {
  const upstream = { name: "a", url: "http://10.0.0.2:8000/v1", profile: "vllm", cap_field: "max_completion_tokens" };
  const [one] = configSchema.parse({ data_dir: "unused", upstreams: [upstream] }).upstreams;
  expect(openAiCompatible({ name: one!.name, url: one!.url, key: undefined, capField: one!.cap_field, profile: one!.profile }).profile).toEqual({ ...profiles.vllm, capField: "max_completion_tokens" });
  expect(configSchema.safeParse({ data_dir: "unused", upstreams: [{ ...upstream, profile: "claude" }] }).success).toBe(false);
});

describe("a model takes what its kind of model takes", () => {
  const withheld = (kind: ServerKind, id: string) => profiles[kind].ofModels.filter(({ models }) => models.test(id)).flatMap((some) => some.withholds).sort();
  const reasoning = ["frequency_penalty", "logit_bias", "presence_penalty", "stop"];
  const fixedSampling = [...reasoning, "logprobs", "temperature", "top_logprobs", "top_p"].sort();
  test.each<[kind: ServerKind, id: string, withheld: string[]]>([
    ["openai", "gpt-4o-mini", ["reasoning_effort", "verbosity"]], ["openai", "ft:gpt-4o-mini:acme::1", ["reasoning_effort", "verbosity"]], ["openai", "gpt-5-chat-latest", ["reasoning_effort", "verbosity"]],
    ["openai", "o4-mini", [...fixedSampling, "verbosity"].sort()], ["openai", "gpt-5", fixedSampling], ["openai", "gpt-5-mini-2025-08-07", fixedSampling], ["openai", "gpt-5-2025-08-07", fixedSampling],
    ["openai", "gpt-5.1", reasoning], ["openai", "gpt-5.4-mini", reasoning], ["openai", "omni-next", []],
    ["xai", "grok-4.3", ["stop"]], ["xai", "grok-4", ["reasoning_effort", "stop"]], ["xai", "grok-3", ["reasoning_effort"]], ["xai", "grok-3-fast", ["reasoning_effort"]], ["xai", "grok-3-mini", ["stop"]],
    ["xai", "grok-4.20-0309-non-reasoning", ["reasoning_effort"]], ["xai", "grok-4.20-multi-agent-0309", ["reasoning_effort", "stop"]], ["xai", "grok-code-fast-1", ["reasoning_effort", "stop"]], ["xai", "grok-2-1212", ["reasoning_effort"]],
  ])("%s: %s", (kind, id, names) => expect(withheld(kind, id)).toEqual(names));
});

test.each<[hints: ModalityHints, modality: Modality | undefined]>([
  [{ id: "qwen3:8b" }, undefined], [{ id: "gpt-4o" }, undefined], [{ id: "bge-m3" }, "embedding"], [{ id: "mxbai-embed-large" }, "embedding"], [{ id: "all-minilm" }, "embedding"],
  [{ id: "tts-1-hd" }, "audio"], [{ id: "gpt-4o-mini-transcribe" }, "audio"], [{ id: "gpt-4o-audio-preview" }, "audio"], [{ id: "gpt-realtime" }, "audio"], [{ id: "gpt-image-1" }, "image"],
  [{ id: "black-forest-labs/FLUX.1-schnell" }, "image"], [{ id: "influx-7b" }, undefined], [{ id: "bge-reranker-v2" }, "other"], [{ id: "davinci-002" }, "other"], [{ id: "compound-beta" }, "other"],
  [{ id: "mistral-ocr", completionChat: false }, "other"], [{ id: "codestral-embed", completionChat: false }, "embedding"], [{ id: "voxtral-mini", completionChat: true }, "chat"],
  [{ id: "embedder-by-name", type: "llm" }, "chat"], [{ id: "x", type: "unheard-of" }, undefined], [{ id: "x", outputs: ["text"] }, "chat"], [{ id: "x", outputs: ["text", "image"] }, "image"],
  [{ id: "x", outputs: ["text", "audio"] }, "audio"], [{ id: "x", outputs: ["embeddings"] }, "embedding"], [{ id: "x", outputs: ["video"] }, "other"], [{ id: "x", outputs: [] }, undefined],
])("%j makes %s", (hints, modality) => expect(modalityOf(hints)).toBe(modality));
