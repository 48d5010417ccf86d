/** Whether money may leave: the owner's switch, and the lock that a backup which was put back comes with. */
import { command, type Tx } from "../store/command.ts";

const switchName = "payouts_off";
const confirmedName = "payouts_confirmed_restore";

const setting = (tx: Pick<Tx, "get">, name: string) => tx.get<{ value: string }>("SELECT value FROM setting WHERE name = ?", name)?.value;
const put = (tx: Tx, name: string, value: string) => tx.run("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value);

/** On until the owner says stop; the right to pay is what opens it first. */
export function isPayoutSwitchOn(tx: Pick<Tx, "get">): boolean {
  return setting(tx, switchName) === undefined;
}

/**
 * When a backup was put back whose payouts the owner has not looked through yet, in ms (`markRestored` of store/snapshot.ts): money may have
 * left since that copy was made, and the ledger does not know it.
 */
export function restoreToConfirm(tx: Pick<Tx, "get">): number | undefined {
  const restored = setting(tx, "restored_at_ms");
  return restored === undefined || restored === setting(tx, confirmedName) ? undefined : Number(restored);
}

export const switchPayouts = command("payments.switchPayouts", (tx, { on }: { on: boolean }): { ok: true } => {
  if (on) tx.run("DELETE FROM setting WHERE name = ?", switchName);
  else put(tx, switchName, "1");
  return { ok: true };
});

/** The owner has seen what left meanwhile. */
export const confirmRestore = command("payments.confirmRestore", (tx, { restoredAtMs }: { restoredAtMs: number }): { ok: boolean } => {
  if (restoreToConfirm(tx) !== restoredAtMs) return { ok: false };
  put(tx, confirmedName, String(restoredAtMs));
  return { ok: true };
});
