/** What every adapter that pays promises the house, as one suite: whole sats, the wall clock, and payees from somewhere else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { sha256, toHex } from "../../src/base/bytes.ts";
import { opens } from "../../src/lightning/preimage.ts";
import type { PaidOut, Payable, PaymentState } from "../../src/lightning/node.ts";
import { msat } from "../../src/money/msat.ts";
import { until } from "../support/hearth.ts";

export type PayerUnderTest = {
  payer: Payable;
  /** Of somebody else. `held`: they take or refuse it later. */
  payeesInvoice(sats: number, held: boolean): Promise<{ bolt11: string; paymentHash: string }>;
  take(paymentHash: string): Promise<unknown>;
  refuse(paymentHash: string): Promise<unknown>;
  stop(): Promise<void> | void;
};

const patienceMs = 60_000;
const feeLimitMsat = msat(20_000n);

export function payerContract(name: string, start: () => Promise<PayerUnderTest>): void {
  describe(`payer contract: ${name}`, () => {
    let running: PayerUnderTest;
    beforeAll(async () => void (running = await start()), patienceMs);
    afterAll(() => running.stop());

    const paymentOf = ({ bolt11, paymentHash }: { bolt11: string; paymentHash: string }, sats: number) => ({ bolt11, paymentHash, amountMsat: msat(BigInt(sats) * 1_000n), feeLimitMsat });
    const never = new AbortController().signal;
    const listed = async (paymentHash: string): Promise<PaidOut | undefined> => {
      for await (const one of running.payer.listPaidOut(Date.now() - patienceMs)) if (one.paymentHash === paymentHash) return one;
      return undefined;
    };
    const ended = (paymentHash: string, state: PaymentState["state"]) => until(`it is ${state}`, async () => (await running.payer.lookupPayment(paymentHash)).state === state, patienceMs);
    /** phoenixd tells it in whole sats. */
    const holdsBecome = (amount: bigint) => until(`it holds ${amount}`, async () => {
      const { spendableMsat, leavingMsat } = await running.payer.holdings();
      return leavingMsat === 0n && spendableMsat < amount + 1_000n && spendableMsat > amount - 1_000n;
    }, patienceMs);

    test("pays: the preimage proves it, a look-up and the list say the same, and the node holds so much less", async () => {
      const { spendableMsat: before } = await running.payer.holdings();
      const invoice = await running.payeesInvoice(300, false);
      const said = await running.payer.pay(paymentOf(invoice, 300), never);
      if (said.state !== "succeeded") throw new Error(`it ended ${said.state}`);
      expect(opens(said.preimage, invoice.paymentHash)).toBe(true);
      expect(said.feeMsat).toBeLessThanOrEqual(feeLimitMsat);
      expect(await running.payer.lookupPayment(invoice.paymentHash)).toEqual(said);
      expect(await listed(invoice.paymentHash)).toMatchObject({ amountMsat: msat(300_000n), state: "succeeded" });
      await holdsBecome(before - 300_000n - said.feeMsat);
    }, patienceMs);

    test("a payment nobody asked for is unknown", async () => {
      expect(await running.payer.lookupPayment(toHex(sha256(crypto.getRandomValues(new Uint8Array(32)))))).toEqual({ state: "unknown" });
    }, patienceMs);

    test("whoever leaves while it is on its way hears that it is, if anything; it is held until it arrives, and arrives all the same", async () => {
      const { spendableMsat: before } = await running.payer.holdings();
      const invoice = await running.payeesInvoice(200, true);
      const leaving = new AbortController();
      const said = running.payer.pay(paymentOf(invoice, 200), leaving.signal);
      await ended(invoice.paymentHash, "pending");
      await until("it is leaving", async () => (await running.payer.holdings()).leavingMsat >= 200_000n, patienceMs);
      const { spendableMsat, leavingMsat } = await running.payer.holdings();
      const held = spendableMsat + leavingMsat;
      // phoenixd knows its fee before.
      expect([held <= before, held >= before - feeLimitMsat]).toEqual([true, true]);
      const heard = said.catch((error: unknown) => error);
      leaving.abort();
      expect(await heard).toMatchObject({ ...((await heard) instanceof Error ? { code: "node_unavailable" } : { state: "pending" }) });
      expect(await listed(invoice.paymentHash)).toMatchObject({ amountMsat: msat(200_000n), state: "pending" });
      await running.take(invoice.paymentHash);
      await ended(invoice.paymentHash, "succeeded");
      const end = await running.payer.lookupPayment(invoice.paymentHash);
      // Nothing is leaving any more, sooner or later.
      await holdsBecome(before - 200_000n - (end.state === "succeeded" ? end.feeMsat : 0n));
    }, patienceMs);

    test("one that the payee refuses has failed, is not listed, and the node holds what it held", async () => {
      const { spendableMsat: before } = await running.payer.holdings();
      const invoice = await running.payeesInvoice(200, true);
      const said = running.payer.pay(paymentOf(invoice, 200), never);
      await ended(invoice.paymentHash, "pending");
      await running.refuse(invoice.paymentHash);
      expect(await said).toEqual({ state: "failed", reason: expect.any(String) });
      expect((await running.payer.lookupPayment(invoice.paymentHash)).state).toBe("failed");
      expect(await listed(invoice.paymentHash)).toBeUndefined();
      await holdsBecome(before);
    }, patienceMs);

    test("asked twice for one invoice it pays once, and never says that it failed", async () => {
      const { spendableMsat: before } = await running.payer.holdings();
      const invoice = await running.payeesInvoice(100, false);
      const first = await running.payer.pay(paymentOf(invoice, 100), never);
      if (first.state !== "succeeded") throw new Error(`it ended ${first.state}`);
      const second = await running.payer.pay(paymentOf(invoice, 100), never).catch(() => undefined);
      expect(second === undefined || second.state === "succeeded").toBe(true);
      await holdsBecome(before - 100_000n - first.feeMsat);
    }, patienceMs);
  });
}
