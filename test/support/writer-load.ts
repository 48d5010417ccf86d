/**
 * A program, run under shim.c: buyers who pay for calls or ahead, claim, and make calls, through the real writer, all at once.
 * The moment a durable promise resolves, which is when a client may be told, it marks the effect in the shim's record.
 *
 *   bun writer-load.ts '{"path": ..., "seed": 1, "commands": 2000, "buyers": 6}'
 */
import { takePayout } from "../../src/accounts/take-payout.ts";
import { claimPayment, type ClaimProof } from "../../src/accounts/claim.ts";
import { revokeKey, rotateKey } from "../../src/accounts/keys.ts";
import { takeRequestKey } from "../../src/accounts/request-keys.ts";
import { sha256, toHex } from "../../src/base/bytes.ts";
import { postCall, reserveCall, reserveSingleUse, reserveTrial, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { type Msat, msat } from "../../src/money/msat.ts";
import { creditInvoice, forgetInvoice, openInvoice } from "../../src/payments/commands.ts";
import { endPayout, sendPayout } from "../../src/payments/payout-commands.ts";
import type { Purpose } from "../../src/payments/invoice.ts";
import type { Command, Outcome } from "../../src/store/command.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import type { DurableEffect } from "./durable-effects.ts";
import { seededRandom } from "./disk-model.ts";
import { atMs, hashOf, sampleClaim, sampleInvoice, samplePost, sampleTrial, tokenHashOf, trialBudgetMsat } from "./payments-sample.ts";
import { mark } from "./shim-calls.ts";

export type Load = { path: string; seed: number; commands: number; buyers: number };

export type { DurableEffect };

const load = JSON.parse(process.argv[2]!) as Load;
const random = seededRandom(load.seed);
const background: Promise<unknown>[] = [];
let made = 0;
let sent = 0;
/** Of the day's budget for free calls. */
let granted = 0n;

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
  command: Command<Input, Result>, input: Input, effects: (outcome: Result) => readonly DurableEffect[],
): Promise<void> {
  sent++;
  const outcome = await writer.durable(command, input);
  for (const told of effects(outcome)) mark(`D ${told.join(" ")}`);
}

/** An account that a buyer holds, and what it must have left: kept apart from the ledger. */
type Purse = { paymentHash: string; account: string; spendableMsat: bigint };
/** The one that tokens open. */
type TokenPurse = Purse & { generation: number; live: boolean };

/** One who pays and calls. */
class Buyer {
  #credential: Purse | undefined;
  #token: TokenPurse | undefined;

  async live(): Promise<void> {
    while (sent < load.commands) {
      await this.#payForCalls();
      for (let calls = 1 + below(4); calls > 0; calls--) await call(this.#credential!);
      if (random() < 0.4) await overspend(this.#credential!);
      if (random() < 0.4) await callOnce(this.#credential!);
      if (random() < 0.6) await this.#payAhead();
      if (random() < 0.4) await payOut(this.#credential!);
      if (random() < 0.3) await this.#callFree();
      if (random() < 0.2) await abandonInvoice();
      if (random() < 0.1) await creditNothing();
    }
  }

  async #payForCalls(): Promise<void> {
    const from = this.#credential && random() < 0.6 ? this.#credential : undefined;
    const rolled = from?.spendableMsat ?? 0n;
    const { paymentHash, account, paidMsat } = await pay({ kind: "call", rollsOverFrom: from?.account }, rolled);
    this.#credential = { paymentHash, account, spendableMsat: paidMsat + rolled };
  }

  /** A token, or more on the one there is; then it is used, and now and then another takes its place. */
  async #payAhead(): Promise<void> {
    const token = this.#token?.live ? this.#token : undefined;
    if (!token) await this.#buyToken();
    else if (random() < 0.4) await refill(token);
    else if (random() < 0.5) await claimInto(token, await topUp(random() < 0.5));
    else await claimInto(token, this.#credential!);
    const held = this.#token!;
    for (let calls = below(3); calls > 0; calls--) await call(held, `sent-${++made}`);
    if (random() < 0.2) await rotate(held);
    if (random() < 0.1) await revoke(held);
  }

  async #buyToken(): Promise<void> {
    const claimNeedsSecret = random() < 0.5;
    const { paymentHash, account, spendableMsat } = await topUp(claimNeedsSecret);
    const claim = () => claimToken({ paymentHash, account, spendableMsat }, claimNeedsSecret ? "secret" : "preimage", 1);
    // Two devices of one buyer, or one that did not hear the answer.
    await Promise.all(random() < 0.4 ? [claim(), claim()] : [claim()]);
    this.#token = { paymentHash, account, spendableMsat, generation: 1, live: true };
  }

  async #callFree(): Promise<void> {
    if (granted + 1_000n > trialBudgetMsat) return;
    const [id, address] = [`free-${++made}`, `address-${made}`];
    granted += 1_000n;
    const outcome = await executed(reserveTrial, sampleTrial(id, address, 1_000n, boot));
    expect(outcome.ok, "there is a free call for who had none");
    const again = await executed(reserveTrial, sampleTrial(`refused-${++made}`, address, 1_000n, boot));
    expect(!again.ok && again.reason === "used_up", "an address has one free call");
    const post = samplePost({ id, accountId: "trial", costMsat: 600n, reservedMsat: msat(1_000n), boot, free: true });
    background.push(durable(postCall, post, () => [["post", id, "trial", "600"], ["trial", id, address]]));
  }
}

/** Opens an invoice and pays it. Answers what was credited, and where. */
async function pay(purpose: Purpose, rolledMsat = 0n): Promise<{ paymentHash: string; account: string; paidMsat: bigint }> {
  const n = ++made;
  const paidMsat = BigInt(1_000 + below(100_000));
  const invoice = sampleInvoice(n, { amountMsat: paidMsat, purpose, cursor: n });
  const { paymentHash } = invoice;
  await durable(openInvoice, invoice, () => [["open", paymentHash]]);
  const account = purpose.kind === "refill" ? purpose.accountId : `a-${n}`;
  const told = (when: "now" | "before") => (outcome: { credited: string }): DurableEffect[] => {
    expect(outcome.credited === when, `invoice ${n} was credited ${when}, not ${outcome.credited}`);
    return [["credit", paymentHash, account, String(paidMsat), String(rolledMsat)]];
  };
  const credit = { paymentHash, paidMsat: msat(paidMsat), accountId: account, cursor: BigInt(n), boot, atMs };
  const first = durable(creditInvoice, credit, told("now"));
  // The node's stream and a look-up often bring the same news.
  if (random() < 0.4) await durable(creditInvoice, { ...credit, accountId: `again-${n}` }, told("before"));
  await first;
  return { paymentHash, account, paidMsat };
}

async function topUp(claimNeedsSecret: boolean): Promise<Purse> {
  const { paymentHash, account, paidMsat } = await pay({ kind: "topup", claimNeedsSecret });
  return { paymentHash, account, spendableMsat: paidMsat };
}

/** Ordered under a key, so that a repeated order is the same invoice. */
async function refill(token: TokenPurse): Promise<void> {
  const purpose = { kind: "refill" as const, claimNeedsSecret: random() < 0.5, accountId: token.account, keyHash: tokenHashOf(token.paymentHash, token.generation) };
  const { paymentHash, paidMsat } = await pay(purpose);
  token.spendableMsat += paidMsat;
  const order = { accountId: token.account, purpose: "topup" as const, key: `order-${paymentHash}`, bodyHash: "b", reference: paymentHash, atMs, replaces: undefined };
  await durable(takeRequestKey, order, () => [["request", token.account, "topup", order.key, paymentHash]]);
  await durable(claimPayment, sampleClaim(paymentHash, "preimage", token.account, boot), (outcome) => {
    expect(outcome.ok && outcome.kind === "refilled" && outcome.balanceMsat === token.spendableMsat, "a refill is on its token");
    return [["claim", paymentHash, token.account, "0"]];
  });
}

function claimToken(purse: Purse, proof: ClaimProof, generation: number): Promise<void> {
  const { paymentHash, account, spendableMsat } = purse;
  return durable(claimPayment, sampleClaim(paymentHash, proof, undefined, boot), (outcome) => {
    expect(outcome.ok && outcome.kind === "token" && outcome.generation === generation && outcome.balanceMsat === spendableMsat, "a payment is its token");
    return [["claim", paymentHash, account, "0"], ["key", tokenHashOf(paymentHash, generation), account, String(generation)]];
  });
}

/** All that is left of another payment goes to the token. */
async function claimInto(token: TokenPurse, from: Purse): Promise<void> {
  const moved = from.spendableMsat;
  from.spendableMsat = 0n;
  token.spendableMsat += moved;
  const requestKey = { key: `claim-${from.paymentHash}`, bodyHash: "b" };
  await durable(claimPayment, { ...sampleClaim(from.paymentHash, "credential", token.account, boot), requestKey }, (outcome) => {
    expect(outcome.ok && outcome.kind === "moved" && outcome.balanceMsat === token.spendableMsat, "what is left of a payment moves to the token");
    return [["claim", from.paymentHash, token.account, String(moved)], ["request", from.account, "claim", requestKey.key, from.paymentHash]];
  });
}

async function rotate(token: TokenPurse): Promise<void> {
  const { paymentHash, generation, account } = token;
  token.generation++;
  token.live = true;
  const next = tokenHashOf(paymentHash, generation + 1);
  await durable(rotateKey, { paymentHash, fromGeneration: generation, hash: next, atMs }, (outcome) => {
    expect(outcome.ok, "a token can be replaced");
    return [["ended", tokenHashOf(paymentHash, generation)], ["key", next, account, String(generation + 1)]];
  });
  await claimToken(token, "credential", generation + 1);
}

async function revoke(token: TokenPurse): Promise<void> {
  token.live = false;
  await durable(revokeKey, { paymentHash: token.paymentHash, atMs }, () => [["ended", tokenHashOf(token.paymentHash, token.generation)]]);
}

async function call(purse: Purse, requestKey?: string): Promise<void> {
  const id = `call-${++made}`;
  const atMost = msat(BigInt(1 + below(30_000)));
  const outcome = await executed(reserveCall, { id, accountId: purse.account, atMostMsat: atMost, atLeastMsat: msat(1n), requestKey, boot, atMs });
  expect(outcome.ok === purse.spendableMsat > 0n, "a reservation succeeds exactly when there is something to take");
  if (!outcome.ok) return;
  const reserved: Msat = outcome.amountMsat;
  purse.spendableMsat -= reserved;
  expect(outcome.spendableMsat === purse.spendableMsat, "the ledger and the buyer agree on what is left");
  const chance = random();
  if (chance < 0.05) return; // a call that never ends: left open
  if (chance < 0.25) {
    await executed(voidCall, { id, reason: "upstream_failed", boot, atMs });
    purse.spendableMsat += reserved;
    return;
  }
  post(purse, id, reserved, requestKey === undefined ? [] : [["request", purse.account, "call", requestKey, id]]);
}

/** Nobody waits for it. */
function post(purse: Purse, id: string, reserved: Msat, alsoTold: readonly DurableEffect[]): void {
  const cost = BigInt(below(Number(reserved) + 100));
  const charged = cost < 1n ? 1n : cost < reserved ? cost : reserved;
  const input = samplePost({ id, accountId: purse.account, costMsat: cost, reservedMsat: reserved, boot });
  background.push(durable(postCall, input, () => [["post", id, input.accountId, String(charged)], ...alsoTold]));
  purse.spendableMsat += reserved - charged;
}

/** By who knows only the payment hash: once, and no more while it is open or paid. */
async function callOnce(purse: Purse): Promise<void> {
  const use = (id: string) =>
    executed(reserveSingleUse, { id, accountId: purse.account, paymentHash: purse.paymentHash, atMostMsat: msat(2_000n), atLeastMsat: msat(1n), boot, atMs });
  const id = `once-${++made}`;
  const outcome = await use(id);
  expect(outcome.ok === purse.spendableMsat > 0n, "a payment opens one call while there is something left of it");
  if (!outcome.ok) return;
  purse.spendableMsat -= outcome.amountMsat;
  const again = await use(`refused-${++made}`);
  expect(!again.ok && again.reason === "in_use", "a payment opens one call");
  post(purse, id, outcome.amountMsat, [["once", purse.paymentHash, id]]);
}

/** Money out, up to where a process may die: set aside, sent, or ended by the node's word. */
async function payOut(purse: Purse): Promise<void> {
  const id = `po_${String(++made).padStart(26, "0")}`, feeLimitMsat = 5n, feeMsat = 2n;
  const amountMsat = BigInt(1 + below(3_000));
  const preimage = hashOf(made), paymentHash = toHex(sha256(Buffer.from(preimage, "hex")));
  if (purse.spendableMsat < amountMsat + feeLimitMsat) return;
  const plenty = { dailyMsat: msat(10n ** 12n), dailyPerAccountMsat: msat(10n ** 12n) };
  const payout = { id, accountId: purse.account, paymentHash, bolt11: "lnbcrt", amountMsat: msat(amountMsat), feeLimitMsat: msat(feeLimitMsat), expiresAtMs: atMs, createdAtMs: atMs, caps: plenty, boot, requestKey: undefined };
  const told = (state: "intent" | "sent" | "succeeded" | "failed") => (outcome: Outcome): DurableEffect[] => {
    expect(outcome.ok, `a payout can be ${state}`);
    return [["payout", id, state]];
  };
  purse.spendableMsat -= amountMsat + feeLimitMsat;
  await durable(takePayout, payout, told("intent"));
  if (random() < 0.1) return;
  await durable(sendPayout, { id }, told("sent"));
  if (random() < 0.2) return;
  const paid = random() < 0.7;
  const end = paid ? { state: "succeeded" as const, preimage, feeMsat: msat(feeMsat) } : { state: "failed" as const, reason: "r" };
  await durable(endPayout, { id, end, by: "node", boot, atMs }, told(end.state));
  purse.spendableMsat += paid ? feeLimitMsat - feeMsat : amountMsat + feeLimitMsat;
}

/** More than there is. Sometimes asked for as durable: a refusal leaves nothing either way. */
async function overspend(purse: Purse): Promise<void> {
  const tooMuch = msat(purse.spendableMsat + 1n);
  const input = { id: `refused-${++made}`, accountId: purse.account, atMostMsat: tooMuch, atLeastMsat: tooMuch, requestKey: `refused-${made}`, boot, atMs };
  sent++;
  const outcome = await (random() < 0.3 ? writer.durable(reserveCall, input) : writer.executed(reserveCall, input));
  expect(!outcome.ok, "nobody reserves more than there is");
}

/** An invoice nobody pays, deleted on the node's word. */
async function abandonInvoice(): Promise<void> {
  const invoice = sampleInvoice(++made, { amountMsat: 1_000n });
  const hash = invoice.paymentHash;
  await durable(openInvoice, invoice, () => [["open", hash]]);
  mark(`forgetting ${hash}`);
  await durable(forgetInvoice, { paymentHash: hash }, () => [["forget", hash]]);
}

/** A credit that fails after it has opened its account: nothing of it may stay. */
async function creditNothing(): Promise<void> {
  const n = ++made;
  const invoice = sampleInvoice(n, { amountMsat: 1_000n });
  await durable(openInvoice, invoice, () => [["open", invoice.paymentHash]]);
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
