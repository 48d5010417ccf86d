/** How a payout ends that did not end by itself: by node and ledger held against each other, or by the owner's word. */
import { afterEach, describe, expect, test } from "bun:test";
import { payoutWaitMs, stuckPayoutAfterMs } from "../../src/base/limits.ts";
import { msat } from "../../src/money/msat.ts";
import { reconcilePayouts } from "../../src/payments/reconcile-payouts.ts";
import { PayoutsHouse as House } from "../support/payouts-house.ts";
import { stopHouses } from "../support/payments-house.ts";

afterEach(stopHouses);

const sats = (amount: bigint) => msat(amount * 1_000n);
const lost = () => Promise.reject(new Error("the reply is lost"));

describe("node and ledger held against each other", () => {
  const compare = (house: House) => house.clock.until(reconcilePayouts({ payouts: house.payouts, reader: house.writer.reader }, 0));

  test("agree where all that was paid out is booked", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    await house.send(house.intent(account, 200n));
    expect(await compare(house)).toEqual({ paidOutHere: 1, endedNow: 0, stillOpen: 0, discrepancies: [] });
  });

  test("what was paid out and not booked is booked, what is on its way stays", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const held = await house.send(house.intent(account, 200n, { held: true }));
    // The node goes down with the reply, so that nobody can ask before.
    house.said.pay = async (payment, signal) => (await house.node.payer.pay(payment, signal), house.node.misbehave({ down: true }), lost());
    const lostReply = await house.send(house.intent(account, 200n));
    await house.clock.until(house.payouts.stop());
    house.node.misbehave({ down: false });
    expect(await compare(house)).toEqual({ paidOutHere: 1, endedNow: 1, stillOpen: 1, discrepancies: [] });
    expect([house.stateOf(lostReply), house.stateOf(held)]).toEqual(["succeeded", "sent"]);
    house.expectBooks();
  });

  test("what was given back and left all the same is told, and booking takes it again, once", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    house.said.pay = lost;
    const payout = await house.send(house.intent(account, 400n));
    await house.clock.advance(payout.expiresAtMs - house.clock.nowMs());
    await house.clock.until(house.payouts.decide(payout.id, { paid: false }));
    // The node has paid it all the same, and its way cost more than the limit.
    const preimage = house.preimageOf(payout.paymentHash);
    house.said.lookupPayment = async () => ({ state: "succeeded", preimage, feeMsat: msat(20_000n) });
    const { discrepancies } = await compare(house);
    expect(discrepancies).toEqual([{ kind: "paid_all_the_same", paymentHash: payout.paymentHash, payout: payout.id, paidOutMsat: sats(400n), accountId: account }]);
    const other = await house.accountWith(1_000n);
    const book = (to: string) => house.clock.until(house.payouts.book("po_new", payout, to));
    await expect(book(other)).rejects.toMatchObject({ code: "conflict" });
    const trueWord = house.said.lookupPayment;
    house.said.lookupPayment = async () => ({ state: "succeeded", preimage: "00".repeat(32), feeMsat: msat(0n) });
    await expect(book(account)).rejects.toMatchObject({ code: "conflict" });
    expect(house.stateOf(payout)).toBe("failed");
    house.said.lookupPayment = trueWord;
    expect(await book(account)).toMatchObject({ id: payout.id, state: "succeeded", endedBy: "owner", feeMsat: 20_000n });
    expect(house.spendable(account)).toBe(sats(1_000n - 414n));
    await expect(book(account)).rejects.toMatchObject({ code: "conflict" });
    expect((await compare(house)).discrepancies).toEqual([]);
    house.expectBooks();
  });

  test("what was booked and the node does not bear out is told, and nothing is taken back; the owner's own word is not", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const [first, second] = [await house.send(house.intent(account, 200n)), await house.send(house.intent(account, 200n))];
    house.said.lookupPayment = async (paymentHash) => (paymentHash === first.paymentHash ? { state: "failed", reason: "x" } : { state: "succeeded", preimage: "", feeMsat: msat(2_000n) });
    expect((await compare(house)).discrepancies).toEqual([
      { kind: "not_paid_out", paymentHash: first.paymentHash, payout: first.id, paidOutMsat: sats(200n), nodeSays: "failed" },
      { kind: "fee_differs", paymentHash: second.paymentHash, payout: second.id, bookedFeeMsat: msat(1_000n), feeMsat: msat(2_000n) },
    ]);
    expect([house.stateOf(first), house.spendable(account)]).toEqual(["succeeded", sats(598n)]);
    house.writer.tx.run("UPDATE payout SET ended_by = 'owner' WHERE id = ?", first.id);
    expect((await compare(house)).discrepancies).toHaveLength(1);
  });
});

describe("the owner's word", () => {
  async function unknown(house: House) {
    const account = await house.accountWith(1_000n);
    house.said.pay = lost;
    return { account, payout: await house.send(house.intent(account, 400n)) };
  }

  test("ends what the node does not know: not paid, and it goes back; not while its invoice can be paid", async () => {
    const house = new House();
    const { account, payout } = await unknown(house);
    await house.clock.advance(payout.expiresAtMs - house.clock.nowMs() - 1_000);
    await expect(house.clock.until(house.payouts.decide(payout.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    expect(house.spendable(account)).toBe(msat(586_000n));
    await house.clock.advance(1_000);
    expect(await house.clock.until(house.payouts.decide(payout.id, { paid: false }))).toMatchObject({ state: "failed", endedBy: "owner" });
    expect(house.spendable(account)).toBe(sats(1_000n));
    house.expectBooks();
  });

  test("paid, only with the preimage", async () => {
    const house = new House();
    const { account, payout } = await unknown(house);
    const wrong = house.payouts.decide(payout.id, { paid: true, preimage: "00".repeat(32), feeMsat: msat(0n) });
    await expect(house.clock.until(wrong)).rejects.toMatchObject({ code: "invalid_request", param: "preimage" });
    const { preimage } = (await house.node.payer.pay(payout, new AbortController().signal)) as { preimage: string };
    house.said.lookupPayment = async () => ({ state: "unknown" });
    expect(await house.clock.until(house.payouts.decide(payout.id, { paid: true, preimage, feeMsat: msat(2_000n) }))).toMatchObject({ state: "succeeded", endedBy: "owner", feeMsat: 2_000n });
    expect(house.spendable(account)).toBe(sats(598n));
    house.expectBooks();
  });

  test("counts on what the node calls on its way only after all the blocks that it may take", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    const payout = await house.send(house.intent(account, 400n, { held: true }));
    await house.clock.advance(stuckPayoutAfterMs - 60_000);
    await expect(house.clock.until(house.payouts.decide(payout.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    await house.clock.advance(60_000);
    expect(await house.clock.until(house.payouts.decide(payout.id, { paid: false }))).toMatchObject({ state: "failed", endedBy: "owner" });
    expect(house.spendable(account)).toBe(sats(1_000n));
  });

  test("is not taken while our own request may be on its way to the node", async () => {
    const house = new House();
    const account = await house.accountWith(1_000n);
    // Tor, or a node that is busy: it arrives after everybody has given up waiting.
    house.said.pay = async (payment, signal) => {
      await house.clock.sleep(payoutWaitMs + 10_000);
      return house.node.payer.pay(payment, signal);
    };
    const payout = await house.send(house.intent(account, 400n, { expirySeconds: payoutWaitMs / 1_000 }));
    await expect(house.clock.until(house.payouts.decide(payout.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    await house.clock.advance(10_000);
    expect(house.stateOf(payout)).toBe("failed");
    house.expectBooks();
  });

  test("unpaid is not taken while the node says succeeded, with whatever proof", async () => {
    const house = new House();
    const { payout } = await unknown(house);
    house.said.lookupPayment = async () => ({ state: "succeeded", preimage: "00".repeat(32), feeMsat: msat(0n) });
    await house.clock.advance(payout.expiresAtMs - house.clock.nowMs());
    await expect(house.clock.until(house.payouts.decide(payout.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    expect(house.stateOf(payout)).toBe("sent");
  });

  test("counts less than the node's: it is asked first", async () => {
    const house = new House();
    const { account, payout } = await unknown(house);
    await house.node.payer.pay(payout, new AbortController().signal);
    expect(await house.clock.until(house.payouts.decide(payout.id, { paid: false }))).toMatchObject({ state: "succeeded", endedBy: "node" });
    expect(house.spendable(account)).toBe(sats(599n));
  });

  test("is not taken on what is on its way, on what has ended, or while the node cannot be asked", async () => {
    const house = new House();
    const account = await house.accountWith(2_000n);
    const held = await house.send(house.intent(account, 400n, { held: true }));
    await expect(house.clock.until(house.payouts.decide(held.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    const done = await house.send(house.intent(account, 400n));
    await expect(house.clock.until(house.payouts.decide(done.id, { paid: false }))).rejects.toMatchObject({ code: "conflict" });
    await expect(house.clock.until(house.payouts.decide("po_none", { paid: false }))).rejects.toMatchObject({ code: "not_found" });
    house.node.misbehave({ down: true });
    await expect(house.clock.until(house.payouts.decide(held.id, { paid: false }))).rejects.toMatchObject({ code: "node_unavailable" });
    expect(house.stateOf(held)).toBe("sent");
  });
});
