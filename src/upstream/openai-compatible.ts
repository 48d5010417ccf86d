/** Any server that speaks OpenAI's API: Ollama, llama.cpp, vLLM, LM Studio, OpenAI itself and most clouds. */
import { AppError } from "../base/errors.ts";
import { maxModelListBytes, modelListTimeoutMs } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";
import type { ServerKind } from "../config/providers.ts";
import { isLocalUrl } from "./local-address.ts";
import { type ListedModel, parseModelList, readModels } from "./model-list.ts";
import { type CapField, type Profile, profileOf, profiles, recognise } from "./profiles.ts";
import type { Upstream, UpstreamAnswer } from "./upstream.ts";

export type OpenAiCompatibleOptions = {
  name: string;
  /** Base URL with its version, e.g. `http://127.0.0.1:11434/v1`. */
  url: string;
  key: string | undefined;
  /** The owner's word, over the profile's. */
  capField: CapField | undefined;
  /** What kind of server it is, by the owner's word. */
  profile?: ServerKind | undefined;
  /** Calls at one time, by the owner's word. */
  places?: number | undefined;
};

function unavailable(name: string, why: string, cause?: unknown): AppError {
  return new AppError("upstream_unavailable", `The model server ${name} ${why}.`, { retryable: true, retryAfterSeconds: 5, cause });
}

export function openAiCompatible(options: OpenAiCompatibleOptions): Upstream {
  const base = options.url.replace(/\/+$/, "");
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (options.key) headers.authorization = `Bearer ${options.key}`;
  const local = isLocalUrl(base);
  const known = profileOf(base, options.profile);
  const withCap = (profile: Profile): Profile => (options.capField === undefined ? profile : { ...profile, capField: options.capField });
  let profile = withCap(known ?? profiles.generic);
  return {
    name: options.name,
    local,
    // Engines at home answer one after the other unless told otherwise.
    places: options.places ?? (local ? 1 : undefined),
    get profile() {
      return profile;
    },
    redact: (text) => (options.key ? text.replaceAll(options.key, "***") : text),
    models: async () => {
      const listed = await listModels(options.name, `${base}/models`, headers);
      profile = withCap(known ?? recognise(listed));
      return readModels(listed, await modelDetails(profile, base, headers), profile);
    },
    chat: (body, signal) => post(options.name, `${base}/chat/completions`, headers, body, signal),
    post: (path, body, signal) => post(options.name, `${base}/${path}`, headers, body, signal),
  };
}

async function listModels(name: string, url: string, headers: Record<string, string>): Promise<ListedModel[]> {
  try {
    const answer = await fetch(url, { headers, redirect: "error", signal: AbortSignal.timeout(modelListTimeoutMs) });
    if (!answer.ok) throw unavailable(name, `answered its model list with ${answer.status}`);
    return parseModelList(new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxModelListBytes)));
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw unavailable(name, `gave no model list (${describeError(error)})`, error);
  }
}

/** LM Studio tells kind and context on a route of its own (lmstudio.ai/docs/developer/rest/endpoints); without it they stay unknown. */
async function modelDetails({ name }: Profile, base: string, headers: Record<string, string>): Promise<ListedModel[]> {
  return name === "lmstudio" ? listModels(name, new URL("/api/v0/models", base).href, headers).catch(() => []) : [];
}

async function post(name: string, url: string, headers: Record<string, string>, body: string | FormData, signal: AbortSignal): Promise<UpstreamAnswer> {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: typeof body === "string" ? { ...headers, "content-type": "application/json" } : headers,
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
  // A length is the wire's: what was compressed may be a thousand times as long.
  const declaredBytes = answer.headers.has("content-encoding") ? Number.NaN : Number(answer.headers.get("content-length") ?? Number.NaN);
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
