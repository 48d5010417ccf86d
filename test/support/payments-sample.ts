/** Inputs for the writer's commands, filled with what the durability tests do not care about. */
import { type Msat, msat } from "../../src/money/msat.ts";
import type { PostCall } from "../../src/charge/commands.ts";
import type { OpenInvoice } from "../../src/payments/invoice.ts";

/** 2026-01-01, and never a real clock: a run is the same on every day. */
export const atMs = 1_767_225_600_000;

/** The n-th payment hash. */
export function hashOf(n: number): string {
  return n.toString(16).padStart(64, "0");
}

/** `cursor` is where the node's stream will stand when it is settled; kept in the terms so that a check can find it. */
export function sampleInvoice(n: number, options: { amountMsat: bigint; rollsOverFrom?: string | undefined; cursor?: number }): OpenInvoice {
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
    purpose: { kind: "call", rollsOverFrom: options.rollsOverFrom },
    claimSecretHash: undefined,
    createdAtMs: atMs,
    expiresAtMs: atMs + 600_000,
  };
}

export type SamplePost = { id: string; accountId: string; costMsat: bigint; reservedMsat: Msat; boot: bigint; label?: string };

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
    startedAtMs: atMs,
    boot: post.boot,
    atMs: atMs + 100,
  };
}
