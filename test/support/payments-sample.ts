/** Inputs for the writer's commands, filled with what the durability tests do not care about. */
import type { Claim, ClaimProof } from "../../src/accounts/claim.ts";
import { deriveToken, hashToken } from "../../src/accounts/token.ts";
import { type Msat, msat } from "../../src/money/msat.ts";
import type { PostCall, ReserveTrial } from "../../src/charge/commands.ts";
import type { OpenInvoice, Purpose } from "../../src/payments/invoice.ts";

/** 2026-01-01, and never a real clock: a run is the same on every day. */
export const atMs = 1_767_225_600_000;

/** The n-th payment hash. */
export function hashOf(n: number): string {
  return n.toString(16).padStart(64, "0");
}

/** The hash of the token that a payment gets, of this generation: the same in every run. */
export function tokenHashOf(paymentHash: string, generation: number): string {
  return hashToken(deriveToken(new Uint8Array(32).fill(7), paymentHash, generation));
}

export type SampleInvoice = {
  amountMsat: bigint;
  rollsOverFrom?: string | undefined;
  /** For a call unless told. */
  purpose?: Purpose;
  cursor?: number;
};

/** `cursor` is where the node's stream will stand when it is settled; kept in the terms so that a check can find it. */
export function sampleInvoice(n: number, options: SampleInvoice): OpenInvoice {
  const purpose = options.purpose ?? { kind: "call" as const, rollsOverFrom: options.rollsOverFrom };
  return {
    state: "open",
    paymentHash: hashOf(n),
    reference: `i_${String(n).padStart(12, "0")}`,
    bolt11: `lnbc${n}`.padEnd(320, "q"),
    amountMsat: msat(options.amountMsat),
    tokenId: hashOf(n),
    quoteId: `q_${n}`,
    quoteFingerprint: hashOf(n + 1),
    quoteTerms: String(options.cursor ?? 0),
    purpose,
    claimSecretHash: purpose.kind === "call" ? undefined : hashOf(n),
    createdAtMs: atMs,
    expiresAtMs: atMs + 600_000,
  };
}

export type SamplePost = { id: string; accountId: string; costMsat: bigint; reservedMsat: Msat; boot: bigint; label?: string; free?: boolean };

export function samplePost(post: SamplePost): PostCall {
  return {
    id: post.id,
    accountId: post.accountId,
    costMsat: msat(post.costMsat),
    reservedMsat: post.reservedMsat,
    terms: "sample",
    record: {
      endpoint: post.label ?? "chat", model: "sample", upstream: "sandbox", ending: "completed", inputTokens: 10, outputTokens: 20, estimated: false,
    },
    free: post.free ?? false,
    startedAtMs: atMs,
    boot: post.boot,
    atMs: atMs + 100,
  };
}

export function sampleClaim(paymentHash: string, proof: ClaimProof, intoAccount: string | undefined, boot: bigint): Claim {
  return { paymentHash, proof, intoAccount, firstKeyHash: tokenHashOf(paymentHash, 1), boot, atMs };
}

/** What the house gives away in a day, all in all. */
export const trialBudgetMsat = msat(10_000n);

export function sampleTrial(id: string, address: string, amountMsat: bigint, boot: bigint): ReserveTrial {
  return { id, addressHash: address, rules: { callsPerDay: 1, dailyBudgetMsat: trialBudgetMsat }, atMostMsat: msat(amountMsat), atLeastMsat: msat(amountMsat), boot, atMs };
}
