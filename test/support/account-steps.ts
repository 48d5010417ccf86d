/** Steps of a random walk over accounts: payments that are claimed, tokens that are replaced, free calls, and what may happen once. */
import { claimPayment } from "../../src/accounts/claim.ts";
import { revokeKey, rotateKey } from "../../src/accounts/keys.ts";
import { takeRequestKey } from "../../src/accounts/request-keys.ts";
import { reserveSingleUse, reserveTrial } from "../../src/charge/commands.ts";
import { msat } from "../../src/money/msat.ts";
import type { ClaimExpectation, ClaimInput, ModelClaim } from "./claim-model.ts";
import { step } from "./direct-writer.ts";
import type { Failed } from "./ledger-model.ts";
import type { Chosen, WalkState } from "./walk-state.ts";

export const accountWeights = { claimPayment: 14, rotateKey: 2, revokeKey: 1, reserveSingleUse: 5, reserveTrial: 6, takeRequestKey: 4 };

/** All that a walk can meet there. */
export const accountOutcomes: readonly string[] = [
  "open, topup", "open, refill", "open, without its secret", "credit, refill", "boot, free calls in flight", "post, free", "void, free",
  "claim, token", "claim, token again", "claim, token of a later generation", "claim, own token",
  "claim, moved", "claim, moved after its token", "claim, moved again", "claim, more moved", "claim, moved to another", "claim, nothing to move",
  "claim, refill", "claim, refill again", "claim, refill by a hop", "claim, not_a_topup", "claim, claim_secret_required", "claim, wrong_token", "claim, failed",
  "claim, after a better proof", "claim, too late", "claim, elsewhere", "claim, replaced", "claim, revoked", "claim, idempotency_mismatch",
  "rotate, live", "rotate, revoked", "rotate, not_found", "rotate, rotated_meanwhile", "revoke, true", "revoke, false",
  "once, reserved", "once, after it came to nothing", "once, in_use", "once, used", "once, insufficient_balance", "once, failed",
  "trial, reserved", "trial, used_up", "trial, insufficient_balance", "trial, failed", "trial, on a day with less",
  "key, taken", "key, kept", "key, replaced", "key, after its day",
  "call with a key, reserved", "call with a key, after it came to nothing", "call with a key, duplicate_request", "call with a key, insufficient_balance", "call with a key, failed",
];

export class AccountSteps {
  readonly #state: WalkState;
  readonly #trialRules: { callsPerDay: number; dailyBudgetMsat: bigint };

  #lastTaken: { accountId: string; purpose: "topup"; key: string } | undefined;

  constructor(state: WalkState) {
    this.#state = state;
    this.#trialRules = { callsPerDay: state.random.between(1, 3), dailyBudgetMsat: BigInt(state.random.between(3, 60)) * 1_000n };
  }

  readonly by: Record<keyof typeof accountWeights, () => Chosen> = {
    claimPayment: () => this.#claimPayment(),
    rotateKey: () => this.#rotateKey(),
    revokeKey: () => this.#revokeKey(),
    reserveSingleUse: () => this.#reserveSingleUse(),
    reserveTrial: () => this.#reserveTrial(),
    takeRequestKey: () => this.#takeRequestKey(),
  };

  #claimPayment(): Chosen {
    const { model } = this.#state;
    const input = this.#chooseClaim();
    const { paymentHash, intoAccount } = input;
    const account = model.invoices.get(paymentHash)?.accountId;
    const made = model.claims.made.get(paymentHash);
    const before = made && { ...made, brought: new Map(made.brought) };
    const rest = account === undefined ? 0n : model.spendable(account);
    const hadKey = model.claims.newestKey(paymentHash) !== undefined;
    const expected = model.claims.claim(input);
    if (!hadKey && model.claims.newestKey(paymentHash)) this.#state.remember(this.#state.tokens, paymentHash);
    this.#state.lastClaim = input;
    return {
      step: step(claimPayment, { ...input, boot: model.boot, atMs: this.#state.nowMs }),
      expected, payment: paymentHash, touched: [account, intoAccount].filter((id) => id !== undefined),
      reachedOfAccounts: `claim, ${this.#describeClaim(input, expected, { before, rest, hadKey })}`,
    };
  }

  #chooseClaim(): ClaimInput {
    const { model, random, nowMs: atMs, lastClaim } = this.#state;
    const last = this.#state.insists(35) ? lastClaim : undefined;
    const accountId = last && model.invoices.get(last.paymentHash)?.accountId;
    const certain = !accountId || !last.requestKey || model.once.isCertain({ accountId, purpose: "claim", key: last.requestKey.key }, atMs);
    if (last && certain && random.chance(60)) return { ...last, atMs };
    const credited = (hash: string) => model.invoices.get(hash)?.state === "credited";
    const list = random.chance(40) ? this.#state.tokens : this.#state.invoices;
    const known = random.chance(3) ? undefined : this.#state.remembered(list, credited);
    const paymentHash = last?.paymentHash ?? known ?? this.#state.newPaymentHash();
    const requestKey = (certain ? last?.requestKey : undefined) ?? this.#chooseClaimKey(paymentHash);
    const proof = random.pick(["credential", "secret", "preimage", "preimage"] as const);
    return { paymentHash, proof, intoAccount: this.#chooseToken(paymentHash), firstKeyHash: `k_${paymentHash}_1`, requestKey, atMs };
  }

  #chooseClaimKey(paymentHash: string): ClaimInput["requestKey"] {
    const { model, random, nowMs } = this.#state;
    if (!random.chance(30)) return undefined;
    const accountId = model.invoices.get(paymentHash)?.accountId ?? "a_nobody";
    const key = `key-${random.below(2)}`;
    return { key: model.once.isCertain({ accountId, purpose: "claim", key }, nowMs) ? key : this.#state.newId("key"), bodyHash: `b_${random.below(2)}` };
  }

  /** The account of a token that somebody may present with a claim. */
  #chooseToken(paymentHash: string): string | undefined {
    const { model, random } = this.#state;
    const invoice = model.invoices.get(paymentHash);
    if (invoice?.purpose.kind === "refill" && random.chance(50)) return invoice.accountId;
    if (random.chance(45)) return undefined;
    if (random.chance(20)) return model.claims.openedBy(paymentHash);
    const other = this.#state.remembered(this.#state.tokens, (hash) => model.claims.openedBy(hash) !== undefined);
    return other && model.claims.openedBy(other);
  }

  #describeClaim(
    input: ClaimInput, expected: ClaimExpectation | Failed, { before, rest, hadKey }: { before: ModelClaim | undefined; rest: bigint; hadKey: boolean },
  ): string {
    if ("failed" in expected) return "failed";
    if (!expected.ok) return expected.reason === "already_claimed" ? this.#describeLate(input, before) : expected.reason;
    if (expected.kind === "refilled") return expected.balanceMsat === undefined ? "refill by a hop" : before ? "refill again" : "refill";
    if (expected.kind === "token") return !hadKey ? "token" : expected.generation > 1 ? "token of a later generation" : "token again";
    const { paymentHash, intoAccount } = input;
    if (intoAccount === this.#state.model.invoices.get(paymentHash)!.accountId) return "own token";
    if (rest === 0n) return expected.creditedMsat === 0n ? "nothing to move" : "moved again";
    if (!before) return "moved";
    if (before.brought.size === 0) return "moved after its token";
    return before.brought.has(intoAccount!) ? "more moved" : "moved to another";
  }

  #describeLate({ proof, paymentHash, intoAccount, atMs }: ClaimInput, before: ModelClaim | undefined): string {
    const key = this.#state.model.claims.newestKey(paymentHash);
    if (proof === "preimage" && before && before.proof !== "preimage") return "after a better proof";
    if (proof === "preimage" && before && atMs - before.atMs >= 600_000) return "too late";
    if (proof === "preimage" && before && before.into !== (intoAccount ?? this.#state.model.invoices.get(paymentHash)!.accountId)) return "elsewhere";
    return key?.ended === "revoked" ? "revoked" : "replaced";
  }

  #rotateKey(): Chosen {
    const { model, random, nowMs: atMs } = this.#state;
    const paymentHash = this.#choosePayment();
    const key = model.claims.newestKey(paymentHash);
    const fromGeneration = (key?.generation ?? 1) + (random.chance(15) ? random.pick([-1, 1]) : 0);
    const input = { paymentHash, fromGeneration, hash: `k_${paymentHash}_${fromGeneration + 1}` };
    const wasLive = key !== undefined && key.ended === undefined;
    const expected = model.claims.rotate(input);
    return {
      step: step(rotateKey, { ...input, atMs }), expected, payment: paymentHash, touched: [],
      reachedOfAccounts: `rotate, ${expected.ok ? (wasLive ? "live" : "revoked") : expected.reason}`,
    };
  }

  #revokeKey(): Chosen {
    const paymentHash = this.#choosePayment();
    const expected = this.#state.model.claims.revoke(paymentHash);
    return { step: step(revokeKey, { paymentHash, atMs: this.#state.nowMs }), expected, payment: paymentHash, touched: [], reachedOfAccounts: `revoke, ${expected.revoked}` };
  }

  /** One that has a token, as a rule. */
  #choosePayment(): string {
    const { random, tokens, invoices } = this.#state;
    return this.#state.remembered(random.chance(90) ? tokens : invoices) ?? this.#state.newPaymentHash();
  }

  #reserveSingleUse(): Chosen {
    const { model, random, nowMs: atMs } = this.#state;
    const last = this.#state.insists(35) ? this.#state.lastSingleUse : undefined;
    const forCall = (hash: string) => model.invoices.get(hash)?.state === "credited" && model.invoices.get(hash)!.purpose.kind === "call";
    const known = random.chance(3) ? undefined : this.#state.remembered(this.#state.invoices, forCall);
    const paymentHash = last ?? known ?? this.#state.newPaymentHash();
    const accountId = model.invoices.get(paymentHash)?.accountId ?? "a_nobody";
    const id = this.#state.remember(this.#state.calls, this.#state.newId("c"));
    const { atLeastMsat, atMostMsat } = this.#state.range(model.spendable(accountId));
    const again = model.once.singleUses.has(paymentHash);
    const expected = model.once.reserveSingleUse({ id, accountId, paymentHash, atMostMsat, atLeastMsat, atMs });
    this.#state.lastSingleUse = paymentHash;
    const kind = "failed" in expected ? "failed" : !expected.ok ? expected.reason : again ? "after it came to nothing" : "reserved";
    return {
      step: step(reserveSingleUse, { id, accountId, paymentHash, atMostMsat: msat(atMostMsat), atLeastMsat: msat(atLeastMsat), boot: model.boot, atMs }),
      expected, touched: [accountId], reachedOfAccounts: `once, ${kind}`,
    };
  }

  #reserveTrial(): Chosen {
    const { model, random, nowMs: atMs, addresses } = this.#state;
    const known = random.chance(70) ? this.#state.remembered(addresses, (one) => model.trials.isCertain(one, atMs)) : undefined;
    const addressHash = known ?? this.#state.remember(addresses, this.#state.newId("ip"));
    const id = this.#state.remember(this.#state.calls, this.#state.newId("c"));
    const { callsPerDay } = this.#trialRules;
    // Between two starts the owner may have become less generous.
    const dailyBudgetMsat = this.#trialRules.dailyBudgetMsat / (random.chance(30) ? 3n : 1n);
    const cap = BigInt(random.between(1, Number(dailyBudgetMsat) / 4));
    const usual = { atLeastMsat: random.chance(2) ? 0n : cap, atMostMsat: cap };
    const { atLeastMsat, atMostMsat } = random.chance(20) ? this.#state.range(model.spendable("trial")) : usual;
    const takenBack = model.takenBackMsat;
    const expected = model.trials.reserve({ id, address: addressHash, callsPerDay, dailyBudgetMsat, atMostMsat, atLeastMsat, atMs });
    const kind = "failed" in expected ? "failed" : !expected.ok ? expected.reason : model.takenBackMsat > takenBack ? "on a day with less" : "reserved";
    const rules = { callsPerDay, dailyBudgetMsat: msat(dailyBudgetMsat) };
    return {
      step: step(reserveTrial, { id, addressHash, rules, atMostMsat: msat(atMostMsat), atLeastMsat: msat(atLeastMsat), boot: model.boot, atMs }),
      expected, touched: ["trial", "house", "given"], reachedOfAccounts: `trial, ${kind}`,
    };
  }

  #takeRequestKey(): Chosen {
    const { model, random, nowMs: atMs } = this.#state;
    const chosen = { accountId: this.#state.remembered(this.#state.payers) ?? "a_nobody", purpose: "topup" as const, key: `key-${random.below(3)}` };
    const wanted = (this.#state.insists(60) ? this.#lastTaken : undefined) ?? chosen;
    const name = model.once.isCertain(wanted, atMs) ? wanted : { ...wanted, key: this.#state.newId("key") };
    this.#lastTaken = name;
    const outlived = model.once.knows(name);
    const before = model.once.standing(name, atMs);
    const replaces = before && random.chance(40) ? before.reference : undefined;
    const input = { ...name, bodyHash: `b_${random.below(2)}`, reference: this.#state.newId("r"), atMs, replaces };
    const expected = model.once.takeRequestKey(input);
    const kind = before ? (replaces ? "replaced" : "kept") : outlived ? "after its day" : "taken";
    return { step: step(takeRequestKey, input), expected, touched: [], reachedOfAccounts: `key, ${kind}` };
  }
}
