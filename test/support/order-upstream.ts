/** A model server that makes pictures, speech, text of sound and chat, and a SearXNG beside it: what orders are sent to. Does as it is told. */
import { createHash } from "node:crypto";

export type OrderUpstream = {
  url: string;
  searchUrl: string;
  /** Bodies of requests, a file in a form as `AskedFile`, and queries of searches, in order. */
  asked: Record<string, unknown>[];
  /** How the next requests come out; `undefined` is well. */
  behave(how: ((request: Request) => Response | Promise<Response>) | undefined): void;
  stop(): Promise<void>;
};

export type AskedFile = { name: string; sha256: string };

export const picture = Buffer.from("no real picture").toString("base64");
export const dvmText = "One, two, three, four, five.";
export const spoken = Buffer.from("ID3 no real sound");
export const heard = "Hello from Hearth.";
/** What a server sends for sound, by what was asked for. */
const transcripts: Readonly<Record<string, () => Response>> = {
  json: () => Response.json({ text: heard }),
  verbose_json: () => Response.json({ text: heard, language: "english", duration: 3.16, segments: [] }),
  text: () => new Response(`${heard}\n`, { headers: { "content-type": "text/plain" } }),
  srt: () => new Response(`1\n00:00:00,000 --> 00:00:03,160\n${heard}\n`, { headers: { "content-type": "text/plain" } }),
  vtt: () => new Response(`WEBVTT\n\n00:00.000 --> 00:03.160\n${heard}\n`, { headers: { "content-type": "text/vtt" } }),
};
export const hits = [
  { title: "Bitcoin in schools", url: "https://example.org/a", content: "A short extract.", engine: "x" },
  { title: "No address", url: "javascript:alert(1)", content: "" },
  { title: "Second", url: "https://example.org/b", content: null },
  { title: "Third", url: "https://example.org/c", content: "c" },
];

/** @param models Ids it lists. */
export function startOrderUpstream(models: readonly string[] = ["painter", "talker"]): OrderUpstream {
  const asked: Record<string, unknown>[] = [];
  let how: ((request: Request) => Response | Promise<Response>) | undefined;
  const answer = async (request: Request, body: Record<string, unknown>, well: () => object | Response) => {
    asked.push(body);
    const made = how === undefined ? well() : how(request);
    return made instanceof Response || made instanceof Promise ? made : Response.json(made);
  };
  const listen = async (request: Request) => {
    const form = (await request.formData()) as unknown as Iterable<[string, string | File]>;
    const body: Record<string, unknown> = {};
    for (const [name, value] of form) body[name] = name.endsWith("[]") ? [...((body[name] as unknown[]) ?? []), value] : typeof value === "string" ? value : await describeFile(value);
    return answer(request, body, () => transcripts[(body.response_format as string | undefined) ?? "json"]!());
  };
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0, idleTimeout: 0, development: false,
    routes: {
      "/v1/models": () => Response.json({ object: "list", data: models.map((id) => ({ id, object: "model", created: 1, owned_by: "studio" })) }),
      "/v1/images/generations": async (request) => {
        const body = (await request.json()) as Record<string, unknown>;
        return answer(request, body, () => ({ created: 1, data: Array.from({ length: Number(body.n) }, () => ({ b64_json: picture })) }));
      },
      "/v1/audio/speech": async (request) => answer(request, (await request.json()) as Record<string, unknown>, () => new Response(spoken, { headers: { "content-type": "audio/mpeg" } })),
      "/v1/audio/transcriptions": listen,
      "/v1/audio/translations": listen,
      "/v1/chat/completions": async (request) => {
        const body = (await request.json()) as Record<string, unknown>;
        const choices = [{ index: 0, message: { role: "assistant", content: dvmText }, finish_reason: "stop" }];
        return answer(request, body, () => ({ id: "x", object: "chat.completion", created: 1, model: body.model, choices, usage: { prompt_tokens: 9, completion_tokens: 11, total_tokens: 20 } }));
      },
      "/search": (request) => answer(request, Object.fromEntries(new URL(request.url).searchParams), () => ({ query: "q", results: hits })),
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/v1`, searchUrl: `http://127.0.0.1:${server.port}`, asked,
    behave: (next) => void (how = next),
    stop: () => server.stop(true),
  };
}

async function describeFile(file: File): Promise<AskedFile> {
  return { name: file.name, sha256: createHash("sha256").update(await file.bytes()).digest("hex") };
}

/** 21 sats an image, 5 a search, 21 a prompt. `more`: further tables of hearth.toml. */
export function orderConfig(upstream: OrderUpstream, { imageSats = 21, more = "", settings = "" } = {}): string {
  return `usd_per_btc = 100000
${settings}
[[upstreams]]
name = "studio"
url = "${upstream.url}"
[prices.models]
painter = { sats_per_image = ${imageSats} }
talker = { input_sats_per_mtok = 100000, output_sats_per_mtok = 300000 }
[dvm]
model = "talker"
price_sats = 21
max_prompt_characters = 200
[search]
engine = "searxng"
url = "${upstream.searchUrl}"
price = { sats_per_call = 5 }
${more}`;
}

/** POST of JSON to a path. */
export function order(url: string, path: string, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(url + path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), ...(signal && { signal }) });
}
