/** Steps of a random walk over money out. */
import { takePayout } from "../../src/accounts/take-payout.ts";
import { sha256, toHex } from "../../src/base/bytes.ts";
import { msat } from "../../src/money/msat.ts";
import { bookPayout, endPayout, sendPayout, startPayouts } from "../../src/payments/payout-commands.ts";
import { switchPayouts } from "../../src/payments/payout-switch.ts";
import { step } from "./direct-writer.ts";
import type { PayoutEnding } from "./payout-model.ts";
import type { Chosen, WalkState } from "./walk-state.ts";

export const payoutWeights = { takePayout: 12, sendPayout: 9, endPayout: 14, bookPayout: 3, startPayouts: 1, switchPayouts: 1 };

export const payoutOutcomes: readonly string[] = [
  "payout, taken", "payout, payouts_off", "payout, invoice_already_used", "payout, payout_limit", "payout, payout_limit of all", "payout, insufficient_balance", "payout, failed", "payout, taken after it was returned",
  "send, true", "send, false",
  "end, succeeded", "end, succeeded at no cost", "end, succeeded above its limit", "end, failed", "end, returned", "end, ended before",
  "book, not known", "book, given back before", "book, known", "book, no_account", "book, another_account", "book, insufficient_balance",
  "start, some returned", "start, none", "switch, true", "switch, false",
];

export class PayoutSteps {
  readonly #state: WalkState;
  readonly #payouts: string[] = [];
  #lastPayer: string | undefined;
  /** By payment hash. */
  readonly #preimages = new Map<string, string>();
  readonly #caps: { dailyMsat: bigint; dailyPerAccountMsat: bigint };

  constructor(state: WalkState) {
    this.#state = state;
    this.#caps = { dailyMsat: BigInt(state.random.between(5, 200)) * 1_000_000n, dailyPerAccountMsat: BigInt(state.random.between(2, 20)) * 1_000_000n };
  }

  readonly by: Record<keyof typeof payoutWeights, () => Chosen> = {
    takePayout: () => this.#take(),
    sendPayout: () => this.#send(),
    endPayout: () => this.#end(),
    bookPayout: () => this.#book(),
    startPayouts: () => this.#start(),
    switchPayouts: () => this.#switch(),
  };

  #take(): Chosen {
    const { model, random, nowMs: atMs, payers } = this.#state;
    const id = this.#newId();
    const before = random.chance(15) ? this.#known() : undefined;
    const beforeState = before && model.out.payouts.get(before)!.state;
    const hash = before ? model.out.payouts.get(before)!.hash : this.#newHash();
    const last = random.chance(40) ? this.#lastPayer : undefined;
    const accountId = random.chance(2) ? "a_nobody" : (last ?? this.#state.remembered(payers, (one) => model.spendable(one) > 2n) ?? "a_nobody");
    this.#lastPayer = accountId;
    const there = model.spendable(accountId);
    const limit = random.pick([0n, 1n, there / 50n]);
    const amount = random.pick([there - limit, there - limit + 1n, there / 2n, there / 3n, 1n, 2n, 3n, this.#state.amount()]);
    const amountMsat = amount < 1n ? 1n : amount;
    const expected = model.out.take({ id, payer: accountId, hash, amount: amountMsat, limit, atMs, daily: this.#caps.dailyMsat, dailyPerAccount: this.#caps.dailyPerAccountMsat });
    if ("ok" in expected && expected.ok) this.#state.remember(this.#payouts, id);
    const kind = "failed" in expected ? "failed" : !expected.ok ? `${expected.reason}${"ownLeftMsat" in expected && expected.ownLeftMsat === undefined ? " of all" : ""}` : beforeState === "returned" ? "taken after it was returned" : "taken";
    return {
      step: step(takePayout, {
        id, accountId, paymentHash: hash, bolt11: "lnbcrt", amountMsat: msat(amountMsat), feeLimitMsat: msat(limit), expiresAtMs: atMs + 3_600_000, createdAtMs: atMs,
        caps: { dailyMsat: msat(this.#caps.dailyMsat), dailyPerAccountMsat: msat(this.#caps.dailyPerAccountMsat) }, boot: model.boot, requestKey: undefined,
      }),
      expected, touched: [accountId, `payout:${id}`],
      // Too many at a time come up in few seeds only.
      ...(kind !== "too_many_open" && { reachedOfAccounts: `payout, ${kind}` }),
    };
  }

  /** As long as ids of payouts are. */
  #newId(): string {
    return `po_${this.#state.newId("x").padStart(26, "0")}`;
  }

  #newHash(): string {
    const preimage = toHex(this.#state.random.bytes(32));
    const hash = toHex(sha256(Buffer.from(preimage, "hex")));
    this.#preimages.set(hash, preimage);
    return hash;
  }

  #book(): Chosen {
    const { model, random, nowMs: atMs, payers } = this.#state;
    const failed = this.#inState("failed");
    const before = random.chance(60) ? model.out.payouts.get(random.chance(80) ? failed : (this.#known() ?? "")) : undefined;
    const id = this.#newId(), hash = before?.hash ?? this.#newHash();
    const accountId = random.chance(5) ? "a_nobody" : before && random.chance(80) ? before.payer : (this.#state.remembered(payers) ?? "a_nobody");
    const amount = before?.amount ?? random.pick([1n, model.spendable(accountId) / 4n + 1n, model.spendable(accountId) + 1n]);
    const feeMsat = random.pick([0n, 1n, (before?.limit ?? 0n) + 2n]);
    const expected = model.out.book({ id, payer: accountId, hash, amount, feeMsat, atMs });
    if (expected.ok && before === undefined) this.#state.remember(this.#payouts, id);
    return {
      step: step(bookPayout, { id, accountId, paymentHash: hash, amountMsat: msat(amount), feeMsat: msat(feeMsat), preimage: this.#preimages.get(hash)!, boot: model.boot, atMs }),
      expected, touched: [accountId, "routing-fees", ...(expected.ok ? [`payout:${expected.id}`] : [])],
      reachedOfAccounts: `book, ${!expected.ok ? expected.reason : before ? "given back before" : "not known"}`,
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
    const end = state === "succeeded" ? { state, preimage: this.#preimages.get(payout?.hash ?? "") ?? "p", feeMsat: msat(feeMsat) } : { state, reason: "r" };
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
