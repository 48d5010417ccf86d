/**
 * Every public route, once: what documents say of it is generated from here, and a test compares it with what is mounted.
 * Paths are written under `/v1`; each is served under every prefix (`public-context.ts`).
 */
import type { ModelKind } from "../pricing/public-prices.ts";

export type RouteKind =
  /** Costs money: a stranger gets a 402. */
  | "paid"
  /** About money: topups and balances. */
  | "account"
  | "free";

/** What must be there for a paid route to be advertised: a model of a kind, or a service of its own. */
export type Sells = ModelKind | "search" | "dvm";

export type Route = {
  method: "GET" | "POST";
  path: string;
  kind: RouteKind;
  summary: string;
  /** Paid routes only. */
  sells?: Sells;
  /** Paid routes only: whether what is charged is what was quoted, or what was used of it. */
  quoteType?: "deterministic" | "estimated with reconciliation";
  streaming?: boolean;
  /** The request is multipart/form-data with a file. */
  form?: true;
  /** Not under the prefixes: exactly this path. */
  absolute?: true;
};

export const routeTable: readonly Route[] = [
  { method: "POST", path: "/chat/completions", kind: "paid", summary: "OpenAI's chat completions, streamed and not", sells: "chat", quoteType: "estimated with reconciliation", streaming: true },
  { method: "POST", path: "/chat/completions/:model", kind: "paid", summary: "The same with the model in the path", sells: "chat", quoteType: "estimated with reconciliation", streaming: true },
  { method: "POST", path: "/images/generations", kind: "paid", summary: "OpenAI's images, by the image", sells: "image", quoteType: "deterministic" },
  { method: "POST", path: "/audio/speech", kind: "paid", summary: "OpenAI's speech, by the character", sells: "speech", quoteType: "deterministic" },
  { method: "POST", path: "/audio/transcriptions", kind: "paid", summary: "OpenAI's transcriptions, by the second", sells: "transcription", quoteType: "deterministic", form: true },
  { method: "POST", path: "/audio/translations", kind: "paid", summary: "The same into English", sells: "transcription", quoteType: "deterministic", form: true },
  { method: "POST", path: "/data/web/search", kind: "paid", summary: "Web search, by the call", sells: "search", quoteType: "deterministic" },
  { method: "POST", path: "/api/dvm", kind: "paid", summary: "One prompt at one flat price", sells: "dvm", quoteType: "deterministic", absolute: true },
  { method: "GET", path: "/models", kind: "free", summary: "Models for sale with their prices, in OpenAI's list" },
  { method: "GET", path: "/models/*", kind: "free", summary: "One model" },
  { method: "POST", path: "/quote", kind: "free", summary: "What a paid request would cost; free, without an invoice" },
  { method: "POST", path: "/topup", kind: "account", summary: "An invoice for a prepaid token, or for more on one" },
  { method: "POST", path: "/topup/claim", kind: "account", summary: "A paid topup into a token" },
  { method: "GET", path: "/topup/:hash", kind: "account", summary: "Whether a topup is paid" },
  { method: "GET", path: "/topup/:hash/events", kind: "account", summary: "The same as an event stream" },
  { method: "POST", path: "/collect", kind: "account", summary: "Pays a Lightning invoice from what a token or credential holds" },
  { method: "GET", path: "/collect/:id", kind: "account", summary: "How such a payment stands" },
  { method: "POST", path: "/ai-for-hire/collect", kind: "account", summary: "The same as /collect, for those who work here" },
  { method: "GET", path: "/ai-for-hire/collect/:id", kind: "account", summary: "The same as /collect/:id" },
  { method: "GET", path: "/balance", kind: "account", summary: "What a token or credential still holds" },
  { method: "GET", path: "/key", kind: "account", summary: "The same with what was used, in OpenRouter's names" },
  { method: "GET", path: "/catalog", kind: "free", summary: "Endpoints, models and least prices" },
  { method: "GET", path: "/x402/endpoints", kind: "free", summary: "Which endpoints can be paid how" },
  { method: "GET", path: "/", kind: "free", summary: "What this is", absolute: true },
  { method: "GET", path: "/healthz", kind: "free", summary: "Whether it runs", absolute: true },
  { method: "GET", path: "/pricing", kind: "free", summary: "Least prices, free calls and how to pay", absolute: true },
  { method: "GET", path: "/api/catalog", kind: "free", summary: "The catalog for older clients", absolute: true },
  { method: "GET", path: "/.well-known/l402.json", kind: "free", summary: "How to pay here, for directories", absolute: true },
  { method: "GET", path: "/openapi.json", kind: "free", summary: "This document's machine-readable twin", absolute: true },
  { method: "GET", path: "/llms.txt", kind: "free", summary: "This service in short, for agents", absolute: true },
  { method: "GET", path: "/llms-full.txt", kind: "free", summary: "This service in full, for agents", absolute: true },
];
