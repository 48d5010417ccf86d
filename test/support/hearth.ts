/**
 * A running Hearth for tests: the real program in a process and a data directory of its own, and a buyer that pays it.
 * `HEARTH_BINARY` runs the same tests against the compiled file instead of the source.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

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
  const child = Bun.spawn([...hearthCommand, options.command ?? "demo"], {
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
