/**
 * The least a Bun process between client and upstream can do, with the traps of quality.md avoided: buffered request
 * body, the client's signal, a relay that pulls, headers from an allow-list. It checks, counts and charges nothing.
 */
const upstreamUrl = process.argv[2];
if (upstreamUrl === undefined) throw new Error("usage: bare-bun.ts UPSTREAM_URL");

const passedHeaders = ["content-type", "cache-control"];

function relay(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

async function passThrough(request: Request): Promise<Response> {
  const answer = await fetch(upstreamUrl + new URL(request.url).pathname, {
    method: request.method,
    headers: { "content-type": "application/json", "accept-encoding": "identity" },
    body: await request.bytes(),
    signal: request.signal,
  });
  const headers: Record<string, string> = {};
  for (const name of passedHeaders) {
    const value = answer.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  const streams = headers["content-type"]?.startsWith("text/event-stream") && answer.body !== null;
  return new Response(streams ? relay(answer.body!) : await answer.bytes(), { status: answer.status, headers });
}

const server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 255, development: false, fetch: passThrough });
process.stdout.write(`ready ${server.url.origin}\n`);
export {};
