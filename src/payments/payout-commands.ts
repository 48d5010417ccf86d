/** The writes of money out. What moves the money and what says why are one command each. */
import { assert } from "../base/assert.ts";
import { dayMs, maxOpenPayouts, maxOpenPayoutsPerAccount } from "../base/limits.ts";
import { type Msat, minMsat, msat } from "../money/msat.ts";
import { nodeAccount, routingFeesAccount, spendable } from "../ledger/account.ts";
import { findAccount, getAccount, move, openAccount } from "../ledger/transfers.ts";
import { command, type Tx } from "../store/command.ts";
import { type EndedBy, type FailedPayout, isEnded, type OpenPayout, type Payout, payoutAccount, type PayoutEnd, type PayoutRow, type SucceededPayout, toPayout } from "./payout.ts";
import { isPayoutSwitchOn, restoreToConfirm } from "./payout-switch.ts";

const selectPayout = `SELECT id, account_id, payment_hash, bolt11, amount_msat, fee_limit_msat, state, expires_at_ms, created_at_ms, ended_at_ms,
  ended_by, preimage, fee_msat, reason, known FROM payout`;

export function findPayout(tx: Pick<Tx, "get">, id: string): Payout | undefined {
  const row = tx.get<PayoutRow>(`${selectPayout} WHERE id = ?`, id);
  return row && toPayout(row);
}

/** The one that has sent this hash, or is about to. */
export function findPayoutByHash(tx: Pick<Tx, "get">, paymentHash: string): Payout | undefined {
  const row = tx.get<PayoutRow>(`${selectPayout} WHERE payment_hash = ? AND state <> 'returned'`, paymentHash);
  return row && toPayout(row);
}

/** Those whose end is not known, oldest first. */
export function listOpenPayouts(tx: Pick<Tx, "all">): OpenPayout[] {
  return tx.all<PayoutRow>(`${selectPayout} WHERE state IN ('intent', 'sent') ORDER BY id`).map((row) => toPayout(row) as OpenPayout);
}

/** Newest first, from before `beforeId`; all where that is empty. */
export function listPayouts(tx: Pick<Tx, "all">, beforeId: string, limit: number): Payout[] {
  return tx.all<PayoutRow>(`${selectPayout} WHERE id < ? ORDER BY id DESC LIMIT ?`, beforeId || "~", limit).map(toPayout);
}

/** By id, from after `afterId`. */
export function listSucceededPayouts(tx: Pick<Tx, "all">, afterId: string, limit: number): SucceededPayout[] {
  return tx.all<PayoutRow>(`${selectPayout} WHERE state = 'succeeded' AND id > ? ORDER BY id LIMIT ?`, afterId, limit).map((row) => toPayout(row) as SucceededPayout);
}

/** By id, from after `afterId`: given back because the node said so, or the owner. */
export function listFailedPayouts(tx: Pick<Tx, "all">, afterId: string, limit: number): FailedPayout[] {
  return tx.all<PayoutRow>(`${selectPayout} WHERE state = 'failed' AND id > ? ORDER BY id LIMIT ?`, afterId, limit).map((row) => toPayout(row) as FailedPayout);
}

/** What has left or may leave since then, of everybody or of one account. */
function paidSince(tx: Pick<Tx, "get">, sinceMs: number, accountId?: string): bigint {
  const row = accountId === undefined
    ? tx.get<{ sum: bigint | null }>("SELECT sum(amount_msat) AS sum FROM payout WHERE created_at_ms > ? AND state IN ('intent', 'sent', 'succeeded')", sinceMs)
    : tx.get<{ sum: bigint | null }>("SELECT sum(amount_msat) AS sum FROM payout WHERE created_at_ms > ? AND account_id = ? AND state IN ('intent', 'sent', 'succeeded')", sinceMs, accountId);
  return row?.sum ?? 0n;
}

/** Of any 24 hours. */
export type PayoutCaps = { dailyMsat: Msat; dailyPerAccountMsat: Msat };

export type OpenPayoutInput = Omit<OpenPayout, "state" | "known"> & { caps: PayoutCaps; boot: bigint };

export type OpenPayoutOutcome =
  | { ok: true }
  | { ok: false; reason: "payouts_off" | "invoice_already_used" | "too_many_open" }
  /** What is left for this account; undefined where it is the house's cap that is reached. */
  | { ok: false; reason: "payout_limit"; ownLeftMsat: Msat | undefined }
  | { ok: false; reason: "insufficient_balance"; spendableMsat: Msat };

/** Moves amount and fee limit out of everybody's reach. Part of the command of whoever may ask for it. */
export function openPayout(tx: Tx, { caps, boot, ...payout }: OpenPayoutInput): OpenPayoutOutcome {
  const { accountId, amountMsat, feeLimitMsat, createdAtMs } = payout;
  if (!isPayoutSwitchOn(tx) || restoreToConfirm(tx) !== undefined) return { ok: false, reason: "payouts_off" };
  if (findPayoutByHash(tx, payout.paymentHash) !== undefined) return { ok: false, reason: "invoice_already_used" };
  if (openOf(tx, accountId) >= maxOpenPayoutsPerAccount || openOf(tx) >= maxOpenPayouts) return { ok: false, reason: "too_many_open" };
  const ownLeft = caps.dailyPerAccountMsat - paidSince(tx, createdAtMs - dayMs, accountId);
  if (amountMsat > ownLeft) return { ok: false, reason: "payout_limit", ownLeftMsat: msat(ownLeft > 0n ? ownLeft : 0n) };
  if (amountMsat > caps.dailyMsat - paidSince(tx, createdAtMs - dayMs)) return { ok: false, reason: "payout_limit", ownLeftMsat: undefined };
  const account = getAccount(tx, accountId);
  assert(account.kind === "buyer", "only money can be collected");
  const spendableMsat = spendable(account);
  if (amountMsat + feeLimitMsat > spendableMsat) return { ok: false, reason: "insufficient_balance", spendableMsat };
  setAside(tx, { ...payout, state: "intent", known: false }, boot);
  return { ok: true };
}

function setAside(tx: Tx, { id, accountId, amountMsat, feeLimitMsat, createdAtMs, ...payout }: OpenPayout, boot: bigint): void {
  openAccount(tx, { id: payoutAccount(id), kind: "payout", atMs: createdAtMs });
  move(tx, { id: payoutAccount(id), debit: accountId, credit: payoutAccount(id), amountMsat: msat(amountMsat + feeLimitMsat), code: "payout", boot, atMs: createdAtMs });
  tx.run(
    `INSERT INTO payout (id, account_id, payment_hash, bolt11, amount_msat, fee_limit_msat, state, expires_at_ms, created_at_ms, known)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    id, accountId, payout.paymentHash, payout.bolt11, amountMsat, feeLimitMsat, payout.state, payout.expiresAtMs, createdAtMs, payout.known ? 1 : 0);
}

/** A payment that somebody holds takes a slot of a channel from everybody. */
function openOf(tx: Pick<Tx, "get">, accountId?: string): number {
  const open = "SELECT count(*) AS n FROM payout WHERE state IN ('intent', 'sent')";
  const row = accountId === undefined ? tx.get<{ n: bigint }>(open) : tx.get<{ n: bigint }>(`${open} AND account_id = ?`, accountId);
  return Number(row!.n);
}

/** Durable before the node is asked. Refused where the owner has said stop meanwhile, or it is no intent any more. */
export const sendPayout = command("payments.sendPayout", (tx, { id }: { id: string }): { ok: boolean } => {
  if (!isPayoutSwitchOn(tx) || restoreToConfirm(tx) !== undefined) return { ok: false };
  return { ok: tx.run("UPDATE payout SET state = 'sent' WHERE id = ? AND state = 'intent'", id) > 0 };
});

export type EndPayoutInput = { id: string; end: PayoutEnd; by: EndedBy; boot: bigint; atMs: number };

/** A payout ends once, however often and by whomever its end was noticed. `ended: false`: it had ended before, or cannot end so. */
export const endPayout = command("payments.endPayout", (tx, input: EndPayoutInput): { ok: true; ended: boolean } => ({ ok: true, ended: resolvePayout(tx, input) }));

/** Part of the command of whoever knows its end. False where nothing changed. */
export function resolvePayout(tx: Tx, input: EndPayoutInput): boolean {
  const payout = findPayout(tx, input.id);
  const from = input.end.state === "returned" ? "intent" : "sent";
  if (payout === undefined || isEnded(payout) || payout.state !== from) return false;
  const { end, by, atMs } = input;
  const succeeded = end.state === "succeeded" ? end : undefined;
  if (succeeded) payOut(tx, payout, succeeded.feeMsat, input);
  else giveBack(tx, payout, msat(payout.amountMsat + payout.feeLimitMsat), input);
  tx.run("UPDATE payout SET state = ?, ended_at_ms = ?, ended_by = ?, preimage = ?, fee_msat = ?, reason = ? WHERE id = ?",
    end.state, atMs, by, succeeded?.preimage ?? null, succeeded?.feeMsat ?? null, end.state === "succeeded" ? null : end.reason, payout.id);
  return true;
}

/** From the node's first word of it on. */
export const knowPayout = command("payments.knowPayout", (tx, { id }: { id: string }): { ok: true } => {
  tx.run("UPDATE payout SET known = 1 WHERE id = ?", id);
  return { ok: true };
});

export type BookPayoutInput = { id: string; accountId: string; paymentHash: string; amountMsat: Msat; feeMsat: Msat; preimage: string; boot: bigint; atMs: number };

export type BookPayoutOutcome = { ok: true; id: string } | { ok: false; reason: "known" | "no_account" | "another_account" } | { ok: false; reason: "insufficient_balance"; spendableMsat: Msat };

/**
 * The owner's word that a payment which the node has made was a payout of this account: one that this ledger does not know, or one that it
 * gave back because it had failed.
 */
export const bookPayout = command("payments.bookPayout", (tx, input: BookPayoutInput): BookPayoutOutcome => {
  const { accountId, paymentHash, amountMsat, feeMsat, preimage, boot, atMs } = input;
  const before = findPayoutByHash(tx, paymentHash);
  if (before !== undefined && before.state !== "failed") return { ok: false, reason: "known" };
  const account = findAccount(tx, accountId);
  if (account?.kind !== "buyer") return { ok: false, reason: "no_account" };
  if (before !== undefined && (before.accountId !== accountId || before.amountMsat !== amountMsat)) return { ok: false, reason: "another_account" };
  // Of one that has a limit, no more of the fee than that.
  const fee = before === undefined ? feeMsat : minMsat(feeMsat, before.feeLimitMsat);
  if (spendable(account) < amountMsat + fee) return { ok: false, reason: "insufficient_balance", spendableMsat: spendable(account) };
  const id = before?.id ?? input.id;
  if (before === undefined) setAside(tx, { id, accountId, paymentHash, bolt11: "", amountMsat, feeLimitMsat: fee, expiresAtMs: atMs, createdAtMs: atMs, state: "sent", known: true }, boot);
  else setAsideAgain(tx, before, fee, { boot, atMs });
  resolvePayout(tx, { id, end: { state: "succeeded", preimage, feeMsat }, by: "owner", boot, atMs });
  return { ok: true, id };
});

/** What came back leaves once more, so far as it was paid. */
function setAsideAgain(tx: Tx, { id, accountId, amountMsat }: Payout, feeLimitMsat: Msat, { boot, atMs }: { boot: bigint; atMs: number }): void {
  move(tx, { id: `${payoutAccount(id)}:again`, debit: accountId, credit: payoutAccount(id), amountMsat: msat(amountMsat + feeLimitMsat), code: "payout", boot, atMs });
  tx.run("UPDATE payout SET state = 'sent', fee_limit_msat = ?, ended_at_ms = NULL, ended_by = NULL, reason = NULL WHERE id = ?", feeLimitMsat, id);
}

function payOut(tx: Tx, payout: OpenPayout, feeMsat: Msat, { boot, atMs }: EndPayoutInput): void {
  const from = payoutAccount(payout.id);
  const paidFee = minMsat(feeMsat, payout.feeLimitMsat);
  move(tx, { id: `${from}:paid`, debit: from, credit: nodeAccount, amountMsat: payout.amountMsat, code: "paid_out", boot, atMs });
  if (paidFee > 0n) move(tx, { id: `${from}:fee`, debit: from, credit: nodeAccount, amountMsat: paidFee, code: "routing", boot, atMs });
  if (feeMsat > paidFee) {
    // A node that did not keep to the limit: what it holds must be right all the same.
    openAccount(tx, { id: routingFeesAccount, kind: "routing-fees", atMs });
    move(tx, { id: `${from}:excess`, debit: routingFeesAccount, credit: nodeAccount, amountMsat: msat(feeMsat - paidFee), code: "routing", boot, atMs });
  }
  giveBack(tx, payout, msat(payout.feeLimitMsat - paidFee), { boot, atMs });
}

function giveBack(tx: Tx, payout: OpenPayout, amountMsat: Msat, { boot, atMs }: Pick<EndPayoutInput, "boot" | "atMs">): void {
  if (amountMsat === 0n) return;
  const from = payoutAccount(payout.id);
  move(tx, { id: `${from}:back`, debit: from, credit: payout.accountId, amountMsat, code: "payout_back", boot, atMs });
}

/**
 * At the start: an intent was not sent, so its money goes back. After a backup was put back nobody knows that: what was an intent then may
 * have been sent since, so it is asked about like one that was.
 */
export const startPayouts = command("payments.startPayouts", (tx, { boot, atMs }: { boot: bigint; atMs: number }): { ok: true; returned: number; unknown: number } => {
  const intents = listOpenPayouts(tx).filter(({ state }) => state === "intent");
  if (restoreToConfirm(tx) !== undefined) {
    for (const { id } of intents) tx.run("UPDATE payout SET state = 'sent' WHERE id = ?", id);
    return { ok: true, returned: 0, unknown: intents.length };
  }
  for (const { id } of intents) resolvePayout(tx, { id, end: { state: "returned", reason: "Hearth ended before it was sent." }, by: "hearth", boot, atMs });
  return { ok: true, returned: intents.length, unknown: 0 };
});
