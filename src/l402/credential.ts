/**
 * Finds out what a presented L402 or MPP credential opens. It reserves nothing and tells nobody's balance; what each
 * proof is good for is the table of the design's money section 4.
 */
import { decodeHex32, sha256, toHex } from "../base/bytes.ts";
import { BoundedMap } from "../base/bounded-map.ts";
import type { Clock } from "../base/clock.ts";
import { maxCachedCredentials, maxCredentialBytes } from "../base/limits.ts";
import { opens } from "../lightning/preimage.ts";
import type { CreditedInvoice, Invoice, OpenInvoice } from "../payments/invoice.ts";
import type { Confirmation } from "../payments/payments.ts";
import type { AuthorizationProof } from "./authorization.ts";
import { type CredentialLimits, mintedCaveats, readCaveats } from "./caveats.ts";
import { type VerifiedMacaroon, verifyMacaroon } from "./macaroon.ts";
import { echoMatches, type PaidCharge, paymentOffer } from "./payment-scheme.ts";

export type CredentialProof = Extract<AuthorizationProof, { kind: "credential" | "payment" }>;

export type Standing =
  /** `full`: nobody else can know this proof, so it may do more than pay for calls. */
  | { kind: "account"; invoice: CreditedInvoice; limits: CredentialLimits; full: boolean; scheme: "l402" | "payment" }
  /** Ours, unpaid and still payable: its holder gets the same challenge again, never a second invoice. */
  | { kind: "unpaid"; invoice: OpenInvoice }
  | { kind: "refused" }
  /** It refilled a token that has been replaced since: the token opens the account, this does not any more. */
  | { kind: "outlived" }
  /** The proof may well be right, but the node has not said settled. Never answered by another invoice. */
  | { kind: "unsettled" };

export type SingleUseStanding =
  | { kind: "credited"; invoice: CreditedInvoice }
  | Extract<Standing, { kind: "unpaid" | "refused" | "unsettled" }>;

type PaymentsPort = {
  find(paymentHash: string): Invoice | undefined;
  findByQuote(quoteId: string): Invoice | undefined;
  confirmPaid(paymentHash: string): Promise<Confirmation>;
  confirmCalmly(paymentHash: string): Promise<Confirmation>;
};

const refused = { kind: "refused" } as const;

export class CredentialDesk {
  readonly #master: Uint8Array;
  readonly #payments: PaymentsPort;
  readonly #clock: Clock;
  readonly #offer: () => { realm: string; network: string };
  readonly #isLiveKey: (keyHash: string) => boolean;
  /** A signature is right for ever; checking it costs more than the rest of a call's credential. */
  readonly #verified = new BoundedMap<VerifiedMacaroon>(maxCachedCredentials);

  constructor(parts: {
    master: Uint8Array;
    payments: PaymentsPort;
    clock: Clock;
    /** As it was made: the network is known once the node has answered. */
    offer(): { realm: string; network: string };
    /** Whether the token of this hash still opens its account. */
    isLiveKey(keyHash: string): boolean;
  }) {
    this.#master = parts.master;
    this.#payments = parts.payments;
    this.#clock = parts.clock;
    this.#offer = parts.offer;
    this.#isLiveKey = parts.isLiveKey;
  }

  /** @param use Only a call needs a credential that has not expired; only a claim one whose token was not replaced. */
  async resolve(proof: CredentialProof, use: "call" | "balance" | "claim" = "call"): Promise<Standing> {
    const standing = await (proof.kind === "credential" ? this.#resolveMacaroon(proof) : this.#resolveCharge(proof));
    if (standing.kind !== "account") return standing;
    const expired = standing.limits.validUntilS * 1000 <= this.#clock.nowMs();
    // What expired by our own date still holds money; what its holder dated was lent for so long.
    if (expired && (use === "call" || standing.limits.narrowed)) return refused;
    const { purpose } = standing.invoice;
    const outlived = use !== "claim" && purpose.kind === "refill" && purpose.keyHash !== undefined && !this.#isLiveKey(purpose.keyHash);
    return outlived ? { kind: "outlived" } : standing;
  }

  /** A payment hash or a bare preimage: good for the very request that was quoted, and for nothing that was not a call. */
  async resolveSingleUse(proof: { kind: "preimage"; preimage: string } | { kind: "hash"; paymentHash: string }, fingerprint: () => string): Promise<SingleUseStanding> {
    const paymentHash = proof.kind === "hash" ? proof.paymentHash : toHex(sha256(decodeHex32(proof.preimage)!));
    const invoice = this.#payments.find(paymentHash);
    if (invoice?.purpose.kind !== "call" || invoice.quoteFingerprint !== fingerprint()) return refused;
    const standing = await this.#settle(invoice, proof.kind === "preimage" ? proof.preimage : undefined);
    if (standing.kind !== "credited") return standing;
    const caveats = readCaveats(mintedCaveats(invoice.createdAtMs), undefined);
    if (!caveats.ok || caveats.limits.validUntilS * 1000 <= this.#clock.nowMs()) return refused;
    return standing;
  }

  async #resolveMacaroon(proof: Extract<CredentialProof, { kind: "credential" }>): Promise<Standing> {
    const macaroon = this.#verify(proof.macaroon);
    if (!macaroon) return refused;
    const caveats = readCaveats(macaroon.caveats, proof.preimage);
    if (!caveats.ok) return refused;
    const invoice = this.#payments.find(macaroon.paymentHash);
    if (!invoice || invoice.tokenId !== toHex(macaroon.tokenId)) return refused;
    const standing = await this.#settle(invoice, proof.preimage);
    // Its own challenge would be the whole one again: whoever holds a narrowed macaroon was not given that.
    if (standing.kind === "unpaid" && caveats.limits.narrowed) return refused;
    if (standing.kind !== "credited") return standing;
    const full = proof.preimage !== undefined && !caveats.limits.narrowed;
    return { kind: "account", invoice: standing.invoice, limits: caveats.limits, full, scheme: "l402" };
  }

  #verify(bytes: Uint8Array): VerifiedMacaroon | undefined {
    if (bytes.length > maxCredentialBytes) return undefined;
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    const known = this.#verified.get(key);
    if (known) return known;
    const verified = verifyMacaroon(bytes, this.#master);
    // Only good ones: a stranger's guesses must not push out what buyers use.
    if (verified) this.#verified.set(key, verified);
    return verified;
  }

  async #resolveCharge(proof: Extract<CredentialProof, { kind: "payment" }>): Promise<Standing> {
    const invoice = proof.challengeId === undefined ? undefined : this.#payments.findByQuote(proof.challengeId);
    if (!invoice || !echoMatches(proof.echoed, paymentOffer(toCharge(invoice), this.#offer()))) return refused;
    const caveats = readCaveats(mintedCaveats(invoice.createdAtMs), undefined);
    if (!caveats.ok) return refused;
    const standing = await this.#settle(invoice, proof.preimage);
    if (standing.kind !== "credited") return standing;
    return { kind: "account", invoice: standing.invoice, limits: caveats.limits, full: true, scheme: "payment" };
  }

  async #settle(invoice: Invoice, preimage: string | undefined): Promise<SingleUseStanding> {
    const right = preimage === undefined ? undefined : opens(preimage, invoice.paymentHash);
    if (invoice.state === "credited") return right === false ? refused : { kind: "credited", invoice };
    // Some wallets poll with a placeholder for the preimage; the node need not be asked about those.
    if (right === false) return this.#ownChallenge(invoice);
    const answer = right ? await this.#payments.confirmPaid(invoice.paymentHash) : await this.#payments.confirmCalmly(invoice.paymentHash);
    switch (answer.kind) {
      case "credited":
        return answer;
      case "open":
        // LND and phoenixd show preimages of unpaid invoices to whoever may read them: knowing one is not paying.
        return right ? { kind: "unsettled" } : this.#ownChallenge(invoice);
      case "dead":
        return refused;
      case "unknown":
      case "unreachable":
        return { kind: "unsettled" };
    }
  }

  #ownChallenge(invoice: OpenInvoice): SingleUseStanding {
    return invoice.expiresAtMs > this.#clock.nowMs() ? { kind: "unpaid", invoice } : refused;
  }
}

function toCharge(invoice: Invoice) {
  return {
    quoteId: invoice.quoteId,
    paymentHash: invoice.paymentHash,
    bolt11: invoice.bolt11,
    amountSats: invoice.amountMsat / 1000n,
    expiresAtMs: invoice.expiresAtMs,
  };
}

/** For who paid by the `Payment` scheme. */
export function receiptOf({ scheme, invoice }: Extract<Standing, { kind: "account" }>): PaidCharge | undefined {
  return scheme === "payment" ? { challengeId: invoice.quoteId, paymentHash: invoice.paymentHash, settledAtMs: invoice.creditedAtMs } : undefined;
}
