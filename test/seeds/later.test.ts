/** The documented routes that are not here yet: each must still answer 404, so that this list ends when the last of them begins. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { endHearth, type RunningHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
afterAll(() => endHearth(hearth));

type Later = { from: "402ai" | "NanoGPT" | "MaximumSats" | "LLM402"; snippet: string; method: "GET" | "POST" | "PATCH"; path: string; body?: object };

const task = "/api/v1/ai-for-hire/tasks/t_1";
const bid = `${task}/quotes/q_1`;

const later: Later[] = [
  { from: "402ai", snippet: "responses", method: "POST", path: "/api/v1/responses", body: { model: "gpt-4o-mini", input: "hello" } },
  { from: "402ai", snippet: "embeddings", method: "POST", path: "/api/v1/embeddings", body: { model: "text-embedding-3-small", input: "hello" } },
  { from: "402ai", snippet: "video", method: "POST", path: "/api/v1/video/generations", body: { prompt: "A neon bitcoin logo" } },
  { from: "402ai", snippet: "topup page", method: "GET", path: "/topup" },
  { from: "402ai", snippet: "create a task", method: "POST", path: "/api/v1/ai-for-hire/tasks", body: { title: "Summarize this PDF", budget_sats: 500 } },
  { from: "402ai", snippet: "list tasks", method: "GET", path: "/api/v1/ai-for-hire/tasks" },
  { from: "402ai", snippet: "task detail", method: "GET", path: task },
  { from: "402ai", snippet: "submit a quote", method: "POST", path: `${task}/quotes`, body: { price_sats: 400, description: "I can summarize this in 5 minutes" } },
  { from: "402ai", snippet: "accept a quote", method: "POST", path: `${bid}/accept` },
  { from: "402ai", snippet: "update a quote", method: "PATCH", path: bid, body: { price_sats: 350, description: "Updated: can do it for 350 sats" } },
  { from: "402ai", snippet: "send a message", method: "POST", path: `${bid}/messages`, body: { body: "Can you do this for 300 sats?" } },
  { from: "402ai", snippet: "get messages", method: "GET", path: `${bid}/messages` },
  { from: "402ai", snippet: "deliver", method: "POST", path: `${task}/deliver`, body: { filename: "summary.txt", content_base64: "VGhlIGtleSBwb2ludHMgYXJlLi4u" } },
  { from: "402ai", snippet: "confirm delivery", method: "POST", path: `${task}/confirm` },
  { from: "402ai", snippet: "account info", method: "GET", path: "/api/v1/ai-for-hire/me" },
  { from: "NanoGPT", snippet: "scrape", method: "POST", path: "/api/v1/data/url/scrape", body: { url: "https://example.com" } },
  { from: "NanoGPT", snippet: "image edits", method: "POST", path: "/api/v1/images/edits", body: { prompt: "A neon bitcoin logo" } },
  { from: "LLM402", snippet: "Ollama chat", method: "POST", path: "/api/chat", body: { model: "sandbox", messages: [{ role: "user", content: "Hello" }] } },
];

for (const { from, snippet, method, path, body } of later)
  test(`${from}, ${snippet}: ${method} ${path} is not here yet, and says so without a bill`, async () => {
    const answer = await fetch(hearth.url + path, { method, headers: { "content-type": "application/json" }, body: body && JSON.stringify(body) });
    expect({ status: answer.status, challenge: answer.headers.get("www-authenticate"), error: ((await answer.json()) as { error: { code: string } }).error.code })
      .toEqual({ status: 404, challenge: null, error: "not_found" });
  });
