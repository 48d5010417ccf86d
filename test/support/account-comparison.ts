/** Holds the tables of accounts (claims, tokens, free calls, what happens once) against the model. Reads only; throws at the first difference. */
import type { Tx } from "../../src/store/command.ts";
import { type LedgerModel } from "./ledger-model.ts";
import { OnceModel } from "./once-model.ts";
import { must, same } from "./same.ts";

type ClaimFigures = { proof: string; into: string; moved: bigint; moves: bigint; atMs: bigint };
type KeyFigures = { account: string; hash: string; generation: bigint; ended: string | null };

const selectClaim = "SELECT proof, into_account AS 'into', moved_msat AS moved, moves, at_ms AS atMs FROM claim";
const selectKeys = "SELECT account_id AS account, hash, generation, ended_by AS ended FROM key";

/** How the payment was claimed, what that moved, and which tokens it has. */
export function comparePayment(model: LedgerModel, tx: Pick<Tx, "all" | "get">, paymentHash: string): void {
  const claim = model.claims.made.get(paymentHash);
  const row = tx.get<ClaimFigures>(`${selectClaim} WHERE payment_hash = ?`, paymentHash);
  const moved = [...(claim?.brought.values() ?? [])].reduce((sum, amount) => sum + amount, 0n);
  same(`the claim of ${paymentHash}`, row && { ...row, moves: 0n }, claim && { proof: claim.proof, into: claim.into, moved, moves: 0n, atMs: BigInt(claim.atMs) });
  const transfers = tx.all<{ account: string; amount: bigint }>(
    "SELECT credit_account AS account, sum(amount_msat) AS amount FROM transfer WHERE id >= ? AND id < ? GROUP BY 1", `claim:${paymentHash}:`, `claim:${paymentHash};`);
  same(`what the claim of ${paymentHash} moved`, new Map(transfers.map((one) => [one.account, one.amount])), claim?.brought ?? new Map());
  const keys = tx.all<KeyFigures>(`${selectKeys} WHERE payment_hash = ?`, paymentHash).sort((a, b) => Number(a.generation - b.generation));
  const account = model.invoices.get(paymentHash)?.accountId;
  const expected = model.claims.keys.get(paymentHash) ?? [];
  same(`the tokens of ${paymentHash}`, keys, expected.map((key) => ({ account, hash: key.hash, generation: BigInt(key.generation), ended: key.ended ?? null })));
  must(expected.filter((key) => key.ended === undefined).length <= 1, `one token of ${paymentHash} is good at a time`);
}

export function compareAccountRows(model: LedgerModel, tx: Pick<Tx, "all" | "get">): void {
  for (const paymentHash of new Set([...model.claims.made.keys(), ...model.claims.keys.keys()])) comparePayment(model, tx, paymentHash);
  const { claims, keys } = tx.get<{ claims: bigint; keys: bigint }>("SELECT (SELECT count(*) FROM claim) AS claims, (SELECT count(*) FROM key) AS keys")!;
  same("the number of claims", claims, BigInt(model.claims.made.size));
  same("the number of tokens", keys, BigInt([...model.claims.keys.values()].reduce((sum, list) => sum + list.length, 0)));
  const uses = tx.all<{ payment: string; call: string }>("SELECT payment_hash AS payment, call_id AS call FROM single_use");
  same("what was used once", new Map(uses.map((row) => [row.payment, row.call])), model.once.singleUses);
  compareFading(model, tx);
}

/** Rows that go when their time is over; until then they are there, and none that was never made. */
function compareFading(model: LedgerModel, tx: Pick<Tx, "all">): void {
  const trials = tx.all<{ call: string; address: string; atMs: bigint }>("SELECT call_id AS call, address_hash AS address, at_ms AS atMs FROM trial_call");
  const trialRows = trials.map((row) => [row.call, { address: row.address, atMs: Number(row.atMs) }] as const);
  sameWithin("free calls", new Map(trialRows), model.trials.calls, ({ address, atMs }) => ({ address, atMs }));
  const requests = tx.all<{ accountId: string; purpose: "call"; key: string; bodyHash: string; reference: string; atMs: bigint }>(
    "SELECT account_id AS accountId, purpose, key, body_hash AS bodyHash, reference, at_ms AS atMs FROM request_key");
  const requestRows = requests.map(({ accountId, purpose, key, bodyHash, reference, atMs }) =>
    [OnceModel.nameOf({ accountId, purpose, key }), { bodyHash, reference, atMs: Number(atMs) }] as const);
  sameWithin("requests", new Map(requestRows), model.once.requests, ({ bodyHash, reference, atMs }) => ({ bodyHash, reference, atMs }));
}

function sameWithin<Expected extends { mayBeGone: boolean }>(
  what: string, rows: Map<string, object>, expected: Map<string, Expected>, shown: (one: Expected) => object,
): void {
  for (const [id, one] of expected) if (rows.has(id) || !one.mayBeGone) same(`${what}: ${id}`, rows.get(id), shown(one));
  for (const id of rows.keys()) must(expected.has(id), `${what}: ${id} was made by somebody`);
}
