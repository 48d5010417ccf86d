/**
 * `Idempotency-Key`: the same request of the same account happens once in a day. A row says which call or payment a key
 * stands for; the answer itself is never kept, it is made again from that.
 */
import { AppError } from "../base/errors.ts";
import { requestKeyHours } from "../base/limits.ts";
import { command, type Tx } from "../store/command.ts";

export type RequestKey = {
  accountId: string;
  purpose: "call" | "topup" | "claim" | "collect";
  key: string;
  /** SHA-256 of the canonical body, hex. */
  bodyHash: string;
  /** Id of the call or payout, or payment hash. */
  reference: string;
  atMs: number;
};

export type KeptRequest = { bodyHash: string; reference: string };

const lifetimeMs = requestKeyHours * 3_600_000;
/** Old rows that a new one takes with it: keeps the table as large as a day's traffic. */
const swept = 8;

export function findRequest(tx: Pick<Tx, "get">, k: Pick<RequestKey, "accountId" | "purpose" | "key" | "atMs">): KeptRequest | undefined {
  const row = tx.get<{ body_hash: string; reference: string }>(
    "SELECT body_hash, reference FROM request_key WHERE account_id = ? AND purpose = ? AND key = ? AND at_ms > ?",
    k.accountId, k.purpose, k.key, k.atMs - lifetimeMs);
  return row && { bodyHash: row.body_hash, reference: row.reference };
}

/** From now on the key stands for this request. */
export function keepRequest(tx: Tx, k: RequestKey): void {
  tx.run(`DELETE FROM request_key WHERE (account_id, purpose, key) IN
    (SELECT account_id, purpose, key FROM request_key WHERE at_ms <= ? ORDER BY at_ms LIMIT ${swept})`, k.atMs - lifetimeMs);
  tx.run(`INSERT INTO request_key (account_id, purpose, key, body_hash, reference, at_ms) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (account_id, purpose, key) DO UPDATE SET body_hash = excluded.body_hash, reference = excluded.reference, at_ms = excluded.at_ms`,
    k.accountId, k.purpose, k.key, k.bodyHash, k.reference, k.atMs);
}

/** Takes the key for this request unless another has it; answers what it stands for now. `replaces`: a reference that is of no use any more. */
export const takeRequestKey = command("accounts.takeRequestKey", (tx, input: RequestKey & { replaces: string | undefined }): { ok: true; kept: KeptRequest } => {
  const before = findRequest(tx, input);
  if (before !== undefined && before.reference !== input.replaces) return { ok: true, kept: before };
  keepRequest(tx, input);
  return { ok: true, kept: input };
});

export function idempotencyMismatch(): AppError {
  return new AppError("idempotency_mismatch", "This Idempotency-Key was used for another request; choose a new one.");
}
