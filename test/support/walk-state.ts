/** What the parts of a random walk share: its chance, its clock, the model, and the ids that it has used lately. */
import type { ClaimInput } from "./claim-model.ts";
import type { Step } from "./direct-writer.ts";
import { LedgerModel } from "./ledger-model.ts";
import { SeededRandom } from "./random.ts";

/** A step that was chosen, what the model says its outcome is, and what is to be compared after it. */
export type Chosen = {
  step: Step;
  expected: object;
  /** Accounts, a posted call and a payment that it may have changed. */
  touched: string[];
  call?: string;
  payment?: string;
  /** What to call the outcome in the count of outcomes: of invoices and calls, or of accounts. */
  reached?: string;
  reachedOfAccounts?: string;
};

/** How far back ids are taken from: short enough that most are met in every state. */
const memory = 24;
const dayMs = 86_400_000;
const above53 = 2n ** 53n + 1n;

export class WalkState {
  readonly model = new LedgerModel();
  readonly random: SeededRandom;
  readonly invoices: string[] = [];
  readonly calls: string[] = [];
  readonly payers: string[] = [];
  /** Payments that have a token. */
  readonly tokens: string[] = [];
  readonly addresses: string[] = [];
  lastClaim: ClaimInput | undefined;
  lastSingleUse: string | undefined;
  lastRequest: { accountId: string; key: string } | undefined;
  nowMs = Date.UTC(2026, 0, 1);
  /** Whoever asks now is after what was asked for last. */
  racing = false;
  #made = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** Mostly forward; now and then the clock is set, by days or backwards. Answers what is to be asked for again at this very time. */
  passTime(): "claimPayment" | "reserveCall" | undefined {
    if (this.random.chance(1)) return this.#passToDeadline();
    if (this.random.chance(1)) this.nowMs += this.random.below(3 * dayMs);
    else if (this.random.chance(1)) this.nowMs -= this.random.below(3_600_000);
    else this.nowMs += this.random.below(60_000);
    return undefined;
  }

  /** To the millisecond at which what was answered before is answered no more, or the one before it. */
  #passToDeadline(): "claimPayment" | "reserveCall" | undefined {
    const what = this.random.pick(["claimPayment", "reserveCall"] as const);
    const claimedMs = this.model.claims.made.get(this.lastClaim?.paymentHash ?? "")?.atMs;
    const askedMs = this.lastRequest && this.model.once.standing({ ...this.lastRequest, purpose: "call" }, this.nowMs)?.atMs;
    const deadline = what === "claimPayment" ? (claimedMs ?? 0) + 600_000 : (askedMs ?? 0) + dayMs;
    if (deadline <= this.nowMs) return undefined;
    this.nowMs = deadline - this.random.below(2);
    return what;
  }

  /** Whether to ask for what was asked for last, as those do who got no answer or were not alone. */
  insists(percent: number): boolean {
    return this.random.chance(this.racing ? 90 : percent);
  }

  /** Ranges around what there is: just enough, one too many, most of it, far above. */
  range(there: bigint): { atLeastMsat: bigint; atMostMsat: bigint } {
    if (this.random.chance(1)) return this.random.chance(50) ? { atLeastMsat: 0n, atMostMsat: 5n } : { atLeastMsat: 6n, atMostMsat: 5n };
    const part = (there * BigInt(this.random.between(1, 60))) / 100n;
    const atMostMsat = atLeastOne(this.random.pick([part, part, part, part, there, there + 1n, there - 1n, there * 2n, this.amount()]));
    const atLeastMsat = atLeastOne(this.random.pick([atMostMsat, atMostMsat, atMostMsat / 2n, 1n, there + 1n]));
    return { atLeastMsat: atLeastMsat > atMostMsat ? atMostMsat : atLeastMsat, atMostMsat };
  }

  amount(): bigint {
    if (this.random.chance(1)) return above53 + BigInt(this.random.below(1_000));
    return BigInt(this.random.chance(25) ? this.random.between(1, 5) : this.random.between(1_000, 5_000_000));
  }

  newId(prefix: string): string {
    return `${prefix}_${++this.#made}`;
  }

  newPaymentHash(): string {
    return String(++this.#made).padStart(64, "0");
  }

  remember(list: string[], id: string): string {
    if (list.push(id) > memory) list.shift();
    return id;
  }

  /** One of the remembered, one that fits if a few tries find it. */
  remembered(list: readonly string[], fits: (id: string) => boolean = () => true): string | undefined {
    for (let tries = 0; tries < 8 && list.length > 0; tries++) {
      const id = this.random.pick(list);
      if (fits(id)) return id;
    }
    return undefined;
  }
}

function atLeastOne(amountMsat: bigint): bigint {
  return amountMsat < 1n ? 1n : amountMsat;
}
