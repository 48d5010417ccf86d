/** What an upstream is sent of what a buyer asked: only what it takes, under the names it knows, and never something else than was bought. */
import { describe, expect, test } from "bun:test";
import type { ChatMessage } from "../../src/gateway/chat-request.ts";
import type { Model } from "../../src/gateway/model-directory.ts";
import { type ChatPlan, planChat, upstreamBody, droppedFields } from "../../src/gateway/plan.ts";
import { openAiCompatible } from "../../src/upstream/openai-compatible.ts";
import { profiles } from "../../src/upstream/profiles.ts";
import { type ServerKind, serverKinds } from "../../src/config/providers.ts";

const upstream = (profile: ServerKind) => openAiCompatible({ name: profile.replace(".", "-"), url: "http://127.0.0.1:1/v1", key: undefined, capField: undefined, profile });
const cost = { inputMsatPerMtok: 1n, outputMsatPerMtok: 1n };

type Asked = { profile?: ServerKind; modelId?: string; standIns?: ServerKind[]; n?: number; stream?: boolean; body?: Record<string, unknown>; messages?: ChatMessage[] };

function plan({ profile = "generic", modelId = "m", standIns = [], n = 1, stream = false, body = {}, messages = [{ role: "user", content: "Hello" }] }: Asked): ChatPlan {
  const model: Model = {
    id: "m", kind: "chat", upstreamModelId: modelId, upstream: upstream(profile), price: undefined, rate: undefined, createdS: 0,
    standIns: standIns.map((kind) => ({ upstream: upstream(kind), upstreamModelId: "m", cost })),
  };
  return planChat({ model: "m", messages, stream, includeUsage: false, n, body: { model: "m", messages, n, ...body } }, model, { defaultOutputTokens: 100, maxOutputTokens: 1_000 });
}

const sent = (made: ChatPlan, cap = made.cap) => JSON.parse(upstreamBody(made, cap)) as Record<string, unknown>;
const codeOf = (act: () => unknown) => {
  try {
    act();
    return "sold";
  } catch (error) {
    const { code, param } = error as { code?: string; param?: string };
    return `${code} ${param}`;
  }
};

describe("one cap, under the name the server honours", () => {
  test.each(serverKinds.map((kind) => [kind, /^(openai|xai|groq)$/.test(kind) ? "max_completion_tokens" : "max_tokens"]))("%s: %s", (kind, field) => {
    const body = sent(plan({ profile: kind as ServerKind, body: { max_tokens: 7, max_completion_tokens: 9, num_predict: 8, n_predict: 6, max_output_tokens: 5 } }));
    expect(Object.entries(body).filter(([name]) => /max_|predict/.test(name))).toEqual([[field!, 9]]);
  });
});

describe("usage of a stream", () => {
  test.each(serverKinds.map((kind) => [kind, kind !== "mistral" && kind !== "openrouter"] as const))("%s is asked for it: %p", (profile, asked) => {
    expect(sent(plan({ profile, stream: true })).stream_options).toEqual(asked ? { include_usage: true } : undefined);
    expect(sent(plan({ profile, stream: true })).stream).toBe(true);
    expect(Object.keys(sent(plan({ profile })))).not.toContain("stream_options");
  });
});

describe("what would make it another purchase is refused before anybody pays", () => {
  const functions = [{ name: "now", parameters: {} }];
  const oneChoice = ["ollama", "llama.cpp", "lmstudio", "openrouter", "groq"];
  const noFunctions = ["ollama", "llama.cpp", "vllm", "lmstudio", "openrouter", "mistral", "gemini"];

  test.each([...serverKinds])("several choices, and functions of the old kind, at %s", (profile) => {
    expect(codeOf(() => plan({ profile, n: 2 }))).toBe(oneChoice.includes(profile) ? "unsupported_field n" : "sold");
    expect(codeOf(() => plan({ profile, body: { functions } }))).toBe(noFunctions.includes(profile) ? "unsupported_field functions" : "sold");
  });

  test.each([...serverKinds])("one choice and an empty list of functions say nothing, so %s sells them", (profile) => {
    const made = plan({ profile, n: 1, body: { functions: [] } });
    expect(sent(made)).not.toHaveProperty("n");
    expect("functions" in sent(made)).toBe(!noFunctions.includes(profile));
  });

  test("whoever cannot make several choices does not stand in for one that can", () => {
    const standIns: ServerKind[] = ["groq", "vllm", "ollama"];
    expect(plan({ profile: "openai", standIns, n: 2 }).model.standIns.map((place) => place.upstream.name)).toEqual(["vllm"]);
    expect(plan({ profile: "openai", standIns }).model.standIns).toHaveLength(3);
  });
});

describe("fields a server does not take", () => {
  test("are not sent and are named, after those that nobody is sent", () => {
    const made = plan({ profile: "mistral", body: { user: "ada", seed: 1, top_k: 4, temperature: 0.1 } });
    expect(droppedFields(made)).toEqual(["user", "top_k", "seed"]);
    expect(sent(made)).toMatchObject({ temperature: 0.1 });
    expect(Object.keys(sent(made)).filter((name) => ["seed", "top_k", "user"].includes(name))).toEqual([]);
  });

  test("are sent to a server nobody knows", () => {
    const made = plan({ body: { seed: 1, top_k: 4, think: true } });
    expect(droppedFields(made)).toEqual([]);
    expect(sent(made)).toMatchObject({ seed: 1, top_k: 4, think: true });
  });

  test("depend on the model where its maker makes several kinds", () => {
    const body = { temperature: 0.1, reasoning_effort: "low" };
    expect(droppedFields(plan({ profile: "openai", modelId: "gpt-5", body }))).toEqual(["temperature"]);
    expect(droppedFields(plan({ profile: "openai", modelId: "gpt-4o", body }))).toEqual(["reasoning_effort"]);
  });

  test("are left out of messages, too, and a null there is left out without a word", () => {
    const messages = [{ role: "user", content: "Hi", name: "ada" }, { role: "assistant", content: "Ho", refusal: null, reasoning_content: "thought" }, { role: "user", content: "And?" }];
    const made = plan({ profile: "groq", messages });
    expect(droppedFields(made)).toEqual(["messages.name", "messages.reasoning_content"]);
    expect(sent(made).messages).toEqual([{ role: "user", content: "Hi" }, { role: "assistant", content: "Ho" }, { role: "user", content: "And?" }]);
    expect(sent(plan({ messages })).messages).toEqual(messages);
  });

  test("a stand-in is sent what it takes itself", () => {
    const made = plan({ profile: "openai", modelId: "gpt-4o", standIns: ["vllm"], stream: true, body: { top_k: 4, verbosity: "low" } });
    const instead = { ...made, model: { ...made.model, ...made.model.standIns[0]! } };
    expect([droppedFields(made), droppedFields(instead)]).toEqual([["top_k", "verbosity"], ["verbosity"]]);
    expect(sent(instead)).toMatchObject({ top_k: 4, max_tokens: 100, model: "m" });
  });

  test("one name is named once, though profile and model both withhold it", () => {
    const profile = { ...profiles.xai, ofModels: [{ models: /./, withholds: ["top_k"] }] };
    const made = plan({ profile: "xai", body: { top_k: 1 } });
    expect(droppedFields({ ...made, model: { ...made.model, upstream: { ...made.model.upstream, profile } } })).toEqual(["top_k"]);
  });
});
