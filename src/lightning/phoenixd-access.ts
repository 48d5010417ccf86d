/** How phoenixd is reached, from what an owner sets. A password's file is read when it is needed, since it comes and changes by itself. */
import { readFileSync } from "node:fs";
import { PhoenixdApi, PhoenixdError } from "./phoenixd-api.ts";

/** `full`: the password is the one that may pay. */
export type PhoenixdSettings = { url: string; password: string; full?: boolean };

export function openPhoenixdApi({ url, password, full = false }: PhoenixdSettings): PhoenixdApi {
  return new PhoenixdApi({ url: url.replace(/\/+$/, ""), password: () => readPassword(password, full) });
}

/** As it is, or from a file that holds it alone, or from phoenixd's own phoenix.conf. @throws PhoenixdError */
export function readPassword(value: string, full = false): string {
  if (!value.startsWith("/")) return value;
  const text = readText(value);
  if (full) return (/^http-password=(.*)$/m.exec(text)?.[1] ?? text).trim();
  // The one that can sell and not spend. One setting a line, as ConfFile.kt of phoenixd reads them.
  const limited = /^http-password-limited-access=(.*)$/m.exec(text)?.[1];
  if (limited === undefined && /^http-password=/m.test(text))
    throw new PhoenixdError("forbidden", "The file named as phoenixd's password has no http-password-limited-access; start phoenixd once, which writes one.");
  return (limited ?? text).trim();
}

/** Never names the path: it may be a password that begins with a slash. */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const why = (cause as { code?: unknown }).code === "ENOENT" ? "does not exist" : "cannot be read by Hearth's user";
    throw new PhoenixdError("forbidden", `The file named as phoenixd's password ${why}.`);
  }
}
