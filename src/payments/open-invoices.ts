/**
 * How many unpaid invoices the node holds for us, in all and for each address that means one asker. Kept in memory: a
 * count on every 402 would be a scan, and a bound on a nuisance may be off by a few after a restart. Pure.
 */
export class OpenInvoices {
  #count: number;
  readonly #byAddress = new Map<string, Map<string, number>>();
  readonly #addressOf = new Map<string, string>();
  readonly #inTheMaking = new Map<string, number>();

  constructor(count: number) {
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  /** Those of one address that can still be paid, and those that are being made for it. */
  countOf(address: string, nowMs: number): number {
    const own = this.#byAddress.get(address);
    for (const [paymentHash, expiresAtMs] of own ?? []) if (expiresAtMs <= nowMs) this.#release(paymentHash);
    return (own?.size ?? 0) + (this.#inTheMaking.get(address) ?? 0);
  }

  /** Before the node is asked, so that a burst of askers is counted too. Ends in `made` or `undo`. */
  begin(address: string | undefined): void {
    this.#count++;
    if (address !== undefined) this.#inTheMaking.set(address, (this.#inTheMaking.get(address) ?? 0) + 1);
  }

  /** The node made none. */
  undo(address: string | undefined): void {
    this.#count--;
    this.#endMaking(address);
  }

  made(paymentHash: string, address: string | undefined, expiresAtMs: number): void {
    if (address === undefined) return;
    this.#endMaking(address);
    const own = this.#byAddress.get(address) ?? new Map<string, number>();
    this.#byAddress.set(address, own.set(paymentHash, expiresAtMs));
    this.#addressOf.set(paymentHash, address);
  }

  /** Paid, or gone. */
  ended(paymentHash: string): void {
    this.#count = Math.max(0, this.#count - 1);
    this.#release(paymentHash);
  }

  #endMaking(address: string | undefined): void {
    if (address === undefined) return;
    const left = this.#inTheMaking.get(address)! - 1;
    if (left > 0) this.#inTheMaking.set(address, left);
    else this.#inTheMaking.delete(address);
  }

  #release(paymentHash: string): void {
    const address = this.#addressOf.get(paymentHash);
    if (address === undefined) return;
    this.#addressOf.delete(paymentHash);
    const own = this.#byAddress.get(address)!;
    own.delete(paymentHash);
    if (own.size === 0) this.#byAddress.delete(address);
  }
}
