/** Who gets what for a payment that is claimed, and which token opens it: the rules of claims and keys, told a second time. */
import type { Failed, LedgerModel, ModelPurpose } from "./ledger-model.ts";

/** What was presented: macaroon and preimage, the claim secret, or what every hop of the payment has seen as well. */
export type Proof = "credential" | "secret" | "preimage";
export type ModelClaim = {
  proof: Proof;
  /** Where the money of the payment is now. */
  into: string;
  atMs: number;
  /** What the payment has brought to each token that it was claimed into. */
  brought: Map<string, bigint>;
};
export type ModelKey = { hash: string; generation: number; ended: "rotated" | "revoked" | undefined };
export type ClaimInput = {
  paymentHash: string; proof: Proof; intoAccount: string | undefined; firstKeyHash: string; requestKey: { key: string; bodyHash: string } | undefined; atMs: number;
};
export type ClaimExpectation =
  | { ok: true; kind: "token"; generation: number; balanceMsat: bigint }
  | { ok: true; kind: "moved"; creditedMsat: bigint; balanceMsat: bigint }
  | { ok: true; kind: "refilled"; creditedMsat: bigint; balanceMsat: bigint | undefined }
  | { ok: false; reason: ClaimRefusal };
export type ClaimRefusal = "not_a_topup" | "claim_secret_required" | "wrong_token" | "already_claimed" | "idempotency_mismatch";

/** A claim by what others know too is answered again for ten minutes. */
const repeatMs = 600_000;

export class ClaimModel {
  readonly made = new Map<string, ModelClaim>();
  /** Tokens of a payment, the oldest first. */
  readonly keys = new Map<string, ModelKey[]>();
  readonly #ledger: LedgerModel;

  constructor(ledger: LedgerModel) {
    this.#ledger = ledger;
  }

  newestKey(paymentHash: string): ModelKey | undefined {
    return this.keys.get(paymentHash)?.at(-1);
  }

  /** The account that the payment's token opens, as long as it does. */
  openedBy(paymentHash: string): string | undefined {
    const key = this.newestKey(paymentHash);
    return key && key.ended === undefined ? this.#ledger.invoices.get(paymentHash)!.accountId! : undefined;
  }

  claim(c: ClaimInput): ClaimExpectation | Failed {
    const invoice = this.#ledger.invoices.get(c.paymentHash);
    if (invoice?.state !== "credited") return { failed: true };
    const account = invoice.accountId!;
    const reason = invoice.purpose.kind === "refill" ? this.#refuseRefill(c, account, invoice.purpose.claimNeedsSecret) : this.#refuseAccount(c, account, invoice.purpose);
    if (reason !== undefined) return { ok: false, reason };
    if (!this.#ledger.once.claimOnce(c, account)) return { ok: false, reason: "idempotency_mismatch" };
    if (invoice.purpose.kind === "refill") return this.#claimRefill(c, account, invoice.credited!);
    if (c.intoAccount === account) return { ok: true, kind: "moved", creditedMsat: 0n, balanceMsat: this.#ledger.spendable(account) };
    return c.intoAccount === undefined ? this.#claimToken(c, account) : this.#moveInto(c, account, c.intoAccount);
  }

  /** Nothing of a refill can be taken away by a claim, so nobody is too late. */
  #refuseRefill(c: ClaimInput, account: string, claimNeedsSecret: boolean): ClaimRefusal | undefined {
    if (c.intoAccount !== undefined) return c.intoAccount === account ? undefined : "wrong_token";
    return c.proof === "preimage" && claimNeedsSecret ? "claim_secret_required" : undefined;
  }

  #refuseAccount(c: ClaimInput, account: string, purpose: Exclude<ModelPurpose, { kind: "refill" }>): ClaimRefusal | undefined {
    if (c.proof === "preimage" && purpose.kind === "call") return "not_a_topup";
    if (c.proof === "preimage" && purpose.kind === "topup" && purpose.claimNeedsSecret) return "claim_secret_required";
    if (c.proof === "preimage" && !this.#isForPreimage(c, account)) return "already_claimed";
    const key = this.newestKey(c.paymentHash);
    if (key === undefined) return undefined;
    // A token that was replaced, or ended, may have been seen by whoever holds the weaker proofs.
    if (c.proof !== "credential" && (key.ended !== undefined || key.generation > 1)) return "already_claimed";
    return key.ended !== undefined && c.intoAccount === undefined ? "already_claimed" : undefined;
  }

  /** First come, then the same again for a while; never after somebody with a better proof. */
  #isForPreimage(c: ClaimInput, account: string): boolean {
    const before = this.made.get(c.paymentHash);
    if (before === undefined) return true;
    return before.proof === "preimage" && c.atMs - before.atMs < repeatMs && before.into === (c.intoAccount ?? account);
  }

  #claimRefill(c: ClaimInput, account: string, creditedMsat: bigint): ClaimExpectation {
    this.#record(c, account);
    const isHop = c.proof === "preimage" && c.intoAccount === undefined;
    return { ok: true, kind: "refilled", creditedMsat, balanceMsat: isHop ? undefined : this.#ledger.spendable(account) };
  }

  #claimToken(c: ClaimInput, account: string): ClaimExpectation {
    const balanceMsat = this.#ledger.spendable(account);
    const key = this.newestKey(c.paymentHash);
    if (key !== undefined) return { ok: true, kind: "token", generation: key.generation, balanceMsat };
    this.#record(c, account);
    this.keys.set(c.paymentHash, [{ hash: c.firstKeyHash, generation: 1, ended: undefined }]);
    return { ok: true, kind: "token", generation: 1, balanceMsat };
  }

  #moveInto(c: ClaimInput, account: string, into: string): ClaimExpectation {
    const moved = this.#ledger.moveRest(account, into);
    const claim = this.#record(c, into);
    if (moved > 0n) {
      claim.into = into;
      claim.brought.set(into, (claim.brought.get(into) ?? 0n) + moved);
    }
    // Who has not heard the answer is told again.
    const before = claim.brought.get(into) ?? 0n;
    return { ok: true, kind: "moved", creditedMsat: moved > 0n ? moved : before, balanceMsat: this.#ledger.spendable(into) };
  }

  #record({ paymentHash, proof, atMs }: ClaimInput, into: string): ModelClaim {
    const claim = this.made.get(paymentHash) ?? { proof, into, atMs, brought: new Map<string, bigint>() };
    this.made.set(paymentHash, claim);
    return claim;
  }

  rotate(r: { paymentHash: string; fromGeneration: number; hash: string }): { ok: true } | { ok: false; reason: "not_found" | "rotated_meanwhile" } {
    const key = this.newestKey(r.paymentHash);
    if (key === undefined) return { ok: false, reason: "not_found" };
    if (key.generation !== r.fromGeneration) return { ok: false, reason: "rotated_meanwhile" };
    key.ended ??= "rotated";
    this.keys.get(r.paymentHash)!.push({ hash: r.hash, generation: key.generation + 1, ended: undefined });
    return { ok: true };
  }

  revoke(paymentHash: string): { ok: true; revoked: boolean } {
    const key = this.newestKey(paymentHash);
    if (key === undefined || key.ended !== undefined) return { ok: true, revoked: false };
    key.ended = "revoked";
    return { ok: true, revoked: true };
  }
}
