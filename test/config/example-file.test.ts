/** `hearth.example.toml` is the documentation of the settings: it names all there are, no other, and the defaults that count. */
import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { loadConfig } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";
import { makeDataDir, removeDataDir } from "../support/hearth.ts";

const text = readFileSync(new URL("../../hearth.example.toml", import.meta.url), "utf8");
/** A setting or a table that is off; every other line with a `#` is prose. */
const off = /^# (?=\[|[a-z_]+ = |"[^"]+" = )/;
const everythingOn = text.split("\n").map((line) => line.replace(off, "")).join("\n");

const folder = makeDataDir();
afterAll(() => removeDataDir(folder));

function load(toml: string) {
  writeFileSync(join(folder, "hearth.toml"), toml);
  return loadConfig({ demo: false, environment: { HEARTH_DATA_DIR: folder } });
}

type Definition = { type: string; innerType?: z.ZodType; shape?: Record<string, z.ZodType>; element?: z.ZodType; valueType?: z.ZodType; defaultValue?: unknown; entries?: Record<string, string> };
type Setting = { name: string; schema: z.ZodType };
const definitionOf = (schema: z.ZodType) => schema.def as unknown as Definition;

/** Without what makes it optional or gives it a default. */
function core(schema: z.ZodType): z.ZodType {
  const { innerType } = definitionOf(schema);
  return innerType === undefined ? schema : core(innerType);
}

/** Every key the schema knows: `upstreams.price`, one of the entries of a list or a table standing for all. */
function settingsOf(schema: z.ZodType, path: string[] = []): Setting[] {
  const { shape, element, valueType } = definitionOf(core(schema));
  const entry = element ?? valueType;
  if (entry !== undefined) return settingsOf(entry, path);
  return Object.entries(shape ?? {}).flatMap(([key, inner]) => [{ name: [...path, key].join("."), schema: inner }, ...settingsOf(inner, [...path, key])]);
}

/** The same names, of what is written in a document. */
function writtenIn(value: unknown, schema: z.ZodType, path: string[] = []): string[] {
  const { shape, element, valueType } = definitionOf(core(schema));
  const entry = element ?? valueType;
  if (typeof value !== "object" || value === null) return [];
  if (entry !== undefined) return Object.values(value).flatMap((one) => writtenIn(one, entry, path));
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key].join("."), ...(shape?.[key] ? writtenIn(inner, shape[key], [...path, key]) : [])]);
}

/** Where a default is looked for: `prefault({})` is a table whose keys have their own. */
function defaultOf(schema: z.ZodType): unknown {
  const { type, defaultValue, innerType } = definitionOf(schema);
  return type === "default" ? defaultValue : innerType === undefined ? undefined : defaultOf(innerType);
}

const isTable = (schema: z.ZodType) => definitionOf(core(schema)).shape !== undefined;
const isNeeded = (schema: z.ZodType) => definitionOf(schema).innerType === undefined;

type Documented = { prose: string; value: string | undefined };

/** The prose above each key's first line, and what the line says. A table's or a list's own prose stands above its header. */
function documented(): Map<string, Documented> {
  const found = new Map<string, Documented>();
  let table = "", prose = "";
  for (const line of text.split("\n")) {
    const code = line.replace(off, "");
    const header = /^\[\[?([a-z_.]+)\]\]?$/.exec(code)?.[1];
    const [, key, value] = /^([a-z_]+) = (.*)$/.exec(code) ?? [];
    if (header !== undefined) table = header;
    const name = header ?? (key === undefined ? undefined : [...(table ? [table] : []), key].join("."));
    if (name !== undefined && !found.has(name)) found.set(name, { prose, value });
    prose = code.startsWith("# ") ? `${prose}${code.slice(2)}\n` : "";
  }
  return found;
}

const settings = settingsOf(configSchema);
const said = documented();
/** A price's keys are said once, in the table above [prices]; data_dir is where the file itself is looked for. */
const inOneTable = (name: string) => /^(upstreams\.price|search\.price|prices\.default|prices\.models)\./.test(name);
const alone = settings.filter(({ name, schema }) => name !== "data_dir" && !inOneTable(name) && !isTable(schema));

describe("hearth.example.toml", () => {
  test("changes nothing as it is delivered", () => expect(load(text)).toEqual(load("")));

  test("is accepted with every line switched on, and is another configuration then", () => expect(load(everythingOn)).not.toEqual(load("")));

  test("names every setting, and no other", () => {
    // A price is the same wherever it may stand: it is shown whole in one of the places.
    const place = (name: string) => name.replace(/^(upstreams\.price|search\.price|prices\.default|prices\.models)\./, "PRICE.");
    const unique = (names: string[]) => [...new Set(names.map(place))].sort();
    const known = settings.map(({ name }) => name).filter((name) => name !== "data_dir");
    expect(unique(writtenIn(Bun.TOML.parse(everythingOn), configSchema))).toEqual(unique(known));
  });

  test("says of each key of a price what it is", () => {
    const keys = settings.filter(({ name }) => name.startsWith("prices.default.")).map(({ name }) => name.slice("prices.default.".length));
    expect(keys.length).toBeGreaterThan(3);
    const table = text.split("\n").filter((line) => line.startsWith("#   "));
    expect(keys.filter((key) => !table.some((line) => new RegExp(`\\b${key}\\b.* {2,}\\S`).test(line)))).toEqual([]);
  });

  test.each(alone.map(({ name, schema }) => [name, schema] as const))("%s has its default, as it is, and a sentence", (name, schema) => {
    const { prose, value } = said.get(name) ?? { prose: "", value: undefined };
    const list = /^(rate_sources)\./.exec(name)?.[1];
    // The three keys of a source are told in one sentence above it.
    if (list !== undefined) return expect(said.get(list)!.prose).toContain(name.slice(list.length + 1));
    const before = prose.replace(/Default: [^]*$/, "");
    expect(before.length).toBeGreaterThan(20);
    if (isNeeded(schema)) return expect(prose).toContain("Needed.");
    const written = /^Default: (.+?)[.;](\s|$)/m.exec(prose)?.[1] ?? "nothing said";
    const theirs = written === "none" ? undefined : (Bun.TOML.parse(`x = ${written}`) as { x: unknown }).x;
    const ours = defaultOf(schema);
    const empty = typeof ours === "object" && ours !== null && Object.keys(ours).length === 0;
    expect(theirs).toEqual(empty ? undefined : ours);
    if (theirs !== undefined) expect((Bun.TOML.parse(`x = ${value}`) as { x: unknown }).x).toEqual(theirs);
  });

  const choices = alone.flatMap(({ name, schema }) => Object.keys(definitionOf(core(schema)).entries ?? {}).map((choice) => [name, choice] as const));
  test.each(choices)("%s may be %s, and it says so", (name, choice) => expect(said.get(name)!.prose.split(/[\s,";:]+/).map((word) => word.replace(/\.$/, ""))).toContain(choice));

  test("names every variable of the environment that is read, and no other", () => {
    const read = new Set<string>();
    const watch = (set: Record<string, string>) => new Proxy(set, { get: (all, name) => (read.add(String(name)), all[String(name)]) });
    loadConfig({ demo: false, environment: watch({ HOME: folder, HEARTH_UPSTREAM_URL: "http://127.0.0.1:1/v1" }) });
    read.delete("HOME");
    const named = [...text.matchAll(/^# {3}([A-Z_]+) /gm)].map((match) => match[1]);
    expect(named.sort()).toEqual([...read].sort());
  });
});
