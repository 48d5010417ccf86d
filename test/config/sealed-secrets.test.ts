/** What an owner entrusts to Hearth opens with its key, under its name, unchanged; and with nothing else. */
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSealExposed, seal, sealPlace, unseal } from "../../src/config/seal.ts";
import { SealedSecrets } from "../../src/config/sealed-secrets.ts";
import { plainSecrets, withSecrets } from "../../src/config/secret-settings.ts";
import { SeededRandom } from "../support/random.ts";

const folder = mkdtempSync(join(tmpdir(), "hearth-secrets-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;
const newFolder = () => join(folder, String(++made));
const random = new SeededRandom(3);
const keyOf = (byte: number) => new Uint8Array(32).fill(byte);
const open = (dataDir: string, environment: Record<string, string> = {}) => new SealedSecrets(dataDir, environment, random);

describe("a sealed text", () => {
  test.each([["plain", "sk-123"], ["empty", ""], ["of many languages", "päss 密码 🔑"], ["of many lines", "a\nb\r\n\0c"]])("%s comes back as it was", (_what, text) => {
    expect(unseal(seal(text, "openai", keyOf(1), random), "openai", keyOf(1))).toBe(text);
  });

  test("is another one each time, and shows nothing of the text", () => {
    const sealed = [seal("sk-123", "a", keyOf(1), random), seal("sk-123", "a", keyOf(1), random)];
    expect(new Set(sealed).size).toBe(2);
    for (const one of sealed) expect(Buffer.from(one.slice(3), "base64url").includes("sk-123")).toBe(false);
  });

  const sealed = seal("sk-123", "openai", keyOf(1), random);
  const broken: [what: string, sealed: string, name: string, key: Uint8Array][] = [
    ["with another key", sealed, "openai", keyOf(2)],
    ["under another name", sealed, "anthropic", keyOf(1)],
    ["of a version nobody knows", sealed.replace("v1.", "v2."), "openai", keyOf(1)],
    ["cut short", sealed.slice(0, 20), "openai", keyOf(1)],
    ["that is none", "sk-123", "openai", keyOf(1)],
    ["that is empty", "", "openai", keyOf(1)],
  ];
  test.each(broken)("does not open %s", (_what, text, name, key) => {
    expect(unseal(text, name, key)).toBeUndefined();
  });

  test("does not open when any of its bits was changed", () => {
    const bytes = Buffer.from(sealed.slice(3), "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      if (unseal(`v1.${changed.toString("base64url")}`, "openai", keyOf(1)) !== undefined) throw new Error(`bit ${bit} may be changed`);
    }
  });
});

describe("the owner's secrets", () => {
  test("are there again in the next process, and nowhere in a file as they are", () => {
    const dataDir = newFolder();
    open(dataDir).set("openai", "sk-very-secret");
    expect([open(dataDir).get("openai"), open(dataDir).names()]).toEqual(["sk-very-secret", ["openai"]]);
    for (const name of readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile()))
      expect(readFileSync(join(name.parentPath, name.name), "utf8")).not.toContain("sk-very-secret");
  });

  test("and their key are files only the owner's user can read", () => {
    const dataDir = newFolder();
    open(dataDir).set("openai", "x");
    for (const path of [join(dataDir, "secrets.json"), join(dataDir, "keys", "seal")]) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(isSealExposed(join(dataDir, "keys", "seal"))).toBe(false);
    chmodSync(join(dataDir, "keys", "seal"), 0o640);
    expect(isSealExposed(join(dataDir, "keys", "seal"))).toBe(true);
  });

  test("are replaced and forgotten by name", () => {
    const secrets = open(newFolder());
    secrets.set("a", "1");
    secrets.set("a", "2");
    secrets.set("b", "3");
    expect([secrets.get("a"), secrets.remove("a"), secrets.remove("a"), secrets.names()]).toEqual(["2", true, false, ["b"]]);
    expect(() => secrets.get("a")).toThrow('There is no secret "a"; keep it with hearth secret set a.');
    expect(() => secrets.get("constructor")).toThrow("There is no secret");
  });

  test.each([["", "x"], ["A", "x"], ["../etc", "x"], ["a b", "x"], ["x".repeat(65), "x"], ["a", ""], ["a", "x".repeat(65_537)]])("of a name or length that is none are refused (%#)", (name, text) => {
    expect(() => open(newFolder()).set(name, text)).toThrow(/A secret/);
  });

  test("under a key that was lost are said to be so, with what to do", () => {
    const dataDir = newFolder();
    open(dataDir).set("openai", "x");
    rmSync(join(dataDir, "keys", "seal"));
    expect(() => open(dataDir).get("openai")).toThrow("cannot be opened: the key it was sealed under is another one");
  });

  test("in a file that is broken are said to be so, and the file is left as it is", () => {
    const dataDir = newFolder();
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, "secrets.json"), "{");
    expect(() => open(dataDir).set("a", "x")).toThrow("cannot be read");
    expect(readFileSync(join(dataDir, "secrets.json"), "utf8")).toBe("{");
  });

  test("under a credential of systemd open with it alone, and leave no key on the disk", () => {
    const [dataDir, credentials] = [newFolder(), newFolder()];
    mkdirSync(credentials);
    writeFileSync(join(credentials, "hearth-seal"), "a credential of enough bytes");
    const environment = { CREDENTIALS_DIRECTORY: credentials };
    open(dataDir, environment).set("openai", "x");
    expect([open(dataDir, environment).get("openai"), sealPlace(dataDir, environment), readdirSync(dataDir)]).toEqual(["x", { kind: "systemd" }, ["secrets.json"]]);
    expect(() => open(dataDir).get("openai")).toThrow("another one");
    writeFileSync(join(credentials, "hearth-seal"), "short");
    expect(() => open(dataDir, environment).get("openai")).toThrow("at least 16");
  });
});

describe("settings", () => {
  const kept: Record<string, string> = { openai: "sk-1", lnd: "0201" };
  const get = (name: string) => {
    if (kept[name] === undefined) throw new Error(`no ${name}`);
    return kept[name];
  };

  test("name a secret where one is due, and get it", () => {
    const settings = { upstreams: [{ name: "a", key: "secret:openai" }, { name: "b", key: "plain" }], lnd: { macaroon: "secret:lnd", rest_url: "secret:openai" }, aliases: { x: "secret:openai" } };
    expect(withSecrets(settings, get)).toEqual({
      upstreams: [{ name: "a", key: "sk-1" }, { name: "b", key: "plain" }], lnd: { macaroon: "0201", rest_url: "secret:openai" }, aliases: { x: "secret:openai" },
    });
  });

  test("that name one nobody keeps are said by their place", () => {
    expect(() => withSecrets({ upstreams: [{ name: "attic", key: "secret:gone" }] }, get)).toThrow("upstreams.attic.key cannot be had: no gone");
  });

  test("that write one out are known, and paths are not taken for one", () => {
    const settings = { upstreams: [{ name: "attic", key: "sk-1" }, { url: "x", key: "sk-2" }], lnd: { macaroon: "/home/me/hearth.macaroon" }, search: { key: "secret:brave" } };
    expect(plainSecrets(settings)).toEqual(["upstreams.attic.key", "upstreams.2.key"]);
  });
});
