/** The writes of a call: reserve it, then post or void it. The log row and the day's totals go with the post. */
import { type Msat, minMsat, msat } from "../money/msat.ts";
import { revenueAccount } from "../ledger/account.ts";
import { post, reserve, type ReserveOutcome, voidReservation } from "../ledger/transfers.ts";
import { command, type Tx } from "../store/command.ts";
import type { CallRecord } from "./sale.ts";

export type ReserveCall = { id: string; accountId: string; atMostMsat: Msat; atLeastMsat: Msat; boot: bigint; atMs: number };

export const reserveCall = command(
  "charge.reserveCall",
  (tx, input: ReserveCall): ReserveOutcome =>
    reserve(tx, {
      id: input.id, debit: input.accountId, credit: revenueAccount, atMostMsat: input.atMostMsat, atLeastMsat: input.atLeastMsat,
      code: "call", boot: input.boot, atMs: input.atMs,
    }),
  { sheds: true },
);

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
  startedAtMs: number;
  boot: bigint;
  atMs: number;
};

/** `posted: false`: it had ended before, and nothing changed. */
export const postCall = command("charge.postCall", (tx, input: PostCall): { ok: true; posted: boolean } => {
  const charged = minMsat(input.costMsat, input.reservedMsat);
  const { resolved, postedMsat } = post(tx, { pendingId: input.id, amountMsat: charged, code: "call", boot: input.boot, atMs: input.atMs });
  if (!resolved) return { ok: true, posted: false };
  insertCall(tx, input, postedMsat);
  addToDay(tx, input, postedMsat);
  return { ok: true, posted: true };
}, { unhurried: true });

function insertCall(tx: Tx, input: PostCall, chargedMsat: Msat): void {
  const { record } = input;
  tx.run(
    `INSERT INTO call (id, account_id, endpoint, model, upstream, ending, input_tokens, output_tokens, estimated, terms,
       reserved_msat, cost_msat, charged_msat, duration_ms, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    input.id, input.accountId, record.endpoint, record.model, record.upstream, record.ending, record.inputTokens, record.outputTokens,
    record.estimated ? 1 : 0, input.terms, input.reservedMsat, input.costMsat, chargedMsat, input.atMs - input.startedAtMs, input.atMs,
  );
}

function addToDay(tx: Tx, input: PostCall, chargedMsat: Msat): void {
  tx.run(
    `INSERT INTO daily_total (day, calls, earned_msat, input_tokens, output_tokens) VALUES (?, 1, ?, ?, ?)
     ON CONFLICT (day) DO UPDATE SET calls = calls + 1, earned_msat = earned_msat + excluded.earned_msat,
       input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens`,
    new Date(input.atMs).toISOString().slice(0, 10), chargedMsat, input.record.inputTokens, input.record.outputTokens,
  );
}

export type DailyTotal = { calls: number; earnedMsat: Msat };

/** Totals of the UTC days from `fromDay` (YYYY-MM-DD) on. */
export function totalSince(tx: Pick<Tx, "get">, fromDay: string): DailyTotal {
  const row = tx.get<{ calls: bigint | null; earned: bigint | null }>(
    "SELECT sum(calls) AS calls, sum(earned_msat) AS earned FROM daily_total WHERE day >= ?", fromDay)!;
  return { calls: Number(row.calls ?? 0n), earnedMsat: msat(row.earned ?? 0n) };
}
