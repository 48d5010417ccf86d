/**
 * One line per event on stderr: time, level, event, then `key=value`. Never hand it a prompt, an Authorization
 * header, a preimage, a macaroon or a key: fields are counts, ids, codes and durations.
 */

export type LogFields = Record<string, string | number | bigint | boolean | undefined>;
type Level = "info" | "warn" | "error";

function line(level: Level, event: string, fields: LogFields): string {
  let text = `${new Date().toISOString()} ${level} ${event}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown = String(value);
    text += ` ${key}=${/[\s"=]/.test(shown) ? JSON.stringify(shown) : shown}`;
  }
  return text + "\n";
}

function at(level: Level) {
  return (event: string, fields: LogFields = {}) => void process.stderr.write(line(level, event, fields));
}

export const log = { info: at("info"), warn: at("warn"), error: at("error") };

/** What may be said of an unknown failure: its message and code, never its data. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  return code === undefined ? error.message : `${error.message} (${String(code)})`;
}
