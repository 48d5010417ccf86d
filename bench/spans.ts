/**
 * Where the time of a call goes: its steps one by one, in this process, with the program's own code. `bun bench/spans.ts`
 * prints them; the bench uses two of them. No sockets: what is missing to the whole is Bun's HTTP and fetch.
 */
import { closeSync, fdatasyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRandom } from "../src/base/clock.ts";
import { decodeBase64, toBase64, toHex } from "../src/base/bytes.ts";
import { newId } from "../src/base/ids.ts";
import { postCall, reserveCall } from "../src/charge/commands.ts";
import { chatRequestSchema } from "../src/http/contract/chat.ts";
import { parseJsonObject } from "../src/http/json-body.ts";
import { nodeAccount } from "../src/ledger/account.ts";
import { startBoot } from "../src/ledger/boot.ts";
import { move, openAccount } from "../src/ledger/transfers.ts";
import { parseAuthorization } from "../src/l402/authorization.ts";
import { mintedCaveats, readCaveats } from "../src/l402/caveats.ts";
import { mintMacaroon, rollTokenId, verifyMacaroon } from "../src/l402/macaroon.ts";
import { openSandboxNode } from "../src/lightning/sandbox.ts";
import { msat } from "../src/money/msat.ts";
import { findInvoice } from "../src/payments/commands.ts";
import { runBatch } from "../src/store/batch.ts";
import type { Command, Outcome } from "../src/store/command.ts";
import { migrate } from "../src/store/migrations.ts";
import { openForWriting } from "../src/store/open.ts";
import type { CommandRequest } from "../src/store/protocol.ts";
import { SqliteTx } from "../src/store/sqlite-tx.ts";
import { median } from "./measures.ts";
import { chatBody } from "./workload.ts";

const syncSamples = 200;
const spanMs = 300;

/** p50 of appending a page and syncing it, on the disk of `folder`. */
export function measureSyncMs(folder: string): number {
  const path = join(folder, "sync-probe");
  const file = openSync(path, "w");
  const page = new Uint8Array(4_096);
  const samples = Array.from({ length: syncSamples }, () => {
    writeSync(file, page);
    const startedMs = performance.now();
    fdatasyncSync(file);
    return performance.now() - startedMs;
  });
  closeSync(file);
  rmSync(path);
  return median(samples)!;
}

/** Milliseconds of processor time one run of `work` takes, warm: neighbours on the machine do not change it much. */
async function spanOf(work: () => unknown): Promise<number> {
  const timeOf = async (runs: number) => {
    const before = process.cpuUsage();
    for (let i = 0; i < runs; i++) {
      const result = work();
      if (result instanceof Promise) await result;
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  let runs = 50;
  while ((await timeOf(runs)) < spanMs / 4) runs *= 2;
  return median([await timeOf(runs), await timeOf(runs), await timeOf(runs)])! / runs;
}

/** What the sandbox node takes for one invoice: signing in this process, and a line in its file. */
export async function measureNodeMs(folder: string): Promise<number> {
  const node = openSandboxNode({ path: join(folder, "span-node.jsonl"), clock: systemClock, random: systemRandom });
  try {
    return await spanOf(() => node.createInvoice({ amountMsat: msat(100_000n), reference: "i_bench", memo: "bench, up to 64 tokens", expirySeconds: 600 }));
  } finally {
    node.close();
  }
}

/** The writer's work for one whole call, reserve and post, `together` of them in a transaction, and one look-up of its invoice. */
async function measureLedgerMs(folder: string): Promise<[string, number][]> {
  const database = openForWriting(join(folder, "spans.db"));
  migrate(database);
  const tx = new SqliteTx(database);
  const atMs = systemClock.nowMs(), boot = 1n, accountId = "a_span";
  const commands = new Map<string, Command<never, Outcome>>([[reserveCall.name, reserveCall], [postCall.name, postCall]]);
  if (!startBoot.run(tx, { atMs }).ok) throw new Error("the ledger of the spans does not start");
  openAccount(tx, { id: accountId, kind: "buyer", atMs });
  move(tx, { id: "span-credit", debit: nodeAccount, credit: accountId, amountMsat: msat(1_000_000_000_000n), code: "invoice", boot, atMs });
  const record = { endpoint: "chat/completions", model: "bench", upstream: "bench", ending: "completed", inputTokens: 20, outputTokens: 64, estimated: false };
  const cost = msat(56n), reserved = msat(70n);
  const calls = (together: number) => {
    const batch = Array.from({ length: together }, () => newId("c", atMs, systemRandom)).flatMap((id): CommandRequest[] => [
      { seq: 1, name: reserveCall.name, input: { id, accountId, atMostMsat: reserved, atLeastMsat: reserved, boot, atMs }, want: "executed" },
      { seq: 2, name: postCall.name, input: { id, accountId, costMsat: cost, reservedMsat: reserved, terms: "{}", record, startedAtMs: atMs, boot, atMs }, want: "durable" },
    ]);
    // As they come: the reserves of several calls in one transaction, their posts in a later one.
    for (const half of [batch.filter((_, index) => index % 2 === 0), batch.filter((_, index) => index % 2 === 1)])
      if (runBatch(database, tx, commands, half).some((one) => "failure" in one)) throw new Error("a span's command failed");
  };
  const lines: [string, number][] = [
    ["ledger: reserve and post, alone", await spanOf(() => calls(1))],
    ["ledger: the same, 8 at a time", (await spanOf(() => calls(8))) / 8],
    ["look up an invoice (none)", await spanOf(() => findInvoice(tx, "00".repeat(32)))],
  ];
  tx.finalize();
  database.close();
  return lines;
}

async function printSpans(): Promise<void> {
  const folder = join(import.meta.dir, `../.cache/spans-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  const master = systemRandom.bytes(32);
  const paymentHash = toHex(systemRandom.bytes(32));
  const caveats = mintedCaveats(systemClock.nowMs());
  const tokenId = rollTokenId({ master, paymentHash, caveats, random: systemRandom });
  const macaroonText = toBase64(mintMacaroon({ master, paymentHash, tokenId, caveats }));
  const macaroon = decodeBase64(macaroonText)!;
  const header = `L402 ${macaroonText}:${"ab".repeat(32)}`;
  const body = parseJsonObject(chatBody);
  const spans: [string, () => unknown][] = [
    ["parse Authorization", () => parseAuthorization(header)],
    ["verify macaroon", () => verifyMacaroon(macaroon, master)],
    ["read caveats", () => readCaveats(caveats, undefined)],
    ["parse JSON, bounded", () => parseJsonObject(chatBody)],
    ["check with zod", () => chatRequestSchema.parse(body)],
    ["roll a token id (402)", () => rollTokenId({ master, paymentHash, caveats, random: systemRandom })],
    ["mint a macaroon (402)", () => mintMacaroon({ master, paymentHash, tokenId, caveats })],
  ];
  const lines: [string, number][] = [];
  for (const [name, work] of spans) lines.push([name, await spanOf(work)]);
  lines.push(...(await measureLedgerMs(folder)), ["node: sign an invoice (402)", await measureNodeMs(folder)], ["sync of the disk", measureSyncMs(folder)]);
  for (const [name, ms] of lines) process.stdout.write(`${name.padEnd(34)} ${ms.toFixed(4)} ms\n`);
  rmSync(folder, { recursive: true, force: true });
}

if (import.meta.main) await printSpans();
