/** Asks the Hearth that runs here, through the owner's door, as whoever can read the data directory. */
import { AppError } from "../base/errors.ts";

export type OwnersDoor = { port: number; consoleKey: string | undefined };

/** @throws AppError `not_running`, or what Hearth says. */
export async function askOwnersDoor({ port, consoleKey }: OwnersDoor, path: string, body: object | undefined): Promise<unknown> {
  const notRunning = new AppError("not_running", "Hearth does not run here; start it, then ask again.");
  if (consoleKey === undefined) throw notRunning;
  const answer = await fetch(`http://127.0.0.1:${port}/admin/api${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${consoleKey}` },
    ...(body && { body: JSON.stringify(body) }),
  }).catch(() => Promise.reject(notRunning));
  const said = (await answer.json()) as { error?: { message: string } };
  if (said.error) throw new AppError("refused", said.error.message);
  return said;
}
