/** The owner's password: Argon2id, its hash in the database, never anywhere else. */
import { AppError } from "../base/errors.ts";
import { maxPasswordCharacters, minPasswordCharacters } from "../base/limits.ts";
import { command, type Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";

export const setPasswordHash = command("owner.setPasswordHash", (tx, input: { hash: string }): { ok: true } => {
  tx.run("INSERT INTO setting (name, value) VALUES ('owner_password', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", input.hash);
  return { ok: true };
});

function findHash(reader: Reader): string | undefined {
  return reader.get<{ value: string }>("SELECT value FROM setting WHERE name = 'owner_password'")?.value;
}

export function hasPassword(reader: Reader): boolean {
  return findHash(reader) !== undefined;
}

/** @throws AppError `invalid_request` for one that is too short to mean anything. */
export async function setPassword(writer: Writer, password: string): Promise<void> {
  if (password.length < minPasswordCharacters || password.length > maxPasswordCharacters)
    throw new AppError("invalid_request", `The password must have ${minPasswordCharacters} to ${maxPasswordCharacters} characters.`, { param: "password" });
  await writer.durable(setPasswordHash, { hash: await Bun.password.hash(password, { algorithm: "argon2id" }) });
}

export async function isPassword(reader: Reader, password: string): Promise<boolean> {
  const hash = findHash(reader);
  return hash !== undefined && password.length <= maxPasswordCharacters && (await Bun.password.verify(password, hash));
}
