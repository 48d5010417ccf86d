/**
 * Upstreams that cannot be reached, fall silent or fail in their own words: the rows of the table of endings (money 7)
 * that need patience or a server of the test's own. The patience is minutes; a copy of the source has a second.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { symlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { tokensLikely } from "../../src/pricing/estimate.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, balanceOf, buyCredential, endHearth, hello, type RunningHearth, startHearth, steepPrices, until } from "../support/hearth.ts";
import { SourceCopy } from "../support/source-copy.ts";

/** What the prompt of `hello` costs by our own count. */
const ourInputMsat = 1_000 * (tokensLikely("user") + tokensLikely("Hello!"));
const patienceMs = 1_000;
/** Far above the patience, far below what it is in the real program. */
const tooLateMs = 8_000;
const ways = [{ stream: false }, { stream: true }];

/** A server whose answers the test writes itself. */
function startOwnServer() {
  let answer: () => Response = () => new Response("not set", { status: 500 });
  const server = Bun.serve({
    port: 0,
    idleTimeout: 0,
    routes: { "/v1/models": () => Response.json({ data: [{ id: "own" }] }), "/v1/chat/completions": () => answer() },
  });
  return { url: `http://127.0.0.1:${server.port}/v1`, answers: (next: () => Response) => void (answer = next), stop: () => server.stop(true) };
}

/** Sends the text and then nothing, for as long as anybody waits. */
function thenSilence(text: string): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(text)) });
}

const own = { ...hello, model: "own" };
const chunk = (content: string) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`;

describe.skipIf(process.env.HEARTH_BINARY !== undefined)("an upstream", () => {
  let copy: SourceCopy;
  let hearth: RunningHearth;
  let model: SandboxModel;
  const server = startOwnServer();
  beforeAll(async () => {
    const file = "src/base/limits.ts";
    copy = new SourceCopy([
      { file, from: "export const firstByteTimeoutMs = 900_000;", to: `export const firstByteTimeoutMs = ${patienceMs};` },
      { file, from: "export const stallTimeoutMs = 120_000;", to: `export const stallTimeoutMs = ${patienceMs};` },
      { file, from: "export const keepAliveMs = 10_000;", to: "export const keepAliveMs = 200;" },
    ]);
    symlinkSync(join(import.meta.dir, "../../node_modules"), join(copy.directory, "node_modules"));
    model = startSandboxModel();
    const config = `${steepPrices}[[upstreams]]\nname = "own"\nurl = "${server.url}"\n`;
    hearth = await startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url }, main: join(copy.directory, "src/main.ts") });
  });
  afterEach(() => model.misbehave({}));
  afterAll(async () => {
    // First the servers, so that no call is left to drain.
    await Promise.all([model.stop(), server.stop()]);
    await endHearth(hearth);
    copy[Symbol.dispose]();
  });

  const letGo = () => model.until((calls) => calls.at(-1)?.aborted === true);
  const soon = () => ({ signal: AbortSignal.timeout(tooLateMs) });

  /** Buys for `body`, makes the call, and says what it took. */
  async function call(body: typeof hello) {
    const credential = await buyCredential(hearth.url, body);
    const { balance_msat: before } = await balanceOf(hearth.url, credential);
    const answer = await ask(hearth.url, body, credential, soon());
    const text = await answer.text();
    const { balance_msat: after, reserved_msat } = await balanceOf(hearth.url, credential);
    return { credential, status: answer.status, retryAfter: answer.headers.has("retry-after"), text, takenMsat: before - after, reserved_msat };
  }

  test.each(ways)("that never answers costs nothing, is let go, and the credential works again, stream: $stream", async ({ stream }) => {
    model.misbehave({ hang: true });
    const outcome = await call({ ...hello, stream });
    expect(outcome).toMatchObject({ status: 503, retryAfter: true, takenMsat: 0, reserved_msat: 0 });
    await letGo();
    model.misbehave({});
    expect((await ask(hearth.url, hello, outcome.credential)).status).toBe(200);
  });

  test.each(ways)("that is not there costs nothing, and the credential works when it is back, stream: $stream", async ({ stream }) => {
    const port = Number(new URL(model.url).port);
    const credential = await buyCredential(hearth.url);
    const before = await balanceOf(hearth.url, credential);
    await model.stop();
    const answer = await ask(hearth.url, { ...hello, stream }, credential, soon());
    model = startSandboxModel({ port });
    expect([answer.status, answer.headers.has("retry-after")]).toEqual([503, true]);
    expect(await balanceOf(hearth.url, credential)).toEqual(before);
    expect((await ask(hearth.url, hello, credential)).status).toBe(200);
  });

  test("that falls silent in mid-stream is let go; the client is told, and the input and what was delivered are charged", async () => {
    model.misbehave({ stallAfterTokens: 5 });
    const outcome = await call({ ...hello, stream: true });
    expect(outcome.text).toContain(": keep-alive");
    expect(outcome.text).toContain('"code":"upstream_unavailable"');
    expect(outcome).toMatchObject({ takenMsat: ourInputMsat + 3_000 * 5, reserved_msat: 0 });
    await letGo();
  });

  test("that falls silent in the middle of an answer that is not streamed costs nothing, and the client is told", async () => {
    model.misbehave({ stallAfterTokens: 5 });
    expect(await call(hello)).toMatchObject({ status: 503, takenMsat: 0, reserved_msat: 0 });
    await letGo();
  });

  test.each(ways)("that falls silent in the middle of its error costs nothing, and the client is told, stream: $stream", async ({ stream }) => {
    server.answers(() => new Response(thenSilence('{"error":'), { status: 500 }));
    expect(await call({ ...own, stream })).toMatchObject({ status: 503, takenMsat: 0, reserved_msat: 0 });
  });

  test("that has refused the call costs nothing either when the client leaves before it hears of it", async () => {
    const credential = await buyCredential(hearth.url, own);
    const before = await balanceOf(hearth.url, credential);
    // An error that begins and does not end. A whole call after it shows that its head was read meanwhile.
    const read = Promise.withResolvers<void>();
    let pieces = 0;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (pieces++ < 3) return controller.enqueue(new Uint8Array(10_000));
      read.resolve();
      await new Promise(() => {});
    };
    server.answers(() => new Response(new ReadableStream({ pull }), { status: 500 }));
    const leaving = new AbortController();
    const answer = ask(hearth.url, own, credential, { signal: leaving.signal }).catch(() => undefined);
    await read.promise;
    server.answers(() => new Response("no", { status: 500 }));
    const other = await buyCredential(hearth.url, own);
    expect((await ask(hearth.url, own, other)).status).toBe(503);
    leaving.abort();
    await answer;
    await until("the call has ended", async () => (await balanceOf(hearth.url, credential)).reserved_msat === 0);
    expect(await balanceOf(hearth.url, credential)).toEqual(before);
  });

  test("that reports an error in mid-stream ends the stream with it; the input and what was delivered are charged", async () => {
    const error = `data: ${JSON.stringify({ error: { message: "out of memory", type: "server_error" } })}\n\n`;
    server.answers(() => new Response(thenSilence(chunk("Hello") + chunk(" there") + error), { headers: { "content-type": "text/event-stream" } }));
    const outcome = await call({ ...own, stream: true });
    expect(outcome.text).toContain("out of memory");
    expect(outcome.text).not.toContain("[DONE]");
    expect(outcome).toMatchObject({ takenMsat: ourInputMsat + 3_000 * 2, reserved_msat: 0 });
  });

  test.each([["nothing at all", ""], ["only a comment", ": hello\n\n"], ["only the end mark's beginning", "data: [DO"]])("whose stream is %s costs nothing", async (_, text) => {
    server.answers(() => new Response(text, { headers: { "content-type": "text/event-stream" } }));
    expect(await call({ ...own, stream: true })).toMatchObject({ takenMsat: 0, reserved_msat: 0 });
  });

  test("is not taken for silent when it is the client that reads slowly", async () => {
    // More than all buffers on the way hold, in comments, which count for nothing.
    const flood = new TextEncoder().encode(`: ${"x".repeat(100_000)}\n\n`);
    const end = new TextEncoder().encode(`${chunk("Hello")}data: [DONE]\n\n`);
    let sent = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      controller.enqueue(++sent < 400 ? flood : end);
      if (sent === 400) controller.close();
    };
    server.answers(() => new Response(new ReadableStream({ pull }), { headers: { "content-type": "text/event-stream" } }));
    const credential = await buyCredential(hearth.url, own);
    const answer = Promise.withResolvers<string>();
    const socket = connect(Number(new URL(hearth.url).port), "127.0.0.1");
    const body = JSON.stringify({ ...own, stream: true });
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${credential}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    let tail = "";
    socket.on("data", (bytes) => void (tail = (tail + bytes.toString("latin1")).slice(-2_000)));
    socket.on("close", () => answer.resolve(tail)).on("error", answer.reject);
    await once(socket, "data");
    socket.pause();
    // The pause itself is what is tested: three times the patience, in which the client reads nothing.
    await Bun.sleep(3 * patienceMs);
    expect(sent).toBeLessThan(400);
    socket.resume();
    expect((await answer.promise).slice(-400)).toContain("data: [DONE]");
  });
});
