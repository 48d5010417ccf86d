/** Money in through phoenixd: a buyer has what was asked for, the owner bears what room costs, and nothing told or untold changes that. */
import { afterEach, describe, expect, test } from "bun:test";
import { firstStreamRetryMs, invoiceExpirySeconds, invoicePollMs, phoenixdGraceMs, streamPatienceMs } from "../../src/base/limits.ts";
import { spendable } from "../../src/ledger/account.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { owedMsat } from "../../src/ledger/owed.ts";
import { findAccount, getAccount, move, openAccount } from "../../src/ledger/transfers.ts";
import { phoenixdNode } from "../../src/lightning/phoenixd.ts";
import { openPhoenixdApi } from "../../src/lightning/phoenixd-access.ts";
import { msat, sat } from "../../src/money/msat.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { Inbound } from "../../src/payments/inbound.ts";
import type { OpenInvoice } from "../../src/payments/invoice.ts";
import { Payments } from "../../src/payments/payments.ts";
import { SettlementWatcher } from "../../src/payments/watcher.ts";
import { DirectWriter } from "../support/direct-writer.ts";
import { FakePhoenixd, type Liquidity } from "../support/fake-phoenixd.ts";
import { until } from "../support/hearth.ts";
import { SeededRandom } from "../support/random.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const houses: House[] = [];
afterEach(async () => void (await Promise.all(houses.splice(0).map((house) => house.stop()))));

/** Time is virtual, the wire to phoenixd is real. */
class House {
  readonly clock = new VirtualClock();
  readonly fake = new FakePhoenixd(() => this.clock.nowMs());
  readonly writer = new DirectWriter();
  readonly payments: Payments;
  readonly watcher: SettlementWatcher;
  #made = 0;

  constructor(liquidity: Partial<Liquidity> = {}) {
    const { clock, writer, fake } = this;
    Object.assign(fake.liquidity, liquidity);
    const node = phoenixdNode({ api: openPhoenixdApi({ url: fake.url, password: fake.limitedPassword }), clock });
    const { boot } = writer.run(startBoot, { atMs: clock.nowMs() }) as { boot: bigint };
    this.payments = new Payments({ node, writer, reader: writer.reader, clock, random: new SeededRandom(1), boot, inbound: new Inbound(undefined, clock), limits: { inAll: 100, perAddress: 100, owedMsat: msat(1_000_000_000n) } });
    this.watcher = new SettlementWatcher({ node, payments: this.payments, reader: writer.reader, clock });
    houses.push(this);
  }

  async stop(): Promise<void> {
    await this.watcher.stop();
    await this.fake.stop();
    this.writer.close();
  }

  async listen(): Promise<void> {
    this.watcher.start();
    await until("it listens", () => this.fake.listening === 1);
  }

  open(sats = 100): Promise<OpenInvoice> {
    return this.payments.open({
      amountSats: sat(BigInt(sats)), memo: "test", quoteId: `q_${++this.#made}`, quoteFingerprint: "f", quoteTerms: "t", address: undefined,
      purpose: { kind: "call", rollsOverFrom: undefined }, claimSecretHashFor: () => undefined, tokenIdFor: (paymentHash) => paymentHash.slice(0, 8),
    });
  }

  pay({ bolt11 }: OpenInvoice): void {
    expect(this.fake.pay(bolt11)).toHaveProperty("preimage");
  }

  creditOf({ paymentHash }: OpenInvoice): bigint | undefined {
    const invoice = this.payments.find(paymentHash);
    return invoice?.state === "credited" ? spendable(getAccount(this.writer.tx, invoice.accountId)) : undefined;
  }

  credited(invoice: OpenInvoice): Promise<void> {
    return until("it is credited", () => this.creditOf(invoice) !== undefined);
  }

  /** Sats: held by the node, spent on room, owed to payers. */
  get books() {
    const debited = (id: string) => {
      const account = findAccount(this.writer.tx, id);
      return Number((account?.debitsPostedMsat ?? 0n) - (account?.creditsPostedMsat ?? 0n)) / 1_000;
    };
    expect([...auditLedger(this.writer.tx), ...auditPayments(this.writer.tx)]).toEqual([]);
    return { node: debited("node"), fees: debited("liquidity-fees"), owed: Number(owedMsat(this.writer.tx)) / 1_000 };
  }
}

describe("the owner's books agree with phoenixd's", () => {
  const noRoom = { balance: 0, inbound: 0 };
  const rows: [what: string, liquidity: Partial<Liquidity>, sats: number[], books: House["books"]][] = [
    ["where there is room", { balance: 0 }, [100, 200], { node: 300, fees: 0, owed: 300 }],
    ["while all goes into fee credit", noRoom, [5_000, 6_000], { node: 11_000, fees: 0, owed: 11_000 }],
    ["when credit and a payment buy the first channel", noRoom, [20_000, 10_000], { node: 8_781, fees: 21_219, owed: 30_000 }],
    ["when a payment buys it alone", { ...noRoom, maxFeeCredit: 0 }, [30_000], { node: 8_781, fees: 21_219, owed: 30_000 }],
  ];
  test.each(rows)("%s", async (_what, liquidity, sats, books) => {
    const house = new House(liquidity);
    for (const amount of sats) {
      const invoice = await house.open(amount);
      house.pay(invoice);
      await house.payments.confirm(invoice.paymentHash);
      expect(house.creditOf(invoice)).toBe(BigInt(amount) * 1_000n);
    }
    expect(house.books).toEqual(books);
    const { balance, feeCredit } = house.fake.liquidity;
    expect(balance + feeCredit).toBe(books.node);
  });

  test("when room costs more than the payment, out of what the node held before", async () => {
    const house = new House({ balance: 0, inbound: 40_000, maxFeeCredit: 0 });
    const [before, small] = [await house.open(40_000), await house.open(100)];
    for (const invoice of [before, small]) {
      house.pay(invoice);
      await house.payments.confirm(invoice.paymentHash);
    }
    expect([house.creditOf(small), house.books]).toEqual([100_000n, { node: 18_881, fees: 21_219, owed: 40_100 }]);
    expect(house.fake.liquidity.balance).toBe(18_881);
  });

  test("and are held to it: a cost that belongs to no payment is found", async () => {
    const house = new House();
    openAccount(house.writer.tx, { id: "liquidity-fees", kind: "liquidity-fees", atMs: 0 });
    move(house.writer.tx, { id: "liquidity:x", debit: "liquidity-fees", credit: "node", amountMsat: msat(1n), code: "liquidity", boot: 1n, atMs: 0 });
    expect(auditPayments(house.writer.tx)).toEqual([{ rule: "I4", what: "transfer liquidity:x is no cost of a credited invoice" }]);
  });
});

describe("a payment is credited once, with its cost,", () => {
  const costly = { balance: 500_000, inbound: 0, maxFeeCredit: 0 };
  const once = { node: 100 - 21_219, fees: 21_219 };

  async function expectOnce(house: House, invoice: OpenInvoice): Promise<void> {
    await house.credited(invoice);
    await house.watcher.sweep();
    // Another one that comes after it has been heard proves that all before it was.
    const next = await house.open(1);
    house.pay(next);
    await house.credited(next);
    expect(house.creditOf(invoice)).toBe(100_000n);
    expect(house.books).toEqual({ node: once.node + 1, fees: once.fees, owed: 101 });
  }

  test("when it is told", async () => {
    const house = new House(costly);
    await house.listen();
    const invoice = await house.open();
    house.pay(invoice);
    await expectOnce(house, invoice);
  });

  test("when it is told three times, and looked up besides", async () => {
    const house = new House(costly);
    house.fake.faults.eventCopies = 3;
    await house.listen();
    const invoice = await house.open();
    house.pay(invoice);
    await Promise.all([house.payments.confirm(invoice.paymentHash), house.payments.confirm(invoice.paymentHash)]);
    house.fake.tell(invoice.paymentHash);
    await expectOnce(house, invoice);
  });

  test("when the websocket is cut and it is paid before it is back", async () => {
    const house = new House(costly);
    await house.listen();
    const invoice = await house.open();
    house.fake.cutStreams();
    house.pay(invoice);
    await until("it is noticed", async () => (await house.clock.advance(firstStreamRetryMs), house.creditOf(invoice) !== undefined));
    await until("it listens again", () => house.fake.listening === 1);
    await expectOnce(house, invoice);
  });

  test("when phoenixd restarts between the payment and the look", async () => {
    const house = new House(costly);
    const invoice = await house.open();
    house.pay(invoice);
    await house.fake.stop();
    await house.watcher.sweep();
    expect(house.creditOf(invoice)).toBeUndefined();
    house.fake.start();
    await house.listen();
    await expectOnce(house, invoice);
  });

  test("when the websocket is half open: the look finds it, and another websocket is opened", async () => {
    const house = new House(costly);
    await house.listen();
    const invoice = await house.open();
    house.fake.faults.dropEvents = 1;
    house.pay(invoice);
    await house.clock.advance(invoicePollMs);
    await house.credited(invoice);
    const opened = () => house.fake.asked.filter((one) => one === "GET /websocket").length;
    expect(opened()).toBe(1);
    await until("it is opened again", async () => (await house.clock.advance(streamPatienceMs), opened() === 2 && house.fake.listening === 1));
    await expectOnce(house, invoice);
  });
});

describe("an expired invoice", () => {
  test("takes no row for good, once nothing can be on its way to it", async () => {
    const house = new House();
    const invoice = await house.open();
    await house.clock.advance(invoiceExpirySeconds * 1_000 + 1);
    await house.watcher.sweep();
    expect(house.payments.find(invoice.paymentHash)).toMatchObject({ state: "open" });
    await house.clock.advance(phoenixdGraceMs);
    await house.watcher.sweep();
    expect([house.payments.find(invoice.paymentHash), house.payments.openInvoices]).toEqual([undefined, 0]);
  });

  test("whose payment was held for room is credited when it arrives", async () => {
    const house = new House();
    const invoice = await house.open();
    house.fake.hold(invoice.bolt11);
    await house.clock.advance(invoiceExpirySeconds * 1_000 + 60_000);
    await house.watcher.sweep();
    house.fake.release(invoice.paymentHash);
    await house.watcher.sweep();
    expect(house.creditOf(invoice)).toBe(100_000n);
  });
});
