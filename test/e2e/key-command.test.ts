/** `hearth key`: the owner helps a buyer who lost a token, replaces one that leaked, ends one. The money stays. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { ask, balanceOf, buyToken, endHearth, hello, orderTopup, pay, removeDataDir, makeDataDir, runHearth, type RunningHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
afterAll(() => endHearth(hearth));

const key = (...args: string[]) =>
  runHearth(["key", ...args], { HEARTH_DATA_DIR: hearth.dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port });
const linesOf = (output: string) => output.trim().split("\n");
const statusWith = async (token: string) => (await ask(hearth.url, hello, `Bearer ${token}`)).status;

describe("hearth key", () => {
  test("says so while nobody has a token, then lists each with its balance and never the token itself", async () => {
    expect(await key("list")).toEqual({ code: 0, output: "No token was claimed yet.\n" });
    const tokens = [await buyToken(hearth.url, 700), await buyToken(hearth.url, 900)];
    const { code, output } = await key("list");
    expect(code).toBe(0);
    expect(linesOf(output).map((line) => line.replace(/^[0-9a-f]{64}/, "HASH").replace(/since .*/, "since"))).toEqual(
      expect.arrayContaining(["HASH  live            700 sats  since", "HASH  live            900 sats  since"]));
    for (const token of tokens) expect(output).not.toContain(token);
  });

  test("show gives a lost token back, by its payment hash", async () => {
    const bill = await orderTopup(hearth.url, { amount_sats: 500 });
    await pay(hearth.url, bill.invoice);
    expect((await key("show", bill.payment_hash)).output).toContain("There is no such token");
    const claimed = await fetch(`${hearth.url}/api/v1/topup/claim`, { method: "POST", body: JSON.stringify({ claim_secret: bill.claim_secret }) });
    const { token } = (await claimed.json()) as { token: string };
    expect(linesOf((await key("show", bill.payment_hash)).output)[0]).toBe(token);
  });

  test("rotate: the new token has the whole balance, the old one opens nothing, and a repeated claim does not bring the new one out", async () => {
    const bill = await orderTopup(hearth.url, { amount_sats: 600 });
    await pay(hearth.url, bill.invoice);
    const claimAgain = () => fetch(`${hearth.url}/api/v1/topup/claim`, { method: "POST", body: JSON.stringify({ claim_secret: bill.claim_secret }) });
    const { token } = (await (await claimAgain()).json()) as { token: string };
    const rotated = linesOf((await key("rotate", token)).output)[0]!;
    expect(rotated).toMatch(/^abl_[A-Za-z0-9_-]{43}$/);
    expect(rotated).not.toBe(token);
    expect([await statusWith(token), await statusWith(rotated)]).toEqual([401, 200]);
    expect((await balanceOf(hearth.url, `Bearer ${rotated}`)).balance_sats).toBe(599);
    expect((await claimAgain()).status).toBe(409);
  });

  test("revoke ends a token, rotate revives its account", async () => {
    const token = await buyToken(hearth.url, 400);
    const revoked = await key("revoke", token);
    expect(revoked).toMatchObject({ code: 0, output: expect.stringContaining("revoked") as string });
    expect(await statusWith(token)).toBe(401);
    const revived = linesOf((await key("rotate", token)).output)[0]!;
    expect((await balanceOf(hearth.url, `Bearer ${revived}`)).balance_sats).toBe(400);
  });

  test.each([[["nonsense"]], [["show"]], [["list", "more"]], [[]]])("asked as %p it shows how it is used", async (args) => {
    expect(await key(...args)).toMatchObject({ code: 2, output: expect.stringContaining("hearth key list") as string });
  });

  test("an unknown token is one sentence", async () => {
    expect(await key("rotate", "abl_unknown")).toMatchObject({ code: 2, output: expect.stringMatching(/^hearth: There is no such token/) as string });
  });

  test("where Hearth does not run it says so", async () => {
    const empty = makeDataDir();
    expect((await runHearth(["key", "list"], { HEARTH_DATA_DIR: empty })).output).toContain("Hearth does not run here");
    removeDataDir(empty);
  });
});

describe("the owner's API of tokens", () => {
  test("opens to a session and to the console's key, to nobody else", async () => {
    const url = `${hearth.ownerUrl}/admin/api/keys`;
    const consoleKey = (await Bun.file(join(hearth.dataDir, "keys", "console")).text()).trim();
    const status = async (headers: Record<string, string>) => (await fetch(url, { headers })).status;
    expect(await status({})).toBe(401);
    expect(await status({ authorization: `Bearer ${"0".repeat(64)}` })).toBe(401);
    expect(await status({ authorization: `Bearer ${await buyToken(hearth.url, 200)}` })).toBe(401);
    expect(await status({ authorization: `Bearer ${consoleKey}` })).toBe(200);
    expect(await status({ authorization: `Bearer ${consoleKey}`, origin: "http://evil.example" })).toBe(403);
  });
});

test("a token's secrets are in no line that was printed", () => {
  expect(hearth.output()).not.toMatch(/abl_|cs_/);
});
