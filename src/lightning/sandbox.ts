/**
 * Play money on this machine: a whole Lightning node in one process, with its payers and its failures. It holds no
 * bitcoin, talks to nobody, and survives kill -9: its key, invoices and payments are written to one append-only file
 * before anything is answered or a preimage handed out. Pays only its own invoices.
 */
import { assert } from "../base/assert.ts";
import { decodeHex32, sha256, toHex } from "../base/bytes.ts";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { spaceRetryMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import { News } from "../base/news.ts";
import { msat, type Msat } from "../money/msat.ts";
import { readInvoice, signInvoice } from "./bolt11.ts";
import { openSandboxFile, type Entry, type SandboxFile } from "./sandbox-file.ts";
import type { Listable, InvoiceState, NewInvoice, Node, NodeStatus, SettledInvoice, Settlement } from "./node.ts";
import { noPayoutFaults, type PayoutFaults, SandboxPayer } from "./sandbox-payer.ts";

/** How the node misbehaves. Faults add up; counts go down as they are used, but for `openAfterPreimage`. */
export type SandboxFaults = PayoutFaults & {
  /** Every call and the opening of a stream answer this late. */
  delayMs: number;
  /** Every call fails and streams break. Payers still pay: they are somebody else. */
  down: boolean;
  /** So many of the next settlements are told on no stream, until the node is opened again. */
  dropSettlements: number;
  /** Each settlement is told twice. */
  duplicateSettlements: boolean;
  /** Settlements are told in swapped pairs; one without a partner after 200 ms. */
  reorderSettlements: boolean;
  /** The payer has the preimage at once, the invoice stays `open` for this long, then settles and is told. */
  settleLateMs: number;
  /** So many look-ups of each invoice, counted from its payment, still call it `open`. */
  openAfterPreimage: number;
  /** So many of the next createInvoice and lookupInvoice calls take effect, then fail as if the reply was lost. */
  loseReplies: number;
};

export interface SandboxNode extends Node, Listable {
  /** Money out, and those who can be paid. */
  readonly payer: SandboxPayer;
  /** Pays as somebody else would. Paying again answers the same preimage and moves nothing. */
  pay(bolt11: string): Promise<{ preimage: string } | { error: string }>;
  /** Sets the named faults and leaves the others as they are; `noFaults` ends them all. */
  misbehave(faults: Partial<SandboxFaults>): void;
  faults(): SandboxFaults;
  /** Breaks every stream and fails every later call, as the end of the process would. */
  close(): void;
}

export const noFaults: SandboxFaults = {
  ...noPayoutFaults,
  delayMs: 0,
  down: false,
  dropSettlements: 0,
  duplicateSettlements: false,
  reorderSettlements: false,
  settleLateMs: 0,
  openAfterPreimage: 0,
  loseReplies: 0,
};

type Invoice = {
  paymentHash: string;
  preimage: string;
  reference: string;
  bolt11: string;
  amountMsat: Msat;
  expiresAtMs: number;
  /** Paid: the time from which the node calls it settled. */
  settleAtMs: number | undefined;
  /** Settled: its place in the node's counting, 1, 2, 3... */
  settleIndex: bigint | undefined;
  lookupsSincePaid: number;
};

/** Invoices that died longer ago than this are not read back. */
const forgetDeadAfterMs = 24 * 60 * 60 * 1000;
/** How long a settlement without a partner waits when pairs are swapped. */
const reorderPatienceMs = 200;

/** Opens the node kept in the file at `path`, or makes one. @throws AppError `node_unavailable`. */
export function openSandboxNode(options: { path: string; clock: Clock; random: Random }): SandboxNode {
  return new Sandbox(options.path, options.clock, options.random);
}

class Sandbox implements SandboxNode {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #file: SandboxFile;
  readonly #privateKey: Uint8Array;
  readonly #publicKey: string;
  readonly #byHash = new Map<string, Invoice>();
  readonly #byText = new Map<string, Invoice>();
  #settled = 0n;
  readonly #faults: SandboxFaults = { ...noFaults };
  readonly payer: SandboxPayer;
  /** Settlements in the order they are told, which faults may bend. */
  readonly #told: Settlement[] = [];
  #held: Settlement | undefined;
  readonly #news = new News();
  readonly #closing = new AbortController();

  constructor(path: string, clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
    this.#file = openSandboxFile(path);
    this.payer = new SandboxPayer({ clock, random, faults: this.#faults, write: (entry) => this.#write(entry), answerable: () => this.#answerable(), receivedMsat: () => this.#receivedMsat() });
    this.#privateKey = this.#restoreKey();
    this.#publicKey = publicKeyOf(this.#privateKey);
    for (const entry of this.#file.past) this.#restore(entry);
    this.#forgetDead();
    this.#resumeSettling();
  }

  async createInvoice(input: Parameters<Node["createInvoice"]>[0]): Promise<NewInvoice> {
    await this.#answerable();
    const preimage = this.#random.bytes(32);
    const paymentHash = toHex(sha256(preimage));
    assert(!this.#byHash.has(paymentHash), "two invoices never share a preimage");
    const timestampS = Math.floor(this.#clock.nowMs() / 1000);
    const bolt11 = signInvoice({
      privateKey: this.#privateKey,
      amountMsat: input.amountMsat,
      paymentHash,
      paymentSecret: toHex(this.#random.bytes(32)),
      memo: input.memo,
      timestampS,
      expirySeconds: input.expirySeconds,
    });
    const expiresAtMs = (timestampS + input.expirySeconds) * 1000;
    const amountMsat = String(input.amountMsat);
    const { reference } = input;
    this.#write({ kind: "invoice", paymentHash, preimage: toHex(preimage), reference, bolt11, amountMsat, expiresAtMs });
    this.#maybeLoseReply();
    return { paymentHash, bolt11, expiresAtMs };
  }

  async lookupInvoice(paymentHash: string): Promise<InvoiceState> {
    await this.#answerable();
    const state = this.#look(this.#byHash.get(paymentHash.toLowerCase()));
    this.#maybeLoseReply();
    return state;
  }

  async *settlements(since: bigint, signal: AbortSignal): AsyncGenerator<Settlement> {
    await this.#answerable(signal);
    for (let next = 0; !signal.aborted; ) {
      this.#refuseWhenDown();
      const settlement = this.#told[next];
      if (settlement === undefined) {
        await this.#news.wait(signal);
        continue;
      }
      next++;
      if (settlement.cursor > since) yield { ...settlement };
    }
  }

  async *listSettled(_sinceMs: number): AsyncGenerator<SettledInvoice> {
    await this.#answerable();
    for (const { paymentHash, amountMsat, reference, settleIndex } of this.#byHash.values())
      if (settleIndex !== undefined) yield { paymentHash, paidMsat: amountMsat, reference };
  }

  async status(): Promise<NodeStatus> {
    await this.#answerable();
    return { network: "sandbox", publicKey: this.#publicKey, alias: "Hearth sandbox" };
  }

  async pay(bolt11: string): Promise<{ preimage: string } | { error: string }> {
    if (this.#closing.signal.aborted) return { error: "The sandbox node is closed." };
    const invoice = this.#byText.get(bolt11.toLowerCase());
    if (!invoice) return { error: "This is not an invoice of this sandbox node, the only one it can pay." };
    const nowMs = this.#clock.nowMs();
    switch (stateOf(invoice, nowMs)) {
      case "dead":
        return { error: "This invoice has expired; ask for a new one." };
      case "open":
        this.#write({ kind: "payment", paymentHash: invoice.paymentHash, settleAtMs: nowMs + this.#faults.settleLateMs });
        this.#settleWhenDue(invoice);
        break;
      case "paid":
      case "settled":
        break; // paying twice is one payment
    }
    return { preimage: invoice.preimage };
  }

  misbehave(faults: Partial<SandboxFaults>): void {
    for (const [name, value] of Object.entries(faults)) {
      assert(name in noFaults, `${name} is a fault of the sandbox`);
      assert(typeof value === "boolean" || (Number.isSafeInteger(value) && value >= 0), `${name} is not negative`);
    }
    Object.assign(this.#faults, faults);
    if (!this.#faults.reorderSettlements) this.#tellHeld();
    this.#news.tell();
  }

  faults(): SandboxFaults {
    return { ...this.#faults };
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#news.tell();
    this.#file.close();
  }

  /** Takes the time a call takes, then fails it when the node is down by then. */
  async #answerable(signal?: AbortSignal): Promise<void> {
    if (this.#faults.delayMs > 0) await this.#clock.sleep(this.#faults.delayMs, signal);
    if (!signal?.aborted) this.#refuseWhenDown();
  }

  #refuseWhenDown(): void {
    if (this.#closing.signal.aborted) throw unavailable("The sandbox node is closed");
    if (this.#faults.down) throw unavailable("The sandbox node is down, as it was told to be");
  }

  #maybeLoseReply(): void {
    if (this.#faults.loseReplies === 0) return;
    this.#faults.loseReplies--;
    throw unavailable("The sandbox node's reply was lost, as it was told to be");
  }

  #look(invoice: Invoice | undefined): InvoiceState {
    if (!invoice) return { state: "unknown" };
    const state = stateOf(invoice, this.#clock.nowMs());
    if (state === "open" || state === "dead") return { state };
    const believed = invoice.lookupsSincePaid++ >= this.#faults.openAfterPreimage;
    return believed && state === "settled" ? { state, paidMsat: invoice.amountMsat } : { state: "open" };
  }

  #settleWhenDue(invoice: Invoice): void {
    if (settleAt(invoice) > this.#clock.nowMs()) return void this.#settleLater(invoice);
    try {
      this.#settle(invoice);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // The payment is written and so is the payer's right: only the settling waits for the disk.
      log.warn("sandbox_settlement_waits", { error: describeError(error) });
      void this.#settleLater(invoice);
    }
  }

  async #settleLater(invoice: Invoice): Promise<void> {
    const lateMs = settleAt(invoice) - this.#clock.nowMs();
    await this.#clock.sleep(lateMs > 0 ? lateMs : spaceRetryMs, this.#closing.signal);
    if (!this.#closing.signal.aborted) this.#settleWhenDue(invoice);
  }

  #settle(invoice: Invoice): void {
    const { paymentHash } = invoice;
    this.#write({ kind: "settlement", paymentHash, settleIndex: String(this.#settled + 1n) });
    const settlement = settlementOf(invoice);
    if (this.#faults.dropSettlements > 0) this.#faults.dropSettlements--;
    else if (!this.#faults.reorderSettlements) this.#tell(settlement);
    else if (this.#held) {
      this.#tell(settlement);
      this.#tellHeld();
    } else void this.#holdBack(settlement);
  }

  async #holdBack(settlement: Settlement): Promise<void> {
    this.#held = settlement;
    await this.#clock.sleep(reorderPatienceMs, this.#closing.signal);
    if (this.#held === settlement) this.#tellHeld();
  }

  #tellHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#tell(held);
  }

  #tell(settlement: Settlement): void {
    this.#told.push(settlement);
    if (this.#faults.duplicateSettlements) this.#told.push(settlement);
    this.#news.tell();
  }

  /** Puts the entry in the file, then in memory: what the file refuses has not happened. */
  #write(entry: Entry): void {
    this.#file.append(entry);
    this.#restore(entry);
  }

  #restoreKey(): Uint8Array {
    const kept = this.#file.past.find((entry) => entry.kind === "key");
    const privateKey = kept ? decodeHex32(kept.privateKey) : this.#random.bytes(32);
    assert(privateKey, "the sandbox's key is 32 bytes of hex");
    if (!kept) this.#file.append({ kind: "key", privateKey: toHex(privateKey) });
    return privateKey;
  }

  #restore(entry: Entry): void {
    if (this.payer.restore(entry) || entry.kind === "key") return;
    if (entry.kind === "invoice") {
      const { paymentHash, preimage, reference, bolt11, expiresAtMs } = entry;
      const amountMsat = msat(BigInt(entry.amountMsat));
      const unpaid = { settleAtMs: undefined, settleIndex: undefined, lookupsSincePaid: 0 };
      const invoice = { paymentHash, preimage, reference, bolt11, amountMsat, expiresAtMs, ...unpaid };
      this.#byHash.set(paymentHash, invoice);
      this.#byText.set(bolt11, invoice);
      return;
    }
    const invoice = this.#byHash.get(entry.paymentHash);
    assert(invoice, "the sandbox's file names an invoice before its payment");
    if (entry.kind === "payment") invoice.settleAtMs = entry.settleAtMs;
    if (entry.kind !== "settlement" || invoice.settleIndex !== undefined) return;
    invoice.settleIndex = BigInt(entry.settleIndex);
    this.#settled = invoice.settleIndex;
  }

  #receivedMsat(): Msat {
    let sum = 0n;
    for (const { settleIndex, amountMsat } of this.#byHash.values()) if (settleIndex !== undefined) sum += amountMsat;
    return msat(sum);
  }

  #forgetDead(): void {
    const nowMs = this.#clock.nowMs();
    for (const invoice of this.#byHash.values()) {
      const { paymentHash, bolt11 } = invoice;
      if (stateOf(invoice, nowMs - forgetDeadAfterMs) !== "dead") continue;
      this.#byHash.delete(paymentHash);
      this.#byText.delete(bolt11);
    }
  }
  /** Tells what was settled before; settles what was paid before, now or when its time comes. */
  #resumeSettling(): void {
    const nowMs = this.#clock.nowMs();
    const invoices = [...this.#byHash.values()];
    const settled = invoices.filter((invoice) => stateOf(invoice, nowMs) === "settled").map(settlementOf);
    this.#told.push(...settled.sort((a, b) => (a.cursor < b.cursor ? -1 : 1)));
    const paid = invoices.filter((invoice) => stateOf(invoice, nowMs) === "paid");
    for (const invoice of paid.sort((a, b) => settleAt(a) - settleAt(b))) this.#settleWhenDue(invoice);
  }
}

function stateOf(invoice: Invoice, nowMs: number): "open" | "paid" | "settled" | "dead" {
  if (invoice.settleIndex !== undefined) return "settled";
  if (invoice.settleAtMs !== undefined) return "paid";
  return nowMs >= invoice.expiresAtMs ? "dead" : "open";
}

function settleAt(invoice: Invoice): number {
  assert(invoice.settleAtMs !== undefined, "only a paid invoice settles");
  return invoice.settleAtMs;
}

function settlementOf(invoice: Invoice): Settlement {
  assert(invoice.settleIndex !== undefined, "only a settled invoice is told");
  return { paymentHash: invoice.paymentHash, paidMsat: invoice.amountMsat, cursor: invoice.settleIndex };
}

/** Bun's crypto lacks secp256k1, so the key is read out of a signature, as a payer reads it. */
function publicKeyOf(privateKey: Uint8Array): string {
  const zero = "00".repeat(32);
  const about = { paymentHash: zero, paymentSecret: zero, memo: "", timestampS: 0, expirySeconds: 1 };
  const signed = readInvoice(signInvoice({ privateKey, amountMsat: msat(1n), ...about }));
  assert(signed, "the sandbox reads what it signs");
  return signed.payee;
}

function unavailable(message: string): AppError {
  return new AppError("node_unavailable", message, { retryable: true });
}
