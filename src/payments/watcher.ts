/**
 * Notices settlements nobody came back for. The node's stream is the fast way; the truth is a look-up of every open
 * invoice, because streams break, repeat, reorder and stay silently half open.
 */
import type { Clock } from "../base/clock.ts";
import { firstStreamRetryMs, invoiceForgetAfterMs, invoicePageSize, invoicePollMs, lastStreamRetryMs, streamPatienceMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { Cleanable, Node } from "../lightning/node.ts";
import type { Reader } from "../store/reader.ts";
import { findCursor, listOpenInvoices } from "./commands.ts";
import type { OpenInvoice } from "./invoice.ts";
import type { Payments } from "./payments.ts";

export class SettlementWatcher {
  readonly #node: Node & Partial<Cleanable>;
  readonly #payments: Payments;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  /** The stream that is open now, and when it last told anything. */
  #stream = new AbortController();
  #toldAtMs = 0;

  constructor(parts: { node: Node & Partial<Cleanable>; payments: Payments; reader: Reader; clock: Clock }) {
    this.#node = parts.node;
    this.#payments = parts.payments;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
  }

  start(): void {
    this.#running = Promise.all([this.#listen(), this.#poll()]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop;
    for (let retryMs = firstStreamRetryMs; !signal.aborted; retryMs = Math.min(retryMs * 2, lastStreamRetryMs)) {
      this.#stream = new AbortController();
      const leave = () => this.#stream.abort();
      signal.addEventListener("abort", leave, { once: true });
      try {
        for await (const settlement of this.#node.settlements(findCursor(this.#reader), this.#stream.signal)) {
          retryMs = firstStreamRetryMs;
          this.#toldAtMs = this.#clock.nowMs();
          await this.#payments.credit(settlement.paymentHash, settlement.paidMsat, settlement.cursor, settlement.feeMsat);
        }
      } catch (error) {
        log.warn("node.stream_broke", { reason: describeError(error), retry_ms: retryMs });
      }
      signal.removeEventListener("abort", leave);
      // A listing that failed may have left a stream open.
      leave();
      await this.#clock.sleep(retryMs, signal);
      // What was settled while nobody listened is found by look-up as well, not by the stream's word alone.
      if (!signal.aborted) await this.sweep();
    }
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.sweep();
      await this.#clock.sleep(invoicePollMs, signal);
    }
  }

  /** Looks every open invoice up once: credits the settled, forgets the dead. */
  async sweep(): Promise<void> {
    for (let after = ""; !this.#stop.signal.aborted; ) {
      const page = listOpenInvoices(this.#reader, after, invoicePageSize);
      if (page.length === 0) return;
      const answers = await Promise.all(page.map((invoice) => this.#check(invoice)));
      if (answers.includes("unreachable")) return;
      after = page.at(-1)!.reference;
    }
  }

  async #check(invoice: OpenInvoice): Promise<"asked" | "unreachable"> {
    const answer = await this.#payments.confirm(invoice.paymentHash);
    if (answer.kind === "unreachable") return "unreachable";
    if (answer.kind === "credited") void this.#doubtStream();
    // A node that expired it keeps its word. One that does not know it may find it again (it syncs, it was restored).
    const longGone = this.#clock.nowMs() > invoice.expiresAtMs + invoiceForgetAfterMs;
    if (answer.kind === "dead" || (answer.kind === "unknown" && longGone)) await this.#forget(invoice.paymentHash, answer.kind === "dead");
    return "asked";
  }

  async #forget(paymentHash: string, isOnNode: boolean): Promise<void> {
    await this.#payments.forget(paymentHash);
    // What stays there costs the node a little room, and nobody any money.
    if (isOnNode) await this.#node.discardInvoice?.(paymentHash).catch(() => undefined);
  }

  /** A look was faster than the stream. If that says nothing for a while, nobody is at its other end any more: it is opened again. */
  async #doubtStream(): Promise<void> {
    const [stream, foundAtMs] = [this.#stream, this.#clock.nowMs()];
    await this.#clock.sleep(streamPatienceMs, this.#stop.signal);
    if (this.#stop.signal.aborted || this.#toldAtMs >= foundAtMs || stream !== this.#stream) return;
    log.warn("node.stream_silent", this.#toldAtMs === 0 ? { told: "nothing yet" } : { for_ms: this.#clock.nowMs() - this.#toldAtMs });
    stream.abort();
  }
}
