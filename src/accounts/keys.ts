/** Tokens as rows: which account one opens, and the writes that end it. A revoked or rotated token never opens again. */
import { command, type Tx } from "../store/command.ts";

export type Key = {
  /** SHA-256 of the token, hex. */
  hash: string;
  accountId: string;
  paymentHash: string;
  /** 1 for the first token of a payment; rotating raises it. */
  generation: number;
  createdAtMs: number;
  ended: { by: "rotated" | "revoked"; atMs: number } | undefined;
};

type KeyRow = {
  hash: string; account_id: string; payment_hash: string; generation: bigint; created_at_ms: bigint; ended_at_ms: bigint | null; ended_by: "rotated" | "revoked" | null;
};

const selectKey = "SELECT hash, account_id, payment_hash, generation, created_at_ms, ended_at_ms, ended_by FROM key";

function toKey(row: KeyRow): Key {
  return {
    hash: row.hash,
    accountId: row.account_id,
    paymentHash: row.payment_hash,
    generation: Number(row.generation),
    createdAtMs: Number(row.created_at_ms),
    ended: row.ended_by === null ? undefined : { by: row.ended_by, atMs: Number(row.ended_at_ms) },
  };
}

export function findKey(tx: Pick<Tx, "get">, hash: string): Key | undefined {
  const row = tx.get<KeyRow>(`${selectKey} WHERE hash = ?`, hash);
  return row && toKey(row);
}

/** The newest token of a payment, live or not. */
export function findNewestKey(tx: Pick<Tx, "get">, paymentHash: string): Key | undefined {
  const row = tx.get<KeyRow>(`${selectKey} WHERE payment_hash = ? ORDER BY generation DESC LIMIT 1`, paymentHash);
  return row && toKey(row);
}

/** By payment hash, from after `afterPaymentHash`; the newest of each payment only. */
export function listKeys(tx: Pick<Tx, "all">, afterPaymentHash: string, limit: number): Key[] {
  return tx
    .all<KeyRow>(`${selectKey} k WHERE payment_hash > ? AND generation = (SELECT max(generation) FROM key o WHERE o.payment_hash = k.payment_hash)
       ORDER BY payment_hash LIMIT ?`, afterPaymentHash, limit)
    .map(toKey);
}

export function insertKey(tx: Tx, key: { hash: string; accountId: string; paymentHash: string; generation: number; atMs: number }): void {
  tx.run("INSERT INTO key (hash, account_id, payment_hash, generation, created_at_ms) VALUES (?, ?, ?, ?, ?)",
    key.hash, key.accountId, key.paymentHash, key.generation, key.atMs);
}

function endKey(tx: Tx, key: Key, by: "rotated" | "revoked", atMs: number): void {
  tx.run("UPDATE key SET ended_at_ms = ?, ended_by = ? WHERE hash = ? AND ended_at_ms IS NULL", atMs, by, key.hash);
}

export type RotateOutcome = { ok: true } | { ok: false; reason: "not_found" | "rotated_meanwhile" };

/**
 * Ends the newest token of a payment and puts the next one in its place; the account and its money stay. `hash` is that
 * of generation `fromGeneration + 1`. A revoked one is revived this way too: only the owner gets here.
 */
export const rotateKey = command("accounts.rotateKey", (tx, input: { paymentHash: string; fromGeneration: number; hash: string; atMs: number }): RotateOutcome => {
  const key = findNewestKey(tx, input.paymentHash);
  if (key === undefined) return { ok: false, reason: "not_found" };
  if (key.generation !== input.fromGeneration) return { ok: false, reason: "rotated_meanwhile" };
  endKey(tx, key, "rotated", input.atMs);
  insertKey(tx, { ...key, hash: input.hash, generation: input.fromGeneration + 1, atMs: input.atMs });
  return { ok: true };
});

export const revokeKey = command("accounts.revokeKey", (tx, input: { paymentHash: string; atMs: number }): { ok: true; revoked: boolean } => {
  const key = findNewestKey(tx, input.paymentHash);
  if (key === undefined || key.ended !== undefined) return { ok: true, revoked: false };
  endKey(tx, key, "revoked", input.atMs);
  return { ok: true, revoked: true };
});
