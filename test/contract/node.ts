/**
 * What every Lightning adapter promises the house, as one suite. It knows the port and nothing of any adapter, uses
 * the wall clock and whole sats (phoenixd knows no less), and never looks at invoices it did not make.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { decodeHex32, sha256, toHex } from "../../src/base/bytes.ts";
import { readInvoice } from "../../src/lightning/bolt11.ts";
import type { Node, Settlement } from "../../src/lightning/node.ts";
import { msat } from "../../src/money/msat.ts";
import { until } from "../support/hearth.ts";

export type NodeUnderTest = {
  node: Node;
  /** Pays from somewhere else and answers the preimage in hex. */
  payInvoice(bolt11: string): Promise<string>;
  /** The reference the node itself keeps with the invoice, asked for by the node's own means, not by the adapter. */
  referenceOf(paymentHash: string): Promise<string | undefined>;
  stop(): Promise<void> | void;
};

/** `replays: false`: its stream tells from now on only and counts nothing, so there is nothing to resume from; what it misses is found by look-up. */
export type NodeTraits = { replays: boolean };

/** Real nodes hold a payment for some seconds before both ends agree. */
const patienceMs = 30_000;
const clockSkewMs = 10_000;
const expirySeconds = 600;

export function nodeContract(name: string, start: () => Promise<NodeUnderTest>, { replays }: NodeTraits = { replays: true }): void {
  describe(`node contract: ${name}`, () => {
    let running: NodeUnderTest;
    let made = 0;
    beforeAll(async () => void (running = await start()), patienceMs);
    afterAll(() => running.stop());

    function createInvoice(amountMsat = msat(21_000n)) {
      made++;
      return running.node.createInvoice({
        amountMsat,
        reference: `contract_${made}`,
        memo: `Hearth contract ${made}`,
        expirySeconds,
      });
    }

    /** Where this node's counting is after one more payment. */
    async function currentCursor(): Promise<bigint> {
      if (!replays) return 0n;
      const invoice = await createInvoice();
      await running.payInvoice(invoice.bolt11);
      return (await tellUntil(running.node, 0n, invoice.paymentHash)).at(-1)!.cursor;
    }

    test("an invoice asks for the amount, carries the memo and our reference, and expires when we said", async () => {
      const beforeMs = Date.now();
      const invoice = await createInvoice(msat(123_000n));
      const text = readInvoice(invoice.bolt11);
      expect(text).toMatchObject({ amountMsat: 123_000n, expiresAtMs: invoice.expiresAtMs });
      expect(text?.memo).toContain(`Hearth contract ${made}`);
      expect(await running.referenceOf(invoice.paymentHash)).toBe(`contract_${made}`);
      expect(invoice.expiresAtMs).toBeGreaterThanOrEqual(beforeMs + expirySeconds * 1000 - clockSkewMs);
      expect(invoice.expiresAtMs).toBeLessThanOrEqual(Date.now() + expirySeconds * 1000 + clockSkewMs);
    }, patienceMs);

    test("the hash in the answer is the hash in the invoice, in lowercase hex", async () => {
      const invoice = await createInvoice();
      expect(invoice.paymentHash).toMatch(/^[0-9a-f]{64}$/);
      expect(readInvoice(invoice.bolt11)?.paymentHash).toBe(invoice.paymentHash);
    }, patienceMs);

    test("the invoice is one of the node's network and pays the node's own key", async () => {
      const { network, publicKey } = await running.node.status();
      const text = readInvoice((await createInvoice()).bolt11);
      expect(text?.network).toBe(network === "sandbox" ? "regtest" : network);
      expect(text?.payee).toBe(publicKey);
    }, patienceMs);

    test("two invoices for the same request never share a hash", async () => {
      const input = { amountMsat: msat(21_000n), reference: "contract_same", memo: "Hearth same", expirySeconds };
      const invoices = await Promise.all(Array.from({ length: 8 }, () => running.node.createInvoice(input)));
      expect(new Set(invoices.map((invoice) => invoice.paymentHash)).size).toBe(8);
    }, patienceMs);

    test("an invoice is open until it is paid, then settled with what was paid", async () => {
      const invoice = await createInvoice(msat(5_000n));
      expect(await running.node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "open" });
      await running.payInvoice(invoice.bolt11);
      if (replays) await tellUntil(running.node, 0n, invoice.paymentHash);
      else await until("it is not open any more", async () => (await running.node.lookupInvoice(invoice.paymentHash)).state !== "open", patienceMs);
      expect(await running.node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "settled", paidMsat: msat(5_000n) });
    }, patienceMs);

    test("a hash the node never made is unknown", async () => {
      const hash = toHex(sha256(crypto.getRandomValues(new Uint8Array(32))));
      expect(await running.node.lookupInvoice(hash)).toEqual({ state: "unknown" });
    }, patienceMs);

    test("the payer's preimage hashes to the payment hash", async () => {
      const invoice = await createInvoice();
      const preimage = decodeHex32(await running.payInvoice(invoice.bolt11));
      expect(preimage && toHex(sha256(preimage))).toBe(invoice.paymentHash);
    }, patienceMs);

    // Not of a node that repeats nothing: there is no past to tell, and no place in it.
    test.skipIf(!replays)("settlements resumed from a cursor tell each later one once, past ones before live ones", async () => {
      const since = await currentCursor();
      const [past, live] = [await createInvoice(msat(1_000n)), await createInvoice(msat(2_000n))];
      await running.payInvoice(past.bolt11);
      await tellUntil(running.node, since, past.paymentHash);
      const told = tellUntil(running.node, since, live.paymentHash, async (settlement) => {
        if (settlement.paymentHash === past.paymentHash) await running.payInvoice(live.bolt11);
      });
      const paid = (await told).map(({ paymentHash, paidMsat }) => ({ paymentHash, paidMsat }));
      expect(paid).toEqual([
        { paymentHash: past.paymentHash, paidMsat: msat(1_000n) },
        { paymentHash: live.paymentHash, paidMsat: msat(2_000n) },
      ]);
    }, patienceMs);

    test.skipIf(!replays)("a cursor leaves out the settlement it came with and everything before", async () => {
      const since = await currentCursor();
      const [first, second] = [await createInvoice(), await createInvoice()];
      await running.payInvoice(first.bolt11);
      const cursor = (await tellUntil(running.node, since, first.paymentHash)).at(-1)!.cursor;
      expect(cursor).toBeGreaterThan(since);
      await running.payInvoice(second.bolt11);
      const told = await tellUntil(running.node, cursor, second.paymentHash);
      expect(told.map((settlement) => settlement.paymentHash)).toEqual([second.paymentHash]);
    }, patienceMs);

    test("a settlement stream ends without an error when its signal fires, waiting or not yet begun", async () => {
      const since = await currentCursor();
      const stopping = new AbortController();
      const next = running.node.settlements(since, stopping.signal)[Symbol.asyncIterator]().next();
      await running.node.status(); // a round trip, so that the stream is likely waiting
      stopping.abort();
      expect((await next).done).toBe(true);
      const unbegun = running.node.settlements(since, AbortSignal.abort())[Symbol.asyncIterator]().next();
      expect((await unbegun).done).toBe(true);
    }, patienceMs);
  });
}

/** Everything told after `since`, up to and with `paymentHash`. */
async function tellUntil(
  node: Node,
  since: bigint,
  paymentHash: string,
  onTold: (settlement: Settlement) => Promise<void> = async () => {},
): Promise<Settlement[]> {
  const stopping = new AbortController();
  const told: Settlement[] = [];
  try {
    for await (const settlement of node.settlements(since, stopping.signal)) {
      told.push(settlement);
      await onTold(settlement);
      if (settlement.paymentHash === paymentHash) return told;
    }
  } finally {
    stopping.abort();
  }
  throw new Error(`the stream ended before ${paymentHash} was told`);
}
