/**
 * What each kind of OpenAI-compatible server takes and how it reports, by its own word. Pure. A field that a server refuses, or
 * passes over in silence, is not sent to it and is named to the buyer; a server nobody here knows is sent everything.
 */
import { providerOf, type ServerKind } from "../config/providers.ts";

/** The name under which an upstream takes the most output tokens it may make. */
export type CapField = "max_tokens" | "max_completion_tokens";

export type Profile = {
  readonly name: ServerKind;
  /** Must bound thinking as well as text. */
  readonly capField: CapField;
  /** Whether a stream reports usage when `stream_options` asks for it, or always; `stream_options` is then refused, or does nothing. */
  readonly streamUsage: "ask" | "always";
  /** Fields it does not take. */
  readonly withholds: readonly string[];
  /** Fields that only these of its models do not take. */
  readonly ofModels: readonly { models: RegExp; withholds: readonly string[] }[];
  /** Fields of a message that it does not take. */
  readonly withholdsInMessages: readonly string[];
  /** Fields it does not take and without which something else would be bought; `n` means more than one choice. */
  readonly refuses: readonly string[];
  /** Whose way of listing prices it follows. */
  readonly prices: "openrouter" | "xai" | undefined;
};

/** What engines on one's own machine understand and clouds do not. */
const engineFields = ["top_k", "min_p", "repeat_penalty", "repetition_penalty", "think", "chat_template_kwargs"];
/** What other servers put into their answers, and clients send back. */
const echoedFields = ["refusal", "annotations", "audio", "reasoning", "reasoning_content"];

const generic: Profile = {
  name: "generic", capField: "max_tokens", streamUsage: "ask", withholds: [], ofModels: [], withholdsInMessages: [], refuses: [], prices: undefined,
};

/**
 * `ChatCompletionRequest` in openai/openai.go (ollama/ollama, August 2026) is all it reads: no `max_completion_tokens`, one choice, no
 * `tool_choice`. Usage is a chunk of its own and only on request (middleware/openai.go).
 */
const ollama: Profile = {
  ...generic, name: "ollama",
  withholds: [...engineFields, "logit_bias", "tool_choice", "parallel_tool_calls", "function_call", "verbosity"],
  refuses: ["n", "functions"],
};

/**
 * tools/server (ggml-org/llama.cpp) takes its own samplers by their own names. `n` above 1 is "Only one completion choice is allowed",
 * which many versions answer with 500: a buyer could make a healthy server look broken.
 */
const llamaCpp: Profile = { ...generic, name: "llama.cpp", withholds: ["repetition_penalty", "think", "reasoning", "verbosity", "function_call"], refuses: ["n", "functions"] };

/** vllm/entrypoints/openai/chat_completion/protocol.py: other fields pass unread. `max_tokens`, deprecated there, is what every version knows. */
const vllm: Profile = { ...generic, name: "vllm", withholds: ["repeat_penalty", "think", "reasoning", "verbosity", "function_call"], refuses: ["functions"] };

/** lmstudio.ai/docs/developer/openai-compat/chat-completions lists what is taken; tools and response_format have pages of their own. */
const lmstudio: Profile = {
  ...generic, name: "lmstudio",
  withholds: ["min_p", "repetition_penalty", "logprobs", "top_logprobs", "parallel_tool_calls", "function_call", "reasoning", "think", "verbosity", "chat_template_kwargs"],
  refuses: ["n", "functions"],
};

/**
 * platform.openai.com/docs/api-reference/chat: an unknown field is 400 "Unrecognized request argument supplied". Reasoning models refuse
 * `max_tokens` and what is listed here, plain ones `reasoning_effort` (BerriAI/litellm, llms/openai/chat/gpt_5_transformation.py and
 * o_series_transformation.py). Those from gpt-5.1 on take samplers while they do not think.
 */
const openai: Profile = {
  ...generic, name: "openai", capField: "max_completion_tokens",
  withholds: [...engineFields, "reasoning"],
  ofModels: [
    { models: /^(o\d|gpt-5(?!.*chat))/, withholds: ["presence_penalty", "frequency_penalty", "logit_bias", "stop"] },
    { models: /^(o\d|gpt-5($|-\d|-(mini|nano|pro|codex)))/, withholds: ["temperature", "top_p", "logprobs", "top_logprobs"] },
    { models: /^o\d/, withholds: ["verbosity"] },
    { models: /^(ft:)?(gpt-3|gpt-4|chatgpt)|^gpt-5.*chat/, withholds: ["reasoning_effort", "verbosity"] },
  ],
  withholdsInMessages: ["reasoning", "reasoning_content"],
};

/**
 * openrouter.ai/docs/api-reference: the request has no `n` and no `functions`; usage is in every answer and `stream_options` "has no effect"
 * (usage accounting). What a model does not take is passed over there.
 */
const openrouter: Profile = {
  ...generic, name: "openrouter", streamUsage: "always", prices: "openrouter",
  withholds: ["repeat_penalty", "think", "chat_template_kwargs", "function_call"],
  refuses: ["n", "functions"],
};

/**
 * docs.x.ai/docs/api-reference: `max_completion_tokens` bounds "both visible output tokens and reasoning tokens". 400 on penalties at all
 * current models, on `stop` at those that think, on `reasoning_effort` at all but a few (docs.x.ai, reasoning; litellm, llms/xai/chat).
 */
const xai: Profile = {
  ...generic, name: "xai", capField: "max_completion_tokens", prices: "xai",
  withholds: [...engineFields, "reasoning", "verbosity", "presence_penalty", "frequency_penalty"],
  ofModels: [
    { models: /^grok-(?!2)(?!3$|3-(?!mini))(?!.*non-reasoning)/, withholds: ["stop"] },
    { models: /^grok-(?!3-mini|4\.[3-9])/, withholds: ["reasoning_effort"] },
  ],
  withholdsInMessages: ["name"],
};

/** console.groq.com/docs/openai: 400 for logprobs, logit_bias, top_logprobs, `messages[].name` and `n` above 1; an unknown property is 400, too. */
const groq: Profile = {
  ...generic, name: "groq", capField: "max_completion_tokens",
  withholds: [...engineFields, "reasoning", "verbosity", "logit_bias", "logprobs", "top_logprobs"],
  withholdsInMessages: ["name", ...echoedFields],
  refuses: ["n"],
};

/**
 * docs.mistral.ai/api, as in models/chatcompletionstreamrequest.py of mistralai/client-python: any other field is 422 "Extra inputs are
 * not permitted", `max_completion_tokens`, `stream_options` and a message's `name` among them. Usage is in the last chunk unasked.
 */
const mistral: Profile = {
  ...generic, name: "mistral", streamUsage: "always",
  withholds: [...engineFields, "seed", "logit_bias", "logprobs", "top_logprobs", "function_call", "reasoning", "reasoning_effort", "verbosity"],
  withholdsInMessages: ["name", "function_call", ...echoedFields],
  refuses: ["functions"],
};

/**
 * ai.google.dev/api/compatibility is a protocol buffer: 400 "Unknown name ...: Cannot find field" (seen for seed, frequency_penalty, top_k
 * and reasoning; penalties are "not enabled" at most models anyway). Usage stands in every chunk and grows.
 */
const gemini: Profile = {
  ...generic, name: "gemini",
  withholds: [...engineFields, "seed", "logit_bias", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "function_call", "reasoning", "verbosity"],
  withholdsInMessages: echoedFields,
  refuses: ["functions"],
};

export const profiles: Readonly<Record<ServerKind, Profile>> = { ollama, "llama.cpp": llamaCpp, vllm, lmstudio, openai, openrouter, xai, groq, mistral, gemini, generic };

/** By the owner's word, else by the address; undefined where only the server itself can tell. */
export function profileOf(url: string, configured: ServerKind | undefined): Profile | undefined {
  if (configured !== undefined) return profiles[configured];
  if (/(^|\.)openrouter\.ai$/.test(new URL(url).hostname)) return openrouter;
  const provider = providerOf(url);
  return provider !== undefined && Object.hasOwn(profiles, provider) ? profiles[provider as ServerKind] : undefined;
}

/** What engines call the owner of all their models. */
const kindOfOwner: Readonly<Record<string, Profile>> = { vllm, llamacpp: llamaCpp, organization_owner: lmstudio };

/** A server by its model list. Ollama's models belong to whoever published them, most of them to its library. */
export function recognise(models: readonly { owned_by?: string | undefined }[]): Profile {
  if (models.some((model) => model.owned_by === "library")) return ollama;
  const owners = new Set(models.map((model) => model.owned_by));
  const [owner] = owners;
  return owners.size === 1 && owner !== undefined && Object.hasOwn(kindOfOwner, owner) ? kindOfOwner[owner]! : generic;
}
