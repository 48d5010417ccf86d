/**
 * A server that behaves as one kind is documented to, with its recorded answers: it refuses every field that is not on its own list,
 * and reports usage as that kind does. The lists are the servers' word, written apart from `src/upstream/profiles.ts`.
 */
import { readFileSync } from "node:fs";
import type { ServerKind } from "../../src/config/providers.ts";

const folder = new URL("../fixtures/upstreams/", import.meta.url);
export const fixture = (kind: ServerKind, file: "models.json" | "details.json" | "chat.json" | "stream.chunks.txt") => readFileSync(new URL(`${kind}/${file}`, folder), "utf8");

export type Manners = {
  /** Every field of a request that is taken; undefined: all are. */
  fields: readonly string[] | undefined;
  /** Every field of a message. */
  messageFields?: readonly string[];
  mostChoices?: number;
  status: number;
  usageUnasked: boolean;
};

const common = ["model", "messages", "stream", "temperature", "top_p", "stop", "response_format", "tools"];
const penalties = ["presence_penalty", "frequency_penalty"];
const plainMessage = ["role", "content", "tool_calls", "tool_call_id"];

/** The model served is the first of the recorded list. */
export const manners: Record<ServerKind, Manners> = {
  ollama: { fields: [...common, ...penalties, "stream_options", "max_tokens", "seed", "logprobs", "top_logprobs", "reasoning", "reasoning_effort"], mostChoices: 1, status: 400, usageUnasked: false },
  "llama.cpp": {
    fields: [...common, ...penalties, "stream_options", "max_tokens", "seed", "logprobs", "top_logprobs", "logit_bias", "top_k", "min_p", "repeat_penalty", "tool_choice", "parallel_tool_calls", "reasoning_effort", "chat_template_kwargs"],
    mostChoices: 1, status: 500, usageUnasked: false,
  },
  vllm: {
    fields: [
      ...common, ...penalties, "stream_options", "max_tokens", "max_completion_tokens", "n", "seed", "logprobs", "top_logprobs", "logit_bias", "top_k", "min_p",
      "repetition_penalty", "tool_choice", "parallel_tool_calls", "reasoning_effort", "chat_template_kwargs",
    ],
    status: 400, usageUnasked: false,
  },
  lmstudio: { fields: [...common, ...penalties, "stream_options", "max_tokens", "seed", "logit_bias", "top_k", "repeat_penalty", "tool_choice", "reasoning_effort"], mostChoices: 1, status: 400, usageUnasked: false },
  openai: {
    fields: [...common, ...penalties, "stream_options", "max_completion_tokens", "n", "seed", "logprobs", "top_logprobs", "logit_bias", "tool_choice", "parallel_tool_calls", "functions", "function_call"],
    messageFields: [...plainMessage, "name", "refusal", "annotations", "audio", "function_call"], status: 400, usageUnasked: false,
  },
  openrouter: {
    fields: [
      ...common, ...penalties, "max_tokens", "seed", "logprobs", "top_logprobs", "logit_bias", "top_k", "min_p", "repetition_penalty", "tool_choice", "parallel_tool_calls", "reasoning", "reasoning_effort", "verbosity",
    ],
    mostChoices: 1, status: 400, usageUnasked: true,
  },
  xai: {
    fields: [...common.filter((name) => name !== "stop"), "stream_options", "max_completion_tokens", "n", "seed", "logprobs", "top_logprobs", "logit_bias", "tool_choice", "parallel_tool_calls", "reasoning_effort", "functions", "function_call"],
    messageFields: [...plainMessage, "refusal", "annotations", "audio", "reasoning", "reasoning_content", "function_call"], status: 400, usageUnasked: true,
  },
  groq: {
    fields: [...common, ...penalties, "stream_options", "max_tokens", "max_completion_tokens", "seed", "tool_choice", "parallel_tool_calls", "reasoning_effort", "functions", "function_call"],
    messageFields: [...plainMessage, "function_call"], mostChoices: 1, status: 400, usageUnasked: true,
  },
  mistral: { fields: [...common, ...penalties, "max_tokens", "n", "random_seed", "tool_choice", "parallel_tool_calls"], messageFields: plainMessage, status: 422, usageUnasked: true },
  gemini: {
    fields: [...common, "stream_options", "max_tokens", "n", "tool_choice", "parallel_tool_calls", "reasoning_effort"],
    messageFields: [...plainMessage, "name", "function_call"], status: 400, usageUnasked: false,
  },
  generic: { fields: undefined, status: 400, usageUnasked: false },
};

type Body = { stream?: boolean; stream_options?: object; n?: number; messages: Record<string, unknown>[] };

function complaint(body: Body, { fields, messageFields, mostChoices = Infinity }: Manners): string | undefined {
  const unknown = Object.keys(body).find((name) => fields !== undefined && name !== "n" && !fields.includes(name));
  if (unknown !== undefined) return unknown;
  if ((body.n ?? 1) > mostChoices) return "n";
  return messageFields && body.messages.flatMap((message) => Object.keys(message)).find((name) => !messageFields.includes(name));
}

/** Without what was not asked for. */
function streamOf(kind: ServerKind, body: Body): string {
  const text = fixture(kind, "stream.chunks.txt");
  return manners[kind].usageUnasked || body.stream_options !== undefined ? text : text.split("\n\n").filter((event) => !event.includes('"usage":{')).join("\n\n");
}

export type StrictServer = { url: string; /** What was asked of it, refused or not. */ bodies: Record<string, unknown>[]; stop(): void };

export function startStrictServer(kind: ServerKind): StrictServer {
  const bodies: Record<string, unknown>[] = [];
  const json = { headers: { "content-type": "application/json" } };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/v1/models": () => new Response(fixture(kind, "models.json"), json),
      "/api/v0/models": () => (kind === "lmstudio" ? new Response(fixture(kind, "details.json"), json) : new Response("", { status: 404 })),
      "/v1/chat/completions": {
        POST: async (request) => {
          const body = (await request.json()) as Body & Record<string, unknown>;
          bodies.push(body);
          const wrong = complaint(body, manners[kind]);
          if (wrong !== undefined) return Response.json({ error: { message: `${wrong} is not taken` } }, { status: manners[kind].status });
          return body.stream ? new Response(streamOf(kind, body), { headers: { "content-type": "text/event-stream" } }) : new Response(fixture(kind, "chat.json"), json);
        },
      },
    },
    fetch: () => new Response("", { status: 404 }),
  });
  return { url: `${server.url.origin}/v1`, bodies, stop: () => void server.stop(true) };
}
