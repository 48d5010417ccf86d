/** A Hearth in front of the engine, as a process, and a buyer who checks every charge to the millisat. */
import { expect } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until, type Ollama } from "./ollama.ts";

export const main = join(import.meta.dir, "..", "..", "src", "main.ts");
export const buildTimeoutMs = 15 * 60_000; // the very first start builds the engine
export const eventTimeoutMs = 10_000;

/** The tiny models' token counts, the end token included; prompts are counted byte by byte. */
export const hello = [{ role: "user", content: "hello" }];
export const helloIn = 9; // bos, <|user|>, 5 bytes, <|end|>, <|say|>
export const helloLoopIn = 7; // bos, 5 bytes, <|loop|>
export const sentenceOut = 27;
export const thoughtOut = 38;
export const numCtx = 4096;
export const sentence = "Our hearth keeps burning all night 🔥 at the café where each guest pays for one cocoa, sits down and reads.";

// --- Hearth as a process -------------------------------------------------------------------------------------------

export interface Prices { inMsat: number; outMsat: number } // per token
export interface Limits { defaultOut: number; maxOut: number } // tokens
export interface Hearth {
  readonly url: string;
  readonly prices: Prices;
  stop(): Promise<void>;
  /** `hearth audit` on the data of a stopped Hearth. */
  audit(): Promise<{ status: number; text: string }>;
  /** Stops it and deletes its data. */
  remove(): Promise<void>;
}

export async function startHearth(upstreamUrl: string, prices: Prices, limits: Limits): Promise<Hearth> {
  const folder = mkdtempSync(join(tmpdir(), "hearth-engine-"));
  const [port, ownerPort] = [await freePort(), await freePort()];
  writeFileSync(join(folder, "hearth.toml"), [
    "[prices]", // 1,000 sats per million tokens are 1 msat per token
    `default = { input_sats_per_mtok = ${prices.inMsat * 1000}, output_sats_per_mtok = ${prices.outMsat * 1000} }`,
    "[limits]",
    `default_output_tokens = ${limits.defaultOut}`,
    `max_output_tokens = ${limits.maxOut}`,
    "",
  ].join("\n"));
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    HEARTH_DATA_DIR: join(folder, "data"),
    HEARTH_CONFIG: join(folder, "hearth.toml"),
    HEARTH_PORT: String(port),
    HEARTH_OWNER_PORT: String(ownerPort),
    HEARTH_NODE: "sandbox",
    HEARTH_UPSTREAM_URL: upstreamUrl,
  };
  const log = openSync(join(folder, "log"), "a");
  const server = Bun.spawn([process.execPath, main, "serve"], { env, cwd: folder, stdin: "ignore", stdout: log, stderr: log });
  closeSync(log);
  const killNow = () => server.kill("SIGKILL");
  process.once("exit", killNow);

  async function stop(): Promise<void> {
    server.kill("SIGTERM");
    const patience = setTimeout(killNow, eventTimeoutMs);
    await server.exited;
    clearTimeout(patience);
    process.off("exit", killNow);
  }

  async function audit(): Promise<{ status: number; text: string }> {
    const child = Bun.spawn([process.execPath, main, "audit"], { env, cwd: folder, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    const [text, complaint, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, text: text + complaint };
  }

  async function remove(): Promise<void> {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  }

  const url = `http://127.0.0.1:${port}`;
  try {
    await until("Hearth answers /healthz", eventTimeoutMs, async () => {
      if (server.exitCode !== null) throw new Error(`Hearth ended with ${server.exitCode}:\n${readFileSync(join(folder, "log"), "utf8").slice(-2000)}`);
      const answer = await fetch(`${url}/healthz`).catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    });
  } catch (cause) {
    await remove();
    throw cause;
  }
  return { url, prices, stop, audit, remove };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

// --- A buyer -------------------------------------------------------------------------------------------------------

export type Request = { model: string; messages: object[]; stream?: boolean } & Record<string, unknown>;
export interface Credential { authorization: string; paidMsat: number }
export interface Charge { costMsat: number; balanceMsat: number }
export interface Usage { prompt_tokens: number; completion_tokens: number }
export interface Completion {
  choices: { finish_reason: string; message: { content: string; reasoning?: string; tool_calls?: { function: { name: string; arguments: string } }[] } }[];
  usage: Usage;
}
export interface Chunk { choices: { finish_reason?: string; delta: { content?: string; reasoning?: string } }[]; usage?: Usage; error?: { message: string } }

export function post(url: string, body: object, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body), signal });
}

export async function read<T>(response: Response): Promise<T> {
  return JSON.parse(await response.text());
}

export function ask(hearth: Hearth, request: Request, credential?: Credential, signal?: AbortSignal): Promise<Response> {
  return post(`${hearth.url}/v1/chat/completions`, request, credential ? { authorization: credential.authorization } : {}, signal);
}

/** Takes the 402 for this request and pays it: the invoice is the call's ceiling. */
export async function buy(hearth: Hearth, request: Request): Promise<Credential> {
  const refusal = await ask(hearth, request);
  expect(refusal.status).toBe(402);
  const challenge = await read<{ invoice: string; macaroon: string; amount_sats: number; amount_msat: number }>(refusal);
  const payment = await post(`${hearth.url}/sandbox/pay`, { invoice: challenge.invoice });
  expect(payment.status).toBe(200);
  const { preimage } = await read<{ preimage: string }>(payment);
  // The node takes whole sats, and what was paid is what is credited, however finely the ceiling was counted.
  expect(challenge.amount_sats * 1000).toBeGreaterThanOrEqual(challenge.amount_msat);
  return { authorization: `L402 ${challenge.macaroon}:${preimage}`, paidMsat: challenge.amount_sats * 1000 };
}

export async function balanceOf(hearth: Hearth, credential: Credential): Promise<{ balance_msat: number; reserved_msat: number }> {
  const answer = await fetch(`${hearth.url}/api/v1/balance`, { headers: { authorization: credential.authorization } });
  expect(answer.status).toBe(200);
  return read(answer);
}

/** A whole answer, with what its headers say it cost. */
export async function complete(hearth: Hearth, request: Request, credential: Credential): Promise<{ answer: Completion; charge: Charge }> {
  const response = await ask(hearth, request, credential);
  expect(response.status).toBe(200);
  expect(response.headers.get("x-request-id")).toBeTruthy();
  const charge = {
    costMsat: Number(response.headers.get("x-hearth-cost-msat") ?? NaN),
    balanceMsat: Number(response.headers.get("x-hearth-balance-msat") ?? NaN),
  };
  return { answer: await read<Completion>(response), charge };
}

/** A whole stream, with what its last comment says it cost. */
export async function stream(hearth: Hearth, request: Request, credential: Credential): Promise<{ events: string[]; charge: Charge | undefined }> {
  const response = await ask(hearth, { ...request, stream: true }, credential);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toStartWith("text/event-stream");
  expect(response.headers.get("x-request-id")).toBeTruthy();
  const text = await response.text();
  return { events: eventsOf(text), charge: chargeIn(text) };
}

/** The events byte for byte, without comments: those are Hearth's own. */
export function eventsOf(text: string): string[] {
  return text.split("\n\n").map((event) => event.replace(/^:.*\n?/gm, "")).filter((event) => event !== "");
}

export function chargeIn(text: string): Charge | undefined {
  const found = [...text.matchAll(/^: hearth cost_msat=(\d+) balance_msat=(\d+)$/gm)].at(-1);
  return found && { costMsat: Number(found[1]), balanceMsat: Number(found[2]) };
}

export function chunksOf(events: string[]): Chunk[] {
  return events.filter((event) => event !== "data: [DONE]").map((event) => JSON.parse(event.slice("data: ".length)));
}

/** Names and times differ from call to call; nothing else may. */
export function unnamed(event: string): string {
  return event.replace(/"id":"chatcmpl-[^"]*"/, '"id":"*"').replace(/"created":\d+/, '"created":0');
}

export function costMsat(hearth: Hearth, tokensIn: number, tokensOut: number): number {
  return hearth.prices.inMsat * tokensIn + hearth.prices.outMsat * tokensOut;
}

/** The charge is this call's price to the millisat, and the balance says the same. */
export async function expectCharged(hearth: Hearth, credential: Credential, charge: Charge | undefined, tokensIn: number, tokensOut: number): Promise<void> {
  const cost = costMsat(hearth, tokensIn, tokensOut);
  expect(charge).toEqual({ costMsat: cost, balanceMsat: credential.paidMsat - cost });
  expect(await balanceOf(hearth, credential)).toMatchObject({ balance_msat: credential.paidMsat - cost, reserved_msat: 0 });
}

/** Once a call that broke off is booked: what it cost, by the balance. */
export async function costOfBrokenCall(hearth: Hearth, credential: Credential): Promise<number> {
  return until("the broken call is booked", eventTimeoutMs, async () => {
    const { balance_msat, reserved_msat } = await balanceOf(hearth, credential);
    return reserved_msat === 0 && balance_msat < credential.paidMsat ? credential.paidMsat - balance_msat : undefined;
  });
}

/** Reads a stream until it has brought `count` tokens; gives the reader, to go on or to leave, and the text so far. */
export async function readTokens(response: Response, count: number): Promise<{ text: string; rest: () => Promise<string> }> {
  if (!response.body) throw new Error("a stream has a body");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  async function read(enough: () => boolean): Promise<string> {
    while (!enough()) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
    return text;
  }
  await read(() => tokensIn(text) >= count);
  return { text, rest: () => read(() => false) };
}

/** The loop model says one word per token and per event. */
export function tokensIn(text: string): number {
  return text.split('"delta":{"role":"assistant","content":"').length - 1;
}

/** The CPU ticks a runner has used once it has done nothing for a while; throws when it goes on. */
export async function ticksWhenStill(engine: Ollama, timeoutMs: number): Promise<number> {
  let seen = -1;
  let since = 0;
  return until("the runner is still", timeoutMs, async () => {
    const ticks = await engine.runnerCpuTicks();
    if (ticks !== seen) [seen, since] = [ticks, performance.now()];
    return performance.now() - since >= 200 ? ticks : undefined; // 20 ticks long none was used
  });
}
