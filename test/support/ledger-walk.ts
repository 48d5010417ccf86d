/**
 * A random walk over everything that moves money, from a seed: each step is done by the real commands and by the
 * model, and both must agree. Started as a program with `SHARE SHARES` it walks that share of the seeds, for the heavy suite.
 */
import { creditInvoice, forgetInvoice, openInvoice } from "../../src/payments/commands.ts";
import type { Purpose } from "../../src/payments/invoice.ts";
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { AccountSteps, accountWeights } from "./account-steps.ts";
import { PayoutSteps, payoutWeights } from "./payout-steps.ts";
import { DirectWriter, step } from "./direct-writer.ts";
import { compareAll, compareEnd, compareTouched } from "./ledger-comparison.ts";
import type { ModelCall } from "./ledger-model.ts";
import { type Chosen, WalkState } from "./walk-state.ts";

const auditEvery = 250;
const weights = { openInvoice: 16, creditInvoice: 19, forgetInvoice: 2, reserveCall: 36, postCall: 26, voidCall: 9, startBoot: 1, ...accountWeights, ...payoutWeights };

/** How often each kind of outcome came up: of invoices and calls, and of accounts. */
export type WalkReport = { steps: number; reached: Map<string, number>; reachedOfAccounts: Map<string, number> };

/** What a process says that walked a share of the seeds. */
export type ShareReport = { steps: number; reachedOfAccounts: string[] };

/** Which seeds to walk, and how far: `HEARTH_SEED=N` replays one, `HEARTH_SEEDS` and `HEARTH_STEPS` say how many. */
export function walkSize(defaultSeeds: number): { seeds: number[]; steps: number } {
  const { HEARTH_SEED, HEARTH_SEEDS, HEARTH_STEPS } = process.env;
  const seeds = HEARTH_SEED === undefined ? Array.from({ length: Number(HEARTH_SEEDS ?? defaultSeeds) }, (_, i) => i + 1) : [Number(HEARTH_SEED)];
  return { seeds, steps: Number(HEARTH_STEPS ?? 2_000) };
}

/** @throws Error `seed N step M: what`, which is all that is needed to see it again. */
export function walkLedger(seed: number, steps: number): WalkReport {
  const walk = new LedgerWalk(seed);
  let done = 0;
  try {
    for (; done < steps; done++) walk.step(done > 0 && done % auditEvery === 0);
    compareEnd(walk.state.model, walk.writer.tx);
  } catch (error) {
    throw new Error(`seed ${seed} step ${done}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    walk.writer.close();
  }
  return { steps, reached: walk.reached, reachedOfAccounts: walk.reachedOfAccounts };
}

class LedgerWalk {
  readonly writer = new DirectWriter();
  readonly state: WalkState;
  readonly reached = new Map<string, number>();
  readonly reachedOfAccounts = new Map<string, number>();
  readonly #by: Record<keyof typeof weights, () => Chosen>;

  constructor(seed: number) {
    this.state = new WalkState(seed);
    this.#by = {
      openInvoice: () => this.#openInvoice(),
      creditInvoice: () => this.#creditInvoice(),
      forgetInvoice: () => this.#forgetInvoice(),
      reserveCall: () => this.#reserveCall(),
      postCall: () => this.#postCall(),
      voidCall: () => this.#voidCall(),
      startBoot: () => this.#startBoot(),
      ...new AccountSteps(this.state).by,
      ...new PayoutSteps(this.state).by,
    };
    this.#runTogether([this.#startBoot()]);
  }

  step(audit: boolean): void {
    const { random } = this.state;
    if (audit) compareAll(this.state.model, this.writer.tx);
    const due = this.state.passTime();
    // Under load several commands share a transaction; one that fails must not disturb its neighbours.
    const count = random.chance(5) ? random.between(2, 8) : 1;
    this.state.racing = due !== undefined || (count > 1 && random.chance(40));
    const name = due ?? (this.state.racing ? random.pickWeighted(weights) : undefined);
    this.#runTogether(Array.from({ length: count }, () => this.#by[name ?? random.pickWeighted(weights)]()));
  }

  #runTogether(chosen: Chosen[]): void {
    const executed = this.writer.runTogether(chosen.map((one) => one.step));
    chosen.forEach((one, index) => {
      count(this.reached, one.reached);
      count(this.reachedOfAccounts, one.reachedOfAccounts);
      const answer = executed[index]!;
      const outcome = "outcome" in answer ? shown(answer.outcome) : { failed: true };
      const { expected } = one;
      if (Bun.deepEquals(outcome, expected)) return;
      const reason = "failure" in answer ? ` (${answer.failure.message})` : "";
      throw new Error(`${one.step.command.name} ${inspect(one.step.input)} answered ${inspect(outcome)}${reason}, the rules say ${inspect(expected)}`);
    });
    const touched = {
      accounts: new Set(["node", "revenue", ...chosen.flatMap((one) => one.touched)]),
      calls: chosen.flatMap((one) => one.call ?? []),
      payments: new Set(chosen.flatMap((one) => one.payment ?? [])),
    };
    try {
      compareTouched(this.state.model, this.writer.tx, touched);
    } catch (cause) {
      const commands = chosen.map((one) => `${one.step.command.name} ${inspect(one.step.input)}`).join(" + ");
      throw new Error(`after ${commands}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }

  #startBoot(): Chosen {
    const { model, nowMs: atMs } = this.state;
    const calls = [...model.openCalls].map((id) => model.calls.get(id)!);
    const expected = model.startBoot();
    return {
      step: step(startBoot, { atMs }), expected, touched: calls.flatMap((call) => accountsOf(call)),
      reached: expected.voided > 0 ? "boot, calls in flight" : "boot, idle", ...(calls.some((call) => call.free) && { reachedOfAccounts: "boot, free calls in flight" }),
    };
  }

  #openInvoice(): Chosen {
    const { model, random, nowMs, invoices } = this.state;
    const again = random.chance(8) ? this.state.remembered(invoices) : undefined;
    const paymentHash = again ?? this.state.remember(invoices, this.state.newPaymentHash());
    const sameQuote = !again && random.chance(3) ? model.invoices.get(this.state.remembered(invoices) ?? "")?.quoteId : undefined;
    const quoteId = sameQuote ?? this.state.newId("q");
    const purpose = this.#choosePurpose();
    const withoutSecret = purpose.kind === "call" || (again === undefined && random.chance(2));
    const secret = withoutSecret ? undefined : `s_${paymentHash}`;
    const expected = model.openInvoice({ paymentHash, quoteId, secret, purpose });
    const amountMsat = msat(BigInt(random.between(1, 1_000)) * 1_000n);
    const failed = "failed" in expected;
    const ahead = purpose.kind === "call" ? undefined : failed ? (withoutSecret ? "open, without its secret" : undefined) : again ? undefined : `open, ${purpose.kind}`;
    return {
      step: step(openInvoice, {
        state: "open", paymentHash, reference: `i_${paymentHash}`, bolt11: `lnbcrt_${paymentHash}`, amountMsat, tokenId: "00", quoteId,
        quoteFingerprint: "f", quoteTerms: "t", purpose, claimSecretHash: secret, createdAtMs: nowMs, expiresAtMs: nowMs + 600_000,
      }),
      expected, touched: [], reached: failed ? "open, failed" : again ? "open, again" : "open", ...(ahead && { reachedOfAccounts: ahead }),
    };
  }

  #choosePurpose(): Purpose {
    const { random, payers } = this.state;
    const account = random.chance(3) ? "a_nobody" : this.state.remembered(payers);
    const kind = random.pickWeighted({ call: 45, topup: 30, refill: 25 });
    const claimNeedsSecret = random.chance(35);
    if (kind === "topup") return { kind, claimNeedsSecret };
    if (kind === "refill" && account !== undefined) return { kind, claimNeedsSecret, accountId: account, keyHash: random.chance(70) ? "k" : undefined };
    return { kind: "call", rollsOverFrom: random.chance(45) ? account : undefined };
  }

  #creditInvoice(): Chosen {
    const { model, random, nowMs, invoices, payers } = this.state;
    const wanted = random.pick(["open", "open", "open", "credited", "forgotten", "none"]);
    const paymentHash = this.state.remembered(invoices, (hash) => model.invoices.get(hash)?.state === wanted) ?? this.state.newPaymentHash();
    const accountId = random.chance(2) ? (this.state.remembered(payers) ?? this.state.newId("a")) : this.state.newId("a");
    const paidMsat = msat(random.chance(2) ? 0n : this.state.amount());
    const cursor = random.chance(40) ? undefined : model.cursor + BigInt(random.between(model.cursor > 3n ? -3 : 0, 3));
    const purpose = model.invoices.get(paymentHash)?.purpose;
    const from = purpose?.kind === "call" ? purpose.rollsOverFrom : undefined;
    const refills = purpose?.kind === "refill" ? purpose.accountId : undefined;
    const rest = from === undefined ? 0n : model.spendable(from);
    const expected = model.creditInvoice({ paymentHash, paidMsat, accountId, cursor });
    const credited = "credited" in expected ? expected.credited : "failed";
    if (credited === "now" && refills === undefined) this.state.remember(payers, accountId);
    return {
      step: step(creditInvoice, { paymentHash, paidMsat, accountId, cursor, boot: model.boot, atMs: nowMs }),
      expected, touched: [accountId, from, refills].filter((id) => id !== undefined),
      reached: credited === "now" && rest > 0n ? "credit, rolled over" : `credit, ${credited}`,
      ...(credited === "now" && refills !== undefined && { reachedOfAccounts: "credit, refill" }),
    };
  }

  #forgetInvoice(): Chosen {
    const paymentHash = this.state.remembered(this.state.invoices) ?? this.state.newPaymentHash();
    const expected = this.state.model.forgetInvoice(paymentHash);
    return { step: step(forgetInvoice, { paymentHash }), expected, touched: [], reached: `forget, ${expected.forgotten}` };
  }

  #reserveCall(): Chosen {
    const { model, random, nowMs: atMs, calls, payers } = this.state;
    const again = random.chance(6) ? this.state.remembered(calls, (id) => !model.calls.get(id)?.free) : undefined;
    const id = again ?? this.state.remember(calls, this.state.newId("c"));
    const request = this.#chooseRequestKey();
    const accountId = request?.accountId ?? (random.chance(1) ? "a_nobody" : (this.state.remembered(payers) ?? "a_nobody"));
    const { atLeastMsat, atMostMsat } = this.state.range(model.spendable(accountId));
    const before = request && model.once.standing({ ...request, purpose: "call" }, atMs);
    const expected = model.once.reserveCall({ id, accountId, atLeastMsat, atMostMsat, requestKey: request?.key, atMs });
    const amount = "amountMsat" in expected ? expected.amountMsat : 0n;
    const last = "spendableMsat" in expected && expected.spendableMsat === 0n ? ", nothing left" : "";
    const kind = "failed" in expected ? "failed" : !expected.ok ? `refused${last}` : again ? "again" : amount < atMostMsat ? "part" : `whole${last}`;
    const duplicate = "reason" in expected && expected.reason === "duplicate_request";
    const withKey = "failed" in expected ? "failed" : !expected.ok ? expected.reason : before ? "after it came to nothing" : "reserved";
    return {
      step: step(reserveCall, {
        id, accountId, atMostMsat: msat(atMostMsat), atLeastMsat: msat(atLeastMsat), ...(request && { requestKey: request.key }), boot: model.boot, atMs,
      }),
      expected, touched: [accountId], ...(!duplicate && { reached: `reserve, ${kind}` }), ...(request && { reachedOfAccounts: `call with a key, ${withKey}` }),
    };
  }

  /** The key of a request that may have been sent before; a client keeps it for the same account. */
  #chooseRequestKey(): { accountId: string; key: string } | undefined {
    const { model, random, nowMs } = this.state;
    if (!this.state.racing && !random.chance(20)) return undefined;
    const last = this.state.insists(50) ? this.state.lastRequest : undefined;
    const wanted = last ?? { accountId: this.state.remembered(this.state.payers) ?? "a_nobody", key: `key-${random.below(3)}` };
    const certain = model.once.isCertain({ ...wanted, purpose: "call" }, nowMs);
    return (this.state.lastRequest = certain ? wanted : { ...wanted, key: this.state.newId("key") });
  }

  #postCall(): Chosen {
    const { model, random, nowMs: atMs } = this.state;
    const id = this.#callToEnd();
    const call = model.calls.get(id);
    const reserved = call?.reserved ?? 5n;
    const costMsat = random.pick([0n, 1n, reserved / 2n, reserved / 3n, reserved, reserved + 1n, reserved * 3n, this.state.amount()]);
    const expected = model.postCall({ id, costMsat, atMs });
    const kind = !expected.posted ? "ended before" : costMsat > reserved ? "above the reservation" : costMsat === 0n ? "cost nothing" : "within";
    const record = { endpoint: "chat", model: "m", upstream: "u", ending: "completed", inputTokens: 3, outputTokens: 2, estimated: false };
    return {
      step: step(postCall, {
        id, accountId: call?.payer ?? "a_nobody", costMsat: msat(costMsat), reservedMsat: msat(reserved + (random.chance(5) ? 7n : 0n)),
        terms: "t", record, free: call?.free ?? false, startedAtMs: atMs - 5, boot: model.boot, atMs,
      }),
      expected, touched: call ? accountsOf(call) : [], ...(expected.posted && { call: id }),
      reached: `post, ${kind}`, ...(expected.posted && call!.free && { reachedOfAccounts: "post, free" }),
    };
  }

  #voidCall(): Chosen {
    const { model, nowMs: atMs } = this.state;
    const id = this.#callToEnd();
    const call = model.calls.get(id);
    const expected = model.voidCall(id);
    return {
      step: step(voidCall, { id, reason: "upstream_failed", boot: model.boot, atMs }),
      expected, touched: call ? accountsOf(call) : [], reached: `void, ${expected.voided}`, ...(expected.voided && call!.free && { reachedOfAccounts: "void, free" }),
    };
  }

  #callToEnd(): string {
    const { model, random, calls } = this.state;
    if (random.chance(3)) return this.state.newId("never");
    const open = random.chance(80);
    return this.state.remembered(calls, (id) => model.openCalls.has(id) === open) ?? this.state.newId("never");
  }
}

function accountsOf(call: ModelCall): string[] {
  return call.free ? [call.payer, "given"] : [call.payer];
}

function count(reached: Map<string, number>, what: string | undefined): void {
  if (what !== undefined) reached.set(what, (reached.get(what) ?? 0) + 1);
}

/** An outcome without what only repeats the input. */
function shown(outcome: object): object {
  if ("kept" in outcome) {
    const { bodyHash, reference } = (outcome as { kept: { bodyHash: string; reference: string } }).kept;
    return { ...outcome, kept: { bodyHash, reference } };
  }
  if (!("invoice" in outcome)) return outcome;
  const { invoice, ...rest } = outcome as { invoice: { state: string; accountId: string; creditedMsat: bigint } };
  if (invoice.state !== "credited") return { ...rest, invoice };
  return { ...rest, accountId: invoice.accountId, creditedMsat: invoice.creditedMsat };
}

function inspect(value: unknown): string {
  return Bun.inspect(value, { compact: true });
}

if (import.meta.main) {
  const [share, shares] = [Number(process.argv[2]), Number(process.argv[3])];
  const { seeds, steps } = walkSize(600);
  const reached = new Set<string>();
  let walked = 0;
  for (const seed of seeds.filter((one) => one % shares === share)) {
    const report = walkLedger(seed, steps);
    walked += report.steps;
    for (const kind of report.reachedOfAccounts.keys()) reached.add(kind);
  }
  console.log(JSON.stringify({ steps: walked, reachedOfAccounts: [...reached] } satisfies ShareReport));
}
