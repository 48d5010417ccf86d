/** Whether the tables of accounts (claims, tokens, free calls, what may happen once) keep what clients were told, and are whole. Reads only. */
import type { Tx } from "../../src/store/command.ts";
import type { Promises } from "./durable-effects.ts";

/** Each answers rows of one column `what` where a command was half applied. */
export const accountWholeness: readonly string[] = [
  `SELECT 'claim whose transfers are not all there' AS what FROM claim c WHERE (c.moves, c.moved_msat) <>
   (SELECT count(*), coalesce(sum(t.amount_msat), 0) FROM transfer t JOIN invoice i ON i.payment_hash = c.payment_hash
     WHERE t.id >= 'claim:' || c.payment_hash || ':' AND t.id < 'claim:' || c.payment_hash || ';' AND t.debit_account = i.account_id)`,
  `SELECT 'claim transfer without its claim' AS what FROM transfer t WHERE t.code = 'claim'
   AND NOT EXISTS (SELECT 1 FROM claim c WHERE c.payment_hash = substr(t.id, 7, 64))`,
  `SELECT 'claim of what is not credited' AS what FROM claim c LEFT JOIN invoice i ON i.payment_hash = c.payment_hash WHERE coalesce(i.state, '') <> 'credited'`,
  `SELECT 'claim of a token without the token' AS what FROM claim c JOIN invoice i ON i.payment_hash = c.payment_hash
   WHERE i.purpose <> 'refill' AND c.into_account = i.account_id AND NOT EXISTS (SELECT 1 FROM key k WHERE k.payment_hash = c.payment_hash)`,
  `SELECT 'token without its claim, or of another account' AS what FROM key k LEFT JOIN invoice i ON i.payment_hash = k.payment_hash
   WHERE i.account_id IS NOT k.account_id OR NOT EXISTS (SELECT 1 FROM claim c WHERE c.payment_hash = k.payment_hash)`,
  `SELECT 'replaced token without the next, or the other way round' AS what FROM key k WHERE
   (k.ended_by = 'rotated' AND NOT EXISTS (SELECT 1 FROM key n WHERE n.payment_hash = k.payment_hash AND n.generation = k.generation + 1))
   OR (k.generation > 1 AND NOT EXISTS (SELECT 1 FROM key b WHERE b.payment_hash = k.payment_hash AND b.generation = k.generation - 1 AND b.ended_by IS NOT NULL))`,
  `SELECT 'payment used for a call that was not reserved' AS what FROM single_use s WHERE NOT EXISTS (SELECT 1 FROM transfer t WHERE t.id = s.call_id)`,
  `SELECT 'request key of a call that was not reserved' AS what FROM request_key r WHERE r.purpose = 'call' AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.id = r.reference)`,
  `SELECT 'free call that was not reserved' AS what FROM trial_call c WHERE NOT EXISTS (SELECT 1 FROM transfer t WHERE t.id = c.call_id AND t.debit_account = 'trial')`,
  `SELECT 'free call that the address does not miss' AS what FROM transfer t WHERE t.kind = 'pending' AND t.debit_account = 'trial'
   AND NOT EXISTS (SELECT 1 FROM trial_call c WHERE c.call_id = t.id)`,
  `SELECT 'days of an account that do not equal its calls' AS what FROM (SELECT account_id AS a, day AS d, calls AS n, charged_msat AS m FROM account_day) o
   WHERE (o.n, o.m) <> (SELECT count(*), coalesce(sum(c.charged_msat), 0) FROM call c WHERE c.account_id = o.a AND strftime('%Y-%m-%d', c.at_ms / 1000, 'unixepoch') = o.d)`,
  `SELECT 'call that its account counts on no day' AS what FROM call c WHERE NOT EXISTS (SELECT 1 FROM account_day o WHERE o.account_id = c.account_id)`,
];

/** The first promise about an account that is broken, or undefined. */
export function findLostOfAccounts(tx: Pick<Tx, "get">, promises: Promises): string | undefined {
  for (const { hash, into, movedMsat } of promises.claimed.values()) {
    if (tx.get("SELECT 1 FROM claim WHERE payment_hash = ?", hash) === undefined) return "lost: a claim";
    const { moved } = tx.get<{ moved: bigint | null }>(
      "SELECT sum(amount_msat) AS moved FROM transfer WHERE id >= ? AND id < ? AND credit_account = ?", `claim:${hash}:`, `claim:${hash};`, into)!;
    if ((moved ?? 0n) < movedMsat) return "lost: what a claim moved";
  }
  for (const [hash, told] of promises.keys) {
    const key = tx.get<{ account: string; generation: bigint }>("SELECT account_id AS account, generation FROM key WHERE hash = ?", hash);
    if (key?.account !== told.account || key.generation !== told.generation) return "lost: a token";
  }
  for (const hash of promises.ended) if (tx.get("SELECT 1 FROM key WHERE hash = ? AND ended_by IS NOT NULL", hash) === undefined) return "lost: the end of a token";
  for (const [hash, call] of promises.usedOnce)
    if (tx.get("SELECT 1 FROM single_use WHERE payment_hash = ? AND call_id = ?", hash, call) === undefined) return "lost: a payment that was used up";
  for (const [name, reference] of promises.requests) {
    const row = tx.get<{ reference: string }>("SELECT reference FROM request_key WHERE account_id = ? AND purpose = ? AND key = ?", ...name.split(" "));
    if (row?.reference !== reference) return "lost: a request key";
  }
  for (const [id, told] of promises.payouts) {
    const row = tx.get<{ state: string }>("SELECT state FROM payout WHERE id = ?", id);
    // What went on since may be there as well.
    const mayBe = told === "intent" ? ["intent", "sent", "succeeded", "failed"] : told === "sent" ? ["sent", "succeeded", "failed"] : [told];
    if (row === undefined || !mayBe.includes(row.state)) return `lost: a payout that was ${told}`;
  }
  for (const [call, address] of promises.trials)
    if (tx.get("SELECT 1 FROM trial_call WHERE call_id = ? AND address_hash = ?", call, address) === undefined) return "lost: a free call that was used";
  return undefined;
}
