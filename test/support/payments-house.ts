/**
 * Money in with everything under it, in one process and on a virtual clock: the ledger in memory, a sandbox node with
 * its file, and the watcher. Simulates no behaviour of its own: every fault is the sandbox's.
 */
import { expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { getAccount } from "../../src/ledger/transfers.ts";
import type { Cleanable, Node } from "../../src/lightning/node.ts";
import { openSandboxNode, type SandboxNode } from "../../src/lightning/sandbox.ts";
import { type Msat, msat, sat } from "../../src/money/msat.ts";
import type { OpenInvoice } from "../../src/payments/invoice.ts";
import { Inbound } from "../../src/payments/inbound.ts";
import { Payments } from "../../src/payments/payments.ts";
import { reconcile, type Reconciliation } from "../../src/payments/reconcile.ts";
import { SettlementWatcher } from "../../src/payments/watcher.ts";
import { DirectWriter } from "./direct-writer.ts";
import { SeededRandom } from "./random.ts";
import { VirtualClock } from "./virtual-clock.ts";

const houses: PaymentsHouse[] = [];

/** Stops every house of the test that has ended; for `afterEach`. */
export async function stopHouses(): Promise<void> {
  for (const house of houses.splice(0)) await house.stop();
}

/** One gateway's money in, with its node. A restart keeps the database and the node's file. */
export class PaymentsHouse {
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(1);
  readonly writer = new DirectWriter();
  readonly #directory = mkdtempSync(join(tmpdir(), "hearth-payments-"));
  readonly path = join(this.#directory, "node.jsonl");
  node: SandboxNode = this.openNode(this.path);
  payments!: Payments;
  watcher!: SettlementWatcher;
  /** What the node was asked: the hashes looked up, and from where on settlements were to be told. */
  readonly lookups: string[] = [];
  readonly cursors: bigint[] = [];
  /** What it may forget. */
  readonly discarded: string[] = [];
  /** What the node can still be paid, and what may be owed. */
  receivableMsat: Msat | undefined;
  maxOwedMsat = msat(1_000_000_000n);
  #made = 0;
  #started = false;

  constructor(readonly maxOpenInvoices = 100) {
    houses.push(this);
    this.restart();
  }

  openNode(path: string): SandboxNode {
    return openSandboxNode({ path, clock: this.clock, random: this.random });
  }

  restart(): void {
    const { boot } = this.writer.run(startBoot, { atMs: this.clock.nowMs() }) as { boot: bigint };
    const node: Node & Cleanable = {
      createInvoice: (input) => this.node.createInvoice(input),
      lookupInvoice: (paymentHash) => (this.lookups.push(paymentHash), this.node.lookupInvoice(paymentHash)),
      discardInvoice: async (paymentHash) => void this.discarded.push(paymentHash),
      settlements: (since, signal) => (this.cursors.push(since), this.node.settlements(since, signal)),
      status: () => this.node.status(),
    };
    const { writer, clock, random, maxOpenInvoices } = this;
    this.payments = new Payments({ node, writer, reader: writer.reader, clock, random, boot, limits: { inAll: maxOpenInvoices, perAddress: 20, owedMsat: this.maxOwedMsat }, inbound: new Inbound({ receivableMsat: async () => this.receivableMsat }, clock) });
    this.watcher = new SettlementWatcher({ node, payments: this.payments, reader: writer.reader, clock });
  }

  async watch(): Promise<void> {
    this.#started = true;
    this.watcher.start();
    await this.clock.settle();
  }

  async stop(): Promise<void> {
    if (this.#started) await this.watcher.stop();
    this.node.close();
    this.writer.close();
    rmSync(this.#directory, { recursive: true });
  }

  open(sats = 21n, rollsOverFrom?: string): Promise<OpenInvoice> {
    return this.payments.open({
      amountSats: sat(sats), memo: "test", quoteId: `q_${++this.#made}`, quoteFingerprint: "f", quoteTerms: "t", address: undefined,
      purpose: { kind: "call", rollsOverFrom }, claimSecretHashFor: () => undefined,
      tokenIdFor: (paymentHash) => paymentHash.slice(0, 8),
    });
  }

  async openAndPay(sats = 21n): Promise<OpenInvoice> {
    const invoice = await this.open(sats);
    await this.pay(invoice);
    return invoice;
  }

  async pay(invoice: { bolt11: string }): Promise<void> {
    const paid = await this.node.pay(invoice.bolt11);
    if ("error" in paid) throw new Error(paid.error);
  }

  /** What this payment has put on an account of its own; undefined while it has not. */
  creditOf({ paymentHash }: { paymentHash: string }): bigint | undefined {
    const invoice = this.payments.find(paymentHash);
    return invoice?.state === "credited" ? spendable(getAccount(this.writer.tx, invoice.accountId)) : undefined;
  }

  /** Node and ledger held against each other, from the beginning. */
  reconcile(): Promise<Reconciliation> {
    return reconcile({ node: this.node, payments: this.payments, reader: this.writer.reader }, 0);
  }

  get credits(): bigint {
    return this.writer.tx.get<{ n: bigint }>("SELECT count(*) AS n FROM transfer")!.n;
  }

  /** What payers have paid us in all, and whether the books agree. */
  expectPaid(msatInAll: bigint): void {
    expect(getAccount(this.writer.tx, "node").debitsPostedMsat).toBe(msat(msatInAll));
    expect(auditLedger(this.writer.tx)).toEqual([]);
  }
}
