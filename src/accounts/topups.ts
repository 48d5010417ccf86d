/** Money ahead: a new account, or more on one that exists, and how it is claimed. Sections 4 and 5 of the design's money. */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { toHex, sha256, decodeHex32 } from "../base/bytes.ts";
import type { Challenge, ChallengeMint } from "../l402/challenge-mint.ts";
import { hashClaimSecret } from "../l402/claim-secret.ts";
import { type CredentialDesk, type CredentialProof, receiptOf, type Standing } from "../l402/credential.ts";
import type { PaidCharge } from "../l402/payment-scheme.ts";
import type { Msat, Sat } from "../money/msat.ts";
import type { CreditedInvoice, Invoice, Purpose } from "../payments/invoice.ts";
import type { Payments } from "../payments/payments.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import { type Accounts, outlived, settlementUnknown } from "./accounts.ts";
import type { Asker } from "./asker.ts";
import { type ClaimOutcome, claimPayment, type ClaimProof, findClaim } from "./claim.ts";
import type { Key } from "./keys.ts";
import { findRequest, idempotencyMismatch, takeRequestKey } from "./request-keys.ts";
import { deriveToken, hashToken } from "./token.ts";

export type TopupOrder = { amountSats: Sat; claimNeedsSecret: boolean; /** SHA-256 of the canonical body, hex. */ bodyHash: string };

export type TopupOutcome =
  | { kind: "challenge"; challenge: Challenge }
  /** Paid already: L402 clients repeat the request they paid for, and get what it bought. */
  | { kind: "claimed"; claimed: Claimed };

export type Claimed = { receipt: PaidCharge | undefined } & (
  | { kind: "token"; token: string; balanceMsat: Msat }
  | { kind: "moved"; creditedMsat: Msat; balanceMsat: Msat }
  | { kind: "refilled"; creditedMsat: Msat; balanceMsat: Msat | undefined }
);

/** A payment that may be claimed, with how it was proved. */
type Proven = { invoice: CreditedInvoice; proof: ClaimProof; receipt?: PaidCharge | undefined };

/** What is presented to claim with, besides the headers. */
export type ClaimRequest = { preimage: string | undefined; claimSecret: string | undefined; token: string | undefined; bodyHash: string };

export type TopupState = { paymentHash: string; state: "open" | "paid" | "claimed" | "expired"; amountSats: bigint; expiresAtMs: number };

type AccountStanding = Extract<Standing, { kind: "account" }>;

export class Topups {
  readonly #accounts: Accounts;
  readonly #desk: CredentialDesk;
  readonly #mint: ChallengeMint;
  readonly #payments: Payments;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #tokenKey: Uint8Array;
  readonly #boot: bigint;
  readonly #alwaysSecret: boolean;

  constructor(parts: {
    accounts: Accounts; desk: CredentialDesk; mint: ChallengeMint; payments: Payments; writer: Writer; reader: Reader; clock: Clock;
    /** Tokens are derived from it. */
    tokenKey: Uint8Array;
    boot: bigint;
    /** The owner allows no claim by bare preimage. */
    alwaysSecret: boolean;
  }) {
    this.#accounts = parts.accounts;
    this.#desk = parts.desk;
    this.#mint = parts.mint;
    this.#payments = parts.payments;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#clock = parts.clock;
    this.#tokenKey = parts.tokenKey;
    this.#boot = parts.boot;
    this.#alwaysSecret = parts.alwaysSecret;
  }

  /**
   * An invoice for a new account, or for more on the account of whoever asks.
   * @param parseOrder Called only if there is something to order: it throws on a bad amount.
   * @throws AppError `invalid_token`, `narrowed_credential`, `settlement_unknown`, `idempotency_mismatch`, and the invoice's.
   */
  async open(asker: Asker, parseOrder: () => TopupOrder): Promise<TopupOutcome> {
    const key = asker.token === undefined ? undefined : this.#accounts.token(asker.token, asker.address);
    const standing = asker.credential && (await this.#desk.resolve(asker.credential, "claim"));
    switch (standing?.kind) {
      case "account":
        return this.#openForCredential(asker, standing, key, parseOrder);
      case "unpaid":
        return { kind: "challenge", challenge: this.#mint.again(standing.invoice) };
      case "unsettled":
        throw settlementUnknown();
      case "outlived":
        throw outlived();
      // Clients throw a dead credential away only on a 402.
      case "refused":
      case undefined:
        if (key !== undefined) return this.#refill(asker, parseOrder(), { accountId: key.accountId, keyHash: key.hash });
        return this.#challenge(asker, parseOrder(), (claimNeedsSecret) => ({ kind: "topup", claimNeedsSecret }));
    }
  }

  /** The credential of a topup has been paid for: a client that repeats its request gets what it bought, not another bill. */
  async #openForCredential(asker: Asker, standing: AccountStanding, key: Key | undefined, parseOrder: () => TopupOrder): Promise<TopupOutcome> {
    const { invoice, limits, full } = standing;
    if (limits.narrowed) throw narrowed();
    if (invoice.purpose.kind !== "call") return { kind: "claimed", claimed: await this.#claim(provenBy(standing), key?.accountId) };
    if (key !== undefined) return this.#refill(asker, parseOrder(), { accountId: key.accountId, keyHash: key.hash });
    if (full) return this.#refill(asker, parseOrder(), { accountId: invoice.accountId, keyHash: undefined });
    return this.#challenge(asker, parseOrder(), (claimNeedsSecret) => ({ kind: "topup", claimNeedsSecret }));
  }

  async #refill(asker: Asker, order: TopupOrder, target: { accountId: string; keyHash: string | undefined }): Promise<TopupOutcome> {
    const before = this.#keptChallenge(asker, order, target.accountId);
    if (before?.state === "credited") return { kind: "claimed", claimed: await this.#claim({ invoice: before, proof: "secret" }, target.accountId) };
    if (before !== undefined && before.expiresAtMs > this.#clock.nowMs()) return { kind: "challenge", challenge: this.#mint.again(before) };
    const outcome = await this.#challenge(asker, order, (claimNeedsSecret) => ({ kind: "refill", claimNeedsSecret, ...target }));
    const kept = await this.#keep(asker, order, target.accountId, outcome.challenge.invoice.paymentHash, before?.paymentHash);
    // Two at once with one key: both made an invoice, one of them is shown.
    return kept === undefined ? outcome : { kind: "challenge", challenge: this.#mint.again(kept) };
  }

  async #challenge(asker: Asker, order: TopupOrder, purpose: (claimNeedsSecret: boolean) => Purpose): Promise<Extract<TopupOutcome, { kind: "challenge" }>> {
    const challenge = await this.#mint.mint({
      amountSats: order.amountSats, memo: `Balance of ${order.amountSats} sats`, fingerprint: "topup", terms: "{}",
      purpose: purpose(order.claimNeedsSecret || this.#alwaysSecret), address: asker.address(),
    });
    return { kind: "challenge", challenge };
  }

  /** The invoice that this `Idempotency-Key` stands for already. A stranger's key means nothing: strangers share no account. */
  #keptChallenge(asker: Asker, order: TopupOrder, accountId: string): Invoice | undefined {
    if (asker.idempotencyKey === undefined) return undefined;
    const kept = findRequest(this.#reader, { accountId, purpose: "topup", key: asker.idempotencyKey, atMs: this.#clock.nowMs() });
    if (kept !== undefined && kept.bodyHash !== order.bodyHash) throw idempotencyMismatch();
    return kept && this.#payments.find(kept.reference);
  }

  async #keep(asker: Asker, order: TopupOrder, accountId: string, paymentHash: string, replaces: string | undefined) {
    if (asker.idempotencyKey === undefined) return undefined;
    const { kept } = await this.#writer.durable(takeRequestKey, {
      accountId, purpose: "topup", key: asker.idempotencyKey, bodyHash: order.bodyHash, reference: paymentHash, atMs: this.#clock.nowMs(), replaces,
    });
    if (kept.bodyHash !== order.bodyHash) throw idempotencyMismatch();
    const first = kept.reference === paymentHash ? undefined : this.#payments.find(kept.reference);
    return first?.state === "open" ? first : undefined;
  }

  /**
   * Turns a payment into a token, or into more on the one that is presented. Never answered by a 402.
   * @throws AppError `invalid_payment`, `invalid_token`, `claim_secret_required`, `wrong_token`, `already_claimed`, `narrowed_credential`,
   * `settlement_unknown`, `idempotency_mismatch`.
   */
  async claim(asker: Asker, request: ClaimRequest): Promise<Claimed> {
    const into = this.#intoAccount(asker, request);
    const proven = await this.#resolve(asker, request);
    return this.#claim(proven, into, asker.idempotencyKey === undefined ? undefined : { key: asker.idempotencyKey, bodyHash: request.bodyHash });
  }

  /** The token in the body and those in the headers must be for one account. */
  #intoAccount(asker: Asker, request: ClaimRequest): string | undefined {
    const presented = [request.token, asker.token].filter((token) => token !== undefined);
    const accounts = new Set(presented.map((token) => this.#accounts.token(token, asker.address).accountId));
    if (accounts.size > 1) throw new AppError("wrong_token", "The token in the body and the one in the header are different accounts; send one of them.");
    return [...accounts][0];
  }

  /** What the body names decides; a credential beside it may be the key of somebody's library. */
  async #resolve(asker: Asker, request: ClaimRequest): Promise<Proven> {
    if (request.claimSecret !== undefined) return { invoice: await this.#resolveSecret(request.claimSecret), proof: "secret" };
    const preimage = request.preimage ?? (asker.singleUse?.kind === "preimage" ? asker.singleUse.preimage : undefined);
    const paymentHash = preimage === undefined ? undefined : toHex(sha256(decodeHex32(preimage)!));
    if (asker.credential !== undefined && (paymentHash === undefined || (await this.#isFor(asker.credential, paymentHash)))) return this.#resolveCredential(asker.credential);
    if (paymentHash === undefined) throw invalidPayment("Send the preimage, the claim_secret, or Authorization: L402 <macaroon>:<preimage>.");
    const invoice = this.#payments.find(paymentHash);
    if (invoice === undefined) throw invalidPayment("No topup has this preimage.");
    return { invoice: await this.#credited(invoice), proof: "preimage" };
  }

  async #isFor(credential: CredentialProof, paymentHash: string): Promise<boolean> {
    const standing = await this.#desk.resolve(credential, "claim");
    return "invoice" in standing && standing.invoice.paymentHash === paymentHash;
  }

  async #resolveSecret(secret: string): Promise<CreditedInvoice> {
    const invoice = this.#payments.findByClaimSecret(hashClaimSecret(secret));
    if (invoice === undefined) throw invalidPayment("No topup has this claim_secret.");
    return this.#credited(invoice, "secret");
  }

  /** @param proof A preimage proves that somebody has paid, so a node that is late is asked again; a secret does not. */
  async #credited(invoice: Invoice, proof: ClaimProof = "preimage"): Promise<CreditedInvoice> {
    if (invoice.state === "credited") return invoice;
    const answer = proof === "preimage" ? await this.#payments.confirmPaid(invoice.paymentHash) : await this.#payments.confirmCalmly(invoice.paymentHash);
    if (answer.kind === "credited") return answer.invoice;
    if (answer.kind === "dead" || (answer.kind === "open" && proof !== "preimage")) throw notPaid(invoice);
    throw settlementUnknown();
  }

  async #resolveCredential(credential: CredentialProof): Promise<Proven> {
    const standing = await this.#desk.resolve(credential, "claim");
    switch (standing.kind) {
      case "account":
        if (standing.limits.narrowed) throw narrowed();
        return provenBy(standing);
      case "unpaid":
        throw notPaid(standing.invoice);
      case "refused":
        throw invalidPayment("This credential is not one of ours, or its invoice was never paid.");
      case "outlived":
        throw outlived();
      case "unsettled":
        throw settlementUnknown();
    }
  }

  async #claim({ invoice, proof, receipt }: Proven, intoAccount: string | undefined, requestKey?: { key: string; bodyHash: string }): Promise<Claimed> {
    const { paymentHash } = invoice;
    const outcome = await this.#writer.durable(claimPayment, {
      paymentHash, proof, intoAccount, firstKeyHash: hashToken(deriveToken(this.#tokenKey, paymentHash, 1)), requestKey, boot: this.#boot, atMs: this.#clock.nowMs(),
    });
    if (!outcome.ok) throw refusal(outcome.reason);
    return outcome.kind === "token" ? { ...outcome, receipt, token: deriveToken(this.#tokenKey, paymentHash, outcome.generation) } : { ...outcome, receipt };
  }

  /** What anybody may know of a topup: whether it is paid, and how much it is. */
  state(paymentHash: string): TopupState | undefined {
    const invoice = this.#payments.find(paymentHash);
    if (invoice === undefined || invoice.purpose.kind === "call") return undefined;
    const facts = { paymentHash, amountSats: invoice.amountMsat / 1000n, expiresAtMs: invoice.expiresAtMs };
    if (invoice.state === "credited") return { ...facts, state: findClaim(this.#reader, paymentHash) === undefined ? "paid" : "claimed" };
    return { ...facts, state: invoice.expiresAtMs > this.#clock.nowMs() ? "open" : "expired" };
  }
}

function provenBy(standing: AccountStanding): Proven {
  return { invoice: standing.invoice, proof: standing.full ? "credential" : "secret", receipt: receiptOf(standing) };
}

function refusal(reason: Extract<ClaimOutcome, { ok: false }>["reason"]): AppError {
  switch (reason) {
    case "not_a_topup":
      return invalidPayment("No topup has this preimage. A payment for a call is claimed with its credential: Authorization: L402 <macaroon>:<preimage>.");
    case "claim_secret_required":
      return new AppError("claim_secret_required", "This topup is claimed with its claim_secret or its credential; a preimage alone is known to others as well.");
    case "wrong_token":
      return new AppError("wrong_token", "This payment refills another token.");
    case "idempotency_mismatch":
      return idempotencyMismatch();
    case "already_claimed":
      return new AppError("already_claimed", "This payment was claimed already; only its claim_secret or its credential can claim it again.");
  }
}

function invalidPayment(message: string): AppError {
  return new AppError("invalid_payment", message);
}

function notPaid(invoice: Invoice): AppError {
  return new AppError("not_paid", `This invoice over ${invoice.amountMsat / 1000n} sats is not paid.`);
}

function narrowed(): AppError {
  return new AppError("narrowed_credential", "A narrowed credential pays for calls; only the full one claims or refills.");
}
