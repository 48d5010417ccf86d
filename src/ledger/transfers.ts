/**
 * The verbs that move money: open, move, reserve, post, void. They are the only code that writes ledger tables, run
 * inside a command of the writer thread, and use the id of what they make as the key of idempotency.
 */
import { assert } from "../base/assert.ts";
import { type Msat, maxMsatOf, minMsat, msat } from "../money/msat.ts";
import type { Tx } from "../store/command.ts";
import { type Account, type AccountKind, type AccountRow, mayGoBelowZero, spendable, toAccount } from "./account.ts";

const selectAccount = `SELECT id, kind, debits_pending_msat, debits_posted_msat, credits_pending_msat, credits_posted_msat
  FROM account WHERE id = ?`;
const insertTransfer = `INSERT INTO transfer (id, kind, debit_account, credit_account, amount_msat, code, pending_id, boot, at_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export function findAccount(tx: Pick<Tx, "get">, id: string): Account | undefined {
  const row = tx.get<AccountRow>(selectAccount, id);
  return row && toAccount(row);
}

export function getAccount(tx: Pick<Tx, "get">, id: string): Account {
  const account = findAccount(tx, id);
  assert(account, "the account exists");
  return account;
}

/** Opening an account that exists changes nothing. */
export function openAccount(tx: Tx, account: { id: string; kind: AccountKind; atMs: number }): void {
  tx.run(
    "INSERT INTO account (id, kind, may_go_below_zero, created_at_ms) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    account.id, account.kind, mayGoBelowZero(account.kind) ? 1 : 0, account.atMs,
  );
}

export type Move = { id: string; debit: string; credit: string; amountMsat: Msat; code: string; boot: bigint; atMs: number };

/** Moves money at once. `moved: false`: the same transfer was made before, nothing changed. */
export function move(tx: Tx, m: Move): { moved: boolean } {
  if (tx.get("SELECT 1 FROM transfer WHERE id = ?", m.id) !== undefined) return { moved: false };
  tx.run(insertTransfer, m.id, "plain", m.debit, m.credit, m.amountMsat, m.code, null, m.boot, m.atMs);
  addPosted(tx, m.debit, m.credit, m.amountMsat);
  return { moved: true };
}

export type Reserve = {
  id: string;
  debit: string;
  credit: string;
  /** The whole ceiling. */
  atMostMsat: Msat;
  /** Less than this is of no use to the caller. */
  atLeastMsat: Msat;
  code: string;
  boot: bigint;
  atMs: number;
};

export type ReserveOutcome =
  | { ok: true; amountMsat: Msat; /** What is left for others after it. */ spendableMsat: Msat }
  | { ok: false; reason: "insufficient_balance"; spendableMsat: Msat };

/** Takes between `atLeastMsat` and `atMostMsat` out of reach of everybody else, as much as there is. */
export function reserve(tx: Tx, r: Reserve): ReserveOutcome {
  assert(r.atLeastMsat > 0n && r.atLeastMsat <= r.atMostMsat, "a reservation asks for something");
  const available = spendable(getAccount(tx, r.debit));
  const before = tx.get<{ amount_msat: bigint }>("SELECT amount_msat FROM transfer WHERE id = ?", r.id);
  if (before !== undefined) return { ok: true, amountMsat: msat(before.amount_msat), spendableMsat: available };
  if (available < r.atLeastMsat) return { ok: false, reason: "insufficient_balance", spendableMsat: available };
  const amount = minMsat(available, r.atMostMsat);
  tx.run(insertTransfer, r.id, "pending", r.debit, r.credit, amount, r.code, null, r.boot, r.atMs);
  tx.run("INSERT INTO open_reservation (id, debit_account, credit_account, amount_msat, boot) VALUES (?, ?, ?, ?, ?)",
    r.id, r.debit, r.credit, amount, r.boot);
  addPending(tx, r.debit, r.credit, amount);
  return { ok: true, amountMsat: amount, spendableMsat: msat(available - amount) };
}

export function isOpenReservation(tx: Pick<Tx, "get">, id: string): boolean {
  return tx.get("SELECT 1 FROM open_reservation WHERE id = ?", id) !== undefined;
}

export function isPosted(tx: Pick<Tx, "get">, id: string): boolean {
  return tx.get("SELECT 1 FROM transfer WHERE pending_id = ? AND kind = 'post'", id) !== undefined;
}

type Open = { debit_account: string; credit_account: string; amount_msat: bigint };

/** Why a reservation cannot be answered: it was posted or voided before, or there never was one. */
export type Resolved = { resolved: true } | { resolved: false };

function takeOpen(tx: Tx, id: string): Open | undefined {
  return tx.get<Open>("DELETE FROM open_reservation WHERE id = ? RETURNING debit_account, credit_account, amount_msat", id);
}

/**
 * Ends a reservation by paying `amountMsat` of it; the rest returns to the payer. More than was reserved is never
 * taken. `resolved: false`: it was answered before (or voided at a restart) and nothing changed.
 */
export function post(tx: Tx, p: { pendingId: string; amountMsat: Msat; code: string; boot: bigint; atMs: number }): Resolved & { postedMsat: Msat } {
  const open = takeOpen(tx, p.pendingId);
  if (open === undefined) return { resolved: false, postedMsat: msat(0n) };
  const amount = maxMsatOf(msat(1n), minMsat(p.amountMsat, msat(open.amount_msat)));
  tx.run(insertTransfer, `${p.pendingId}:post`, "post", open.debit_account, open.credit_account, amount, p.code, p.pendingId, p.boot, p.atMs);
  tx.run("UPDATE account SET debits_pending_msat = debits_pending_msat - ?, debits_posted_msat = debits_posted_msat + ? WHERE id = ?",
    open.amount_msat, amount, open.debit_account);
  tx.run("UPDATE account SET credits_pending_msat = credits_pending_msat - ?, credits_posted_msat = credits_posted_msat + ? WHERE id = ?",
    open.amount_msat, amount, open.credit_account);
  return { resolved: true, postedMsat: amount };
}

/** Ends a reservation with nothing paid. */
export function voidReservation(tx: Tx, v: { pendingId: string; code: string; boot: bigint; atMs: number }): Resolved {
  const open = takeOpen(tx, v.pendingId);
  if (open === undefined) return { resolved: false };
  tx.run(insertTransfer, `${v.pendingId}:void`, "void", open.debit_account, open.credit_account, open.amount_msat, v.code, v.pendingId, v.boot, v.atMs);
  addPending(tx, open.debit_account, open.credit_account, -open.amount_msat);
  return { resolved: true };
}

function addPosted(tx: Tx, debit: string, credit: string, amount: bigint): void {
  tx.run("UPDATE account SET debits_posted_msat = debits_posted_msat + ? WHERE id = ?", amount, debit);
  tx.run("UPDATE account SET credits_posted_msat = credits_posted_msat + ? WHERE id = ?", amount, credit);
}

function addPending(tx: Tx, debit: string, credit: string, amount: bigint): void {
  tx.run("UPDATE account SET debits_pending_msat = debits_pending_msat + ? WHERE id = ?", amount, debit);
  tx.run("UPDATE account SET credits_pending_msat = credits_pending_msat + ? WHERE id = ?", amount, credit);
}
