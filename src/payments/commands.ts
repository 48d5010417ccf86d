/** The writes of money in. Crediting, opening the account, rolling over and advancing the node's cursor are one. */
import { type Msat, msat } from "../money/msat.ts";
import { liquidityFeesAccount, nodeAccount, spendable } from "../ledger/account.ts";
import { getAccount, move, openAccount } from "../ledger/transfers.ts";
import { command, type Tx } from "../store/command.ts";
import { type CreditedInvoice, type Invoice, type InvoiceRow, type OpenInvoice, toInvoice } from "./invoice.ts";

const selectInvoice = `SELECT payment_hash, state, purpose, reference, bolt11, amount_msat, token_id, quote_id, quote_fingerprint, quote_terms,
  rolls_over_from, refills_account, refills_key, claim_needs_secret, claim_secret_hash, account_id, credited_msat, created_at_ms,
  expires_at_ms, credited_at_ms FROM invoice`;

export function findInvoice(tx: Pick<Tx, "get">, paymentHash: string): Invoice | undefined {
  const row = tx.get<InvoiceRow>(`${selectInvoice} WHERE payment_hash = ?`, paymentHash);
  return row && toInvoice(row);
}

export function findInvoiceByQuote(tx: Pick<Tx, "get">, quoteId: string): Invoice | undefined {
  const row = tx.get<InvoiceRow>(`${selectInvoice} WHERE quote_id = ?`, quoteId);
  return row && toInvoice(row);
}

export function findInvoiceByClaimSecret(tx: Pick<Tx, "get">, secretHash: string): Invoice | undefined {
  const row = tx.get<InvoiceRow>(`${selectInvoice} WHERE claim_secret_hash = ?`, secretHash);
  return row && toInvoice(row);
}

/** Open invoices, oldest first (references begin with the time), from after `afterReference`; at most `limit`. */
export function listOpenInvoices(tx: Pick<Tx, "all">, afterReference: string, limit: number): OpenInvoice[] {
  return tx
    .all<InvoiceRow>(`${selectInvoice} WHERE state = 'open' AND reference > ? ORDER BY reference LIMIT ?`, afterReference, limit)
    .map((row) => toInvoice(row) as OpenInvoice);
}

/** By payment hash, from after `afterHash`; at most `limit`. */
export function listCreditedInvoices(tx: Pick<Tx, "all">, afterHash: string, limit: number): CreditedInvoice[] {
  return tx
    .all<InvoiceRow>(`${selectInvoice} WHERE state = 'credited' AND payment_hash > ? ORDER BY payment_hash LIMIT ?`, afterHash, limit)
    .map((row) => toInvoice(row) as CreditedInvoice);
}

export function countOpenInvoices(tx: Pick<Tx, "get">): number {
  return Number(tx.get<{ n: bigint }>("SELECT count(*) AS n FROM invoice WHERE state = 'open'")!.n);
}

export function findCursor(tx: Pick<Tx, "get">): bigint {
  return BigInt(tx.get<{ value: string }>("SELECT value FROM setting WHERE name = 'settle_cursor'")?.value ?? "0");
}

/** Durable before the invoice is shown to anybody; a crash before that leaves an invoice nobody has seen. */
export const openInvoice = command(
  "payments.openInvoice",
  (tx, invoice: OpenInvoice): { ok: true } => {
    const { purpose } = invoice;
    const refill = purpose.kind === "refill" ? purpose : undefined;
    tx.run(
      `INSERT INTO invoice (payment_hash, state, purpose, reference, bolt11, amount_msat, token_id, quote_id, quote_fingerprint,
         quote_terms, rolls_over_from, refills_account, refills_key, claim_needs_secret, claim_secret_hash, created_at_ms, expires_at_ms)
       VALUES (?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (payment_hash) DO NOTHING`,
      invoice.paymentHash, purpose.kind, invoice.reference, invoice.bolt11, invoice.amountMsat, invoice.tokenId, invoice.quoteId,
      invoice.quoteFingerprint, invoice.quoteTerms, purpose.kind === "call" ? (purpose.rollsOverFrom ?? null) : null,
      refill?.accountId ?? null, refill?.keyHash ?? null, purpose.kind === "call" || purpose.claimNeedsSecret ? 1 : 0,
      invoice.claimSecretHash ?? null, invoice.createdAtMs, invoice.expiresAtMs,
    );
    return { ok: true };
  },
  { sheds: true },
);

export type CreditInput = {
  paymentHash: string;
  /** What the payer paid, by the node's word. */
  paidMsat: Msat;
  /** What the node spent to receive it: the owner's cost, never the payer's. */
  feeMsat?: Msat;
  /** The id a new account gets, if this is the first time we hear of the payment and it is no refill. */
  accountId: string;
  /** Where the node's settlement stream goes on, when the stream told us. */
  cursor: bigint | undefined;
  boot: bigint;
  atMs: number;
};

/** `foreign`: the node serves other apps as well, the invoice is none of ours. */
export type CreditOutcome =
  | { ok: true; credited: "now" | "before"; invoice: CreditedInvoice }
  | { ok: true; credited: "foreign" };

/** One credit per payment hash, however often and by whomever the settlement was noticed. */
export const creditInvoice = command("payments.creditInvoice", (tx, input: CreditInput): CreditOutcome => {
  if (input.cursor !== undefined) advanceCursor(tx, input.cursor);
  const invoice = findInvoice(tx, input.paymentHash);
  if (invoice === undefined) return { ok: true, credited: "foreign" };
  if (invoice.state === "credited") return { ok: true, credited: "before", invoice };
  const { purpose } = invoice;
  const accountId = purpose.kind === "refill" ? purpose.accountId : input.accountId;
  if (purpose.kind !== "refill") openAccount(tx, { id: accountId, kind: "buyer", atMs: input.atMs });
  move(tx, {
    id: `credit:${input.paymentHash}`, debit: nodeAccount, credit: accountId, amountMsat: input.paidMsat,
    code: purpose.kind === "refill" ? "refill" : "invoice", boot: input.boot, atMs: input.atMs,
  });
  if (input.feeMsat !== undefined && input.feeMsat > 0n) bookFee(tx, input.feeMsat, input);
  if (purpose.kind === "call" && purpose.rollsOverFrom !== undefined) rollOver(tx, purpose.rollsOverFrom, input);
  tx.run("UPDATE invoice SET state = 'credited', account_id = ?, credited_msat = ?, credited_at_ms = ? WHERE payment_hash = ?",
    accountId, input.paidMsat, input.atMs, input.paymentHash);
  return { ok: true, credited: "now", invoice: findInvoice(tx, input.paymentHash) as CreditedInvoice };
});

/** From node to liquidity-fees: the node holds so much less. */
function bookFee(tx: Tx, feeMsat: Msat, { paymentHash, boot, atMs }: CreditInput): void {
  openAccount(tx, { id: liquidityFeesAccount, kind: "liquidity-fees", atMs });
  move(tx, { id: `liquidity:${paymentHash}`, debit: liquidityFeesAccount, credit: nodeAccount, amountMsat: feeMsat, code: "liquidity", boot, atMs });
}

/** What a too poor credential still held goes to the one bought after it. What is reserved there stays. */
function rollOver(tx: Tx, from: string, input: CreditInput): void {
  const rest = spendable(getAccount(tx, from));
  if (rest === 0n) return;
  move(tx, {
    id: `rollover:${input.paymentHash}`, debit: from, credit: input.accountId, amountMsat: msat(rest),
    code: "rollover", boot: input.boot, atMs: input.atMs,
  });
}

function advanceCursor(tx: Tx, cursor: bigint): void {
  if (cursor <= findCursor(tx)) return;
  tx.run("INSERT INTO setting (name, value) VALUES ('settle_cursor', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", String(cursor));
}

/** Only on the node's word that it can never be paid any more. A credited invoice is never forgotten. */
export const forgetInvoice = command("payments.forgetInvoice", (tx, input: { paymentHash: string }): { ok: true; forgotten: boolean } => {
  return { ok: true, forgotten: tx.run("DELETE FROM invoice WHERE payment_hash = ? AND state = 'open'", input.paymentHash) > 0 };
});
