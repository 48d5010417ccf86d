/** Paying out with phoenixd: the port's contract, and what a 200 with a reason may mean. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boundedNode } from "../../src/lightning/bounded-node.ts";
import { phoenixdNode } from "../../src/lightning/phoenixd.ts";
import { openPhoenixdApi, readPassword } from "../../src/lightning/phoenixd-access.ts";
import { phoenixdPayer } from "../../src/lightning/phoenixd-payer.ts";
import { msat } from "../../src/money/msat.ts";
import { payerContract } from "../contract/payer.ts";
import { FakePhoenixd } from "../support/fake-phoenixd.ts";
import { until } from "../support/hearth.ts";

const fakes: FakePhoenixd[] = [];
afterEach(async () => void (await Promise.all(fakes.splice(0).map((fake) => fake.stop()))));

const payerOf = (fake: FakePhoenixd, password = fake.password) => phoenixdPayer({ api: openPhoenixdApi({ url: fake.url, password, full: true }), clock: { nowMs: Date.now } });
const paymentOf = ({ bolt11, paymentHash }: { bolt11: string; paymentHash: string }, sats: number) => ({ bolt11, paymentHash, amountMsat: msat(BigInt(sats) * 1_000n), feeLimitMsat: msat(20_000n) });
const never = new AbortController().signal;

payerContract("phoenixd", async () => {
  const fake = new FakePhoenixd();
  const api = openPhoenixdApi({ url: fake.url, password: fake.limitedPassword });
  return {
    payer: boundedNode({ ...phoenixdNode({ api, clock: { nowMs: Date.now } }), payer: payerOf(fake) }).payer!,
    payeesInvoice: async (sats, held) => fake.payees.invoice(sats, held),
    take: async (paymentHash) => fake.payees.decide(paymentHash, true),
    refuse: async (paymentHash) => fake.payees.decide(paymentHash, false),
    stop: () => fake.stop(),
  };
});

function start(): FakePhoenixd {
  const fake = new FakePhoenixd();
  fakes.push(fake);
  return fake;
}

describe("a 200 with a reason", () => {
  test("is a failure where phoenixd keeps nothing of the payment", async () => {
    const fake = start();
    fake.liquidity.balance = 10;
    const said = await payerOf(fake).pay(paymentOf(fake.payees.invoice(500), 500), never);
    expect(said).toEqual({ state: "failed", reason: expect.stringContaining("not enough funds") });
  });

  test("is none where the invoice is being paid by somebody else meanwhile", async () => {
    const fake = start();
    const invoice = fake.payees.invoice(500, true);
    const first = payerOf(fake).pay(paymentOf(invoice, 500), never);
    await until("it is on its way", async () => (await payerOf(fake).lookupPayment(invoice.paymentHash)).state === "pending");
    expect(await payerOf(fake).pay(paymentOf(invoice, 500), never)).toEqual({ state: "pending" });
    fake.payees.decide(invoice.paymentHash, true);
    expect((await first).state).toBe("succeeded");
  });

  test("is none where the invoice was paid before: the payment that paid it is told", async () => {
    const fake = start();
    const invoice = fake.payees.invoice(500);
    const first = await payerOf(fake).pay(paymentOf(invoice, 500), never);
    expect(await payerOf(fake).pay(paymentOf(invoice, 500), never)).toEqual(first);
  });
});

test("the limited password pays nothing: a failure, where phoenixd keeps nothing of the payment", async () => {
  const fake = start();
  const invoice = fake.payees.invoice(500);
  expect(await payerOf(fake, fake.limitedPassword).pay(paymentOf(invoice, 500), never)).toEqual({ state: "failed", reason: expect.stringContaining("refuses the password") });
  expect(await payerOf(fake).lookupPayment(invoice.paymentHash)).toEqual({ state: "unknown" });
});

test("a reply that is lost leaves open whether it was asked", async () => {
  const fake = start();
  const invoice = fake.payees.invoice(500, true);
  const said = payerOf(fake).pay(paymentOf(invoice, 500), never);
  await until("it is on its way", async () => (await payerOf(fake).lookupPayment(invoice.paymentHash)).state === "pending");
  await fake.stop();
  expect(said).rejects.toMatchObject({ code: "node_unavailable" });
  fake.start();
  expect(await payerOf(fake).lookupPayment(invoice.paymentHash)).toEqual({ state: "pending" });
});

test("the price of its ways is known beforehand: 0.4 % and 4 sats, rounded up", () => {
  const payer = payerOf(start());
  expect([1_000n, 300_000n, 1_000_001n].map((amount) => payer.leastFeeLimitMsat(msat(amount)))).toEqual([4_004n, 5_200n, 8_001n].map(msat));
});

test("what is on its way out is still held, and listed as that", async () => {
  const fake = start();
  const { spendableMsat: before } = await payerOf(fake).holdings();
  const invoice = fake.payees.invoice(500, true);
  const said = payerOf(fake).pay(paymentOf(invoice, 500), never);
  await until("it is on its way", async () => (await payerOf(fake).lookupPayment(invoice.paymentHash)).state === "pending");
  const { spendableMsat, leavingMsat } = await payerOf(fake).holdings();
  const held = spendableMsat + leavingMsat;
  // But for what the way will cost, which nobody knows yet.
  expect([leavingMsat, held <= before, held > before - 10_000n]).toEqual([msat(500_000n), true, true]);
  expect(await Array.fromAsync(payerOf(fake).listPaidOut(0))).toMatchObject([{ paymentHash: invoice.paymentHash, state: "pending", amountMsat: 500_000n }]);
  fake.payees.decide(invoice.paymentHash, true);
  await said;
});

test("what it paid is listed over pages", async () => {
  const fake = start();
  fake.liquidity.balance = 10_000_000;
  const paid = Array.from({ length: 205 }, () => fake.payees.invoice(300));
  for (const { bolt11 } of paid) await fake.payees.pay(bolt11, 10_000_000);
  const listed = await Array.fromAsync(payerOf(fake).listPaidOut(0));
  expect(new Set(listed.map((one) => one.paymentHash))).toEqual(new Set(paid.map((one) => one.paymentHash)));
  expect(listed.every((one) => one.amountMsat === 300_000n && one.state === "succeeded")).toBe(true);
});

test("of a phoenix.conf the full password is read for payouts, the limited one for selling", () => {
  const folder = mkdtempSync(join(tmpdir(), "hearth-conf-"));
  const path = join(folder, "phoenix.conf");
  writeFileSync(path, "http-password=full\nhttp-password-limited-access=limited\n");
  expect([readPassword(path), readPassword(path, true)]).toEqual(["limited", "full"]);
  rmSync(folder, { recursive: true });
});
