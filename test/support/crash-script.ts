/**
 * A program, run under shim.c until it is killed: one client's way through the real writer, always the same. Prints what
 * the client is told the moment it is so. Started again on the same directory it goes on where a client would retry.
 *
 *   bun crash-script.ts PATH-OF-DATABASE
 */
import { writeSync } from "node:fs";
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import { openReader } from "../../src/store/reader.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import { atMs, sampleInvoice, samplePost } from "./payments-sample.ts";
import type { DurableEffect } from "./writer-load.ts";

/** What the accounts of both invoices, and the revenue, hold at the end, however often the way there broke off. */
export type CrashBalances = { first: bigint; second: bigint; revenue: bigint };

const path = process.argv[2]!;

function end(reason: string, code: number): never {
  process.stderr.write(`${reason}\n`);
  process.exit(code);
}

/** Straight to the descriptor: what the client was told must outlive the kill that follows. */
function tell(line: string): void {
  writeSync(1, `${line}\n`);
}

function tellDurable(effect: DurableEffect): void {
  tell(`D ${effect.join(" ")}`);
}

const thread = new Worker(new URL("../../src/writer.ts", import.meta.url).href);
const writer = await ThreadWriter.open(thread, path, (reason) => end(reason, 70));
const started = await writer.durable(startBoot, { atMs });
if (!started.ok) end("the boot was refused", 1);
const boot = started.boot;
const reader = openReader(path);
tell("ready");

/** Opens and pays an invoice; the node tells of the payment twice. Answers the account it opened. */
async function pay(n: number, paid: bigint, rollsOverFrom: string | undefined, rolled: bigint): Promise<string> {
  const invoice = sampleInvoice(n, { amountMsat: paid, rollsOverFrom, cursor: n });
  const hash = invoice.paymentHash;
  await writer.durable(openInvoice, invoice);
  tellDurable(["open", hash]);
  let account = "";
  for (const teller of ["stream", "look-up"]) {
    const outcome = await writer.durable(creditInvoice, {
      paymentHash: hash, paidMsat: msat(paid), accountId: `a-${n}-${teller}-${boot}`, cursor: BigInt(n), boot, atMs,
    });
    if (outcome.credited === "foreign") end("an invoice that was shown is unknown", 1);
    account = outcome.invoice.accountId;
    tellDurable(["credit", hash, account, String(paid), String(rolled)]);
  }
  return account;
}

/** A call, unless its answer was written before: then the client has it and does not ask again. */
async function call(label: string, accountId: string, cost: bigint): Promise<void> {
  if (reader.get("SELECT 1 FROM call WHERE endpoint = ?", label) !== undefined) return;
  const id = `${label}-${boot}`;
  const reserved = await reserve(id, accountId, 20_000n);
  if (!reserved.ok) end(`${label} could not be reserved`, 1);
  tell(`reserved ${id}`);
  await writer.durable(postCall, samplePost({ id, accountId, costMsat: cost, reservedMsat: reserved.amountMsat, boot, label }));
  tellDurable(["post", id, accountId, String(cost)]);
}

function reserve(id: string, accountId: string, amount: bigint) {
  return writer.executed(reserveCall, { id, accountId, atMostMsat: msat(amount), atLeastMsat: msat(amount), boot, atMs });
}

const first = await pay(1, 50_000n, undefined, 0n);
await call("call-1", first, 7_000n);
// The upstream fails: the payer keeps the money. On the way back after the roll-over there is none to reserve.
const failing = await reserve(`call-2-${boot}`, first, 20_000n);
if (failing.ok) await writer.executed(voidCall, { id: `call-2-${boot}`, reason: "upstream_failed", boot, atMs });
tell("voided");
const refused = await reserve(`refused-${boot}`, first, 1_000_000n);
if (refused.ok) end("more was reserved than there was", 1);
const second = await pay(2, 30_000n, first, 43_000n);
await call("call-3", second, 9_000n);
// Killed with this one open: the next start voids it.
await reserve(`call-4-${boot}`, second, 1_000n);
tell("left open");
reader.close();
await writer.close();
tell("closed");
process.exit(0);
