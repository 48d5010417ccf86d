/** `hearth key ...`: the owner's hand on tokens. Speaks to the Hearth that runs, through the owner's door. */
import { AppError } from "../base/errors.ts";

type KeyBody = { token?: string; payment_hash: string; state: string; generation: number; created_at: string; balance: { sats: number } };

const usage = `hearth key list                        tokens with their balances
hearth key show TOKEN|PAYMENT_HASH     the token again, for a buyer who has lost it
hearth key rotate TOKEN|PAYMENT_HASH   a new token in its place; the balance stays, the old one opens nothing
hearth key revoke TOKEN|PAYMENT_HASH   ends it; rotate revives it`;

export type KeyCommand = { args: string[]; ownerPort: number; /** Opens the owner's door to whoever can read the data directory. */ consoleKey: string | undefined };

/** The process's exit code. @throws AppError with what to do. */
export async function keyCommand({ args, ownerPort, consoleKey }: KeyCommand, print: (line: string) => void): Promise<number> {
  const [verb = "", name] = args;
  const ask = (path: string, body?: object) => askOwnersDoor(`http://127.0.0.1:${ownerPort}/admin/api/keys${path}`, consoleKey, body);
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
  return `${key.payment_hash}  ${key.state.padEnd(7)}  ${String(key.balance.sats).padStart(10)} sats  since ${key.created_at.slice(0, 10)}`;
}

async function askOwnersDoor(url: string, consoleKey: string | undefined, body: object | undefined): Promise<unknown> {
  const notRunning = new AppError("not_running", "Hearth does not run here; start it, then ask again.");
  if (consoleKey === undefined) throw notRunning;
  const answer = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${consoleKey}` },
    ...(body && { body: JSON.stringify(body) }),
  }).catch(() => Promise.reject(notRunning));
  const said = (await answer.json()) as { error?: { message: string } };
  if (said.error) throw new AppError("refused", said.error.message);
  return said;
}
