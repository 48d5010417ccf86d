/**
 * A program, run under shim.c: the disk fills up while calls are in flight, and has room again. Prints one JSON object
 * of what the callers saw.
 *
 *   bun full-disk.ts PATH-OF-DATABASE
 */
import { postCall, reserveCall } from "../../src/charge/commands.ts";
import { AppError } from "../../src/base/errors.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import { atMs, sampleInvoice, samplePost } from "./payments-sample.ts";
import { fillDisk } from "./shim-calls.ts";
import type { DurableEffect } from "./writer-load.ts";

export type FullDiskReport = {
  /** Code of the AppError and whether it may be tried again, of those sent with the first failing batch and after it. */
  turnedAway: string[];
  /** Still without an answer when the disk had no room. */
  waitedForSpace: boolean;
  fullWhileFull: boolean;
  fullAfterwards: boolean;
  /** A reader that asks once there is room again, and no command is on its way, need not wait. */
  readersWake: boolean;
  effects: DurableEffect[];
};

const path = process.argv[2]!;
const thread = new Worker(new URL("../../src/writer.ts", import.meta.url).href);
const writer = await ThreadWriter.open(thread, path, (reason) => {
  process.stderr.write(`${reason}\n`);
  process.exit(70);
});
const started = await writer.durable(startBoot, { atMs });
if (!started.ok) throw new Error("the boot was refused");
const boot = started.boot;
const effects: DurableEffect[] = [];

async function open(n: number): Promise<void> {
  const invoice = sampleInvoice(n, { amountMsat: 50_000n, cursor: n });
  await writer.durable(openInvoice, invoice);
  effects.push(["open", invoice.paymentHash]);
}

async function credit(n: number): Promise<void> {
  const { paymentHash } = sampleInvoice(n, { amountMsat: 50_000n });
  await writer.durable(creditInvoice, { paymentHash, paidMsat: msat(50_000n), accountId: `a-${n}`, cursor: BigInt(n), boot, atMs });
  effects.push(["credit", paymentHash, `a-${n}`, "50000", "0"]);
}

function reserve(id: string) {
  return writer.executed(reserveCall, { id, accountId: "a-1", atMostMsat: msat(5_000n), atLeastMsat: msat(5_000n), boot, atMs });
}

async function post(id: string): Promise<void> {
  await writer.durable(postCall, samplePost({ id, accountId: "a-1", costMsat: 3_000n, reservedMsat: msat(5_000n), boot }));
  effects.push(["post", id, "a-1", "3000"]);
}

function turnedAway(sent: Promise<unknown>): Promise<string> {
  return sent.then(
    () => "answered",
    (error: unknown) => (error instanceof AppError ? `${error.code} ${error.retryable ? "retryable" : "final"}` : String(error)),
  );
}

await open(1);
await credit(1);
await open(2);
await reserve("call-1");
await reserve("call-2");

fillDisk({ database: true, wal: true });
let answered = 0;
const kept = [post("call-1"), post("call-2"), credit(2)].map((one) => one.then(() => answered++));
const sold = [turnedAway(reserve("refused-1")), turnedAway(open(3))];
const early = await Promise.all(sold);
const late = await Promise.all([turnedAway(reserve("refused-2")), turnedAway(open(4))]);
const fullWhileFull = writer.full;
const waitedForSpace = answered === 0;

fillDisk({ database: false, wal: false });
await Promise.all(kept);
const fullAfterwards = writer.full;
// Everything sent has been answered, so this needs no message from the writer: one turn of the loop is enough.
const nextTurn = new Promise<false>((resolve) => setImmediate(() => resolve(false)));
const readersWake = await Promise.race([writer.caughtUp().then(() => true), nextTurn]);
await reserve("call-3");
await post("call-3");
await open(5);
const report: FullDiskReport = { turnedAway: [...early, ...late], waitedForSpace, fullWhileFull, fullAfterwards, readersWake, effects };
console.log(JSON.stringify(report));
await writer.close();
process.exit(0);
