/** Web search by somebody else's index: a SearXNG of the owner's own, Brave or Tavily with the owner's key. */
import { z } from "zod";
import { AppError } from "../base/errors.ts";
import { maxSearchAnswerBytes, searchTimeoutMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";
import { isLocalUrl } from "./local-address.ts";
import type { SearchEngine, SearchEngineName, SearchQuery, SearchResult } from "./search.ts";

type Ask = { url: string; init?: RequestInit };

type Kind = {
  /** Where it is when the owner does not say. */
  url: string | undefined;
  ask(base: string, key: string | undefined, query: SearchQuery): Ask;
  /** @throws ZodError for what is no answer of this kind. */
  read(answer: unknown): SearchResult[];
};

const text = z.string().nullish().transform((value) => value ?? "");
const searxngAnswer = z.object({ results: z.array(z.object({ title: text, url: z.string(), content: text })) });
const braveAnswer = z.object({ web: z.object({ results: z.array(z.object({ title: text, url: z.string(), description: text })) }).optional() });

/** Domains as operators, which both engines pass on; Tavily has fields of its own. */
function withDomains({ query, includeDomains, excludeDomains }: SearchQuery): string {
  const only = includeDomains.map((domain) => `site:${domain}`).join(" OR ");
  return [query, only, ...excludeDomains.map((domain) => `-site:${domain}`)].filter((part) => part !== "").join(" ");
}

const kinds: Record<SearchEngineName, Kind> = {
  // docs.searxng.org "Search API"; `json` must be among the instance's search.formats.
  searxng: {
    url: undefined,
    ask: (base, _key, query) => ({ url: `${base}/search?${new URLSearchParams({ q: withDomains(query), format: "json" })}` }),
    read: (answer) => searxngAnswer.parse(answer).results,
  },
  // api-dashboard.search.brave.com "Web Search API"; at most 20 results.
  brave: {
    url: "https://api.search.brave.com/res/v1",
    ask: (base, key = "", query) => ({
      url: `${base}/web/search?${new URLSearchParams({ q: withDomains(query), count: String(query.maxResults) })}`, init: { headers: { "X-Subscription-Token": key } },
    }),
    read: (answer) => (braveAnswer.parse(answer).web?.results ?? []).map(({ title, url, description }) => ({ title, url, content: description })),
  },
  // docs.tavily.com "Tavily Search".
  tavily: {
    url: "https://api.tavily.com",
    ask: (base, key = "", { query, maxResults, includeDomains, excludeDomains }) => ({
      url: `${base}/search`,
      init: {
        method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: JSON.stringify({ query, max_results: maxResults, include_domains: includeDomains, exclude_domains: excludeDomains }),
      },
    }),
    read: (answer) => searxngAnswer.parse(answer).results,
  },
};

export function searchEngine({ name, url, key }: { name: SearchEngineName; url: string | undefined; key: string | undefined }): SearchEngine {
  const kind = kinds[name];
  const base = (url ?? kind.url ?? "").replace(/\/+$/, "");
  return {
    name,
    local: isLocalUrl(base),
    search: async (query) => {
      const { url: address, init } = kind.ask(base, key, query);
      return readResults(kind, await ask(name, address, init)).slice(0, query.maxResults);
    },
  };
}

function unavailable(): AppError {
  return new AppError("upstream_unavailable", "The search engine cannot answer; nothing was charged.", { retryable: true, retryAfterSeconds: 5 });
}

async function ask(name: string, url: string, init: RequestInit | undefined): Promise<unknown> {
  try {
    // A redirect would carry the owner's key to a place they did not name.
    const answer = await fetch(url, { ...init, redirect: "error", signal: AbortSignal.timeout(searchTimeoutMs) });
    if (answer.status === 401 || answer.status === 402 || answer.status === 403) log.error("upstream.refuses_the_owner", { upstream: name, status: answer.status });
    else if (!answer.ok) log.warn("upstream.error", { upstream: name, status: answer.status });
    if (answer.status === 400 || answer.status === 422) throw new AppError("invalid_request", "The search engine refused the query.", { param: "query" });
    if (!answer.ok) throw unavailable();
    return parseAnswer(name, new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxSearchAnswerBytes)));
  } catch (error) {
    if (error instanceof AppError) throw error;
    log.warn("upstream.error", { upstream: name, reason: describeError(error) });
    throw unavailable();
  }
}

/** What it says instead of JSON may hold the query, which is nobody's to log. */
function parseAnswer(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    log.warn("upstream.error", { upstream: name, reason: "no JSON" });
    throw unavailable();
  }
}

function readResults(kind: Kind, answer: unknown): SearchResult[] {
  try {
    // Only what a reader can follow.
    return kind.read(answer).filter(({ url }) => /^https?:\/\//i.test(url));
  } catch {
    throw unavailable();
  }
}
