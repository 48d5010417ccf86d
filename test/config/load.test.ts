/** A wrong setting is said with its key, its value and what would be right; what may be a secret is never said. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AppError } from "../../src/base/errors.ts";
import { loadConfig } from "../../src/config/load.ts";
import { makeDataDir, removeDataDir } from "../support/hearth.ts";

const folder = makeDataDir();
afterAll(() => removeDataDir(folder));

function load(toml: string, environment: Record<string, string> = {}) {
  writeFileSync(join(folder, "hearth.toml"), toml);
  return loadConfig({ demo: false, environment: { HEARTH_DATA_DIR: folder, ...environment } });
}

function refusal(toml: string, environment?: Record<string, string>): string {
  try {
    load(toml, environment);
  } catch (error) {
    if (error instanceof AppError && error.code === "invalid_config") return error.message;
    throw error;
  }
  throw new Error(`this was accepted: ${toml}`);
}

const server = '[[upstreams]]\nname = "attic"\nurl = "http://127.0.0.1:11434/v1"\n';
const source = (name: string) => `{ name = "${name}", url = "http://127.0.0.1/${name}", path = "USD" }`;

type Wrong = [what: string, toml: string, key: string, value: string, fix: string | RegExp];

describe("a wrong setting is said with its key, its value and what would be right:", () => {
  const wrong: Wrong[] = [
    ["a text where a number is due", 'usd_per_btc = "many"', "usd_per_btc", '"many"', "expected number"],
    ["a number where a text is due", "public_url = 5", "public_url", "5", "expected string"],
    ["a text where yes or no is due", 'claim_needs_secret = "yes"', "claim_needs_secret", '"yes"', "expected boolean"],
    ["a part where a whole number is due", "usd_per_btc = 0.5", "usd_per_btc", "0.5", "expected int"],
    ["a port that is none", "port = 70000", "port", "70000", "65535"],
    ["a port below all", "owner_port = -1", "owner_port", "-1", ">=0"],
    ["yes where a port is due", "port = true", "port", "true", "must be a port"],
    ["a list where a port is due", "owner_port = []", "owner_port", "a list", "must be a port"],
    ["an address with a password in it", 'public_url = "https://me@a.example"', "public_url", '"https://***@a.example"', "without a user, a query or a fragment"],
    ["a common price by the image", "[prices]\ndefault = { sats_per_image = 1 }", "prices.default", "a table with sats_per_image", "a price of tokens or of the call"],
    ["a least topup above the most", "[limits]\nmin_topup_sats = 500\nmax_topup_sats = 400", "limits.min_topup_sats", "500", "must not be above max_topup_sats"],
    ["too much of a discount", "[prices]\nlightning_discount_percent = 91", "prices.lightning_discount_percent", "91", "<=90"],
    ["too little of a limit", "[limits]\nmin_price_sats = 0", "limits.min_price_sats", "0", ">=1"],
    ["a node nobody knows", 'node = "mainframe"', "node", '"mainframe"', '"sandbox"'],
    ["an address of a proxy that is none", 'trusted_proxies = ["10.0.0.0/8", "proxy.lan"]', "trusted_proxies.1", '"proxy.lan"', "an IP address or a block such as 10.0.0.0/8"],
    ["one thing where a list is due", 'trusted_proxies = "10.0.0.1"', "trusted_proxies", "a text (not shown)", "expected array"],
    ["a list where one thing is due", 'public_url = ["https://a.example"]', "public_url", "a list", "expected string"],
    ["a table where a number is due", "[trial.calls]\nmany = 1", "trial.calls", "a table with many", "expected number"],
    ["two sources of the rate", `rate_sources = [${source("a")}, ${source("b")}]`, "rate_sources", "a list", "needs at least 3"],
    ["a source without its path", `rate_sources = [${source("a")}, ${source("b")}, { name = "c", url = "http://127.0.0.1/c" }]`, "rate_sources.2.path", "missing", "expected string"],
    ["a missing url", '[[upstreams]]\nname = "attic"', "upstreams.attic.url", "missing", "an http or https URL such as http://127.0.0.1:11434/v1"],
    ["a url of another kind", '[[upstreams]]\nname = "attic"\nurl = "ftp://10.0.0.1"', "upstreams.attic.url", '"ftp://10.0.0.1"', "an http or https URL such as"],
    ["a missing name", `${server}[[upstreams]]\nurl = "http://10.0.0.1/v1"`, "upstreams.2.name", "missing", "expected string"],
    ["a name with a capital", '[[upstreams]]\nname = "Attic"\nurl = "http://10.0.0.1/v1"', "upstreams.1.name", '"Attic"', "lower-case letters, digits and dashes"],
    ["a name that is taken", server + server, "upstreams.name", '"attic" twice', "a name of its own"],
    ["half a price", `${server}price = { input_sats_per_mtok = 5 }`, "upstreams.attic.price", "a table with input_sats_per_mtok", "input_sats_per_mtok"],
    ["a number where a price is due", '[prices.models]\n"qwen3:8b" = 5', "prices.models.qwen3:8b", "5", "expected object"],
    ["a price below nothing", '[prices.models]\n"qwen3:8b" = { input_sats_per_mtok = -1, output_sats_per_mtok = 1 }', "prices.models.qwen3:8b.input_sats_per_mtok", "-1", ">=0"],
    ["a price in parts of a sat", "[prices]\ndefault = { input_sats_per_mtok = 0.5, output_sats_per_mtok = 1 }", "prices.default.input_sats_per_mtok", "0.5", "expected int"],
    ["a provider nobody knows", `${server}provider = "oracle"`, "upstreams.attic.provider", '"oracle"', '"anthropic"'],
    ["another name that is a number", "[aliases]\n\"gpt-4o\" = 4", "aliases.gpt-4o", "4", "expected string"],
    ["a near miss of a table", "[[upstream]]\nname = \"attic\"", "upstream", "a list", /there are .*\bupstreams\b/],
    ["a near miss of a key", "prot = 4402", "prot", "4402", /there are port, /],
    ["a near miss in a table", "[limits]\nmin_price_sat = 5", "limits.min_price_sat", "5", /there are .*\bmin_price_sats\b/],
    ["a near miss in a price", "[prices]\ndefault = { input_sat_per_mtok = 5, output_sats_per_mtok = 5 }", "prices.default.input_sat_per_mtok", "5", /there are .*\binput_sats_per_mtok\b/],
    ["a near miss in an upstream", `${server}cap_fields = 1`, "upstreams.attic.cap_fields", "1", /there are .*\bcap_field\b/],
    ["a setting of the file in a table", `${server}port = 4402`, "upstreams.attic.port", "4402", "it belongs at the top of the file"],
    ["a flat price without its model", "[dvm]\nprice_sats = 21", "dvm.model", "missing", "expected string"],
    ["a search engine without its key", '[search]\nengine = "brave"\nprice = { sats_per_call = 20 }', "search.key", "missing", "need your key"],
    ["the folder the file lies in", 'data_dir = "/srv/hearth"', "data_dir", '"/srv/hearth"', "HEARTH_DATA_DIR"],
  ];
  test.each(wrong)("%s", (_what, toml, key, value, fix) => {
    const message = refusal(toml);
    expect(message).toStartWith(`Settings: `);
    expect(message).toContain(`${key} is ${value}`);
    if (typeof fix === "string") expect(message).toContain(fix);
    else expect(message).toMatch(fix);
  });

  test("several at once are all said", () => {
    const message = refusal("port = -1\n[trial]\ncalls = 0\nmodel = 3");
    for (const part of ["port is -1", "trial.calls is 0", "trial.model is 3"]) expect(message).toContain(part);
  });
});

describe("a variable of the environment is called by its own name:", () => {
  const wrong: [variable: string, value: string, fix: string][] = [
    ["HEARTH_PORT", "many", "must be a port from 0 to 65535"], ["HEARTH_OWNER_PORT", "65536", "<=65535"], ["HEARTH_NODE", "mainframe", '"sandbox"'],
    ["HEARTH_PUBLIC_URL", "llm.example.com", "URL"], ["HEARTH_UPSTREAM_URL", "127.0.0.1:8080", "an http or https URL such as"],
  ];
  test.each(wrong)("%s", (variable, value, fix) => {
    const message = refusal("", { [variable]: value });
    expect(message).toContain(`${variable} is ${JSON.stringify(value)}`);
    expect(message).toContain(fix);
  });

  test("HEARTH_CONFIG that names no file", () => expect(refusal("", { HEARTH_CONFIG: join(folder, "none.toml") })).toBe(`HEARTH_CONFIG names ${folder}/none.toml, which does not exist.`));

  test("an upstream of the file keeps its place beside the one of the environment", () =>
    expect(refusal('[[upstreams]]\nurl = "http://10.0.0.1/v1"', { HEARTH_UPSTREAM_URL: "http://127.0.0.1:1/v1" })).toContain("upstreams.1.name is missing"));

  test("a list of upstreams that is none is not passed over for the one of the environment", () =>
    expect(refusal("upstreams = 5", { HEARTH_UPSTREAM_URL: "http://127.0.0.1:1/v1" })).toContain("upstreams is 5"));
});

describe("a file that is no TOML is said with the line and its key:", () => {
  const broken: [what: string, toml: string, where: string, fix: string][] = [
    ["a text without quotes", "port = 4402\nnode = sandbox\n", "line 2 on (node = ...)", "Strings must be quoted"],
    ["a text without an end", 'port = 4402\n\n# hm\npublic_url = "https://a.example\n', "line 4 on (public_url = ...)", "Unterminated string"],
    ["a key twice", "port = 1\nport = 2\n", "line 2 on (port = ...)", "Cannot redefine key 'port'"],
    ["a table twice", "[prices]\n[limits]\n[prices]\n", "line 3 on", "Cannot redefine table 'prices'"],
    ["a list without an end", 'port = 1\ntrusted_proxies = ["10.0.0.1",\n', "line 2 on (trusted_proxies = ...)", "Unterminated array"],
    ["a first line that is wrong, before good ones", "port = = 1\nowner_port = 2\n", "line 1 on (port = ...)", "Expected a value"],
    ["two things on a line", "port = 4402 owner_port = 4403", "line 1 on (port = ...)", "Expected a newline"],
  ];
  test.each(broken)("%s", (_what, toml, where, fix) => {
    const message = refusal(toml);
    expect(message).toStartWith(`${folder}/hearth.toml cannot be read as TOML from ${where}: `);
    expect(message).toContain(fix);
  });

  test("a folder in its place", () => {
    const path = join(folder, "a-folder.toml");
    mkdirSync(path);
    expect(refusal("", { HEARTH_CONFIG: path })).toMatch(/a-folder\.toml cannot be read: EISDIR.*; it must be a file that Hearth's user may read\.$/);
  });
});

describe("a secret is never said, wherever it was written:", () => {
  const secret = "sk-live-4242";
  const places: [what: string, toml: string, environment?: Record<string, string>][] = [
    ["beside a wrong setting", `${server}key = "${secret}"\nprice = 5`],
    ["without quotes", `${server}key = ${secret}`],
    ["without its end", `${server}key = "${secret}`],
    ["without its end, in single quotes", `${server}key = '${secret}`],
    ["with something after it", `${server}key = "${secret}" "${secret}"`],
    ["with an escape that is none", `${server}key = "\\q${secret}"`],
    ["with a colon for the =", `${server}key: "${secret}"`],
    ["in an inline table that does not end", `upstreams = [{ name = "attic", key = "${secret}"`],
    ["twice", `${server}key = "${secret}"\nkey = "${secret}"`],
    ["in a list", `${server}key = ["${secret}"]`],
    ["in a table", `${server}key = { value = "${secret}" }`],
    ["under a key that is none", `${server}api_key = "${secret}"`],
    ["at the top of the file", `key = "${secret}"\n${server}`],
    ["in the wrong table", `[prices]\nkey = "${secret}"`],
    ["as the price of a model", `[prices.models]\nkey = "${secret}"`],
    ["in place of the upstreams", `upstreams = "${secret}"`],
    ["in place of an upstream", `upstreams = ["${secret}"]`],
    ["in the url of an upstream", `[[upstreams]]\nname = "attic"\nurl = "ftp://me:${secret}@10.0.0.1/v1"`],
    ["of a search engine that nobody knows", `[search]\nengine = "altavista"\nkey = "${secret}"`],
    ["in the environment", "port = -1", { HEARTH_UPSTREAM_URL: "http://127.0.0.1:1/v1", HEARTH_UPSTREAM_KEY: secret }],
    ["in the environment, with a url that is none", "", { HEARTH_UPSTREAM_URL: `htp://me:${secret}@127.0.0.1`, HEARTH_UPSTREAM_KEY: secret }],
  ];
  test.each(places.map(([what, toml, environment = {}]) => [what, toml, environment] as const))("%s", (_what, toml, environment) => {
    const message = refusal(toml, environment);
    expect(message).not.toContain("4242");
    expect(message.length).toBeGreaterThan(20);
  });

  test("an empty key is missing its text, and is not shown either", () => expect(refusal(`${server}key = ""`)).toContain("upstreams.attic.key is a text (not shown)"));
});
