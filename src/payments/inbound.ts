/** How much the node can still be paid, asked at most every few seconds: an invoice that nobody can pay is worth nothing to a buyer. */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { inboundMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { Msat } from "../money/msat.ts";

export type InboundSource = { receivableMsat(): Promise<Msat | undefined> };

export class Inbound {
  readonly #source: InboundSource | undefined;
  readonly #clock: Pick<Clock, "nowMs">;
  #known: { atMs: number; receivable: Promise<Msat | undefined> } | undefined;

  /** @param source Undefined where the node cannot tell. */
  constructor(source: InboundSource | undefined, clock: Pick<Clock, "nowMs">) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Undefined where it is not known: then nobody is turned away for it. */
  receivable(): Promise<Msat | undefined> {
    const nowMs = this.#clock.nowMs();
    if (this.#known === undefined || nowMs >= this.#known.atMs + inboundMs) this.#known = { atMs: nowMs, receivable: this.#ask() };
    return this.#known.receivable;
  }

  async #ask(): Promise<Msat | undefined> {
    try {
      return await this.#source?.receivableMsat();
    } catch (error) {
      log.info("node.inbound_unknown", { reason: describeError(error) });
      return undefined;
    }
  }

  /** @throws AppError `no_inbound` when the node cannot be paid so much. */
  async check(amountMsat: Msat): Promise<void> {
    const receivable = await this.receivable();
    if (receivable === undefined || amountMsat <= receivable) return;
    log.warn("node.too_little_inbound", { asked_msat: amountMsat, receivable_msat: receivable });
    throw new AppError("no_inbound", `This house cannot be paid ${amountMsat / 1000n} sats at the moment: its channels can still take ${receivable / 1000n}.`, { retryable: true, retryAfterSeconds: 60 });
  }
}
