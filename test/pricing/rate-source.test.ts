/** One source of bitcoin's price over HTTP: what it says counts only when it is plainly a price, and it can neither stall nor flood us. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server, type Socket } from "node:net";
import { maxRateAnswerBytes, rateSourceTimeoutMs } from "../../src/base/limits.ts";
import { jsonRateSource, publicRateSources, readCents } from "../../src/pricing/rate-source.ts";

type Answer = (request: Request) => Response | Promise<Response>;
const answers = new Map<string, Answer>();
let followed = 0;
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  development: false,
  fetch: (request) => answers.get(new URL(request.url).pathname)!(request),
});
afterAll(() => server.stop(true));

/** A source at an address of its own. */
function source(answer: Answer, path = "USD") {
  const at = `/source-${answers.size}`;
  answers.set(at, answer);
  return jsonRateSource({ name: "test", url: `${server.url.origin}${at}`, path });
}

const json = (text: string, init?: ResponseInit) => () => new Response(text, init);

describe("a source that answers well", () => {
  const cases: [what: string, text: string, path: string, cents: bigint][] = [
    ["a whole number", '{"USD":97123}', "USD", 9_712_300n],
    ["a number with places", '{"USD":97123.45}', "USD", 9_712_345n],
    ["one place is tens of cents", '{"USD":97123.4}', "USD", 9_712_340n],
    ["more places are cut, toward the house", '{"USD":97123.459999}', "USD", 9_712_345n],
    ["a text", '{"data":{"amount":"97123.45","currency":"USD"}}', "data.amount", 9_712_345n],
    ["a text with many places", '{"result":{"XXBTZUSD":{"c":["97123.40000","0.01"]}}}', "result.XXBTZUSD.c.0", 9_712_340n],
    ["an exponent that JSON allows for a plain number", '{"USD":1e5}', "USD", 10_000_000n],
    ["a single cent", '{"USD":"0.01"}', "USD", 1n],
    ["the last of two equal keys, as JSON readers do", '{"USD":1,"USD":97123}', "USD", 9_712_300n],
    ["a document that is an array", "[97123]", "0", 9_712_300n],
  ];
  test.each(cases)("%s", async (_what, text, path, cents) => {
    expect(await source(json(text), path).read()).toBe(cents);
  });

  test("is read whatever content type it claims", async () => {
    expect(await source(json('{"USD":97123}', { headers: { "content-type": "text/plain" } })).read()).toBe(9_712_300n);
  });

  test("is sent nothing that says who asks but a plain GET", async () => {
    let seen: Record<string, string | null> = {};
    await source(({ method, headers }) => {
      seen = { method, ...Object.fromEntries(["accept", "authorization", "cookie", "referer"].map((name) => [name, headers.get(name)])) };
      return Response.json({ USD: 1 });
    }).read();
    expect(seen).toEqual({ method: "GET", accept: "application/json", authorization: null, cookie: null, referer: null });
  });
});

describe("a source that answers badly counts as no source", () => {
  const cases: [what: string, answer: Answer, path?: string][] = [
    ["500", json('{"USD":97123}', { status: 500 })],
    ["429", json('{"USD":97123}', { status: 429 })],
    ["404", json('{"USD":97123}', { status: 404 })],
    ["nothing at all", json("")],
    ["no JSON", json("<!doctype html><title>97123</title>")],
    ["JSON that breaks off", json('{"USD":97123')],
    ["null", json("null")],
    ["a bare number where a field was wanted", json("97123")],
    ["another field", json('{"EUR":97123}')],
    ["null in the field", json('{"USD":null}')],
    ["true in the field", json('{"USD":true}')],
    ["an object in the field", json('{"USD":{"last":97123}}')],
    ["an array in the field, even of one price", json('{"USD":[97123]}')],
    ["zero", json('{"USD":0}')],
    ["zero as a text", json('{"USD":"0.00"}')],
    ["less than a cent", json('{"USD":0.009}')],
    ["a negative number", json('{"USD":-97123}')],
    ["a negative text", json('{"USD":"-97123"}')],
    ["a sign", json('{"USD":"+97123"}')],
    ["an exponent in a text", json('{"USD":"1e5"}')],
    ["a huge exponent", json('{"USD":1e30}')],
    ["a tiny exponent", json('{"USD":1e-7}')],
    ["more than a number holds", json('{"USD":1e999}')],
    ["NaN as a text", json('{"USD":"NaN"}')],
    ["hex", json('{"USD":"0x17b63"}')],
    ["thousands with commas", json('{"USD":"97,123.45"}')],
    ["a currency sign", json('{"USD":"$97123"}')],
    ["blanks around it", json('{"USD":" 97123 "}')],
    ["a line break behind it", json('{"USD":"97123\\n"}')],
    ["no digit before the point", json('{"USD":".5"}')],
    ["no digit behind the point", json('{"USD":"97123."}')],
    ["digits of another script", json('{"USD":"٩٧١٢٣"}')],
    ["more digits than any price has", json('{"USD":"12345678901"}')],
    ["a path through a text", json('{"USD":"97123"}'), "USD.amount.0"],
    ["a path past the end of an array", json('{"c":[]}'), "c.0"],
  ];
  // Rows of one length: a missing last argument would be the runner's own.
  test.each(cases.map(([what, answer, path]) => [what, answer, path ?? "USD"] as const))("%s", async (_what, answer, path) => {
    await expect(source(answer, path).read()).rejects.toThrow(/answered|has no price at|JSON/);
  });

  test("a redirect is not followed: it leads where the owner never pointed", async () => {
    const elsewhere = "/elsewhere";
    answers.set(elsewhere, () => (followed++, Response.json({ USD: 97_123 })));
    for (const status of [301, 302, 303, 307, 308])
      await expect(source(() => new Response(null, { status, headers: { location: `${server.url.origin}${elsewhere}` } })).read()).rejects.toThrow();
    expect(followed).toBe(0);
  });

  test("a port where nobody listens", async () => {
    const gone = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const url = gone.url.href;
    await gone.stop(true);
    await expect(jsonRateSource({ name: "gone", url, path: "USD" }).read()).rejects.toThrow();
  });

  test("what is thrown holds nothing of the answer but its size", async () => {
    const secret = "a page behind the owner's router";
    const failures = await Promise.all([json(JSON.stringify({ EUR: secret })), json(secret, { status: 500 }), json(JSON.stringify({ USD: secret }))].map((answer) =>
      source(answer).read().then(() => "no failure", (error: unknown) => String(error))));
    for (const failure of failures) expect(failure).not.toContain("router");
    expect(failures).not.toContain("no failure");
  });
});

describe("a source that answers late or too much", () => {
  const raw: Server[] = [];
  afterAll(() => void raw.forEach((one) => one.close()));

  /** A server of bare sockets, for answers no server library would make. */
  async function rawSource(talk: (socket: Socket) => void) {
    const listening = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => talk(socket));
    });
    raw.push(listening);
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    return jsonRateSource({ name: "raw", url: `http://127.0.0.1:${(listening.address() as { port: number }).port}/`, path: "USD" });
  }

  let silent: Promise<unknown>, headOnly: Promise<unknown>;
  const started = performance.now();
  beforeAll(async () => {
    const failed = (read: Promise<bigint>) => read.then(() => "answered", () => performance.now() - started);
    silent = failed((await rawSource(() => {})).read());
    headOnly = failed((await rawSource((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"USD":'))).read());
  });

  test("an answer as large as is allowed is read, a character more is not", async () => {
    const padded = (length: number) => `{"USD":97123,"x":"${"x".repeat(length - '{"USD":97123,"x":""}'.length)}"}`;
    expect(await source(json(padded(maxRateAnswerBytes))).read()).toBe(9_712_300n);
    await expect(source(json(padded(maxRateAnswerBytes + 1))).read()).rejects.toThrow();
  });

  test("an answer without end is left soon after the bound, not read until the time is up", async () => {
    let sent = 0;
    const piece = Buffer.alloc(256 * 1024, 32);
    const enough = 64 * maxRateAnswerBytes;
    const left = Promise.withResolvers<void>();
    const endless = await rawSource((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
      const more = () => {
        while (sent < enough && !socket.destroyed) {
          sent += piece.length;
          if (!socket.write(piece)) return void socket.once("drain", more);
        }
        socket.end();
      };
      socket.on("close", () => left.resolve());
      more();
    });
    await expect(endless.read()).rejects.toThrow();
    await left.promise;
    // What the kernel's buffers on both sides hold comes on top of what was read.
    expect(sent).toBeLessThan(enough / 2);
  });

  test("a packed answer counts by what it is unpacked", async () => {
    const packed = Bun.gzipSync(Buffer.from(`{"USD":97123,"x":"${" ".repeat(2 * maxRateAnswerBytes)}"}`));
    await expect(source(() => new Response(packed, { headers: { "content-encoding": "gzip" } })).read()).rejects.toThrow();
  });

  test("one that says nothing, or stops in the middle, is given up after its time", async () => {
    for (const failedAfterMs of [await silent, await headOnly]) {
      expect(failedAfterMs).toBeGreaterThanOrEqual(rateSourceTimeoutMs - 100);
      expect(failedAfterMs).toBeLessThan(rateSourceTimeoutMs + 7_000);
    }
  }, 2 * rateSourceTimeoutMs);
});

describe("the sources Hearth knows", () => {
  /** As each documents its answer. */
  const documented: Record<string, string> = {
    mempool: '{"time":1703252411,"USD":43753,"EUR":40545}',
    coinbase: '{"data":{"amount":"43753.00","base":"BTC","currency":"USD"}}',
    kraken: '{"error":[],"result":{"XXBTZUSD":{"a":["43754.0","1","1.000"],"b":["43752.0","1","1.000"],"c":["43753.00000","0.00080000"]}}}',
    bitstamp: '{"timestamp":"1643640186","open":"43700","high":"44000","low":"43000","last":"43753","volume":"213.2"}',
  };

  test("are enough to lose one, each with a name of its own, over https and in the form its path reads", () => {
    expect(publicRateSources.length).toBeGreaterThanOrEqual(4);
    expect(new Set(publicRateSources.map((one) => one.name)).size).toBe(publicRateSources.length);
    for (const { name, url, path } of publicRateSources) {
      expect(url).toStartWith("https://");
      expect({ name, cents: readCents(JSON.parse(documented[name]!), path) }).toEqual({ name, cents: 4_375_300n });
    }
  });

  test("an error that a source sends with status 200 is no price", () => {
    for (const { path } of publicRateSources) expect(readCents({ error: ["EGeneral:Too many requests"], errors: [{ id: "rate_limit" }] }, path)).toBeUndefined();
  });
});
