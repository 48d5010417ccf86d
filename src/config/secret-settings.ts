/** Which settings are secrets, and where they are named instead of written. */
import { AppError } from "../base/errors.ts";

/** By the name of the setting, in whichever table. */
const secretNames = new Set<PropertyKey | undefined>(["key", "macaroon", "payout_macaroon", "pairing_phrase", "password", "payout_password"]);
const prefix = "secret:";

export function isSecretName(name: PropertyKey | undefined): boolean {
  return secretNames.has(name);
}

type Settings = Readonly<Record<string, unknown>>;

/** The same settings with each `secret:NAME` replaced by what is kept under that name. @throws AppError `invalid_config`, with the setting's place. */
export function withSecrets(settings: Settings, get: (name: string) => string): Record<string, unknown> {
  return change(settings, [], (text, path) => {
    if (!text.startsWith(prefix)) return text;
    try {
      return get(text.slice(prefix.length));
    } catch (error) {
      throw new AppError("invalid_config", `Settings: ${path.join(".")} cannot be had: ${error instanceof Error ? error.message : String(error)}`);
    }
  }) as Record<string, unknown>;
}

/** Where secrets are written out. A path to a file is none. */
export function plainSecrets(settings: Settings): string[] {
  const found: string[] = [];
  change(settings, [], (text, path) => {
    if (!text.startsWith(prefix) && !text.startsWith("/") && !text.startsWith("~")) found.push(path.join("."));
    return text;
  });
  return found;
}

function change(value: unknown, path: readonly string[], secret: (text: string, path: readonly string[]) => string): unknown {
  if (Array.isArray(value)) return value.map((one, at) => change(one, [...path, nameIn(one) ?? String(at + 1)], secret));
  if (typeof value === "string") return isSecretName(path.at(-1)) ? secret(value, path) : value;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, change(one, [...path, key], secret)]));
}

/** What the owner calls it. */
function nameIn(value: unknown): string | undefined {
  const name = (value as { name?: unknown } | null)?.name;
  return typeof name === "string" ? name : undefined;
}
