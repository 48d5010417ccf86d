/**
 * The model server of every contestant, as a process: a fixed answer, as fast as Bun can send it, so that it is not
 * what is measured. The first part of the path names the asker and is counted. Speaks no more of OpenAI than the bench needs.
 */
import { chatBody, frameCount, frameText, listedModels, modelId, usage } from "./workload.ts";

const reported = { prompt_tokens: usage.inputTokens, completion_tokens: usage.outputTokens, total_tokens: usage.inputTokens + usage.outputTokens };
const head = { id: "chatcmpl-bench", created: 1_700_000_000, model: modelId };
const content = Array.from({ length: frameCount }, (_, index) => frameText(index)).join("");
const answer = JSON.stringify({
  ...head, object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: content.slice(0, 200) }, finish_reason: "stop" }],
  usage: reported,
});

const encoder = new TextEncoder();
const frames = [
  ...Array.from({ length: frameCount }, (_, index) => frame({ choices: [{ index: 0, delta: { content: frameText(index) }, finish_reason: null }] })),
  // The end comes as one write, as engines send it.
  join(frame({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }), frame({ choices: [], usage: reported }), encoder.encode("data: [DONE]\n\n")),
];

const asked = new Map<string, number>();
/** Between two frames; 0 is as fast as the reader reads. */
let paceMs = 0;

function frame(part: object): Uint8Array {
  return encoder.encode(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...part })}\n\n`);
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function stream(): Response {
  const startedMs = performance.now();
  const pace = paceMs;
  let next = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      // Held to the clock and not to the frame before, so that a late timer does not make the whole answer late.
      const waitMs = startedMs + next * pace - performance.now();
      if (next > 0 && waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      controller.enqueue(frames[next++]!);
      if (next === frames.length) controller.close();
    },
  }, { highWaterMark: 0 });
  return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" } });
}

async function serve(request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/pace") {
    paceMs = Number(searchParams.get("ms"));
    return new Response();
  }
  if (pathname === "/asked") return Response.json(Object.fromEntries(asked));
  const who = pathname.split("/")[1]!;
  if (pathname.endsWith("/models")) return Response.json({ object: "list", data: listedModels(who).map((id) => ({ id, object: "model", created: head.created })) });
  if (!pathname.endsWith("/chat/completions")) return new Response(null, { status: 404 });
  const text = await request.text();
  if (text.length < chatBody.length / 2) return new Response("the prompt is missing", { status: 400 });
  asked.set(who, (asked.get(who) ?? 0) + 1);
  return text.includes('"stream":true') ? stream() : new Response(answer, { headers: { "content-type": "application/json" } });
}

const server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 0, development: false, fetch: serve });
process.stdout.write(`ready ${server.url.origin}\n`);
