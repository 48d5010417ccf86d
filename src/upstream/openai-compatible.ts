/** Any server that speaks OpenAI's API: Ollama, llama.cpp, vLLM, LM Studio, OpenAI itself and most clouds. */
import { AppError } from "../base/errors.ts";
import { maxAnswerBytes, modelListTimeoutMs } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";
import { z } from "zod";
import { isLocalUrl } from "./local-address.ts";
import type { CapField, Upstream, UpstreamAnswer, UpstreamModel } from "./upstream.ts";

export type OpenAiCompatibleOptions = {
  name: string;
  /** Base URL with its version, e.g. `http://127.0.0.1:11434/v1`. */
  url: string;
  key: string | undefined;
  capField: CapField | undefined;
};

const modelList = z.object({ data: z.array(z.object({ id: z.string().min(1).max(256), created: z.number().optional().catch(undefined) })) });

function unavailable(name: string, why: string, cause?: unknown): AppError {
  return new AppError("upstream_unavailable", `The model server ${name} ${why}.`, { retryable: true, retryAfterSeconds: 5, cause });
}

export function openAiCompatible(options: OpenAiCompatibleOptions): Upstream {
  const base = options.url.replace(/\/+$/, "");
  const headers: Record<string, string> = { "content-type": "application/json", "accept-encoding": "identity" };
  if (options.key) headers.authorization = `Bearer ${options.key}`;
  return {
    name: options.name,
    local: isLocalUrl(base),
    capField: options.capField ?? (new URL(base).hostname === "api.openai.com" ? "max_completion_tokens" : "max_tokens"),
    redact: (text) => (options.key ? text.replaceAll(options.key, "***") : text),
    models: () => listModels(options.name, base, headers),
    chat: (body, signal) => chat(options.name, `${base}/chat/completions`, headers, body, signal),
  };
}

async function listModels(name: string, base: string, headers: Record<string, string>): Promise<UpstreamModel[]> {
  try {
    const answer = await fetch(`${base}/models`, { headers, redirect: "error", signal: AbortSignal.timeout(modelListTimeoutMs) });
    if (!answer.ok) throw unavailable(name, `answered its model list with ${answer.status}`);
    const text = await answer.text();
    if (text.length > maxAnswerBytes) throw unavailable(name, "sent an endless model list");
    return modelList.parse(JSON.parse(text)).data.map((model) => ({ id: model.id, createdS: model.created }));
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw unavailable(name, `gave no model list (${describeError(error)})`, error);
  }
}

async function chat(name: string, url: string, headers: Record<string, string>, body: string, signal: AbortSignal): Promise<UpstreamAnswer> {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers,
      body,
      // A redirect would carry the prompt, and the key, to a place the owner did not name.
      redirect: "manual",
      signal,
      timeout: false,
    } as RequestInit);
    return toAnswer(answer);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw unavailable(name, "does not answer", error);
  }
}

function toAnswer(answer: Response): UpstreamAnswer {
  const declaredBytes = Number(answer.headers.get("content-length") ?? Number.NaN);
  return {
    status: answer.status,
    contentType: answer.headers.get("content-type") ?? "",
    get body() {
      return answer.body ?? new Blob([]).stream();
    },
    // A body of declared length is bounded by it, and read at once it costs half.
    read: (maxBytes) => (declaredBytes <= maxBytes ? answer.bytes() : readBounded(answer.body ?? new Blob([]).stream(), maxBytes)),
  };
}
