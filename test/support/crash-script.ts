/**
 * A program, run under shim.c until it is killed: one client's way through the real writer, always the same. Prints what
 * the client is told the moment it is so. Started again on the same directory it goes on where a client would retry.
 *
 *   bun crash-script.ts PATH-OF-DATABASE PART
 */
import { writeSync } from "node:fs";
import { claimPayment, type ClaimProof } from "../../src/accounts/claim.ts";
import { findNewestKey, rotateKey } from "../../src/accounts/keys.ts";
import { takeRequestKey } from "../../src/accounts/request-keys.ts";
import { postCall, reserveCall, reserveSingleUse, reserveTrial, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import type { Purpose } from "../../src/payments/invoice.ts";
import { openReader } from "../../src/store/reader.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import type { DurableEffect } from "./durable-effects.ts";
import { atMs, hashOf, sampleClaim, sampleInvoice, samplePost, sampleTrial, tokenHashOf } from "./payments-sample.ts";

/** `calls`: bought one by one. `ahead`: with a token, on the same directory afterwards. */
export type Part = "calls" | "ahead";

const path = process.argv[2]!;
const part = process.argv[3] as Part;

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

/** Opens and pays an invoice; the node tells of the payment twice. Answers the account that was credited. */
async function pay(n: number, paid: bigint, purpose: Purpose, rolled = 0n): Promise<string> {
  const invoice = sampleInvoice(n, { amountMsat: paid, purpose, cursor: n });
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

const forCall = (rollsOverFrom?: string): Purpose => ({ kind: "call", rollsOverFrom });

function answered(label: string): boolean {
  return reader.get("SELECT 1 FROM call WHERE endpoint = ?", label) !== undefined;
}

/** A call, unless its answer was written before: then the client has it and does not ask again. */
async function call(label: string, accountId: string, cost: bigint, requestKey?: string): Promise<void> {
  if (answered(label)) return;
  const id = `${label}-${boot}`;
  const reserved = await reserve(id, accountId, 20_000n, requestKey);
  if (!reserved.ok) end(`${label} could not be reserved`, 1);
  tell(`reserved ${id}`);
  await writer.durable(postCall, samplePost({ id, accountId, costMsat: cost, reservedMsat: reserved.amountMsat, boot, label }));
  tellDurable(["post", id, accountId, String(cost)]);
  if (requestKey !== undefined) tellDurable(["request", accountId, "call", requestKey, id]);
}

function reserve(id: string, accountId: string, amount: bigint, requestKey?: string) {
  return writer.executed(reserveCall, { id, accountId, atMostMsat: msat(amount), atLeastMsat: msat(amount), requestKey, boot, atMs });
}

/** The payment becomes a token. The client asks twice, as if it had not heard. Nothing, once the token was replaced. */
async function claimToken(n: number, proof: ClaimProof, accountId: string, generation: number): Promise<void> {
  const hash = hashOf(n);
  if (Number(findNewestKey(reader, hash)?.generation ?? 1) > generation) return;
  for (let asked = 0; asked < 2; asked++) {
    const outcome = await writer.durable(claimPayment, sampleClaim(hash, proof, undefined, boot));
    if (!outcome.ok || outcome.kind !== "token" || outcome.generation !== generation) end(`payment ${n} did not become its token`, 1);
    tellDurable(["claim", hash, accountId, "0"]);
    tellDurable(["key", tokenHashOf(hash, generation), accountId, String(generation)]);
  }
}

/** The payment, whose account is `from`, goes to a token that the client has. Asked twice as well, and it says the same. */
async function claimInto(n: number, proof: ClaimProof, from: string, into: string, moved: bigint): Promise<void> {
  const requestKey = { key: "claimed-once", bodyHash: hashOf(0) };
  for (let asked = 0; asked < 2; asked++) {
    const outcome = await writer.durable(claimPayment, { ...sampleClaim(hashOf(n), proof, into, boot), requestKey });
    if (!outcome.ok || outcome.kind === "token" || outcome.creditedMsat !== moved) end(`payment ${n} did not bring ${moved} to the token`, 1);
    tellDurable(["claim", hashOf(n), into, String(outcome.kind === "moved" ? moved : 0n)]);
    tellDurable(["request", from, "claim", requestKey.key, hashOf(n)]);
  }
  const other = await writer.durable(claimPayment, { ...sampleClaim(hashOf(n), proof, into, boot), requestKey: { ...requestKey, bodyHash: hashOf(1) } });
  if (other.ok || other.reason !== "idempotency_mismatch") end("a key stood for two claims", 1);
}

/** For who knows only the payment hash. */
async function callOnce(label: string, n: number, accountId: string, cost: bigint): Promise<void> {
  const use = (id: string) =>
    writer.executed(reserveSingleUse, { id, accountId, paymentHash: hashOf(n), atMostMsat: msat(10_000n), atLeastMsat: msat(10_000n), boot, atMs });
  if (!answered(label)) {
    const id = `${label}-${boot}`;
    const reserved = await use(id);
    if (!reserved.ok) end(`${label} could not be reserved`, 1);
    tell(`reserved ${id}`);
    await writer.durable(postCall, samplePost({ id, accountId, costMsat: cost, reservedMsat: reserved.amountMsat, boot, label }));
    tellDurable(["post", id, accountId, String(cost)]);
    tellDurable(["once", hashOf(n), id]);
  }
  const again = await use(`refused-once-${boot}`);
  if (again.ok || again.reason !== "used") end("a payment opened a second call", 1);
}

/** The one that the address has. What died with its process was none. */
async function callFree(label: string, cost: bigint): Promise<void> {
  if (answered(label)) return;
  const [id, address] = [`${label}-${boot}`, "address"];
  const reserved = await writer.executed(reserveTrial, sampleTrial(id, address, 2_000n, boot));
  if (!reserved.ok) end("a free call could not be reserved", 1);
  tell(`reserved ${id}`);
  await writer.durable(postCall, samplePost({ id, accountId: "trial", costMsat: cost, reservedMsat: reserved.amountMsat, boot, label, free: true }));
  tellDurable(["post", id, "trial", String(cost)]);
  tellDurable(["trial", id, address]);
  const again = await writer.executed(reserveTrial, sampleTrial(`refused-trial-${boot}`, address, 2_000n, boot));
  if (again.ok || again.reason !== "used_up") end("an address got a second free call", 1);
}

/** Answers the account that the client has in the end. */
async function buyCalls(): Promise<string> {
  const first = await pay(1, 50_000n, forCall());
  await call("call-1", first, 7_000n);
  // The upstream fails: the payer keeps the money. On the way back after the roll-over there is none to reserve.
  const failing = await reserve(`call-2-${boot}`, first, 20_000n);
  if (failing.ok) await writer.executed(voidCall, { id: `call-2-${boot}`, reason: "upstream_failed", boot, atMs });
  tell("voided");
  const refused = await reserve(`refused-${boot}`, first, 1_000_000n);
  if (refused.ok) end("more was reserved than there was", 1);
  const second = await pay(2, 30_000n, forCall(first), 43_000n);
  await call("call-3", second, 9_000n);
  return second;
}

/** Topup, claim, spend, refill, claim into the token, a new token for the old, and on to a credential. */
async function buyAhead(): Promise<string> {
  const third = await pay(3, 40_000n, { kind: "topup", claimNeedsSecret: false });
  await claimToken(3, "preimage", third, 1);
  await call("call-5", third, 5_000n, "sent-once");
  const repeated = await reserve(`refused-again-${boot}`, third, 1n, "sent-once");
  if (repeated.ok || repeated.reason !== "duplicate_request") end("a request was sold twice", 1);
  const order = { accountId: third, purpose: "topup" as const, key: "ordered-once", bodyHash: hashOf(0) };
  const { kept } = await writer.durable(takeRequestKey, { ...order, reference: hashOf(4), atMs, replaces: undefined });
  if (kept.reference !== hashOf(4)) end("an order stands for another invoice", 1);
  tellDurable(["request", third, "topup", "ordered-once", hashOf(4)]);
  await pay(4, 20_000n, { kind: "refill", claimNeedsSecret: false, accountId: third, keyHash: tokenHashOf(hashOf(3), 1) });
  await claimInto(4, "preimage", third, third, 20_000n);
  const fifth = await pay(5, 10_000n, { kind: "topup", claimNeedsSecret: true });
  await claimInto(5, "secret", fifth, third, 10_000n);
  const rotated = await writer.durable(rotateKey, { paymentHash: hashOf(3), fromGeneration: 1, hash: tokenHashOf(hashOf(3), 2), atMs });
  if (!rotated.ok && rotated.reason !== "rotated_meanwhile") end("the token could not be replaced", 1);
  tellDurable(["ended", tokenHashOf(hashOf(3), 1)]);
  await claimToken(3, "credential", third, 2);
  const sixth = await pay(6, 15_000n, forCall(third), 65_000n);
  await callOnce("call-6", 6, sixth, 3_000n);
  await call("call-7", sixth, 4_000n);
  await callFree("call-8", 1_000n);
  return sixth;
}

const account = await (part === "calls" ? buyCalls() : buyAhead());
// Killed with this one open: the next start voids it.
await reserve(`call-9-${boot}`, account, 1_000n);
tell("left open");
reader.close();
await writer.close();
tell("closed");
process.exit(0);
