/** Steps of a random walk over money out. */
import { takePayout } from "../../src/accounts/collect.ts";
import { msat } from "../../src/money/msat.ts";
import { endPayout, sendPayout, startPayouts } from "../../src/payments/payout-commands.ts";
import { switchPayouts } from "../../src/payments/payout-switch.ts";
import { step } from "./direct-writer.ts";
import type { PayoutEnding } from "./payout-model.ts";
import type { Chosen, WalkState } from "./walk-state.ts";

export const payoutWeights = { takePayout: 12, sendPayout: 9, endPayout: 14, startPayouts: 1, switchPayouts: 1 };

export const payoutOutcomes: readonly string[] = [
  "payout, taken", "payout, payouts_off", "payout, invoice_already_used", "payout, payout_limit", "payout, insufficient_balance", "payout, failed", "payout, taken after it was returned",
  "send, true", "send, false",
  "end, succeeded", "end, succeeded at no cost", "end, succeeded above its limit", "end, failed", "end, returned", "end, ended before",
  "start, some returned", "start, none", "switch, true", "switch, false",
];

export class PayoutSteps {
  readonly #state: WalkState;
  readonly #payouts: string[] = [];
  readonly #caps: { dailyMsat: bigint; dailyPerAccountMsat: bigint };

  constructor(state: WalkState) {
    this.#state = state;
    this.#caps = { dailyMsat: BigInt(state.random.between(20, 200)) * 1_000_000n, dailyPerAccountMsat: BigInt(state.random.between(2, 20)) * 1_000_000n };
  }

  readonly by: Record<keyof typeof payoutWeights, () => Chosen> = {
    takePayout: () => this.#take(),
    sendPayout: () => this.#send(),
    endPayout: () => this.#end(),
    startPayouts: () => this.#start(),
    switchPayouts: () => this.#switch(),
  };

  #take(): Chosen {
    const { model, random, nowMs: atMs, payers } = this.#state;
    // As long as ids of payouts are.
    const id = `po_${String(this.#payouts.length).padStart(3, "0")}${this.#state.newId("x").padStart(23, "0")}`;
    const before = random.chance(15) ? this.#known() : undefined;
    const beforeState = before && model.out.payouts.get(before)!.state;
    const hash = before ? model.out.payouts.get(before)!.hash : this.#state.newPaymentHash();
    const accountId = random.chance(2) ? "a_nobody" : (this.#state.remembered(payers, (one) => model.spendable(one) > 2n) ?? "a_nobody");
    const there = model.spendable(accountId);
    const limit = random.pick([0n, 1n, there / 50n]);
    const amount = random.pick([there - limit, there - limit + 1n, there / 2n, there / 3n, this.#state.amount()]);
    const amountMsat = amount < 1n ? 1n : amount;
    const expected = model.out.take({ id, payer: accountId, hash, amount: amountMsat, limit, atMs, daily: this.#caps.dailyMsat, dailyPerAccount: this.#caps.dailyPerAccountMsat });
    if ("ok" in expected && expected.ok) this.#state.remember(this.#payouts, id);
    const kind = "failed" in expected ? "failed" : !expected.ok ? expected.reason : beforeState === "returned" ? "taken after it was returned" : "taken";
    return {
      step: step(takePayout, {
        id, accountId, paymentHash: hash, bolt11: "lnbcrt", amountMsat: msat(amountMsat), feeLimitMsat: msat(limit), expiresAtMs: atMs + 3_600_000, createdAtMs: atMs,
        caps: { dailyMsat: msat(this.#caps.dailyMsat), dailyPerAccountMsat: msat(this.#caps.dailyPerAccountMsat) }, boot: model.boot, requestKey: undefined,
      }),
      expected, touched: [accountId, `payout:${id}`], reachedOfAccounts: `payout, ${kind}`,
    };
  }

  #known(): string | undefined {
    return this.#state.remembered(this.#payouts);
  }

  #inState(wanted: string): string {
    const { model } = this.#state;
    return this.#state.remembered(this.#payouts, (id) => model.out.payouts.get(id)?.state === wanted) ?? this.#known() ?? "po_none";
  }

  #send(): Chosen {
    const id = this.#inState("intent");
    const expected = this.#state.model.out.send(id);
    return { step: step(sendPayout, { id }), expected, touched: [`payout:${id}`], reachedOfAccounts: `send, ${expected.ok}` };
  }

  #end(): Chosen {
    const { model, random, nowMs: atMs } = this.#state;
    const state = random.pick(["succeeded", "succeeded", "failed", "returned"] as const);
    const id = random.chance(10) ? (this.#known() ?? "po_none") : this.#inState(state === "returned" ? "intent" : "sent");
    const payout = model.out.payouts.get(id);
    const limit = payout?.limit ?? 0n;
    const feeMsat = random.pick([0n, limit / 2n, limit, limit + 3n]);
    const ending: PayoutEnding = state === "succeeded" ? { state, feeMsat } : { state };
    const expected = model.out.end(id, ending);
    const cost = state !== "succeeded" ? "" : feeMsat === 0n ? " at no cost" : feeMsat > limit ? " above its limit" : "";
    const end = state === "succeeded" ? { state, preimage: "p", feeMsat: msat(feeMsat) } : { state, reason: "r" };
    return {
      step: step(endPayout, { id, end, by: "node", boot: model.boot, atMs }), expected,
      touched: [`payout:${id}`, "routing-fees", ...(payout ? [payout.payer] : [])], reachedOfAccounts: `end, ${expected.ended ? state + cost : "ended before"}`,
    };
  }

  #start(): Chosen {
    const { model, nowMs: atMs } = this.#state;
    const payers = [...model.out.payouts.values()].filter(({ state }) => state === "intent").map(({ payer }) => payer);
    const expected = model.out.start();
    return { step: step(startPayouts, { boot: model.boot, atMs }), expected, touched: payers, reachedOfAccounts: `start, ${expected.returned > 0 ? "some returned" : "none"}` };
  }

  /** Off for short only. */
  #switch(): Chosen {
    const { out } = this.#state.model;
    const on = !out.on || this.#state.random.chance(40);
    out.on = on;
    return { step: step(switchPayouts, { on }), expected: { ok: true }, touched: [], reachedOfAccounts: `switch, ${on}` };
  }
}
