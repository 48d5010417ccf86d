/** Money out of the sandbox node: the contract every payer obeys, its memory, and each way it can be told to fail. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../../src/base/clock.ts";
import { openSandboxNode } from "../../src/lightning/sandbox.ts";
import { msat } from "../../src/money/msat.ts";
import { payerContract } from "../contract/payer.ts";

payerContract("sandbox", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hearth-sandbox-"));
  const node = openSandboxNode({ path: join(folder, "node.jsonl"), clock: systemClock, random: systemRandom });
  const { bolt11 } = await node.createInvoice({ amountMsat: msat(5_000_000n), reference: "i", memo: "what it holds", expirySeconds: 600 });
  await node.pay(bolt11);
  return {
    payer: node.payer,
    payeesInvoice: async (sats, held) => node.payer.invoice(msat(BigInt(sats) * 1_000n), held, 600),
    take: async (paymentHash) => node.payer.decide(paymentHash, true),
    refuse: async (paymentHash) => node.payer.decide(paymentHash, false),
    stop: () => {
      node.close();
      rmSync(folder, { recursive: true });
    },
  };
});

describe("the sandbox's payments out", () => {
  const never = new AbortController().signal;

  test("are remembered: what was on its way still is after a restart, and a held one may be decided then", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hearth-sandbox-"));
    const open = () => openSandboxNode({ path: join(folder, "node.jsonl"), clock: systemClock, random: systemRandom });
    let node = open();
    const [held, quick] = [node.payer.invoice(msat(5_000n), true, 600), node.payer.invoice(msat(7_000n), false, 600)];
    const payment = (one: { bolt11: string; paymentHash: string }) => ({ ...one, amountMsat: msat(5_000n), feeLimitMsat: msat(1_000n) });
    const leaving = new AbortController();
    const waiting = node.payer.pay(payment(held), leaving.signal);
    expect((await node.payer.pay(payment(quick), never)).state).toBe("succeeded");
    leaving.abort();
    expect(await waiting).toEqual({ state: "pending" });
    node.close();
    node = open();
    expect([(await node.payer.lookupPayment(held.paymentHash)).state, (await node.payer.lookupPayment(quick.paymentHash)).state]).toEqual(["pending", "succeeded"]);
    expect(node.payer.decide(held.paymentHash, false)).toBeUndefined();
    expect(node.payer.decide(held.paymentHash, true)).toEqual({ error: expect.any(String) });
    node.close();
    node = open();
    expect((await node.payer.lookupPayment(held.paymentHash)).state).toBe("failed");
    node.close();
    rmSync(folder, { recursive: true });
  });
});
