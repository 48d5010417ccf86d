/**
 * Reads the owner's settings: a TOML file (`HEARTH_CONFIG`, else `hearth.toml` in the data directory), then the
 * environment over it. What is wrong is said with its key, its value and what would be right; secrets are not shown.
 */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { z } from "zod";
import { systemRandom } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { type Config, configSchema } from "./schema.ts";
import { SealedSecrets } from "./sealed-secrets.ts";
import { isSecretName, withSecrets } from "./secret-settings.ts";

type Environment = Record<string, string | undefined>;

function invalid(message: string): AppError {
  return new AppError("invalid_config", message);
}

/** Where the data of `serve` (or the demo, which is play money and lives apart) belongs when nothing is said. */
export function defaultDataDirectory(demo: boolean, environment: Environment): string {
  const home = environment.HOME || homedir();
  return join(environment.XDG_DATA_HOME || join(home, ".local", "share"), demo ? "hearth-demo" : "hearth");
}

/** Parsers quote what they stumble over, which may be a key to somebody's money: of what they say, nothing in quotes but one sign is kept. */
function withoutText(message: string): string {
  return message.replace(/^TOML Parse error: /, "").replace(/:? *"[^]*"/, "");
}

function isToml(text: string): boolean {
  try {
    Bun.TOML.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The parser tells no line: it is the one after the longest beginning that can be read. Its key is named, its value never. */
function whereItEnds(text: string): string {
  const lines = text.split("\n");
  let readable = lines.length - 1;
  while (readable > 0 && !isToml(lines.slice(0, readable).join("\n"))) readable--;
  const key = /^\s*([A-Za-z0-9_.-]+)\s*=/.exec(lines[readable] ?? "")?.[1];
  return `from line ${readable + 1} on${key === undefined ? "" : ` (${key} = ...)`}`;
}

function readFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw invalid(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}; it must be a file that Hearth's user may read.`);
  }
  try {
    return Bun.TOML.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw invalid(`${path} cannot be read as TOML ${whereItEnds(text)}: ${withoutText(cause instanceof Error ? cause.message : String(cause))}.`);
  }
}

/** What the environment sets over the file, by its place there. */
const variables: readonly [variable: string, ...path: string[]][] = [
  ["HEARTH_PORT", "port"], ["HEARTH_OWNER_PORT", "owner_port"], ["HEARTH_LISTEN", "listen"], ["HEARTH_PUBLIC_URL", "public_url"], ["HEARTH_NODE", "node"],
  ["HEARTH_LND_REST_URL", "lnd", "rest_url"], ["HEARTH_LND_TLS_CERT", "lnd", "tls_cert"], ["HEARTH_LND_MACAROON", "lnd", "macaroon"], ["HEARTH_LND_PAYOUT_MACAROON", "lnd", "payout_macaroon"],
  ["HEARTH_LNC_MAILBOX", "lnc", "mailbox"], ["HEARTH_LNC_PAIRING_PHRASE", "lnc", "pairing_phrase"],
  ["HEARTH_PHOENIXD_URL", "phoenixd", "url"], ["HEARTH_PHOENIXD_PASSWORD", "phoenixd", "password"], ["HEARTH_PHOENIXD_PAYOUT_PASSWORD", "phoenixd", "payout_password"],
];

/** `HEARTH_UPSTREAM_URL` and `_KEY` are one more upstream, the first in line. */
function environmentOverrides(environment: Environment, fromFile: Record<string, unknown>): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const [variable, key, inner] of variables) {
    if (!environment[variable]) continue;
    if (inner === undefined) settings[key!] = environment[variable];
    else settings[key!] = { ...(fromFile[key!] as object | undefined), ...(settings[key!] as object | undefined), [inner]: environment[variable] };
  }
  const url = environment.HEARTH_UPSTREAM_URL;
  // A list that is none is left for the schema to refuse.
  if (url && (fromFile.upstreams === undefined || Array.isArray(fromFile.upstreams))) {
    const key = environment.HEARTH_UPSTREAM_KEY;
    settings.upstreams = [{ name: "upstream", url, ...(key ? { key } : {}) }, ...((fromFile.upstreams as unknown[] | undefined) ?? [])];
  }
  return settings;
}

type Path = readonly PropertyKey[];
type Definition = { innerType?: z.ZodType; shape?: Record<string, z.ZodType>; element?: z.ZodType; valueType?: z.ZodType };

function definitionOf(schema: z.ZodType): Definition {
  const definition = schema.def as Definition;
  return definition.innerType === undefined ? definition : definitionOf(definition.innerType);
}

/** What the schema wants at this place; nothing where it knows no such place. */
function definitionAt(path: Path): Definition {
  let at = definitionOf(configSchema);
  for (const part of path) {
    const inner = at.shape?.[String(part)] ?? at.element ?? at.valueType;
    if (inner === undefined) return {};
    at = definitionOf(inner);
  }
  return at;
}

function valueAt(settings: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown> | undefined)?.[part], settings);
}

/** As the owner wrote it: a variable's name where one was set, an upstream by its name. */
function nameOf(path: Path, settings: unknown, environment: Environment): string {
  const [first, second, ...rest] = path;
  const [variable] = variables.find(([, ...set]) => set.length === path.length && set.every((part, at) => part === path[at])) ?? [];
  if (variable !== undefined && environment[variable]) return variable;
  if (first !== "upstreams" || typeof second !== "number") return path.map(String).join(".");
  const fromEnvironment = environment.HEARTH_UPSTREAM_URL ? 1 : 0;
  if (second < fromEnvironment) return "HEARTH_UPSTREAM_URL";
  const name = valueAt(settings, [first, second, "name"]);
  const known = typeof name === "string" && rest[0] !== "name" && name.length <= 32;
  return [first, known ? name : `${second - fromEnvironment + 1}`, ...rest].map(String).join(".");
}

const longestShown = 100;

/** A text is shown only where one is due and no secret is: elsewhere it may be one that was written to the wrong place. */
function shown(value: unknown, mayShowText: boolean): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return `a table with ${Object.keys(value).join(", ") || "nothing in it"}`;
  if (typeof value !== "string") return String(value);
  return mayShowText ? JSON.stringify(value.replace(/\/\/[^/@]*@/, "//***@").slice(0, longestShown)) : "a text (not shown)";
}

function explain(issue: z.core.$ZodIssue, settings: unknown, environment: Environment): string {
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => explainUnknown([...issue.path, key], settings, environment)).join("; ");
  const { shape, element, valueType } = definitionAt(issue.path);
  const isLeaf = shape === undefined && element === undefined && valueType === undefined;
  const value = shown(valueAt(settings, issue.path), isLeaf && !isSecretName(issue.path.at(-1)));
  return `${nameOf(issue.path, settings, environment)} is ${value}: ${issue.message}`;
}

const keysOf = ({ shape = {} }: Definition) => Object.keys(shape).filter((key) => key !== "data_dir");

function explainUnknown(path: Path, settings: unknown, environment: Environment): string {
  const what = `${nameOf(path, settings, environment)} is ${shown(valueAt(settings, path), false)}, but there is no such setting`;
  if (path.length > 1 && keysOf(definitionAt([])).includes(String(path.at(-1)))) return `${what} here: it belongs at the top of the file, above the first [table]`;
  return `${what}; there are ${keysOf(definitionAt(path.slice(0, -1))).join(", ")}`;
}

/** The data directory and what its settings file says, before anything is judged. */
export function readSettings(options: { demo: boolean; environment: Environment }): { dataDir: string; path: string; fromFile: Record<string, unknown> } {
  const { environment } = options;
  const dataDir = environment.HEARTH_DATA_DIR || defaultDataDirectory(options.demo, environment);
  const named = environment.HEARTH_CONFIG;
  const path = named || join(dataDir, "hearth.toml");
  if (named && !existsSync(named)) throw invalid(`HEARTH_CONFIG names ${named}, which does not exist.`);
  return { dataDir, path, fromFile: existsSync(path) ? readFile(path) : {} };
}

export function loadConfig(options: { demo: boolean; environment: Environment }): Config {
  const { environment } = options;
  const { dataDir, path, fromFile } = readSettings(options);
  if (fromFile.data_dir !== undefined) throw invalid(`Settings: data_dir is ${shown(fromFile.data_dir, true)} in ${path}; set it with HEARTH_DATA_DIR, since the file is looked for in there.`);
  const secrets = new SealedSecrets(dataDir, environment, systemRandom);
  const settings = { ...withSecrets({ ...fromFile, ...environmentOverrides(environment, fromFile) }, (name) => secrets.get(name)), data_dir: dataDir };
  const parsed = configSchema.safeParse(settings);
  if (!parsed.success) throw invalid(`Settings: ${parsed.error.issues.map((issue) => explain(issue, settings, environment)).join("; ")}.`);
  refuseDoubleNames(parsed.data);
  return parsed.data;
}

function refuseDoubleNames(config: Config): void {
  const names = new Set<string>();
  for (const { name } of config.upstreams) {
    if (names.has(name)) throw invalid(`Settings: upstreams.name is "${name}" twice; each upstream needs a name of its own.`);
    names.add(name);
  }
}
