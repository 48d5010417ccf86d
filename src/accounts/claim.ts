/**
 * Turns a paid invoice into a token, or into more on a token that exists. One command, and whoever claims twice gets
 * what they got: the row of the claim says how it was claimed and where the money went. Money section 5 of the design.
 */
import { claimRepeatMs } from "../base/limits.ts";
import { spendable } from "../ledger/account.ts";
import { getAccount, move } from "../ledger/transfers.ts";
import { type Msat, msat } from "../money/msat.ts";
import { findInvoice } from "../payments/commands.ts";
import type { CreditedInvoice } from "../payments/invoice.ts";
import { command, type Tx } from "../store/command.ts";
import { findNewestKey, insertKey } from "./keys.ts";
import { findRequest, keepRequest } from "./request-keys.ts";

/**
 * `credential`: macaroon and preimage, known to nobody else. `secret`: the claim secret, or the macaroon alone.
 * `preimage`: known to every hop of the payment as well.
 */
export type ClaimProof = "credential" | "secret" | "preimage";

export type Claim = {
  paymentHash: string;
  proof: ClaimProof;
  /** The account of a token that was presented with it. */
  intoAccount: string | undefined;
  /** Hash of the token this payment gets, if it gets its first one. */
  firstKeyHash: string;
  /** `Idempotency-Key` with the hash of the body it came with. */
  requestKey?: { key: string; bodyHash: string } | undefined;
  boot: bigint;
  atMs: number;
};

export type ClaimOutcome =
  /** A token of its own; derive it by the generation. */
  | { ok: true; kind: "token"; generation: number; balanceMsat: Msat }
  | { ok: true; kind: "moved"; creditedMsat: Msat; balanceMsat: Msat }
  /** `balanceMsat` only for somebody who may know it. */
  | { ok: true; kind: "refilled"; creditedMsat: Msat; balanceMsat: Msat | undefined }
  | { ok: false; reason: "not_a_topup" | "claim_secret_required" | "wrong_token" | "already_claimed" | "idempotency_mismatch" };

type ClaimRow = { proof: ClaimProof; into_account: string; moved_msat: bigint; moves: bigint; at_ms: bigint };

/** How a payment was claimed first; undefined while it was not. */
export function findClaim(tx: Pick<Tx, "get">, paymentHash: string): ClaimRow | undefined {
  return tx.get<ClaimRow>("SELECT proof, into_account, moved_msat, moves, at_ms FROM claim WHERE payment_hash = ?", paymentHash);
}

/** The caller has seen that the invoice is credited. */
export const claimPayment = command("accounts.claimPayment", (tx, input: Claim): ClaimOutcome => {
  const invoice = findInvoice(tx, input.paymentHash) as CreditedInvoice;
  const outcome = invoice.purpose.kind === "refill" ? claimRefill(tx, input, invoice) : claimAccount(tx, input, invoice);
  // Only a claim that succeeds takes the key: a hop that is refused is not the account.
  if (outcome.ok && !keepKey(tx, input, invoice.accountId)) return { ok: false, reason: "idempotency_mismatch" };
  return outcome;
});

/** False when the key stands for another body. */
function keepKey(tx: Tx, { requestKey, paymentHash, atMs }: Claim, accountId: string): boolean {
  if (requestKey === undefined) return true;
  const k = { accountId, purpose: "claim" as const, key: requestKey.key, atMs };
  const before = findRequest(tx, k);
  if (before === undefined) keepRequest(tx, { ...k, bodyHash: requestKey.bodyHash, reference: paymentHash });
  return before === undefined || before.bodyHash === requestKey.bodyHash;
}

const balanceOf = (tx: Tx, accountId: string) => spendable(getAccount(tx, accountId));

function claimRefill(tx: Tx, input: Claim, invoice: CreditedInvoice): ClaimOutcome {
  const { intoAccount, proof } = input;
  if (intoAccount !== undefined && intoAccount !== invoice.accountId) return { ok: false, reason: "wrong_token" };
  const holdsToken = intoAccount !== undefined;
  if (proof === "preimage" && !holdsToken && needsSecret(invoice)) return { ok: false, reason: "claim_secret_required" };
  if (findClaim(tx, input.paymentHash) === undefined) insertClaim(tx, input, invoice.accountId, msat(0n));
  const maySeeBalance = holdsToken || proof !== "preimage";
  return { ok: true, kind: "refilled", creditedMsat: invoice.creditedMsat, balanceMsat: maySeeBalance ? balanceOf(tx, invoice.accountId) : undefined };
}

function claimAccount(tx: Tx, input: Claim, invoice: CreditedInvoice): ClaimOutcome {
  if (input.proof === "preimage" && invoice.purpose.kind !== "topup") return { ok: false, reason: "not_a_topup" };
  if (input.proof === "preimage" && needsSecret(invoice)) return { ok: false, reason: "claim_secret_required" };
  const before = findClaim(tx, input.paymentHash);
  // A hop may come with the preimage after the payer: it gets only what a preimage got, and only for a while.
  const repeats = before === undefined || input.proof !== "preimage" ||
    (before.proof === "preimage" && input.atMs < Number(before.at_ms) + claimRepeatMs && before.into_account === (input.intoAccount ?? invoice.accountId));
  if (!repeats || isReplaced(tx, input)) return { ok: false, reason: "already_claimed" };
  return input.intoAccount === undefined || input.intoAccount === invoice.accountId
    ? claimToken(tx, input, invoice, before)
    : moveInto(tx, input, invoice, input.intoAccount, before);
}

/** The owner has put an end to the first token: of what others may know by now, nothing reaches its account any more. */
function isReplaced(tx: Tx, input: Claim): boolean {
  const key = findNewestKey(tx, input.paymentHash);
  return key !== undefined && input.proof !== "credential" && (key.ended !== undefined || key.generation > 1);
}

function claimToken(tx: Tx, input: Claim, invoice: CreditedInvoice, before: ClaimRow | undefined): ClaimOutcome {
  const { accountId } = invoice;
  const balanceMsat = balanceOf(tx, accountId);
  // Whoever presents the token of this very payment has claimed it: there is nothing to move.
  if (input.intoAccount === accountId) return { ok: true, kind: "moved", creditedMsat: msat(0n), balanceMsat };
  if (before === undefined) insertClaim(tx, input, accountId, msat(0n));
  const key = findNewestKey(tx, input.paymentHash);
  if (key === undefined) {
    insertKey(tx, { hash: input.firstKeyHash, accountId, paymentHash: input.paymentHash, generation: 1, atMs: input.atMs });
    return { ok: true, kind: "token", generation: 1, balanceMsat };
  }
  // Only the owner revives a revoked token.
  return key.ended !== undefined ? { ok: false, reason: "already_claimed" } : { ok: true, kind: "token", generation: key.generation, balanceMsat };
}

/** What is left moves to the account of the token; what is reserved follows when it is claimed again. */
function moveInto(tx: Tx, input: Claim, invoice: CreditedInvoice, into: string, before: ClaimRow | undefined): ClaimOutcome {
  const rest = balanceOf(tx, invoice.accountId);
  const moves = Number(before?.moves ?? 0n);
  if (rest > 0n)
    move(tx, {
      id: `claim:${input.paymentHash}:${moves + 1}`, debit: invoice.accountId, credit: into, amountMsat: rest,
      code: "claim", boot: input.boot, atMs: input.atMs,
    });
  if (before === undefined) insertClaim(tx, input, into, rest);
  else if (rest > 0n)
    tx.run("UPDATE claim SET into_account = ?, moved_msat = moved_msat + ?, moves = moves + 1 WHERE payment_hash = ?", into, rest, input.paymentHash);
  return { ok: true, kind: "moved", creditedMsat: rest > 0n ? rest : movedInto(tx, input.paymentHash, into), balanceMsat: balanceOf(tx, into) };
}

/** What went there before: the answer to whoever claims again. */
function movedInto(tx: Tx, paymentHash: string, into: string): Msat {
  const { moved } = tx.get<{ moved: bigint | null }>(
    "SELECT sum(amount_msat) AS moved FROM transfer WHERE id >= ? AND id < ? AND credit_account = ?", `claim:${paymentHash}:`, `claim:${paymentHash};`, into)!;
  return msat(moved ?? 0n);
}

function needsSecret({ purpose }: CreditedInvoice): boolean {
  return purpose.kind === "call" || purpose.claimNeedsSecret;
}

function insertClaim(tx: Tx, input: Claim, into: string, movedMsat: Msat): void {
  tx.run("INSERT INTO claim (payment_hash, proof, into_account, moved_msat, moves, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
    input.paymentHash, input.proof, into, movedMsat, movedMsat > 0n ? 1 : 0, input.atMs);
}
