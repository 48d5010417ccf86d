/**
 * A random walk over everything that moves money, from a seed: each step is done by the real commands and by the
 * model, and both must agree. Started as a program with `SHARE SHARES` it walks that share of the seeds, for the heavy suite.
 */
import { creditInvoice, forgetInvoice, openInvoice } from "../../src/payments/commands.ts";
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { DirectWriter, step, type Step } from "./direct-writer.ts";
import { compareAll, compareTouched } from "./ledger-comparison.ts";
import { LedgerModel } from "./ledger-model.ts";
import { SeededRandom } from "./random.ts";

/** A step that was chosen, what the model says its outcome is, and what to call that in the count of outcomes. */
type Chosen = { step: Step; expected: { ok: boolean } | { failed: true }; touched: string[]; call?: string; reached: string };

const auditEvery = 250;
const weights = { openInvoice: 14, creditInvoice: 17, forgetInvoice: 2, reserveCall: 36, postCall: 22, voidCall: 8, startBoot: 1 };
/** How far back ids are taken from: short enough that most are met in every state. */
const memory = 24;
const above53 = 2n ** 53n + 1n;

export type WalkReport = { steps: number; /** How often each kind of outcome came up. */ reached: Map<string, number> };

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
    compareAll(walk.model, walk.writer.tx);
  } catch (error) {
    throw new Error(`seed ${seed} step ${done}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    walk.writer.close();
  }
  return { steps, reached: walk.reached };
}

class LedgerWalk {
  readonly writer = new DirectWriter();
  readonly model = new LedgerModel();
  readonly reached = new Map<string, number>();
  readonly #random: SeededRandom;
  readonly #invoices: string[] = [];
  readonly #calls: string[] = [];
  readonly #payers: string[] = [];
  #made = 0;
  #nowMs = Date.UTC(2026, 0, 1);

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#runTogether([this.#startBoot()]);
  }

  step(audit: boolean): void {
    if (audit) compareAll(this.model, this.writer.tx);
    this.#passTime();
    // Under load several commands share a transaction; one that fails must not disturb its neighbours.
    const count = this.#random.chance(5) ? this.#random.between(2, 8) : 1;
    this.#runTogether(Array.from({ length: count }, () => this.#choose()));
  }

  #runTogether(chosen: Chosen[]): void {
    const executed = this.writer.runTogether(chosen.map((one) => one.step));
    chosen.forEach((one, index) => {
      this.reached.set(one.reached, (this.reached.get(one.reached) ?? 0) + 1);
      const answer = executed[index]!;
      const outcome = "outcome" in answer ? shown(answer.outcome) : { failed: true };
      if (Bun.deepEquals(outcome, one.expected)) return;
      const reason = "failure" in answer ? ` (${answer.failure.message})` : "";
      throw new Error(`${one.step.command.name} ${inspect(one.step.input)} answered ${inspect(outcome)}${reason}, the rules say ${inspect(one.expected)}`);
    });
    const accounts = new Set(["node", "revenue", ...chosen.flatMap((one) => one.touched)]);
    try {
      compareTouched(this.model, this.writer.tx, accounts, chosen.flatMap((one) => one.call ?? []));
    } catch (cause) {
      const commands = chosen.map((one) => `${one.step.command.name} ${inspect(one.step.input)}`).join(" + ");
      throw new Error(`after ${commands}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }

  /** Mostly forward; now and then the clock is set, by days or backwards. */
  #passTime(): void {
    if (this.#random.chance(1)) this.#nowMs += this.#random.below(3 * 86_400_000);
    else if (this.#random.chance(1)) this.#nowMs -= this.#random.below(3_600_000);
    else this.#nowMs += this.#random.below(60_000);
  }

  #choose(): Chosen {
    return this.#by[this.#random.pickWeighted(weights)]();
  }

  readonly #by: Record<keyof typeof weights, () => Chosen> = {
    openInvoice: () => this.#openInvoice(),
    creditInvoice: () => this.#creditInvoice(),
    forgetInvoice: () => this.#forgetInvoice(),
    reserveCall: () => this.#reserveCall(),
    postCall: () => this.#postCall(),
    voidCall: () => this.#voidCall(),
    startBoot: () => this.#startBoot(),
  };

  #startBoot(): Chosen {
    const touched = [...this.model.openCalls].map((id) => this.model.calls.get(id)!.payer);
    const expected = this.model.startBoot();
    return { step: step(startBoot, { atMs: this.#nowMs }), expected, touched, reached: expected.voided > 0 ? "boot, calls in flight" : "boot, idle" };
  }

  #openInvoice(): Chosen {
    const again = this.#random.chance(8) ? this.#remembered(this.#invoices) : undefined;
    const paymentHash = again ?? this.#remember(this.#invoices, this.#newId("h"));
    const sameQuote = !again && this.#random.chance(3) ? this.model.invoices.get(this.#remembered(this.#invoices) ?? "")?.quoteId : undefined;
    const quoteId = sameQuote ?? this.#newId("q");
    const rollsOverFrom = this.#random.chance(3) ? "a_nobody" : this.#random.chance(45) ? this.#remembered(this.#payers) : undefined;
    const expected = this.model.openInvoice({ paymentHash, quoteId, rollsOverFrom });
    const amountMsat = msat(BigInt(this.#random.between(1, 1_000)) * 1_000n);
    return {
      step: step(openInvoice, {
        state: "open", paymentHash, reference: `i_${paymentHash}`, bolt11: `lnbcrt_${paymentHash}`, amountMsat, tokenId: "00", quoteId,
        quoteFingerprint: "f", quoteTerms: "t", purpose: { kind: "call", rollsOverFrom }, claimSecretHash: undefined, createdAtMs: this.#nowMs, expiresAtMs: this.#nowMs + 600_000,
      }),
      expected, touched: [], reached: "failed" in expected ? "open, failed" : again ? "open, again" : "open",
    };
  }

  #creditInvoice(): Chosen {
    const wanted = this.#random.pick(["open", "open", "open", "credited", "forgotten", "none"]);
    const paymentHash = this.#remembered(this.#invoices, (hash) => this.model.invoices.get(hash)?.state === wanted) ?? this.#newId("foreign");
    const accountId = this.#random.chance(2) ? (this.#remembered(this.#payers) ?? this.#newId("a")) : this.#newId("a");
    const paidMsat = msat(this.#random.chance(2) ? 0n : this.#amount());
    const cursor = this.#random.chance(40) ? undefined : this.model.cursor + BigInt(this.#random.between(this.model.cursor > 3n ? -3 : 0, 3));
    const from = this.model.invoices.get(paymentHash)?.rollsOverFrom;
    const rest = from === undefined ? 0n : this.model.spendable(from);
    const expected = this.model.creditInvoice({ paymentHash, paidMsat, accountId, cursor });
    const credited = "credited" in expected ? expected.credited : "failed";
    if (credited === "now") this.#remember(this.#payers, accountId);
    return {
      step: step(creditInvoice, { paymentHash, paidMsat, accountId, cursor, boot: this.model.boot, atMs: this.#nowMs }),
      expected, touched: from === undefined ? [accountId] : [accountId, from],
      reached: credited === "now" && rest > 0n ? "credit, rolled over" : `credit, ${credited}`,
    };
  }

  #forgetInvoice(): Chosen {
    const paymentHash = this.#remembered(this.#invoices) ?? this.#newId("h");
    const expected = this.model.forgetInvoice(paymentHash);
    return { step: step(forgetInvoice, { paymentHash }), expected, touched: [], reached: `forget, ${expected.forgotten}` };
  }

  #reserveCall(): Chosen {
    const again = this.#random.chance(6) ? this.#remembered(this.#calls) : undefined;
    const id = again ?? this.#remember(this.#calls, this.#newId("c"));
    const accountId = this.#random.chance(1) ? "a_nobody" : (this.#remembered(this.#payers) ?? "a_nobody");
    const { atLeastMsat, atMostMsat } = this.#range(this.model.spendable(accountId));
    const expected = this.model.reserveCall({ id, accountId, atLeastMsat, atMostMsat });
    const kind = "failed" in expected ? "failed" : !expected.ok ? "refused" : again ? "again" : expected.amountMsat < atMostMsat ? "part" : "whole";
    const last = "spendableMsat" in expected && expected.spendableMsat === 0n ? ", nothing left" : "";
    return {
      step: step(reserveCall, { id, accountId, atMostMsat: msat(atMostMsat), atLeastMsat: msat(atLeastMsat), boot: this.model.boot, atMs: this.#nowMs }),
      expected, touched: [accountId], reached: `reserve, ${kind}${kind === "whole" || kind === "refused" ? last : ""}`,
    };
  }

  /** Ranges around what there is: just enough, one too many, most of it, far above. */
  #range(there: bigint): { atLeastMsat: bigint; atMostMsat: bigint } {
    if (this.#random.chance(1)) return this.#random.chance(50) ? { atLeastMsat: 0n, atMostMsat: 5n } : { atLeastMsat: 6n, atMostMsat: 5n };
    const part = (there * BigInt(this.#random.between(1, 60))) / 100n;
    const atMostMsat = atLeastOne(this.#random.pick([part, part, part, part, there, there + 1n, there - 1n, there * 2n, this.#amount()]));
    const atLeastMsat = atLeastOne(this.#random.pick([atMostMsat, atMostMsat, atMostMsat / 2n, 1n, there + 1n]));
    return { atLeastMsat: atLeastMsat > atMostMsat ? atMostMsat : atLeastMsat, atMostMsat };
  }

  #postCall(): Chosen {
    const id = this.#callToEnd();
    const call = this.model.calls.get(id);
    const reserved = call?.reserved ?? 5n;
    const costMsat = this.#random.pick([0n, 1n, reserved / 2n, reserved / 3n, reserved, reserved + 1n, reserved * 3n, this.#amount()]);
    const expected = this.model.postCall({ id, costMsat, atMs: this.#nowMs });
    const kind = !expected.posted ? "ended before" : costMsat > reserved ? "above the reservation" : costMsat === 0n ? "cost nothing" : "within";
    const record = { endpoint: "chat", model: "m", upstream: "u", ending: "completed", inputTokens: 3, outputTokens: 2, estimated: false };
    return {
      step: step(postCall, {
        id, accountId: call?.payer ?? "a_nobody", costMsat: msat(costMsat), reservedMsat: msat(reserved + (this.#random.chance(5) ? 7n : 0n)),
        terms: "t", record, startedAtMs: this.#nowMs - 5, boot: this.model.boot, atMs: this.#nowMs,
      }),
      expected, touched: call ? [call.payer] : [], call: expected.posted ? id : undefined, reached: `post, ${kind}`,
    };
  }

  #voidCall(): Chosen {
    const id = this.#callToEnd();
    const payer = this.model.calls.get(id)?.payer;
    const expected = this.model.voidCall(id);
    return {
      step: step(voidCall, { id, reason: "upstream_failed", boot: this.model.boot, atMs: this.#nowMs }),
      expected, touched: payer ? [payer] : [], reached: `void, ${expected.voided}`,
    };
  }

  #callToEnd(): string {
    if (this.#random.chance(3)) return this.#newId("never");
    const open = this.#random.chance(80);
    return this.#remembered(this.#calls, (id) => this.model.openCalls.has(id) === open) ?? this.#newId("never");
  }

  #amount(): bigint {
    if (this.#random.chance(1)) return above53 + BigInt(this.#random.below(1_000));
    return BigInt(this.#random.chance(25) ? this.#random.between(1, 5) : this.#random.between(1_000, 5_000_000));
  }

  #newId(prefix: string): string {
    return `${prefix}_${++this.#made}`;
  }

  #remember(list: string[], id: string): string {
    if (list.push(id) > memory) list.shift();
    return id;
  }

  /** One of the remembered, one that fits if a few tries find it. */
  #remembered(list: readonly string[], fits: (id: string) => boolean = () => true): string | undefined {
    for (let tries = 0; tries < 8 && list.length > 0; tries++) {
      const id = this.#random.pick(list);
      if (fits(id)) return id;
    }
    return undefined;
  }
}

function atLeastOne(amountMsat: bigint): bigint {
  return amountMsat < 1n ? 1n : amountMsat;
}

/** An outcome without what only repeats the input. */
function shown(outcome: object): object {
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
  const { seeds, steps } = walkSize(1_000);
  let walked = 0;
  for (const seed of seeds) if (seed % shares === share) walked += walkLedger(seed, steps).steps;
  console.log(`${walked} steps`);
}
