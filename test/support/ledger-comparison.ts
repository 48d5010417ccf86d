/** Holds the real ledger's tables against the model's figures. Reads only; throws at the first difference. */
import { auditAccounts } from "../../src/accounts/audit.ts";
import { auditCalls } from "../../src/charge/audit.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import type { Tx } from "../../src/store/command.ts";
import { compareAccountRows, comparePayment } from "./account-comparison.ts";
import type { LedgerModel } from "./ledger-model.ts";
import { must, same } from "./same.ts";

type AccountFigures = { id: string; debitsPending: bigint; debitsPosted: bigint; creditsPending: bigint; creditsPosted: bigint };
type Sums = { posted: bigint; pending: bigint; least: bigint };
type Charge = { reserved: bigint; posted: bigint; charged: bigint; ceiling: bigint };

const selectFigures = `SELECT id, debits_pending_msat AS debitsPending, debits_posted_msat AS debitsPosted,
  credits_pending_msat AS creditsPending, credits_posted_msat AS creditsPosted FROM account`;
const selectSums = `SELECT sum(debits_posted_msat - credits_posted_msat) AS posted, sum(debits_pending_msat - credits_pending_msat) AS pending,
  min(CASE WHEN kind NOT IN ('node', 'house', 'routing-fees') THEN credits_posted_msat - debits_posted_msat - debits_pending_msat ELSE 0 END) AS least FROM account`;
const selectCharge = `SELECT p.amount_msat AS reserved, r.amount_msat AS posted, c.charged_msat AS charged, c.reserved_msat AS ceiling
  FROM transfer p JOIN transfer r ON r.pending_id = p.id JOIN call c ON c.id = p.id WHERE p.id = ?`;

export type Touched = { accounts: Iterable<string>; calls: readonly string[]; payments: Iterable<string> };

/** After a step: the accounts it touched, the calls it posted, the payments it was about, and what must hold over all accounts. */
export function compareTouched(model: LedgerModel, tx: Pick<Tx, "all" | "get">, touched: Touched): void {
  for (const id of touched.accounts) sameAccount(id, model, tx.get<AccountFigures>(`${selectFigures} WHERE id = ?`, id));
  for (const id of touched.calls) {
    const charge = tx.get<Charge>(selectCharge, id);
    const expected = model.calls.get(id)!;
    same(`call ${id}`, charge && { ...charge, ceiling: 0n }, { reserved: expected.reserved, posted: expected.charged, charged: expected.charged, ceiling: 0n });
    must(charge!.posted <= charge!.reserved && charge!.charged <= charge!.ceiling, `call ${id} costs at most its reservation`);
  }
  for (const paymentHash of touched.payments) comparePayment(model, tx, paymentHash);
  const sums = tx.get<Sums>(selectSums)!;
  must(sums.posted === 0n && sums.pending === 0n, `debits equal credits, they differ by ${sums.posted} posted and ${sums.pending} pending`);
  must(sums.least >= 0n, `no payer is below zero, one has ${sums.least}`);
  must(model.earnedMsat <= model.paidMsat, "no more is served than was paid");
  must(model.givenMsat <= model.grantedMsat, "no more is given than the house granted");
}

/** At the end: all of it, and all that `hearth audit` looks at. */
export function compareEnd(model: LedgerModel, tx: Pick<Tx, "all" | "get">): void {
  compareAll(model, tx);
  same("the audits", [...auditPayments(tx), ...auditCalls(tx), ...auditAccounts(tx)], []);
}

/** Everything that was ever written, and the ledger's audit. */
export function compareAll(model: LedgerModel, tx: Pick<Tx, "all" | "get">): void {
  same("the audit", auditLedger(tx), []);
  const rows = tx.all<AccountFigures>(selectFigures);
  same("the number of accounts", rows.length, model.accounts);
  for (const row of rows) sameAccount(row.id, model, row);
  compareCalls(model, tx);
  compareInvoices(model, tx);
  compareAccountRows(model, tx);
  const payouts = tx.all<{ id: string; state: string; hash: string }>("SELECT id, state, payment_hash AS hash FROM payout");
  same("the payouts", new Map(payouts.map(({ id, state, hash }) => [id, { state, hash }])), new Map([...model.out.payouts].map(([id, { state, hash }]) => [id, { state, hash }])));
  same("the number of transfers", tx.get<{ n: bigint }>("SELECT count(*) AS n FROM transfer")!.n, model.transfers);
}

function compareCalls(model: LedgerModel, tx: Pick<Tx, "all" | "get">): void {
  const open = tx.all<{ id: string; payer: string; amount: bigint; boot: bigint }>(
    "SELECT id, debit_account AS payer, amount_msat AS amount, boot FROM open_reservation");
  same("the open reservations", new Set(open.map((row) => row.id)), model.openCalls);
  for (const row of open) {
    const call = model.calls.get(row.id)!;
    same(`reservation ${row.id}`, row, { id: row.id, payer: call.payer, amount: call.reserved, boot: model.boot });
  }
  const days = tx.all<{ day: string; calls: bigint; earned: bigint }>("SELECT day, calls, earned_msat AS earned FROM daily_total");
  const shown = new Map(days.map(({ day, calls, earned }) => [Date.parse(day) / 86_400_000, { calls, earned }]));
  same("the days' totals", shown, model.days);
  const calls = tx.get<{ n: bigint; charged: bigint }>("SELECT count(*) AS n, coalesce(sum(charged_msat), 0) AS charged FROM call")!;
  const posted = [...model.calls.values()].filter((call) => call.state === "posted").length;
  same("the log of calls", calls, { n: BigInt(posted), charged: model.earnedMsat + model.givenMsat });
  const own = tx.all<{ account: string; day: string; calls: bigint; charged: bigint }>("SELECT account_id AS account, day, calls, charged_msat AS charged FROM account_day");
  same("the days of accounts", new Map(own.map(({ account, day, calls, charged }) => [`${account} ${Date.parse(day) / 86_400_000}`, { calls, charged }])), model.accountDays);
}

function compareInvoices(model: LedgerModel, tx: Pick<Tx, "all" | "get">): void {
  const rows = tx.all<{ hash: string; state: string; account: string | null; credited: bigint | null }>(
    "SELECT payment_hash AS hash, state, account_id AS account, credited_msat AS credited FROM invoice");
  const kept = [...model.invoices].filter(([, invoice]) => invoice.state !== "forgotten");
  same("the number of invoices", rows.length, kept.length);
  for (const { hash, state, account, credited } of rows) {
    const invoice = model.invoices.get(hash);
    same(`invoice ${hash}`, { state, account, credited }, { state: invoice?.state, account: invoice?.accountId ?? null, credited: invoice?.credited ?? null });
  }
  const cursor = tx.get<{ value: string }>("SELECT value FROM setting WHERE name = 'settle_cursor'")?.value ?? "0";
  same("the node's cursor", BigInt(cursor), model.cursor);
}

function sameAccount(id: string, model: LedgerModel, row: AccountFigures | undefined): void {
  const figures = model.figures(id);
  same(`account ${id}`, row, figures && { id, ...figures });
}
