/**
 * Money in, against a whole sandbox node: one payment is one credit, whoever noticed it, however often, however late,
 * and a right preimage is never turned away for want of the node's word.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { firstStreamRetryMs, inboundMs, invoiceExpirySeconds, invoiceForgetAfterMs, invoicePollMs, settlementPatienceMs, settlementRetryMs, streamPatienceMs } from "../../src/base/limits.ts";
import type { SandboxFaults } from "../../src/lightning/sandbox.ts";
import { msat } from "../../src/money/msat.ts";
import { postCall, reserveCall } from "../../src/charge/commands.ts";
import { findCursor } from "../../src/payments/commands.ts";
import type { OpenInvoice } from "../../src/payments/invoice.ts";
import { SettlementWatcher } from "../../src/payments/watcher.ts";
import { PaymentsHouse as House, stopHouses } from "../support/payments-house.ts";

afterEach(stopHouses);

describe("an invoice", () => {
  test("is on the disk before anybody sees it, and the node keeps our reference with it", async () => {
    const house = new House();
    const invoice = await house.open(21n);
    expect(house.payments.find(invoice.paymentHash)).toEqual(invoice);
    expect(house.payments.findByQuote(invoice.quoteId)).toEqual(invoice);
    expect(invoice).toMatchObject({ amountMsat: 21_000n, tokenId: invoice.paymentHash.slice(0, 8), expiresAtMs: house.clock.nowMs() + invoiceExpirySeconds * 1_000 });
  });

  test("is refused while too many wait for payment, and made again once one is paid", async () => {
    const house = new House(2);
    const [first] = [await house.open(), await house.open()];
    await expect(house.open()).rejects.toMatchObject({ code: "too_many_invoices", retryable: true });
    await house.pay(first);
    await house.payments.confirm(first.paymentHash);
    expect(await house.open()).toMatchObject({ state: "open" });
    await expect(house.open()).rejects.toMatchObject({ code: "too_many_invoices" });
  });

  test("counts those of an earlier process too", async () => {
    const house = new House(2);
    await Promise.all([house.open(), house.open()]);
    house.restart();
    await expect(house.open()).rejects.toMatchObject({ code: "too_many_invoices" });
  });

  test.each<[string, Partial<SandboxFaults>]>([["the node is down", { down: true }], ["the node's answer is lost", { loseReplies: 1 }]])(
    "that fails because %s takes nobody's place", async (_what, faults) => {
      const house = new House(1);
      house.node.misbehave(faults);
      await expect(house.open()).rejects.toMatchObject({ code: "node_unavailable", retryable: true });
      house.node.misbehave({ down: false });
      expect([house.payments.openInvoices, await house.open()]).toMatchObject([0, { state: "open" }]);
    });
});

describe("an invoice is made only for what can come and may be owed", () => {
  test("not over what the channels can still take, which is asked again after some seconds", async () => {
    const house = new House();
    house.receivableMsat = msat(20_000n);
    await expect(house.open(21n)).rejects.toMatchObject({ code: "no_inbound", retryable: true });
    expect([await house.open(20n), house.payments.openInvoices]).toMatchObject([{ state: "open" }, 1]);
    house.receivableMsat = msat(30_000n);
    await expect(house.open(21n)).rejects.toMatchObject({ code: "no_inbound" });
    await house.clock.advance(inboundMs);
    expect(await house.open(21n)).toMatchObject({ state: "open" });
  });

  test("whatever it is over, where the node cannot tell", async () => {
    const house = new House();
    house.receivableMsat = undefined;
    expect(await house.open(1_000_000n)).toMatchObject({ state: "open" });
  });

  test("not while payers have more here than the owner wants to hold; what is spent makes room again", async () => {
    const house = new House();
    house.maxOwedMsat = msat(50_000n);
    house.restart();
    const invoice = await house.openAndPay(30n);
    await house.payments.confirm(invoice.paymentHash);
    await expect(house.open(21n)).rejects.toMatchObject({ code: "topups_paused", retryable: true });
    expect(await house.open(20n)).toMatchObject({ state: "open" });
    const { accountId } = house.payments.find(invoice.paymentHash) as unknown as { accountId: string };
    house.writer.run(reserveCall, { id: "c", accountId, atMostMsat: msat(10_000n), atLeastMsat: msat(10_000n), boot: 2n, atMs: 0 });
    house.writer.run(postCall, {
      id: "c", accountId, costMsat: msat(10_000n), reservedMsat: msat(10_000n), terms: "{}", startedAtMs: 0, boot: 2n, atMs: 0,
      record: { endpoint: "x", model: "x", upstream: "x", ending: "completed", inputTokens: 1, outputTokens: 1, estimated: false },
    });
    expect(await house.open(30n)).toMatchObject({ state: "open" });
  });
});

describe("one payment is one credit", () => {
  test("settled once, told twice, seen by everybody: credited once", async () => {
    const house = new House();
    house.node.misbehave({ duplicateSettlements: true });
    await house.watch();
    const invoice = await house.openAndPay();
    await Promise.all(Array.from({ length: 100 }, () => house.payments.confirm(invoice.paymentHash)));
    await house.payments.credit(invoice.paymentHash, msat(21_000n), 1n);
    await house.clock.advance(3 * invoicePollMs);
    house.restart();
    await house.watch();
    expect([house.creditOf(invoice), house.credits, house.payments.openInvoices]).toEqual([21_000n, 1n, 0]);
    house.expectPaid(21_000n);
  });

  test("a hundred askers of one invoice are one question to the node", async () => {
    const house = new House();
    const invoice = await house.openAndPay();
    const answers = await Promise.all(Array.from({ length: 100 }, () => house.payments.confirm(invoice.paymentHash)));
    expect([new Set(answers.map((answer) => answer.kind)), house.lookups.length]).toEqual([new Set(["credited"]), 1]);
  });

  test("a credited invoice is never asked about again", async () => {
    const house = new House();
    const invoice = await house.openAndPay();
    await house.payments.confirm(invoice.paymentHash);
    house.node.misbehave({ down: true });
    expect(await house.payments.confirm(invoice.paymentHash)).toMatchObject({ kind: "credited", invoice: { creditedMsat: 21_000n } });
    expect(house.lookups).toHaveLength(1);
  });

  test("what is left of a poor credential moves to the one bought after it, once", async () => {
    const house = new House();
    const old = await house.openAndPay(5n);
    await house.payments.confirm(old.paymentHash);
    const from = house.payments.find(old.paymentHash) as { accountId: string } & OpenInvoice;
    const next = await house.open(21n, from.accountId);
    await house.pay(next);
    for (let i = 0; i < 2; i++) await house.payments.credit(next.paymentHash, msat(21_000n));
    expect([house.creditOf(old), house.creditOf(next)]).toEqual([0n, 26_000n]);
    house.expectPaid(26_000n);
  });
});

describe("the watcher", () => {
  test("credits a payment the moment the node tells of it, though nobody comes back", async () => {
    const house = new House();
    await house.watch();
    const invoice = await house.openAndPay();
    await house.clock.settle();
    expect([house.creditOf(invoice), findCursor(house.writer.tx)]).toEqual([21_000n, 1n]);
  });

  test("what was settled while we were down is credited at the start", async () => {
    const house = new House();
    const [seen, unseen] = [await house.openAndPay(1n), await house.open(2n)];
    await house.watch();
    await house.watcher.stop();
    await house.pay(unseen);
    house.node.close();
    house.node = house.openNode(house.path);
    house.restart();
    expect(house.creditOf(unseen)).toBeUndefined();
    await house.watch();
    expect([house.creditOf(seen), house.creditOf(unseen)]).toEqual([1_000n, 2_000n]);
    house.expectPaid(3_000n);
  });

  test("a second one beside it changes nothing: one payment is still one credit", async () => {
    const house = new House();
    await house.watch();
    const second = new SettlementWatcher({ node: house.node, payments: house.payments, reader: house.writer.reader, clock: house.clock });
    second.start();
    const invoices = [await house.openAndPay(21n), await house.openAndPay(34n)];
    await house.clock.settle();
    await Promise.all([house.watcher.sweep(), second.sweep()]);
    await second.stop();
    expect(invoices.map((invoice) => house.creditOf(invoice))).toEqual([21_000n, 34_000n]);
    expect(house.credits).toBe(2n);
    house.expectPaid(55_000n);
  });

  test("a payment the node forgot to tell of is found by the next look", async () => {
    const house = new House();
    await house.watch();
    house.node.misbehave({ dropSettlements: 1 });
    const invoice = await house.openAndPay();
    await house.clock.advance(invoicePollMs - 1);
    expect(house.creditOf(invoice)).toBeUndefined();
    await house.clock.advance(1);
    expect(house.creditOf(invoice)).toBe(21_000n);
  });

  test("a stream that stays silent about what a look has found is opened again, from where it was", async () => {
    const house = new House();
    await house.watch();
    house.node.misbehave({ dropSettlements: 1 });
    await house.openAndPay();
    await house.clock.advance(invoicePollMs + streamPatienceMs - 1);
    expect(house.cursors).toEqual([0n]);
    await house.clock.advance(firstStreamRetryMs + 1);
    expect(house.cursors).toEqual([0n, 0n]);
  });

  test("a stream that tells of it a moment later is left open", async () => {
    const house = new House();
    await house.watch();
    const [seen] = [await house.openAndPay()];
    await house.watcher.sweep();
    await house.clock.advance(invoicePollMs);
    expect([house.creditOf(seen), house.cursors]).toEqual([21_000n, [0n]]);
  });

  test("an invoice that can never be paid is forgotten here, and the node may forget it too", async () => {
    const house = new House();
    await house.watch();
    const invoice = await house.open();
    await house.clock.advance(invoiceExpirySeconds * 1_000 + invoicePollMs);
    expect([house.payments.find(invoice.paymentHash), house.discarded]).toEqual([undefined, [invoice.paymentHash]]);
  });

  test("payments told in the wrong order are all credited, and none is lost to the cursor", async () => {
    const house = new House();
    await house.watch();
    house.node.misbehave({ reorderSettlements: true });
    const [first, second] = [await house.openAndPay(1n), await house.open(2n)];
    await house.pay(second);
    await house.clock.settle();
    expect([house.creditOf(first), house.creditOf(second), findCursor(house.writer.tx)]).toEqual([1_000n, 2_000n, 2n]);
  });

  test("a crash between two payments told in the wrong order loses neither", async () => {
    const house = new House();
    const [first, second] = [await house.openAndPay(1n), await house.openAndPay(2n)];
    await house.payments.credit(second.paymentHash, msat(2_000n), 2n);
    house.restart();
    await house.watch();
    expect([house.creditOf(first), house.creditOf(second)]).toEqual([1_000n, 2_000n]);
  });

  test("a payment that settles late is credited then, and not before", async () => {
    const house = new House();
    await house.watch();
    house.node.misbehave({ settleLateMs: 40_000 });
    const invoice = await house.openAndPay();
    await house.clock.advance(39_999);
    expect(house.creditOf(invoice)).toBeUndefined();
    await house.clock.advance(1);
    expect(house.creditOf(invoice)).toBe(21_000n);
  });

  test("a payment that settles after the invoice's expiry is still money", async () => {
    const house = new House();
    await house.watch();
    const lateMs = invoiceExpirySeconds * 1_000 + 2 * invoiceForgetAfterMs;
    house.node.misbehave({ settleLateMs: lateMs });
    const invoice = await house.openAndPay();
    await house.clock.advance(lateMs);
    expect(house.creditOf(invoice)).toBe(21_000n);
  });

  test("payments made while the node was away are credited when it is back", async () => {
    const house = new House();
    await house.watch();
    const invoice = await house.open();
    house.node.misbehave({ down: true });
    await house.pay(invoice);
    await house.clock.advance(300_000);
    expect([house.creditOf(invoice), house.payments.find(invoice.paymentHash)?.state]).toEqual([undefined, "open"]);
    house.node.misbehave({ down: false });
    await house.clock.advance(30_000);
    expect(house.creditOf(invoice)).toBe(21_000n);
  });

  test("a stream that broke is taken up where it was, and what it left out is looked up at once", async () => {
    const house = new House();
    await house.watch();
    await house.openAndPay(1n);
    const invoice = await house.open(2n);
    await house.clock.advance(1);
    house.node.misbehave({ down: true, dropSettlements: 1 });
    await house.pay(invoice);
    await house.clock.settle();
    house.node.misbehave({ down: false });
    await house.clock.advance(invoicePollMs / 3);
    expect([house.creditOf(invoice), house.cursors]).toEqual([2_000n, [0n, 1n]]);
  });

  test("a payment that is none of ours moves the cursor and no money", async () => {
    const house = new House();
    await house.watch();
    await house.pay(await house.node.createInvoice({ amountMsat: msat(9_000n), reference: "another app", memo: "", expirySeconds: 600 }));
    await house.clock.settle();
    expect([findCursor(house.writer.tx), house.credits]).toEqual([1n, 0n]);
    house.expectPaid(0n);
  });

  test("more invoices than fit one page are all looked at", async () => {
    const house = new House(300);
    const invoices = await Promise.all(Array.from({ length: 250 }, () => house.open(1n)));
    for (const invoice of invoices) await house.pay(invoice);
    await house.watcher.sweep();
    expect(invoices.filter((invoice) => house.creditOf(invoice) === 1_000n)).toHaveLength(250);
  });

  test("a node that is down is not asked about every invoice of every page", async () => {
    const house = new House(300);
    await Promise.all(Array.from({ length: 250 }, () => house.open(1n)));
    house.node.misbehave({ down: true });
    await house.watcher.sweep();
    expect(house.lookups).toHaveLength(100);
  });

  test("stops at once, in the middle of a wait", async () => {
    const house = new House();
    await house.watch();
    await house.watcher.stop();
    const asked = [...house.lookups];
    await house.clock.advance(10 * invoicePollMs);
    expect(house.lookups).toEqual(asked);
  });
});

describe("forgetting", () => {
  test("an invoice is forgotten when the node says it can never be paid, and its place is free", async () => {
    const house = new House(1);
    await house.watch();
    const invoice = await house.open();
    await house.clock.advance(invoiceExpirySeconds * 1_000 - 1);
    expect(house.payments.find(invoice.paymentHash)).toEqual(invoice);
    await house.clock.advance(invoicePollMs);
    expect(house.payments.find(invoice.paymentHash)).toBeUndefined();
    expect(await house.open()).toMatchObject({ state: "open" });
  });

  test("an invoice the node does not know is kept until an hour after its expiry", async () => {
    const house = new House();
    const invoice = await house.open();
    house.node = house.openNode(`${house.path}.restored`);
    expect(await house.payments.confirm(invoice.paymentHash)).toEqual({ kind: "unknown" });
    await house.watch();
    await house.clock.advance(invoice.expiresAtMs + invoiceForgetAfterMs - house.clock.nowMs());
    expect(house.payments.find(invoice.paymentHash)).toEqual(invoice);
    await house.clock.advance(invoicePollMs);
    expect([house.payments.find(invoice.paymentHash), house.payments.openInvoices]).toEqual([undefined, 0]);
  });

  test("an invoice the node finds again within the hour is credited", async () => {
    const house = new House();
    const [invoice, knowing] = [await house.openAndPay(), house.node];
    house.node = house.openNode(`${house.path}.restored`);
    await house.watch();
    await house.clock.advance(invoiceExpirySeconds * 1_000 + invoiceForgetAfterMs / 2);
    house.node = knowing;
    await house.clock.advance(invoicePollMs);
    expect(house.creditOf(invoice)).toBe(21_000n);
  });

  test("a credited invoice is never forgotten", async () => {
    const house = new House();
    const { paymentHash } = await house.openAndPay();
    await house.payments.confirm(paymentHash);
    await house.payments.forget(paymentHash);
    expect([house.creditOf({ paymentHash }), house.payments.openInvoices]).toEqual([21_000n, 0]);
  });
});

describe("a right preimage", () => {
  const soon = Math.floor(settlementPatienceMs / settlementRetryMs);
  test.each([0, 1, soon])("is credited within the patience when the node is %d looks behind", async (behind) => {
    const house = new House();
    house.node.misbehave({ openAfterPreimage: behind });
    const invoice = await house.openAndPay();
    const startedMs = house.clock.nowMs();
    expect(await house.clock.until(house.payments.confirmPaid(invoice.paymentHash))).toMatchObject({ kind: "credited" });
    expect([house.creditOf(invoice), house.clock.nowMs() - startedMs]).toEqual([21_000n, behind * settlementRetryMs]);
  });

  test("is answered `open` after 3 s when the payment is not settled by then, and credited when it is", async () => {
    const house = new House();
    house.node.misbehave({ settleLateMs: settlementPatienceMs + 1 });
    const invoice = await house.openAndPay();
    const startedMs = house.clock.nowMs();
    expect(await house.clock.until(house.payments.confirmPaid(invoice.paymentHash))).toEqual({ kind: "open" });
    expect(house.clock.nowMs() - startedMs).toBe(settlementPatienceMs);
    await house.clock.advance(1);
    expect(await house.payments.confirm(invoice.paymentHash)).toMatchObject({ kind: "credited" });
  });

  test.each<[string, Partial<SandboxFaults>]>([["down", { down: true }], ["losing its answers", { loseReplies: 1 }]])(
    "is answered `unreachable` at once while the node is %s", async (_what, faults) => {
      const house = new House();
      const invoice = await house.openAndPay();
      house.node.misbehave(faults);
      const startedMs = house.clock.nowMs();
      expect(await house.clock.until(house.payments.confirmPaid(invoice.paymentHash))).toEqual({ kind: "unreachable" });
      expect([house.clock.nowMs() - startedMs, house.creditOf(invoice)]).toEqual([0, undefined]);
    });

  test("of an invoice the node never made is `unknown`, of an expired one `dead`", async () => {
    const house = new House();
    const invoice = await house.open();
    expect(await house.payments.confirmPaid("00".repeat(32))).toEqual({ kind: "unknown" });
    await house.clock.advance(invoiceExpirySeconds * 1_000);
    expect(await house.payments.confirmPaid(invoice.paymentHash)).toEqual({ kind: "dead" });
  });
});
