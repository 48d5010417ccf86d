/** What may happen once only: a request under its key, and the one call that a payment opens for who knows just its hash. */
import type { Failed, LedgerModel, ReserveExpectation } from "./ledger-model.ts";

export type ModelRequest = {
  bodyHash: string;
  reference: string;
  atMs: number;
  /** Its day was over when another was kept, so that its row may be gone: what it says is not certain from then on. */
  mayBeGone: boolean;
};
export type RequestName = { accountId: string; purpose: "call" | "topup" | "claim"; key: string };
type CallRequest = { id: string; accountId: string; atMostMsat: bigint; atLeastMsat: bigint; atMs: number };

const dayMs = 86_400_000;

export class OnceModel {
  readonly requests = new Map<string, ModelRequest>();
  /** The call that each payment opened last. */
  readonly singleUses = new Map<string, string>();
  readonly #ledger: LedgerModel;

  constructor(ledger: LedgerModel) {
    this.#ledger = ledger;
  }

  static nameOf({ accountId, purpose, key }: RequestName): string {
    return `${accountId} ${purpose} ${key}`;
  }

  /** What the key stands for at this time. */
  standing(name: RequestName, atMs: number): ModelRequest | undefined {
    const request = this.requests.get(OnceModel.nameOf(name));
    return request && request.atMs > atMs - dayMs ? request : undefined;
  }

  knows(name: RequestName): boolean {
    return this.requests.has(OnceModel.nameOf(name));
  }

  isCertain(name: RequestName, atMs: number): boolean {
    return !this.standing(name, atMs)?.mayBeGone;
  }

  reserveCall(r: CallRequest & { requestKey: string | undefined }): ReserveExpectation | { ok: false; reason: "duplicate_request" } | Failed {
    if (r.requestKey === undefined) return this.#ledger.reserveCall(r);
    const name = { accountId: r.accountId, purpose: "call", key: r.requestKey } as const;
    const before = this.standing(name, r.atMs);
    if (before && this.#cameToSomething(before.reference)) return { ok: false, reason: "duplicate_request" };
    const outcome = this.#ledger.reserveCall(r);
    if ("ok" in outcome && outcome.ok) this.#keep(name, { bodyHash: "", reference: r.id, atMs: r.atMs });
    return outcome;
  }

  /** A call in flight, or paid for. One that cost nothing may be asked for again. */
  #cameToSomething(callId: string): boolean {
    const state = this.#ledger.calls.get(callId)?.state;
    return state === "open" || state === "posted";
  }

  takeRequestKey(k: RequestName & { bodyHash: string; reference: string; atMs: number; replaces: string | undefined }): { ok: true; kept: { bodyHash: string; reference: string } } {
    const before = this.standing(k, k.atMs);
    const stays = before !== undefined && before.reference !== k.replaces;
    if (!stays) this.#keep(k, k);
    const { bodyHash, reference } = stays ? before : k;
    return { ok: true, kept: { bodyHash, reference } };
  }

  /** False when the key of a claim stands for another body. */
  claimOnce(c: { paymentHash: string; requestKey: { key: string; bodyHash: string } | undefined; atMs: number }, accountId: string): boolean {
    if (c.requestKey === undefined) return true;
    const name = { accountId, purpose: "claim", key: c.requestKey.key } as const;
    const before = this.standing(name, c.atMs);
    if (before === undefined) this.#keep(name, { bodyHash: c.requestKey.bodyHash, reference: c.paymentHash, atMs: c.atMs });
    return before === undefined || before.bodyHash === c.requestKey.bodyHash;
  }

  #keep(name: RequestName, { bodyHash, reference, atMs }: { bodyHash: string; reference: string; atMs: number }): void {
    for (const request of this.requests.values()) if (request.atMs <= atMs - dayMs) request.mayBeGone = true;
    this.requests.set(OnceModel.nameOf(name), { bodyHash, reference, atMs, mayBeGone: false });
  }

  reserveSingleUse(r: CallRequest & { paymentHash: string }): ReserveExpectation | { ok: false; reason: "in_use" | "used" } | Failed {
    const state = this.#ledger.calls.get(this.singleUses.get(r.paymentHash) ?? "")?.state;
    if (state === "open") return { ok: false, reason: "in_use" };
    if (state === "posted") return { ok: false, reason: "used" };
    if (this.#ledger.invoices.get(r.paymentHash)?.state !== "credited") return { failed: true };
    const outcome = this.#ledger.reserveCall(r);
    if ("ok" in outcome && outcome.ok) this.singleUses.set(r.paymentHash, r.id);
    return outcome;
  }
}
