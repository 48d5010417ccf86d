/**
 * Reads the owner's settings: a TOML file (`HEARTH_CONFIG`, else `hearth.toml` in the data directory), then the
 * environment over it. What is wrong is said with its key, its value and what would be right; secrets are not shown.
 */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { AppError } from "../base/errors.ts";
import { type Config, configSchema } from "./schema.ts";

type Environment = Record<string, string | undefined>;

function invalid(message: string): AppError {
  return new AppError("invalid_config", message);
}

/** Where the data of `serve` (or the demo, which is play money and lives apart) belongs when nothing is said. */
export function defaultDataDirectory(demo: boolean, environment: Environment): string {
  const home = environment.HOME || homedir();
  return join(environment.XDG_DATA_HOME || join(home, ".local", "share"), demo ? "hearth-demo" : "hearth");
}

function readFile(path: string): Record<string, unknown> {
  try {
    return Bun.TOML.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw invalid(`${path} cannot be read as TOML: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

/** `HEARTH_UPSTREAM_URL` and `_KEY` are one more upstream, the first in line. */
function environmentOverrides(environment: Environment, fromFile: Record<string, unknown>): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  const take = (name: string, key: string) => {
    const value = environment[name];
    if (value !== undefined && value !== "") settings[key] = value;
  };
  take("HEARTH_PORT", "port");
  take("HEARTH_OWNER_PORT", "owner_port");
  take("HEARTH_NODE", "node");
  take("HEARTH_PUBLIC_URL", "public_url");
  const url = environment.HEARTH_UPSTREAM_URL;
  if (url) {
    const listed = Array.isArray(fromFile.upstreams) ? (fromFile.upstreams as unknown[]) : [];
    const key = environment.HEARTH_UPSTREAM_KEY;
    settings.upstreams = [{ name: "upstream", url, ...(key ? { key } : {}) }, ...listed];
  }
  return settings;
}

function explain(issue: { path: PropertyKey[]; message: string }, settings: unknown): string {
  const key = issue.path.map(String).join(".") || "the file";
  let value: unknown = settings;
  for (const part of issue.path) value = (value as Record<PropertyKey, unknown> | undefined)?.[part];
  const secret = issue.path.at(-1) === "key";
  const shown = value === undefined || secret || typeof value === "object" ? "" : ` is ${JSON.stringify(value)}:`;
  return `${key}${shown} ${issue.message}`;
}

export function loadConfig(options: { demo: boolean; environment: Environment }): Config {
  const { environment } = options;
  const dataDir = environment.HEARTH_DATA_DIR || defaultDataDirectory(options.demo, environment);
  const named = environment.HEARTH_CONFIG;
  const path = named || join(dataDir, "hearth.toml");
  if (named && !existsSync(named)) throw invalid(`HEARTH_CONFIG names ${named}, which does not exist.`);
  const fromFile = existsSync(path) ? readFile(path) : {};
  const settings = { ...fromFile, ...environmentOverrides(environment, fromFile), data_dir: dataDir };
  const parsed = configSchema.safeParse(settings);
  if (!parsed.success) throw invalid(`Settings: ${parsed.error.issues.map((issue) => explain(issue, settings)).join("; ")}.`);
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
