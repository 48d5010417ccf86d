/**
 * The rules of the house (design, architecture section 3), read from the source: who may import whom, what pure means,
 * where SQL and Elysia live, how long things get. Each fails with its own sentence, and each is shown to be able to fail.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const root = new URL("..", import.meta.url).pathname;

/** `path` from the checkout, e.g. `src/http/doors.ts`. */
type Source = { path: string; text: string };
type Import = { from: Source; specifier: string; target: string; typeOnly: boolean };
type Rule = {
  /** What a reader is told when it is broken. */
  sentence: string;
  /** One line for each place that breaks it. */
  broken(files: readonly Source[]): string[];
  /** A file that must be caught. */
  offender: Source;
};

/** A file imports its own room or a lower rank. */
const ranks: Record<string, number> = {
  base: 0, money: 0, config: 1, store: 1, ledger: 2, pricing: 2, lightning: 2, upstream: 2, payments: 3, l402: 4, accounts: 5, charge: 6,
  gateway: 7, market: 7, owner: 7, http: 8, mcp: 8, jobs: 8, cli: 8,
};
/** Sideways, by design. */
const sideways: Record<string, string> = {
  "money -> base": "amounts are asserted, and assertions are the floor everything stands on",
  "owner -> gateway (type)": "the owner's report shows the health of upstreams as the gateway names it; no code is called",
};
/** Not adapters: ports, and what every adapter of the room may use. Everything else there is named by the composition root alone. */
const sharedOfAdapterRooms: Record<string, readonly string[]> = {
  lightning: ["node.ts", "bolt11.ts", "bounded-node.ts", "preimage.ts"],
  upstream: ["upstream.ts", "search.ts", "sse.ts", "usage.ts", "local-address.ts"],
};
/** The composition root. */
const roots = ["src/main.ts", "src/adapters.ts"];
const ports = ["src/lightning/node.ts", "src/upstream/upstream.ts", "src/upstream/search.ts"];
/** Outside ledger/, by design. */
const ledgerWriters: Record<string, string> = {
  "src/store/writer-thread.ts: boot": "a write that changes nothing resets the copied log, so that its header's sync is paid while nobody waits",
};
const mostLines = 400;
const mostLinesOfFunction = 70;

function read(...folders: string[]): Source[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => ({ path: join(folder, name), text: readFileSync(join(root, folder, name), "utf8") })));
}

function importsOf(from: Source): Import[] {
  const found = [...from.text.matchAll(/^(?:import|export)\s(?:(type)\s)?(?:[^;"']*?\sfrom\s)?"([^"]+)";?$|\b(?:import|require)\("([^"]+)"\)/gm)];
  return found.map(([, type, still, dynamic]) => {
    const specifier = (still ?? dynamic)!;
    return { from, specifier, target: specifier.startsWith(".") ? normalize(join(dirname(from.path), specifier)) : specifier, typeOnly: type !== undefined };
  });
}

const inSrc = (files: readonly Source[]) => files.filter((file) => file.path.startsWith("src/"));
/** The folder of src/ a path is in; undefined for main.ts and writer.ts, which stand on top. */
const roomOf = (path: string) => /^src\/([^/]+)\//.exec(path)?.[1];
const headOf = (file: Source) => /^\/\*\*([\s\S]*?)\*\//.exec(file.text)?.[1] ?? "";
/** Comments may name what code may not use. */
const codeOf = (file: Source) => file.text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/ .*$/gm, "");
const isTable = (path: string) => /\/(migrations|fixtures)\//.test(path);

function brokenRanks(files: readonly Source[]): string[] {
  return inSrc(files).flatMap(importsOf).flatMap(({ from, target, typeOnly }) => {
    const room = roomOf(from.path), other = roomOf(target);
    if (!target.startsWith("src/")) return [];
    // The root's own files are one.
    if (other === undefined && room === undefined) return [];
    if (other === undefined) return [`${from.path} imports ${target}, which stands above every room`];
    if (room === undefined || room === other) return [];
    const rank = ranks[room], otherRank = ranks[other];
    if (rank === undefined || otherRank === undefined) return [`${from.path}: ${rank === undefined ? room : other} is no room of the house`];
    const name = `${room} -> ${other}`;
    const allowed = otherRank < rank || (otherRank === rank && (name in sideways || (typeOnly && `${name} (type)` in sideways)));
    return allowed ? [] : [`${from.path} (${rank} ${room}) imports ${target} (${otherRank} ${other})`];
  });
}

function brokenAdapters(files: readonly Source[]): string[] {
  return inSrc(files).filter((file) => !roots.includes(file.path)).flatMap(importsOf).flatMap(({ from, target, typeOnly }) => {
    const room = roomOf(target) ?? "";
    if (roomOf(from.path) === room) return [];
    if (ports.includes(target)) return typeOnly ? [] : [`${from.path} imports the port ${target} as more than a type`];
    const shared = sharedOfAdapterRooms[room];
    return shared === undefined || shared.includes(target.split("/").at(-1)!) ? [] : [`${from.path} names the adapter ${target}`];
  });
}

const impure = /\bfetch\(|\bDate\.now\b|\bMath\.random\b|\bprocess\.env\b|\bnew Date\(\)|\bBun\./;

function brokenPurity(files: readonly Source[]): string[] {
  return inSrc(files).filter((file) => /\bPure\b(?! but)/.test(headOf(file))).flatMap((file) => {
    const imports = importsOf(file).filter(({ specifier }) => /^(bun|bun:.*|node:.*|elysia)$/.test(specifier)).map(({ specifier }) => specifier);
    const uses = impure.exec(codeOf(file))?.[0];
    return [...imports, ...(uses === undefined ? [] : [uses])].map((what) => `${file.path} uses ${what}`);
  });
}

function brokenLedger(files: readonly Source[]): string[] {
  const write = /\b(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(account|transfer|open_reservation|boot)\b/g;
  return inSrc(files).filter((file) => roomOf(file.path) !== "ledger" && !isTable(file.path)).flatMap((file) =>
    [...codeOf(file).matchAll(write)].map((match) => `${file.path}: ${match[1]}`).filter((place) => !(place in ledgerWriters)));
}

const sql = /\bSELECT\b[\s\S]*?\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\s+\w+\s+SET\b|\bDELETE\s+FROM\b|\bPRAGMA\b/;

/** From the line that begins a function to the one that closes it, by indentation: the code is formatted. */
function longFunctions(file: Source): string[] {
  const lines = file.text.split("\n");
  const indent = (line: string) => line.length - line.trimStart().length;
  const method = /^\s+(?:(?:async|static|override|get|set|private) )*\*?(?!(?:if|for|while|switch|catch|with)\b)[#\w]+(?:<.*>)?\(.*\).*\{$/;
  return lines.flatMap((line, at) => {
    if (!line.endsWith("{") || !(/\bfunction\b|=> \{$|^\s*\).*\{$/.test(line) || method.test(line))) return [];
    const end = lines.findIndex((other, i) => i > at && indent(other) <= indent(line) && /^\s*[})]/.test(other));
    // A signature over several lines begins where its indentation does.
    let start = at;
    if (/^\s*\)/.test(line)) for (start--; start > 0 && indent(lines[start]!) > indent(line); start--);
    const length = end - start + 1;
    return length > mostLinesOfFunction ? [`${file.path}:${start + 1} has a function of ${length} lines`] : [];
  });
}

const rules: Rule[] = [
  {
    sentence: "A file imports its own room or a lower rank, never sideways within a rank, never up.",
    broken: brokenRanks,
    offender: { path: "src/charge/x.ts", text: 'import type { ChatPlan } from "../gateway/plan.ts";\n' },
  },
  {
    sentence: "Adapters are imported by the composition root (main.ts, adapters.ts) and tests only; everybody else imports the port, as a type.",
    broken: brokenAdapters,
    offender: { path: "src/payments/x.ts", text: 'import { openSandboxNode } from "../lightning/sandbox.ts";\n' },
  },
  {
    sentence: "A file that says it is pure touches no runtime, clock, chance, network or environment.",
    broken: brokenPurity,
    offender: { path: "src/pricing/x.ts", text: "/** Adds up. Pure. */\nexport const now = () => Date.now();\n" },
  },
  {
    sentence: "Only http/ imports Elysia.",
    broken: (files) => inSrc(files).flatMap(importsOf).filter(({ from, specifier }) => /^(@elysiajs\/|elysia)/.test(specifier) && roomOf(from.path) !== "http").map(({ from }) => from.path),
    offender: { path: "src/gateway/x.ts", text: 'import { Elysia } from "elysia";\n' },
  },
  {
    sentence: "Only ledger/ writes the ledger's tables.",
    broken: brokenLedger,
    offender: { path: "src/charge/x.ts", text: "tx.run(`UPDATE account\n  SET debits_posted_msat = 0`);\n" },
  },
  {
    sentence: "SQL lives beside its room, never in http/.",
    broken: (files) => files.filter((file) => roomOf(file.path) === "http" && sql.test(codeOf(file))).map((file) => file.path),
    offender: { path: "src/http/routes/x.ts", text: 'reader.get("SELECT value FROM setting");\n' },
  },
  {
    sentence: "Names say what a thing is: no utils, helpers, manager, common, misc.",
    broken: (files) => files.filter((file) => /(^|[/.-])(utils?|helpers?|managers?|common|misc)([/.-]|$)/.test(file.path)).map((file) => file.path),
    offender: { path: "src/http/route-helpers.ts", text: "" },
  },
  {
    sentence: "File names are kebab-case.",
    broken: (files) => files.filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.ts$/.test(file.path.split("/").at(-1)!)).map((file) => file.path),
    offender: { path: "src/http/chatRoutes.ts", text: "" },
  },
  {
    sentence: "There is no `as any`.",
    broken: (files) => files.filter((file) => /\bas any\b|: any\b|<any>/.test(codeOf(file)) && file.path !== "test/house.test.ts").map((file) => file.path),
    offender: { path: "src/http/x.ts", text: "const body = value as any;\n" },
  },
  {
    sentence: "There are no default exports.",
    broken: (files) => files.filter((file) => /^export default\b|\bas default\b/m.test(codeOf(file))).map((file) => file.path),
    offender: { path: "src/http/x.ts", text: "export default 1;\n" },
  },
  {
    sentence: `No file is longer than ${mostLines} lines.`,
    broken: (files) => files.filter((file) => !isTable(file.path) && file.text.trimEnd().split("\n").length > mostLines).map((file) => `${file.path} has ${file.text.trimEnd().split("\n").length}`),
    offender: { path: "src/http/x.ts", text: "1;\n".repeat(mostLines + 1) },
  },
  {
    sentence: `No function is longer than ${mostLinesOfFunction} lines.`,
    // A test's `describe` is a chapter, not a function.
    broken: (files) => files.filter((file) => !isTable(file.path) && !file.path.startsWith("test/")).flatMap(longFunctions),
    offender: { path: "src/http/x.ts", text: `class X {\n  #long(\n    a: number,\n  ): void {\n${"    a;\n".repeat(mostLinesOfFunction)}  }\n}\n` },
  },
  {
    sentence: "The first thing in a file says what it is for.",
    broken: (files) => files.filter((file) => /^(src|bench)\//.test(file.path) && !/^\/\*\*\s*\S/.test(file.text)).map((file) => file.path),
    offender: { path: "src/http/x.ts", text: 'import { z } from "zod";\n' },
  },
];

const files = read("src", "test", "bench", "scripts");

describe("the house", () => {
  for (const { sentence, broken } of rules) test(sentence, () => expect({ rule: sentence, broken: broken(files) }).toEqual({ rule: sentence, broken: [] }));

  test("what is excepted from a rule is really there", () => {
    const source = inSrc(files);
    const used = new Set(source.flatMap(importsOf).flatMap(({ from, target, typeOnly }) => {
      const name = `${roomOf(from.path)} -> ${roomOf(target)}`;
      return typeOnly ? [name, `${name} (type)`] : [name];
    }));
    expect(Object.keys(sideways).filter((name) => !used.has(name))).toEqual([]);
    expect(Object.keys(ledgerWriters).filter((place) => !source.some((file) => place.startsWith(`${file.path}:`)))).toEqual([]);
    const shared = Object.entries(sharedOfAdapterRooms).flatMap(([room, names]) => names.map((name) => `src/${room}/${name}`));
    expect(shared.filter((path) => !source.some((file) => file.path === path))).toEqual([]);
  });

  test("every folder of src/ is a room with a rank", () => {
    const rooms = new Set(inSrc(files).map((file) => roomOf(file.path)).filter((room) => room !== undefined));
    expect([...rooms].filter((room) => !(room in ranks))).toEqual([]);
  });
});

describe("the rules themselves", () => {
  for (const { sentence, broken, offender } of rules) test(`would be heard when broken: ${sentence}`, () => expect(broken([offender])).toHaveLength(1));

  const forms: [text: string, target: string, typeOnly: boolean][] = [
    ['import a from "../http/a.ts";', "src/http/a.ts", false], ['import type { A } from "../http/a.ts";', "src/http/a.ts", true], ['import {\n  a,\n  type B,\n} from "../http/a.ts";', "src/http/a.ts", false],
    ['import "../http/a.ts";', "src/http/a.ts", false], ['export * from "../http/a.ts";', "src/http/a.ts", false], ['export type { A } from "../http/a.ts";', "src/http/a.ts", true],
    ['const a = await import("../http/a.ts");', "src/http/a.ts", false], ['import { b } from "node:fs";', "node:fs", false],
  ];
  for (const [text, target, typeOnly] of forms)
    test(`an import is seen however it is written: ${text.replaceAll("\n", " ")}`, () =>
      expect(importsOf({ path: "src/base/x.ts", text }).map((one) => ({ target: one.target, typeOnly: one.typeOnly }))).toEqual([{ target, typeOnly }]));

  test("more than twenty files of src/ say that they are pure, so that the rule has something to hold", () =>
    expect(inSrc(files).filter((file) => /\bPure\b/.test(headOf(file))).length).toBeGreaterThan(20));

  const long = `${"  1;\n".repeat(mostLinesOfFunction)}}\n`;
  for (const head of ["function f() {\n", "export async function* f(a: number): X {\n", "const f = async () => {\n"])
    test(`a long function is seen however it begins: ${head.trim()}`, () => expect(longFunctions({ path: "src/base/x.ts", text: head + long })).toHaveLength(1));
});
