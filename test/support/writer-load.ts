/**
 * A program, run under shim.c: buyers who open and pay invoices and make calls, through the real writer, all at once.
 * The moment a durable promise resolves, which is when a client may be told, it marks the effect in the shim's record.
 *
 *   bun writer-load.ts '{"path": ..., "seed": 1, "commands": 2000, "buyers": 6}'
 */
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { type Msat, msat } from "../../src/money/msat.ts";
import { creditInvoice, forgetInvoice, openInvoice } from "../../src/payments/commands.ts";
import type { Command, Outcome } from "../../src/store/command.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import { seededRandom } from "./disk-model.ts";
import { atMs, hashOf, sampleInvoice, samplePost } from "./payments-sample.ts";
import { mark } from "./shim-calls.ts";

export type Load = { path: string; seed: number; commands: number; buyers: number };

/** What a client may be told, as it stands in a mark after "D ". */
export type DurableEffect =
  | ["open", hash: string]
  | ["credit", hash: string, account: string, msat: string, rolledMsat: string]
  | ["post", call: string, account: string, chargedMsat: string]
  | ["forget", hash: string];

const load = JSON.parse(process.argv[2]!) as Load;
const random = seededRandom(load.seed);
const background: Promise<unknown>[] = [];
let made = 0;
let sent = 0;

function end(reason: string, code: number): never {
  process.stderr.write(`${reason}\n`);
  process.exit(code);
}

function expect(holds: boolean, what: string): void {
  if (!holds) end(`the writer broke its word: ${what}`, 1);
}

function below(limit: number): number {
  return Math.floor(random() * limit);
}

/** Sends it durable and marks what it says once that is so. */
async function durable<Input, Result extends Outcome>(
  command: Command<Input, Result>, input: Input, effect: (outcome: Result) => DurableEffect | undefined,
): Promise<void> {
  sent++;
  const outcome = await writer.durable(command, input);
  const told = effect(outcome);
  if (told) mark(`D ${told.join(" ")}`);
}

/** One who pays and calls, and keeps apart from the ledger what its account must hold. */
class Buyer {
  #account = "";
  #spendableMsat = 0n;

  async live(): Promise<void> {
    while (sent < load.commands) {
      await this.#pay();
      for (let calls = 1 + below(5); calls > 0; calls--) await this.#call();
      if (random() < 0.4) await this.#overspend();
      if (random() < 0.2) await abandonInvoice();
      if (random() < 0.1) await creditNothing();
    }
  }

  async #pay(): Promise<void> {
    const n = ++made;
    const paid = BigInt(1_000 + below(100_000));
    const rollsOverFrom = this.#account !== "" && random() < 0.6 ? this.#account : undefined;
    const invoice = sampleInvoice(n, { amountMsat: paid, rollsOverFrom, cursor: n });
    const hash = invoice.paymentHash;
    await durable(openInvoice, invoice, () => ["open", hash]);
    const account = `a-${n}`;
    const rolled = rollsOverFrom === undefined ? 0n : this.#spendableMsat;
    const told = (when: "now" | "before") => (outcome: { credited: string }): DurableEffect => {
      expect(outcome.credited === when, `invoice ${n} was credited ${when}, not ${outcome.credited}`);
      return ["credit", hash, account, String(paid), String(rolled)];
    };
    const credit = { paymentHash: hash, paidMsat: msat(paid), accountId: account, cursor: BigInt(n), boot, atMs };
    const first = durable(creditInvoice, credit, told("now"));
    // The node's stream and a look-up often bring the same news.
    if (random() < 0.4) await durable(creditInvoice, { ...credit, accountId: `again-${n}` }, told("before"));
    await first;
    this.#account = account;
    this.#spendableMsat = paid + rolled;
  }

  async #call(): Promise<void> {
    const id = `call-${++made}`;
    const atMost = msat(BigInt(1 + below(30_000)));
    const outcome = await executed(reserveCall, { id, accountId: this.#account, atMostMsat: atMost, atLeastMsat: msat(1n), boot, atMs });
    expect(outcome.ok === this.#spendableMsat > 0n, "a reservation succeeds exactly when there is something to take");
    if (!outcome.ok) return;
    const reserved: Msat = outcome.amountMsat;
    this.#spendableMsat -= reserved;
    expect(outcome.spendableMsat === this.#spendableMsat, "the ledger and the buyer agree on what is left");
    const chance = random();
    if (chance < 0.05) return; // a call that never ends: left open
    if (chance < 0.25) {
      await executed(voidCall, { id, reason: "upstream_failed", boot, atMs });
      this.#spendableMsat += reserved;
      return;
    }
    const cost = BigInt(below(Number(reserved) + 100));
    const charged = cost < 1n ? 1n : cost < reserved ? cost : reserved;
    const post = samplePost({ id, accountId: this.#account, costMsat: cost, reservedMsat: reserved, boot });
    background.push(durable(postCall, post, () => ["post", id, post.accountId, String(charged)]));
    this.#spendableMsat += reserved - charged;
  }

  /** More than there is. Sometimes asked for as durable: a refusal leaves nothing either way. */
  async #overspend(): Promise<void> {
    const tooMuch = msat(this.#spendableMsat + 1n);
    const input = { id: `refused-${++made}`, accountId: this.#account, atMostMsat: tooMuch, atLeastMsat: tooMuch, boot, atMs };
    sent++;
    const outcome = await (random() < 0.3 ? writer.durable(reserveCall, input) : writer.executed(reserveCall, input));
    expect(!outcome.ok, "nobody reserves more than there is");
  }
}

/** An invoice nobody pays, deleted on the node's word. */
async function abandonInvoice(): Promise<void> {
  const invoice = sampleInvoice(++made, { amountMsat: 1_000n });
  const hash = invoice.paymentHash;
  await durable(openInvoice, invoice, () => ["open", hash]);
  mark(`forgetting ${hash}`);
  await durable(forgetInvoice, { paymentHash: hash }, () => ["forget", hash]);
}

/** A credit that fails after it has opened its account: nothing of it may stay. */
async function creditNothing(): Promise<void> {
  const n = ++made;
  const invoice = sampleInvoice(n, { amountMsat: 1_000n });
  await durable(openInvoice, invoice, () => ["open", invoice.paymentHash]);
  sent++;
  const credit = { paymentHash: hashOf(n), paidMsat: msat(0n), accountId: `failed-${n}`, cursor: undefined, boot, atMs };
  const failed = await writer.durable(creditInvoice, credit).then(() => false, () => true);
  expect(failed, "a credit of nothing is a mistake of ours");
}

function executed<Input, Result extends Outcome>(command: Command<Input, Result>, input: Input): Promise<Result> {
  sent++;
  return writer.executed(command, input);
}

const thread = new Worker(new URL("../../src/writer.ts", import.meta.url).href);
const writer = await ThreadWriter.open(thread, load.path, (reason) => end(reason, 70));
const started = await writer.durable(startBoot, { atMs });
if (!started.ok) end("the boot was refused", 1);
const boot = started.boot;
mark("ready");
await Promise.all(Array.from({ length: load.buyers }, () => new Buyer().live()));
await Promise.all(background);
await writer.close();
mark("closed");
process.exit(0);
