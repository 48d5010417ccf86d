/** The model server behind the documented snippets: sells the ids printed there, and its answers are counted in advance. */
export const printedModels = ["gpt-4o-mini", "claude-sonnet-4-20250514", "google/gemini-2.0-flash-lite-001"] as const;

/** What every answer says; streamed, a word is a token. */
export const seedWords = ["1,", " 2,", " 3,", " 4,", " 5."];
export const seedText = seedWords.join("");
export const seedUsage = { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 };
/** What one answer costs by `seedConfig`. */
export const seedCostMsat = 7 * 100 + 5 * 300;

export type SeedUpstream = {
  url: string;
  /** What it was sent, in order. */
  bodies: Record<string, unknown>[];
  stop(): Promise<void>;
};

export function startSeedUpstream(): SeedUpstream {
  const bodies: Record<string, unknown>[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    routes: {
      "/v1/models": () => Response.json({ object: "list", data: printedModels.map((id) => ({ id, object: "model", created: 1, owned_by: "seeds" })) }),
      "/v1/chat/completions": async (request) => {
        const body = (await request.json()) as Record<string, unknown>;
        bodies.push(body);
        return body.stream === true ? streamed(body) : buffered(body);
      },
    },
  });
  return { url: `http://127.0.0.1:${server.port}/v1`, bodies, stop: () => server.stop(true) };
}

function buffered({ model }: Record<string, unknown>): Response {
  const choices = [{ index: 0, message: { role: "assistant", content: seedText }, finish_reason: "stop" }];
  return Response.json({ id: "chatcmpl-seed", object: "chat.completion", created: 1, model, choices, usage: seedUsage });
}

function streamed({ model, stream_options }: Record<string, unknown>): Response {
  const event = (fields: object) => `data: ${JSON.stringify({ id: "chatcmpl-seed", object: "chat.completion.chunk", created: 1, model, ...fields })}\n\n`;
  const choice = (delta: object, finish_reason: string | null = null) => event({ choices: [{ index: 0, delta, finish_reason }] });
  const withUsage = (stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  const events = [
    choice({ role: "assistant", content: "" }), ...seedWords.map((content) => choice({ content })), choice({}, "stop"),
    ...(withUsage ? [event({ choices: [], usage: seedUsage })] : []), "data: [DONE]\n\n",
  ];
  return new Response(events.join(""), { headers: { "content-type": "text/event-stream" } });
}

/** Text of hearth.toml: the upstream's models for sale, at sums that are exact, with a dollar worth 1,000 sats. `settings` are lines without a table. */
export function seedConfig(upstream: SeedUpstream, settings = "", tables = ""): string {
  const price = "{ input_sats_per_mtok = 100000, output_sats_per_mtok = 300000 }";
  return `usd_per_btc = 100000\n${settings}\n[[upstreams]]\nname = "seeds"\nurl = "${upstream.url}"\nprice = ${price}\n${tables}`;
}
