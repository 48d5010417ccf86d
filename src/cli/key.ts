/** `hearth key ...`: the owner's hand on tokens. Speaks to the Hearth that runs, through the owner's door. */
import { askOwnersDoor, type OwnersDoor } from "./owners-door.ts";

type KeyBody = { token?: string; account_id: string; payment_hash: string; state: string; generation: number; created_at: string; balance: { sats: number } };

const usage = `hearth key list                        tokens with their balances
hearth key show TOKEN|PAYMENT_HASH     the token again, for a buyer who has lost it
hearth key rotate TOKEN|PAYMENT_HASH   a new token in its place; the balance stays, the old one opens nothing
hearth key revoke TOKEN|PAYMENT_HASH   ends it; rotate revives it`;

/** The process's exit code. @throws AppError with what to do. */
export async function keyCommand(args: readonly string[], door: OwnersDoor, print: (line: string) => void): Promise<number> {
  const [verb = "", name] = args;
  const ask = (path: string, body?: object) => askOwnersDoor(door, `/keys${path}`, body);
  if (verb === "list" && name === undefined) return list(ask, print);
  if (!["show", "rotate", "revoke"].includes(verb) || name === undefined) {
    print(usage);
    return 2;
  }
  const key = (await ask(`/${verb}`, { key: name })) as KeyBody;
  if (key.token !== undefined) print(key.token);
  print(line(key));
  return 0;
}

async function list(ask: (path: string) => Promise<unknown>, print: (line: string) => void): Promise<number> {
  let after = "";
  for (;;) {
    const { keys } = (await ask(`?after=${after}`)) as { keys: KeyBody[] };
    if (keys.length === 0) break;
    for (const key of keys) print(line(key));
    after = keys.at(-1)!.payment_hash;
  }
  if (after === "") print("No token was claimed yet.");
  return 0;
}

function line(key: KeyBody): string {
  return `${key.payment_hash}  ${key.state.padEnd(7)}  ${String(key.balance.sats).padStart(10)} sats  since ${key.created_at.slice(0, 10)}  ${key.account_id}`;
}
