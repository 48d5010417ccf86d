/** A payout from the moment it is sent, by every fault: the node is asked to pay once, and only its word on the payment hash ends it. */
import { afterEach, describe, expect, test } from "bun:test";
import { absentLooks, absentPayoutAfterMs, lastPayoutLookMs, payoutStreamMs, payoutWaitMs } from "../../src/base/limits.ts";
import { msat } from "../../src/money/msat.ts";
import { endPayout } from "../../src/payments/payout-commands.ts";
import { PayoutsHouse as House } from "../support/payouts-house.ts";
import { stopHouses } from "../support/payments-house.ts";

afterEach(stopHouses);

const sats = (amount: bigint) => msat(amount * 1_000n);
const lost = () => Promise.reject(new Error("the reply is lost"));

describe("payout sent x", () => {
  test("crash after commit, before the node was asked: it stays, for nobody can know, and is never sent again", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.writer.tx.run("UPDATE payout SET state = 'sent' WHERE id = ?", payout.id);
    house.restart();
    await house.payouts.start();
    await house.clock.advance(absentPayoutAfterMs);
    expect([house.stateOf(payout), house.paid]).toEqual(["sent", []]);
    house.expectBooks();
  });

  test("the node never had it: failed only an hour after the invoice's expiry, by three looks that lie apart", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.writer.tx.run("UPDATE payout SET state = 'sent' WHERE id = ?", payout.id);
    await house.payouts.start();
    await house.clock.advance(payout.expiresAtMs - house.clock.nowMs() + absentPayoutAfterMs - 1);
    expect(house.stateOf(payout)).toBe("sent");
    await house.clock.advance(lastPayoutLookMs * absentLooks);
    expect([house.stateOf(payout), house.spendable(account), house.paid]).toEqual(["failed", sats(1_000n), []]);
    house.expectBooks();
  });

  test.each(["pending", "succeeded"] as const)("the node had it once (%s) and knows nothing of it any more: it stays, for it may still arrive", async (state) => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said.pay = lost;
    const payout = house.intent(account, 400n);
    await house.send(payout);
    house.said.lookupPayment = async () => (state === "pending" ? { state } : { state, preimage: "00".repeat(32), feeMsat: msat(0n) });
    await house.clock.advance(lastPayoutLookMs);
    // Its payments are gone, or it was set up again from its words.
    house.said.lookupPayment = async () => ({ state: "unknown" });
    await house.clock.advance(payout.expiresAtMs - house.clock.nowMs() + absentPayoutAfterMs + lastPayoutLookMs * 10);
    expect([house.stateOf(payout), house.spendable(account)]).toEqual(["sent", msat(586_000n)]);
    // The owner may still say so.
    expect(await house.clock.until(house.payouts.decide(payout.id, { paid: false }))).toMatchObject({ state: "failed", endedBy: "owner" });
  });

  test("the node is not in order: its not knowing counts for nothing", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    house.writer.tx.run("UPDATE payout SET state = 'sent' WHERE id = ?", payout.id);
    house.condition = { kind: "syncing", what: "catching up" };
    await house.payouts.start();
    await house.clock.advance(48 * 60 * 60 * 1000);
    expect(house.stateOf(payout)).toBe("sent");
    house.condition = { kind: "ready" };
    await house.clock.advance(lastPayoutLookMs * absentLooks);
    expect(house.stateOf(payout)).toBe("failed");
  });

  test("timeout or lost reply: the payment went on, and is found by its hash", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.node.misbehave({ losePayments: 1 });
    const payout = await house.send(house.intent(account, 400n));
    expect(payout.state).toBe("sent");
    await house.clock.advance(5_000);
    expect([house.stateOf(payout), house.spendable(account), house.paid.length]).toEqual(["succeeded", sats(599n), 1]);
    house.expectBooks();
  });

  test("timeout or lost reply: it fails later, and is given back then", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n, { held: true }));
    expect([payout.state, house.spendable(account)]).toEqual(["sent", msat(586_000n)]);
    await house.clock.advance(payoutStreamMs * 2);
    house.node.payer.decide(payout.paymentHash, false);
    await house.clock.advance(lastPayoutLookMs);
    expect([house.stateOf(payout), house.spendable(account)]).toEqual(["failed", sats(1_000n)]);
  });

  test("node down for a day: asked for ever, never given back, never sent again", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said.pay = lost;
    const payout = await house.send(house.intent(account, 400n));
    house.node.misbehave({ down: true });
    await house.clock.advance(24 * 60 * 60 * 1000);
    expect([house.stateOf(payout), house.spendable(account), house.paid.length]).toEqual(["sent", msat(586_000n), 1]);
    // Ever less often: a second, two, four ... ten minutes.
    expect(house.asked.length).toBeLessThan(160);
    expect(house.asked.length).toBeGreaterThan(140);
  });

  test("duplicate or concurrent: carried on twice, the node is asked once", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n);
    const both = await house.clock.until(Promise.allSettled([house.payouts.send(payout), house.payouts.send(payout)]));
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect([house.paid.length, house.stateOf(payout), house.spendable(account)]).toEqual([1, "succeeded", sats(599n)]);
    house.expectBooks();
  });

  test("clock jump: a day forward or back ends nothing that is on its way, and it is found when it arrives", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n, { held: true }));
    const { clock } = house;
    const real = clock.nowMs.bind(clock);
    for (const jumpMs of [24 * 60 * 60 * 1000, -24 * 60 * 60 * 1000]) {
      clock.nowMs = () => real() + jumpMs;
      await clock.advance(lastPayoutLookMs * 2);
      expect(house.stateOf(payout)).toBe("sent");
    }
    house.node.payer.decide(payout.paymentHash, true);
    await clock.advance(lastPayoutLookMs);
    expect([house.stateOf(payout), house.spendable(account)]).toEqual(["succeeded", sats(599n)]);
  });

  test("client gone: it is carried on without the client", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n, { held: true });
    void house.payouts.send(payout);
    await house.clock.advance(payoutWaitMs / 2);
    house.node.payer.decide(payout.paymentHash, true);
    await house.clock.settle();
    expect(house.stateOf(payout)).toBe("succeeded");
  });

  test("Hearth stops in good order meanwhile: it stays sent, and is found at the next start", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n, { held: true }));
    await house.clock.until(house.payouts.stop());
    house.node.payer.decide(payout.paymentHash, true);
    expect(house.stateOf(payout)).toBe("sent");
    house.restart();
    await house.payouts.start();
    await house.clock.advance(2_000);
    expect(house.stateOf(payout)).toBe("succeeded");
    house.expectBooks();
  });
});

describe("payout result x", () => {
  test("duplicate or concurrent: told twice and by two, it ends once", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n));
    if (payout.state !== "succeeded") throw new Error(payout.state);
    const again = { id: payout.id, by: "node" as const, boot: house.boot, atMs: house.clock.nowMs() };
    expect(house.writer.run(endPayout, { ...again, end: { state: "succeeded", preimage: payout.preimage, feeMsat: msat(5_000n) } })).toEqual({ ok: true, ended: false });
    expect(house.writer.run(endPayout, { ...again, end: { state: "failed", reason: "late" } })).toEqual({ ok: true, ended: false });
    expect(house.writer.run(endPayout, { ...again, end: { state: "returned", reason: "late" } })).toEqual({ ok: true, ended: false });
    expect(house.spendable(account)).toBe(sats(599n));
    house.expectBooks();
  });

  test("an intent cannot fail or succeed, and what was sent cannot be returned", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = house.intent(account, 400n, { held: true });
    const end = { id: payout.id, by: "node" as const, boot: house.boot, atMs: house.clock.nowMs() };
    expect(house.writer.run(endPayout, { ...end, end: { state: "failed", reason: "x" } })).toEqual({ ok: true, ended: false });
    await house.send(payout);
    expect(house.writer.run(endPayout, { ...end, end: { state: "returned", reason: "x" } })).toEqual({ ok: true, ended: false });
    expect(house.stateOf(payout)).toBe("sent");
  });

  test("crash before commit: the node is asked again at the start, and the payout ends once", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said.pay = async (payment, signal) => (await house.node.payer.pay(payment, signal), lost());
    const payout = await house.send(house.intent(account, 400n));
    house.restart();
    await house.payouts.start();
    await house.clock.advance(1_000);
    expect([house.stateOf(payout), house.spendable(account), house.paid.length]).toEqual(["succeeded", sats(599n), 1]);
  });
});
