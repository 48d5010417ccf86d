/** Node and ledger agree, or the owner hears where not; what is certain is credited, and nothing is ever taken back. */
import { afterEach, expect, test } from "bun:test";
import { msat } from "../../src/money/msat.ts";
import { reconcile } from "../../src/payments/reconcile.ts";
import { PaymentsHouse as House, stopHouses } from "../support/payments-house.ts";

afterEach(stopHouses);

async function credited(house: House, sats: bigint) {
  const invoice = await house.openAndPay(sats);
  await house.payments.confirm(invoice.paymentHash);
  return invoice;
}

test("where all that was paid is credited, nothing is found", async () => {
  const house = new House();
  await Promise.all([credited(house, 5n), credited(house, 21n)]);
  await house.open();
  expect(await house.reconcile()).toEqual({ settledOnNode: 2, creditedHere: 2, repaired: 0, discrepancies: [] });
  house.expectPaid(26_000n);
});

test("what was paid and nobody noticed is credited, once", async () => {
  const house = new House();
  const [seen, unseen] = [await credited(house, 5n), await house.openAndPay(21n)];
  expect(await house.reconcile()).toMatchObject({ settledOnNode: 2, creditedHere: 2, repaired: 1, discrepancies: [] });
  expect(await house.reconcile()).toMatchObject({ repaired: 0, discrepancies: [] });
  expect([house.creditOf(seen), house.creditOf(unseen), house.payments.openInvoices]).toEqual([5_000n, 21_000n, 0]);
  house.expectPaid(26_000n);
});

test("beside a watcher and a buyer who asks, one payment is still one credit", async () => {
  const house = new House();
  await house.watch();
  const invoices = await Promise.all(Array.from({ length: 20 }, () => house.openAndPay(3n)));
  await Promise.all([house.reconcile(), house.reconcile(), house.watcher.sweep(), ...invoices.map(({ paymentHash }) => house.payments.confirm(paymentHash))]);
  expect([house.credits, (await house.reconcile()).discrepancies]).toEqual([20n, []]);
  house.expectPaid(60_000n);
});

test("an invoice of ours that is not known here, as after a backup was put back, is listed and not invented", async () => {
  const house = new House();
  const { paymentHash, reference } = await house.openAndPay(21n);
  house.writer.tx.run("DELETE FROM invoice");
  expect((await house.reconcile()).discrepancies).toEqual([{ kind: "not_known_here", paymentHash, paidMsat: msat(21_000n), reference }]);
  house.expectPaid(0n);
});

test("what was credited and the node never settled is listed and left alone", async () => {
  const house = new House();
  const [open, gone] = [await house.open(5n), await house.open(7n)];
  for (const { paymentHash, amountMsat } of [open, gone]) await house.payments.credit(paymentHash, amountMsat);
  const node = { lookupInvoice: (hash: string) => (hash === gone.paymentHash ? Promise.resolve({ state: "unknown" as const }) : house.node.lookupInvoice(hash)), listSettled: (since: number) => house.node.listSettled(since) };
  const { discrepancies } = await reconcile({ node, payments: house.payments, reader: house.writer.reader }, 0);
  const expected = [
    { kind: "not_settled" as const, paymentHash: open.paymentHash, creditedMsat: msat(5_000n), nodeSays: "open" as const },
    { kind: "not_settled" as const, paymentHash: gone.paymentHash, creditedMsat: msat(7_000n), nodeSays: "unknown" as const },
  ];
  expect(discrepancies.toSorted((a, b) => (a.paymentHash < b.paymentHash ? -1 : 1))).toEqual(expected.toSorted((a, b) => (a.paymentHash < b.paymentHash ? -1 : 1)));
  expect([house.creditOf(open), house.creditOf(gone)]).toEqual([5_000n, 7_000n]);
});

test("another amount than the node was paid is listed, whichever of the two knows it", async () => {
  const house = new House();
  const invoice = await house.openAndPay(21n);
  await house.payments.credit(invoice.paymentHash, msat(20_000n));
  const differs = { kind: "amount_differs" as const, paymentHash: invoice.paymentHash, creditedMsat: msat(20_000n), paidMsat: msat(21_000n) };
  expect((await house.reconcile()).discrepancies).toEqual([differs]);
  async function* nothing() {}
  const forgetful = { lookupInvoice: (hash: string) => house.node.lookupInvoice(hash), listSettled: nothing };
  expect((await reconcile({ node: forgetful, payments: house.payments, reader: house.writer.reader }, 0)).discrepancies).toEqual([differs]);
});

test("other apps' payments on the same node are none of ours", async () => {
  const house = new House();
  async function* others() {
    yield { paymentHash: "ab".repeat(32), paidMsat: msat(1_000n), reference: undefined };
  }
  const node = { lookupInvoice: (hash: string) => house.node.lookupInvoice(hash), listSettled: others };
  expect(await reconcile({ node, payments: house.payments, reader: house.writer.reader }, 0)).toEqual({ settledOnNode: 0, creditedHere: 0, repaired: 0, discrepancies: [] });
});

test("what is older than asked for is not looked at", async () => {
  const house = new House();
  const invoice = await house.open(5n);
  await house.payments.credit(invoice.paymentHash, invoice.amountMsat);
  async function* nothing() {}
  const node = { lookupInvoice: (hash: string) => house.node.lookupInvoice(hash), listSettled: nothing };
  expect((await reconcile({ node, payments: house.payments, reader: house.writer.reader }, house.clock.nowMs() + 1)).creditedHere).toBe(0);
});

test("more than a page of credits are all looked at", async () => {
  const house = new House(1_000);
  for (let made = 0; made < 450; made++) await credited(house, 1n);
  expect(await house.reconcile()).toEqual({ settledOnNode: 450, creditedHere: 450, repaired: 0, discrepancies: [] });
});

test("a node that goes away in the middle ends it with that error, and nothing was changed wrongly", async () => {
  const house = new House();
  const invoice = await house.openAndPay(21n);
  house.node.misbehave({ down: true });
  await expect(house.reconcile()).rejects.toMatchObject({ code: "node_unavailable" });
  house.node.misbehave({ down: false });
  expect(await house.reconcile()).toMatchObject({ repaired: 1 });
  expect(house.creditOf(invoice)).toBe(21_000n);
});

test("what room cost the node is booked with a payment that nobody noticed", async () => {
  const house = new House();
  const invoice = await house.openAndPay(21n);
  const withFee = { lookupInvoice: house.node.lookupInvoice.bind(house.node), async *listSettled() {
    yield { paymentHash: invoice.paymentHash, paidMsat: msat(21_000n), feeMsat: msat(2_000n), reference: undefined };
  } };
  await reconcile({ node: withFee, payments: house.payments, reader: house.writer.reader }, 0);
  expect(house.creditOf(invoice)).toBe(21_000n);
  expect(house.writer.tx.get<{ msat: bigint }>("SELECT debits_posted_msat AS msat FROM account WHERE id = 'liquidity-fees'")).toEqual({ msat: 2_000n });
});
