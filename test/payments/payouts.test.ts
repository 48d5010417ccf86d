/**
 * Money out, against a whole sandbox node: a payment hash is sent once, and only the node's word on it ends a payout. The cells of the
 * failure matrix are named `step x fault`; what is sent and how it ends are in
 * payout-sent.test.ts, those that need a process of their own in test/durability/payout-crash.test.ts.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { AppError } from "../../src/base/errors.ts";
import { lastPayoutLookMs } from "../../src/base/limits.ts";
import { reserveCall, voidCall } from "../../src/charge/commands.ts";
import { msat } from "../../src/money/msat.ts";
import { feeLimitOf, maxCollectableSats } from "../../src/payments/payout.ts";
import { confirmRestore, switchPayouts } from "../../src/payments/payout-switch.ts";
import { feeLimit, PayoutsHouse as House } from "../support/payouts-house.ts";
import { stopHouses } from "../support/payments-house.ts";

afterEach(stopHouses);

const sats = (amount: bigint) => msat(amount * 1_000n);
const holding = (spendable: bigint, leaving = 0n) => ({ spendableMsat: sats(spendable), leavingMsat: sats(leaving) });

describe("a payout", () => {
  test("is paid: the account pays amount and the fee really paid, and what the node holds is what the ledger says", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n));
    expect(payout).toMatchObject({ state: "succeeded", feeMsat: 1_000n, endedBy: "node" });
    expect(house.spendable(account)).toBe(sats(599n));
    expect(await house.holds()).toBe(sats(599n));
    house.expectBooks();
  });

  test("takes amount and fee limit out of everybody's reach while it is open", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.intent(account, 400n);
    expect(house.spendable(account)).toBe(msat(1_000_000n - 400_000n - 14_000n));
    house.expectBooks();
  });

  test("that fails gives all of it back", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.node.misbehave({ failPayments: 1 });
    expect(await house.send(house.intent(account, 400n))).toMatchObject({ state: "failed", endedBy: "node" });
    expect(house.spendable(account)).toBe(sats(1_000n));
    house.expectBooks();
  });

  test("whose way costs more than its limit is not paid", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.node.misbehave({ paymentFeeMsat: 14_001 });
    expect(await house.send(house.intent(account, 400n))).toMatchObject({ state: "failed" });
    house.node.misbehave({ paymentFeeMsat: 14_000 });
    expect(await house.send(house.intent(account, 400n))).toMatchObject({ state: "succeeded", feeMsat: 14_000n });
    expect(house.spendable(account)).toBe(sats(1_000n - 414n));
  });

  test("of a node that does not keep to the limit costs the house the rest, never the account, and the books still hold what the node holds", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.node.misbehave({ paymentFeeMsat: 20_000 });
    house.said.pay = (payment, signal) => house.node.payer.pay({ ...payment, feeLimitMsat: msat(1_000_000n) }, signal);
    expect(await house.send(house.intent(account, 400n))).toMatchObject({ state: "succeeded", feeMsat: 20_000n });
    expect(house.spendable(account)).toBe(sats(1_000n - 414n));
    house.expectBooks();
    expect(await house.holds()).toBe(sats(580n));
  });

  test("is a success only with a preimage that hashes to the payment hash", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said = { pay: async () => ({ state: "succeeded", preimage: "00".repeat(32), feeMsat: msat(0n) }), lookupPayment: async () => (house.paid.length === 0 ? { state: "unknown" } : { state: "succeeded", preimage: "not even hex", feeMsat: msat(0n) }) };
    const payout = await house.send(house.intent(account, 400n));
    expect(payout.state).toBe("sent");
    await house.clock.advance(lastPayoutLookMs * 3);
    expect(house.stateOf(payout)).toBe("sent");
  });

  test("is refused before anything moves: too poor, a hash that was sent, over a cap", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    expect(house.take(account, 990n)).toEqual({ reason: "insufficient_balance" });
    const invoice = house.payee(100n);
    await house.send(house.intent(account, 100n, { invoice }));
    expect(house.take(account, 100n, { invoice })).toEqual({ reason: "invoice_already_used" });
    expect(house.take(account, 200n, { caps: { dailyPerAccountMsat: sats(299n) } })).toEqual({ reason: "payout_limit" });
    expect(house.take(account, 200n, { caps: { dailyMsat: sats(299n) } })).toEqual({ reason: "payout_limit" });
    expect(house.take(account, 200n, { caps: { dailyMsat: sats(300n), dailyPerAccountMsat: sats(300n) } })).toMatchObject({ id: expect.any(String) });
    house.expectBooks();
  });

  test("counts against a cap for 24 hours, and not at all where it was not paid", async () => {
    const house = new House();
    const account = await house.accountWith(10_000n);
    const tight = { caps: { dailyPerAccountMsat: sats(500n) } };
    house.node.misbehave({ failPayments: 1 });
    await house.send(house.intent(account, 400n, tight));
    await house.send(house.intent(account, 400n, tight));
    expect(house.take(account, 400n, tight)).toEqual({ reason: "payout_limit" });
    await house.clock.advance(24 * 60 * 60 * 1000);
    expect(house.take(account, 400n, tight)).toMatchObject({ id: expect.any(String) });
  });

  test("the most that can be collected fits, and one sat more does not", () => {
    for (const spendable of [0n, 9_999n, 10_000n, 11_000n, 11_010n, 1_000_000n, 4_599_000n, 123_456_789n]) {
      const most = maxCollectableSats(msat(spendable), feeLimit);
      const needs = (amount: bigint) => amount * 1_000n + feeLimitOf(msat(amount * 1_000n), feeLimit);
      expect(most === 0n || needs(most) <= spendable).toBe(true);
      expect(needs(most + 1n) > spendable).toBe(true);
    }
  });
});

describe("whether money may leave", () => {
  test("payout intent x switched off: refused; switched off between intent and sent: given back, and the node was not asked", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.writer.run(switchPayouts, { on: false });
    expect(house.take(account, 100n)).toEqual({ reason: "payouts_off" });
    await expect(house.send(payout)).rejects.toMatchObject({ code: "payouts_off" });
    expect([house.stateOf(payout), house.spendable(account), house.paid]).toEqual(["returned", sats(1_000n), []]);
    house.writer.run(switchPayouts, { on: true });
    expect((await house.send(house.intent(account, 400n, { invoice: payout }))).state).toBe("succeeded");
  });

  test("not while the node holds less than is owed and the reserve: the money is back, and the owner is told", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    await house.accountWith(500n);
    house.said.holdings = async () => holding(1_499n);
    const payout = house.intent(account, 400n);
    await expect(house.send(payout)).rejects.toMatchObject({ code: "payouts_off" });
    expect([house.stateOf(payout), house.payouts.state]).toEqual(["returned", { on: false, why: "insolvent" }]);
    house.said.holdings = async () => holding(1_500n);
    expect((await house.send(house.intent(account, 400n))).state).toBe("succeeded");
    expect(house.payouts.state).toEqual({ on: true });
  });

  test("what is on its way counts as held, so that who holds one payment stops nobody else's; what others send does not", async () => {
    const house = new House();
    const [first, second] = [await house.accountWith(1_000n), await house.accountWith(1_000n)];
    await house.send(house.intent(first, 400n, { held: true }));
    expect((await house.send(house.intent(second, 200n))).state).toBe("succeeded");
    // The owner's own payment, or one that has arrived and is not out of the channel yet.
    house.said.holdings = async () => holding(900n, 1_000n);
    await expect(house.send(house.intent(second, 200n))).rejects.toMatchObject({ code: "payouts_off" });
  });

  test("a payout that ends while the node is asked hides no want of money", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const held = await house.send(house.intent(account, 400n, { held: true }));
    const next = house.intent(account, 200n);
    // 100 sats are missing. It says what it holds, and before it is heard the other payment has left.
    house.said.holdings = async () => {
      house.node.payer.decide(held.paymentHash, true);
      await house.clock.settle();
      return holding(900n);
    };
    await expect(house.send(next)).rejects.toMatchObject({ code: "payouts_off" });
    expect([house.stateOf(held), house.stateOf(next)]).toEqual(["succeeded", "returned"]);
  });

  test("the reserve is the owner's own", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.reserveMsat = sats(1n);
    house.restart();
    await expect(house.send(house.intent(account, 400n))).rejects.toMatchObject({ code: "payouts_off" });
  });

  test("after a backup was put back nothing leaves before the owner's word, and an intent of the copy is asked about, not given back", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    // The house that the copy was made of goes on; the copy knows nothing of it.
    await house.clock.until(house.node.payer.pay(payout, new AbortController().signal));
    const restoredAtMs = house.clock.nowMs();
    house.writer.tx.run("INSERT INTO setting (name, value) VALUES ('restored_at_ms', ?)", String(restoredAtMs));
    house.restart();
    expect(house.payouts.state).toEqual({ on: false, why: "restored" });
    expect(house.take(account, 100n)).toEqual({ reason: "payouts_off" });
    await house.payouts.start();
    await house.clock.advance(10_000);
    expect([house.stateOf(payout), house.spendable(account)]).toEqual(["succeeded", sats(599n)]);
    expect(house.writer.run(confirmRestore, { restoredAtMs: restoredAtMs - 1 })).toEqual({ ok: false });
    house.writer.run(confirmRestore, { restoredAtMs });
    expect(house.payouts.state).toEqual({ on: true });
    house.expectBooks();
  });
});

describe("payout intent x", () => {
  test("duplicate or concurrent: ten at once of an account that affords one", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const taken = Array.from({ length: 10 }, () => house.take(account, 600n));
    expect(taken.filter((one) => "id" in one)).toHaveLength(1);
    expect(taken.filter((one) => "reason" in one && one.reason === "insufficient_balance")).toHaveLength(9);
    house.expectBooks();
  });

  test("duplicate or concurrent: ten of one invoice at once are one payout", async () => {
    const house = new House();
    const [first, second] = [await house.accountWith(1_000n), await house.accountWith(1_000n)];
    const invoice = house.payee(100n);
    const taken = Array.from({ length: 10 }, (_, at) => house.take(at % 2 ? first : second, 100n, { invoice }));
    expect(taken.filter((one) => "id" in one)).toHaveLength(1);
    house.expectBooks();
  });

  test("duplicate or concurrent: the same Idempotency-Key is the same payout, with another body it is refused", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const invoice = house.payee(100n);
    const requestKey = { key: "k", bodyHash: "b" };
    const payout = house.intent(account, 100n, { invoice, requestKey });
    expect(house.take(account, 100n, { invoice, requestKey })).toEqual({ ok: true, before: payout.id });
    expect(house.take(account, 100n, { requestKey: { key: "k", bodyHash: "other" } })).toEqual({ reason: "idempotency_mismatch" });
    await house.send(payout);
    expect(house.take(account, 100n, { invoice, requestKey })).toEqual({ ok: true, before: payout.id });
    expect(house.paid).toEqual([invoice.paymentHash]);
  });

  test("duplicate or concurrent: a call and a payout never share a sat", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const reserve = { id: "c_1", accountId: account, atMostMsat: sats(500n), atLeastMsat: sats(500n), boot: house.boot, atMs: house.clock.nowMs() };
    house.writer.run(reserveCall, reserve);
    expect(house.take(account, 600n)).toEqual({ reason: "insufficient_balance" });
    house.writer.run(voidCall, { id: "c_1", reason: "test", boot: house.boot, atMs: house.clock.nowMs() });
    expect(house.take(account, 600n)).toMatchObject({ id: expect.any(String) });
    expect(house.writer.run(reserveCall, { ...reserve, id: "c_2" })).toMatchObject({ ok: false });
  });

  test("not more than eight of one account are on their way, nor more than a hundred of all", async () => {
    const house = new House(1_000);
    const accounts = await Promise.all(Array.from({ length: 13 }, () => house.accountWith(2_000n)));
    const taken = accounts.flatMap((account) => Array.from({ length: 9 }, () => house.take(account, 100n)));
    expect(taken.filter((one) => "id" in one)).toHaveLength(100);
    expect(taken.slice(0, 9).map((one) => ("reason" in one ? one.reason : "taken"))).toEqual([...Array.from({ length: 8 }, () => "taken"), "too_many_open"]);
  });

  test("Hearth stops meanwhile: the node is not asked any more, and the money is back", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.said.holdings = async () => (void house.payouts.stop(), holding(1_000n));
    await expect(house.send(payout)).rejects.toMatchObject({ code: "payouts_off" });
    expect([house.stateOf(payout), house.paid, house.spendable(account)]).toEqual(["returned", [], sats(1_000n)]);
  });

  test("crash after commit: it was never sent, so it goes back at the start, and the same invoice may be tried again", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.restart();
    await house.payouts.start();
    expect([house.stateOf(payout), house.spendable(account), house.paid]).toEqual(["returned", sats(1_000n), []]);
    expect((await house.send(house.intent(account, 400n, { invoice: payout }))).state).toBe("succeeded");
    house.expectBooks();
  });

  test("timeout or lost reply: the node does not answer what is asked before; nothing is sent, the money is back", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said.lookupPayment = () => house.clock.sleep(10_000).then(() => Promise.reject(new AppError("node_unavailable", "The Lightning node does not answer.", { retryable: true })));
    const payout = house.intent(account, 400n);
    await expect(house.send(payout)).rejects.toMatchObject({ code: "node_unavailable" });
    expect([house.stateOf(payout), house.spendable(account), house.paid]).toEqual(["returned", sats(1_000n), []]);
  });

  test("client gone: it is carried to its end", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    void house.payouts.send(payout);
    await house.clock.advance(1_000);
    expect([house.stateOf(payout), house.spendable(account)]).toEqual(["succeeded", sats(599n)]);
  });

  test("node down: nothing is sent, the money is back before the answer", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.node.misbehave({ down: true });
    const payout = house.intent(account, 400n);
    await expect(house.send(payout)).rejects.toMatchObject({ code: "node_unavailable" });
    expect([house.stateOf(payout), house.spendable(account), house.paid]).toEqual(["returned", sats(1_000n), []]);
  });

  test("an invoice that another app of the node has paid: not sent, the money is back", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 100n);
    await house.clock.until(house.node.payer.pay(payout, new AbortController().signal));
    await expect(house.send(payout)).rejects.toMatchObject({ code: "invoice_already_used" });
    expect([house.stateOf(payout), house.paid]).toEqual(["returned", []]);
  });
});
