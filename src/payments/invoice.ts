/**
 * Money in. One type per state. Pure.
 *
 *     open -> credited        the node says it is settled; whoever noticed, however often
 *     open -> (no row)        only when the node says it can never be paid any more: our clock may be wrong,
 *                             and a late payment is still money
 */
import { type Msat, msat } from "../money/msat.ts";

/** What an invoice pays for: the call it was quoted for, a new account, or more on the account of a token. */
export type Purpose =
  | { kind: "call"; /** The account whose rest moves over when this one is credited. */ rollsOverFrom: string | undefined }
  | { kind: "topup"; claimNeedsSecret: boolean }
  | { kind: "refill"; claimNeedsSecret: boolean; accountId: string; /** Hash of the token it was asked for with, if it was one. */ keyHash: string | undefined };

type InvoiceFacts = {
  paymentHash: string;
  /** Our random id, kept by the node with the invoice. */
  reference: string;
  bolt11: string;
  amountMsat: Msat;
  /** Hex; with the payment hash it makes the credential again. */
  tokenId: string;
  quoteId: string;
  /** Which request was quoted, and the terms it can always have. Opaque here. */
  quoteFingerprint: string;
  quoteTerms: string;
  purpose: Purpose;
  /** Of topups and refills: SHA-256 of the secret that claims them. Hex. */
  claimSecretHash: string | undefined;
  createdAtMs: number;
  expiresAtMs: number;
};

export type OpenInvoice = InvoiceFacts & { state: "open" };
export type CreditedInvoice = InvoiceFacts & { state: "credited"; accountId: string; creditedMsat: Msat; creditedAtMs: number };
export type Invoice = OpenInvoice | CreditedInvoice;

export type InvoiceRow = {
  payment_hash: string;
  state: "open" | "credited";
  reference: string;
  bolt11: string;
  amount_msat: bigint;
  token_id: string;
  quote_id: string;
  quote_fingerprint: string;
  quote_terms: string;
  purpose: "call" | "topup" | "refill";
  rolls_over_from: string | null;
  refills_account: string | null;
  refills_key: string | null;
  claim_needs_secret: bigint;
  claim_secret_hash: string | null;
  account_id: string | null;
  credited_msat: bigint | null;
  created_at_ms: bigint;
  expires_at_ms: bigint;
  credited_at_ms: bigint | null;
};

export function toInvoice(row: InvoiceRow): Invoice {
  const facts: InvoiceFacts = {
    paymentHash: row.payment_hash,
    reference: row.reference,
    bolt11: row.bolt11,
    amountMsat: msat(row.amount_msat),
    tokenId: row.token_id,
    quoteId: row.quote_id,
    quoteFingerprint: row.quote_fingerprint,
    quoteTerms: row.quote_terms,
    purpose: toPurpose(row),
    claimSecretHash: row.claim_secret_hash ?? undefined,
    createdAtMs: Number(row.created_at_ms),
    expiresAtMs: Number(row.expires_at_ms),
  };
  if (row.state === "open") return { ...facts, state: "open" };
  return { ...facts, state: "credited", accountId: row.account_id!, creditedMsat: msat(row.credited_msat!), creditedAtMs: Number(row.credited_at_ms) };
}

function toPurpose(row: InvoiceRow): Purpose {
  const claimNeedsSecret = row.claim_needs_secret === 1n;
  switch (row.purpose) {
    case "call":
      return { kind: "call", rollsOverFrom: row.rolls_over_from ?? undefined };
    case "topup":
      return { kind: "topup", claimNeedsSecret };
    case "refill":
      return { kind: "refill", claimNeedsSecret, accountId: row.refills_account!, keyHash: row.refills_key ?? undefined };
  }
}
