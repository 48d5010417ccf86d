/**
 * A running Hearth for tests: the real program in a process and a data directory of its own, and a buyer that pays it.
 * `HEARTH_BINARY` runs the same tests against the compiled file instead of the source.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SQLQueryBindings } from "bun:sqlite";
import { openReader } from "../../src/store/reader.ts";

const main = new URL("../../src/main.ts", import.meta.url).pathname;
/** How the program is started: the compiled file where one is named, else from source. */
export const hearthCommand: string[] = process.env.HEARTH_BINARY ? [process.env.HEARTH_BINARY] : [process.execPath, main];

export type RunningHearth = {
  url: string;
  ownerUrl: string;
  ownerCode: string | undefined;
  dataDir: string;
  pid: number;
  /** Everything printed so far, both streams: for what must never be in it. */
  output(): string;
  exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, then waits; leaves the data directory. */
  stop(): Promise<number>;
};

export type HearthOptions = {
  command?: "demo" | "serve";
  /** Text of hearth.toml. */
  config?: string;
  env?: Record<string, string>;
  /** Reused to start again on what an earlier process left. */
  dataDir?: string;
  /** Put before the program, e.g. a preloaded library's environment is in `env`. */
  cwd?: string;
  /** Another src/main.ts: a copy with other limits. */
  main?: string;
};

const startTimeoutMs = 20_000;

export function makeDataDir(): string {
  return mkdtempSync(join(tmpdir(), "hearth-test-"));
}

export function removeDataDir(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** Starts on free ports and resolves when the doors are open; rejects with the output when it ends before. */
export async function startHearth(options: HearthOptions = {}): Promise<RunningHearth> {
  const dataDir = options.dataDir ?? makeDataDir();
  if (options.config !== undefined) writeFileSync(join(dataDir, "hearth.toml"), options.config);
  const program = options.main === undefined ? hearthCommand : [process.execPath, options.main];
  const child = Bun.spawn([...program, options.command ?? "demo"], {
    cwd: options.cwd ?? dataDir,
    env: { PATH: process.env.PATH ?? "", HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_PORT: "0", HEARTH_OWNER_PORT: "0", ...options.env },
    stdout: "pipe",
    stderr: "pipe",
  });
  let printed = "";
  const ready = Promise.withResolvers<void>();
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      printed += decoder.decode(bytes, { stream: true });
      if (/Hearth is ready: \S+[\s\S]*owner's door:.*\n/.test(printed)) ready.resolve();
    }
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const late = setTimeout(() => ready.reject(new Error(`Hearth did not start:\n${printed}`)), startTimeoutMs);
  child.exited.then(async (code) => {
    await reading;
    ready.reject(new Error(`Hearth ended with ${code}:\n${printed}`));
  });
  try {
    await ready.promise;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(late);
  }
  const owner = /owner's door:\s+(http:\S+?)\/admin(?:\?code=(\S+))?/.exec(printed)!;
  return {
    url: /Hearth is ready: (\S+)/.exec(printed)![1]!,
    ownerUrl: owner[1]!,
    ownerCode: owner[2],
    dataDir,
    pid: child.pid,
    output: () => printed,
    exited: child.exited,
    kill: (signal) => child.kill(signal),
    async stop() {
      child.kill("SIGTERM");
      const code = await child.exited;
      await reading;
      return code;
    },
  };
}

/** `hearth <args>` run to its end. */
export async function runHearth(args: string[], env: Record<string, string>): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([...hearthCommand, ...args], { env: { PATH: process.env.PATH ?? "", ...env }, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, output: out + err };
}

export type Bill = { invoice: string; macaroon: string; payment_hash: string; amount_sats: number; amount_msat: number; quote_id: string; error: { code: string; message: string } };

export type ChatBody = { model: string; messages: { role: string; content: unknown }[]; [field: string]: unknown };

export const hello: ChatBody = { model: "sandbox", messages: [{ role: "user", content: "Hello!" }] };

/** POST chat/completions as it is. */
export function ask(url: string, body: unknown, authorization?: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(authorization ? { authorization } : {}) },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
}

/** The bill for a request. */
export async function askForBill(url: string, body: unknown = hello, authorization?: string): Promise<Bill> {
  const answer = await ask(url, body, authorization);
  if (answer.status !== 402) throw new Error(`expected a bill, got ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Bill;
}

/** Pays with play money; answers the preimage. */
export async function pay(url: string, invoice: string): Promise<string> {
  const answer = await fetch(`${url}/sandbox/pay`, { method: "POST", body: JSON.stringify({ invoice }) });
  const body = (await answer.json()) as { preimage?: string };
  if (body.preimage === undefined) throw new Error(`not paid: ${JSON.stringify(body)}`);
  return body.preimage;
}

/** A paid credential for this request, as an Authorization value, e.g. `L402 mac:preimage`. */
export async function buyCredential(url: string, body: unknown = hello): Promise<string> {
  const bill = await askForBill(url, body);
  return `L402 ${bill.macaroon}:${await pay(url, bill.invoice)}`;
}

export type TopupBill = Bill & { claim_secret: string; claim_url: string; purpose: "new" | "refill"; expires_in: number };

/** Orders a balance; with a token or credential in `headers` it is a refill. */
export async function orderTopup(url: string, body: unknown = { amount_sats: 1_000 }, headers: Record<string, string> = {}): Promise<TopupBill> {
  const answer = await fetch(`${url}/api/v1/topup`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
  if (answer.status !== 402) throw new Error(`expected a topup's bill, got ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as TopupBill;
}

export function claim(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${url}/api/v1/topup/claim`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) });
}

/** A fresh token that holds `sats`. */
export async function buyToken(url: string, sats = 1_000): Promise<string> {
  const bill = await orderTopup(url, { amount_sats: sats });
  await pay(url, bill.invoice);
  const answer = await claim(url, { claim_secret: bill.claim_secret });
  const { token } = (await answer.json()) as { token?: string };
  if (token === undefined) throw new Error(`no token: ${answer.status}`);
  return token;
}

export type BalanceBody = { balance_msat: number; balance_sats: number; reserved_msat: number };

export async function balanceOf(url: string, authorization: string): Promise<BalanceBody> {
  const answer = await fetch(`${url}/api/v1/balance`, { headers: { authorization } });
  if (answer.status !== 200) throw new Error(`no balance: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as BalanceBody;
}

/** Makes the sandbox node or model misbehave, or behave again. */
export async function misbehave(url: string, who: "node" | "model", faults: Record<string, unknown>): Promise<void> {
  const answer = await fetch(`${url}/sandbox/${who}`, { method: "POST", body: JSON.stringify(faults) });
  if (!answer.ok) throw new Error(`the sandbox ${who} did not take ${JSON.stringify(faults)}: ${await answer.text()}`);
}

/** Prices at which sums are exact and balances run out: a token costs 1,000 msat to read and 3,000 msat to write. */
export const steepPrices = "[prices]\ndefault = { input_sats_per_mtok = 1000000, output_sats_per_mtok = 3000000 }\n";

/** Asks again until it holds. @throws after `boundMs`, naming what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, boundMs = 15_000): Promise<void> {
  for (const endMs = performance.now() + boundMs; !(await holds()); await Bun.sleep(10))
    if (performance.now() > endMs) throw new Error(`waited ${boundMs} ms in vain until ${what}`);
}

/** Rows of the ledger, of a Hearth that runs or ran; integers come as bigint. */
export function readLedger<Row>(dataDir: string, sql: string, ...bindings: (string | number | bigint)[]): Row[] {
  const reader = openReader(join(dataDir, "hearth.db"));
  try {
    return reader.all<Row>(sql, ...(bindings satisfies SQLQueryBindings[]));
  } finally {
    reader.close();
  }
}

/** The end of every suite: stops, proves the books with `hearth audit`, removes the data. @throws when anything is wrong. */
export async function endHearth(hearth: RunningHearth): Promise<void> {
  const code = await hearth.stop();
  const audit = await runHearth(["audit"], { HEARTH_DATA_DIR: hearth.dataDir });
  if (code !== 0 || audit.code !== 0 || !audit.output.startsWith("ok: "))
    throw new Error(`Hearth ended with ${code}, its audit with ${audit.code}:\n${audit.output}\n${hearth.output()}`);
  removeDataDir(hearth.dataDir);
}

export type RawAnswer = {
  status: number;
  /** Status line and headers as they came, without the blank line. */
  head: string;
  /** In the order and the case they came. */
  headers: [name: string, value: string][];
  body: string;
  /** The first header of this name, in any case. */
  header(name: string): string | undefined;
};

/** One TCP connection: for bytes that no client library sends, and heads that none shows. */
export class RawConnection {
  readonly #socket: Socket;
  #held: Buffer = Buffer.alloc(0);
  #ended = false;
  #changed = Promise.withResolvers<void>();

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.#socket.on("data", (bytes: Buffer) => this.#wake(() => (this.#held = Buffer.concat([this.#held, bytes]))));
    for (const end of ["end", "error", "close"]) this.#socket.on(end, () => this.#wake(() => (this.#ended = true)));
  }

  #wake(change: () => void): void {
    change();
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The next answer on this connection. Rejects when the other side hangs up before its end. */
  async answer(method: "HEAD" | "other" = "other"): Promise<RawAnswer> {
    for (;;) {
      const read = readRawAnswer(this.#held, method === "HEAD");
      if (read) {
        this.#held = this.#held.subarray(read.bytes);
        return read.answer;
      }
      if (this.#ended) throw new Error(`the connection ended after ${this.#held.length} bytes: ${this.#held.toString("latin1").slice(0, 200)}`);
      await this.#changed.promise;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

function readRawAnswer(bytes: Buffer, headOnly: boolean): { answer: RawAnswer; bytes: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const head = bytes.toString("latin1", 0, headEnd);
  const headers = head.split("\r\n").slice(1).map((line): [string, string] => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const header = (name: string) => headers.find(([one]) => one.toLowerCase() === name.toLowerCase())?.[1];
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  const rest = bytes.subarray(headEnd + 4);
  const read = headOnly || status === 204 ? { body: "", bytes: 0 } : header("transfer-encoding") === "chunked" ? readChunks(rest) : readLength(rest, Number(header("content-length") ?? 0));
  return read && { answer: { status, head, headers, body: read.body, header }, bytes: headEnd + 4 + read.bytes };
}

function readLength(bytes: Buffer, length: number): { body: string; bytes: number } | undefined {
  return bytes.length < length ? undefined : { body: bytes.toString("utf8", 0, length), bytes: length };
}

function readChunks(bytes: Buffer): { body: string; bytes: number } | undefined {
  const pieces: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = parseInt(bytes.toString("latin1", at, lineEnd), 16);
    at = lineEnd + 2 + size + 2;
    if (at > bytes.length) return undefined;
    if (size === 0) return { body: Buffer.concat(pieces).toString("utf8"), bytes: at };
    pieces.push(bytes.subarray(lineEnd + 2, at - 2));
  }
}

/** One request as text on a connection of its own. `path` is sent as it is written. */
export async function askRaw(url: string, request: { method?: string; path: string; headers?: Record<string, string>; body?: string | Uint8Array }): Promise<RawAnswer> {
  const connection = new RawConnection(url);
  try {
    connection.send(rawRequest(url, request));
    return await connection.answer(request.method === "HEAD" ? "HEAD" : "other");
  } finally {
    connection.close();
  }
}

export function rawRequest(url: string, request: { method?: string; path: string; headers?: Record<string, string>; body?: string | Uint8Array }): Buffer {
  const body = Buffer.from(request.body ?? "");
  const headers = { Host: new URL(url).host, ...(request.body === undefined ? {} : { "Content-Length": String(body.length) }), ...request.headers };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${request.method ?? "GET"} ${request.path} HTTP/1.1\r\n${lines.join("")}\r\n`), body]);
}

export type OwnerStatus = { calls_today: number; open_invoices: number; owed_to_payers: { msat: string; sats: number }; node: { reachable: boolean }; upstreams: { name: string; healthy: boolean }[] };

export type OwnersDoor = {
  /** `__Host-hearth=...`, as a browser sends it. */
  cookie: string;
  get(path: string): Promise<Response>;
  status(): Promise<OwnerStatus>;
};

/** Logs in with the code from the console, which works once. */
export async function openOwnersDoor(hearth: RunningHearth): Promise<OwnersDoor> {
  const answer = await fetch(`${hearth.ownerUrl}/admin/api/login`, { method: "POST", body: JSON.stringify({ code: hearth.ownerCode }) });
  if (answer.status !== 204) throw new Error(`the owner could not log in: ${answer.status} ${await answer.text()}`);
  const cookie = answer.headers.get("set-cookie")!.split(";")[0]!;
  const get = (path: string) => fetch(`${hearth.ownerUrl}${path}`, { headers: { cookie }, redirect: "manual" });
  return { cookie, get, status: async () => (await (await get("/admin/api/status")).json()) as OwnerStatus };
}

/** Looks again every few milliseconds until `look` finds something, or gives up. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined, withinMs = 5_000): Promise<T> {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) throw new Error(`not within ${withinMs} ms: ${what}`);
    await Bun.sleep(10);
  }
}
