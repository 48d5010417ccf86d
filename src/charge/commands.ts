/** The writes of a call: reserve it, then post or void it. The log row and the day's totals go with the post. */
import { findRequest, keepRequest } from "../accounts/request-keys.ts";
import { takeTrial, type TrialRules } from "../accounts/trials.ts";
import { type Msat, minMsat, msat } from "../money/msat.ts";
import { givenAccount, revenueAccount, trialAccount } from "../ledger/account.ts";
import { isOpenReservation, isPosted, post, reserve, type ReserveOutcome, voidReservation } from "../ledger/transfers.ts";
import { command, type Tx } from "../store/command.ts";
import type { CallRecord } from "./sale.ts";

export type ReserveCall = {
  id: string;
  accountId: string;
  atMostMsat: Msat;
  atLeastMsat: Msat;
  /** `Idempotency-Key`. */
  requestKey?: string | undefined;
  boot: bigint;
  atMs: number;
};

export type CallOutcome = ReserveOutcome | { ok: false; reason: "duplicate_request" };

export const reserveCall = command("charge.reserveCall", (tx, input: ReserveCall): CallOutcome => {
  if (input.requestKey !== undefined && !takeKey(tx, input, input.requestKey)) return { ok: false, reason: "duplicate_request" };
  return reserveFor(tx, input, revenueAccount);
}, { sheds: true });

/** False when an earlier call of this key is on its way or was paid; one that came to nothing is no hindrance. */
function takeKey(tx: Tx, input: ReserveCall, key: string): boolean {
  const k = { accountId: input.accountId, purpose: "call" as const, key, atMs: input.atMs };
  const before = findRequest(tx, k);
  if (before !== undefined && happened(tx, before.reference)) return false;
  keepRequest(tx, { ...k, bodyHash: "", reference: input.id });
  return true;
}

function happened(tx: Tx, callId: string): boolean {
  return isOpenReservation(tx, callId) || isPosted(tx, callId);
}

function reserveFor(tx: Tx, input: ReserveCall, credit: string): ReserveOutcome {
  return reserve(tx, {
    id: input.id, debit: input.accountId, credit, atMostMsat: input.atMostMsat, atLeastMsat: input.atLeastMsat,
    code: "call", boot: input.boot, atMs: input.atMs,
  });
}

export type SingleUseOutcome = ReserveOutcome | { ok: false; reason: "in_use" | "used" };

/** For a proof that others know too: a payment opens one call, used up when that is posted. */
export const reserveSingleUse = command("charge.reserveSingleUse", (tx, input: ReserveCall & { paymentHash: string }): SingleUseOutcome => {
  const before = tx.get<{ call_id: string }>("SELECT call_id FROM single_use WHERE payment_hash = ?", input.paymentHash);
  if (before !== undefined && isOpenReservation(tx, before.call_id)) return { ok: false, reason: "in_use" };
  if (before !== undefined && isPosted(tx, before.call_id)) return { ok: false, reason: "used" };
  tx.run("INSERT INTO single_use (payment_hash, call_id) VALUES (?, ?) ON CONFLICT (payment_hash) DO UPDATE SET call_id = excluded.call_id",
    input.paymentHash, input.id);
  return reserveFor(tx, input, revenueAccount);
}, { sheds: true });

export type TrialOutcome = ReserveOutcome | { ok: false; reason: "used_up" };

export type ReserveTrial = Omit<ReserveCall, "accountId" | "requestKey"> & { addressHash: string; rules: TrialRules };

export const reserveTrial = command("charge.reserveTrial", (tx, input: ReserveTrial): TrialOutcome => {
  const { id: callId, addressHash, rules, boot, atMs } = input;
  if (!takeTrial(tx, { ...rules, callId, addressHash, boot, atMs })) return { ok: false, reason: "used_up" };
  return reserveFor(tx, { ...input, accountId: trialAccount }, givenAccount);
}, { sheds: true });

export type VoidCall = { id: string; reason: string; boot: bigint; atMs: number };

export const voidCall = command("charge.voidCall", (tx, input: VoidCall): { ok: true; voided: boolean } => {
  const { resolved } = voidReservation(tx, { pendingId: input.id, code: input.reason, boot: input.boot, atMs: input.atMs });
  return { ok: true, voided: resolved };
}, { unhurried: true });

export type PostCall = {
  id: string;
  accountId: string;
  costMsat: Msat;
  reservedMsat: Msat;
  terms: string;
  record: CallRecord;
  /** Given away: no income. */
  free?: boolean;
  startedAtMs: number;
  boot: bigint;
  atMs: number;
};

/** `posted: false`: it had ended before, and nothing changed. */
export const postCall = command("charge.postCall", (tx, input: PostCall): { ok: true; posted: boolean } => {
  const charged = minMsat(input.costMsat, input.reservedMsat);
  const { resolved, postedMsat } = post(tx, { pendingId: input.id, amountMsat: charged, code: "call", boot: input.boot, atMs: input.atMs });
  if (!resolved) return { ok: true, posted: false };
  const day = new Date(input.atMs).toISOString().slice(0, 10);
  insertCall(tx, input, postedMsat);
  addToDay(tx, input, day, input.free ? msat(0n) : postedMsat);
  addToAccount(tx, input.accountId, day, postedMsat);
  return { ok: true, posted: true };
}, { unhurried: true });

function insertCall(tx: Tx, input: PostCall, chargedMsat: Msat): void {
  const { record } = input;
  tx.run(
    `INSERT INTO call (id, account_id, endpoint, model, upstream, ending, input_tokens, output_tokens, estimated, terms,
       reserved_msat, cost_msat, charged_msat, duration_ms, at_ms, upstream_cost_micros) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    input.id, input.accountId, record.endpoint, record.model, record.upstream, record.ending, record.inputTokens, record.outputTokens,
    record.estimated ? 1 : 0, input.terms, input.reservedMsat, input.costMsat, chargedMsat, input.atMs - input.startedAtMs, input.atMs, record.upstreamCostMicros ?? null,
  );
}

function addToDay(tx: Tx, input: PostCall, day: string, earnedMsat: Msat): void {
  tx.run(
    `INSERT INTO daily_total (day, calls, earned_msat, input_tokens, output_tokens) VALUES (?, 1, ?, ?, ?)
     ON CONFLICT (day) DO UPDATE SET calls = calls + 1, earned_msat = earned_msat + excluded.earned_msat,
       input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens`,
    day, earnedMsat, input.record.inputTokens, input.record.outputTokens,
  );
}

function addToAccount(tx: Tx, accountId: string, day: string, chargedMsat: Msat): void {
  tx.run(
    `INSERT INTO account_day (account_id, day, calls, charged_msat) VALUES (?, ?, 1, ?)
     ON CONFLICT (account_id, day) DO UPDATE SET calls = calls + 1, charged_msat = charged_msat + excluded.charged_msat`,
    accountId, day, chargedMsat,
  );
}

export type DailyTotal = { calls: number; earnedMsat: Msat };

/** Totals of the UTC days from `fromDay` (YYYY-MM-DD) on. */
export function totalSince(tx: Pick<Tx, "get">, fromDay: string): DailyTotal {
  const row = tx.get<{ calls: bigint | null; earned: bigint | null }>(
    "SELECT sum(calls) AS calls, sum(earned_msat) AS earned FROM daily_total WHERE day >= ?", fromDay)!;
  return { calls: Number(row.calls ?? 0n), earnedMsat: msat(row.earned ?? 0n) };
}
