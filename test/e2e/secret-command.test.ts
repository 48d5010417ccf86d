/** `hearth secret`: an owner's key is typed once, works from then on, and is nowhere to be read. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { hearthCommand, makeDataDir, removeDataDir, runHearth, startHearth } from "../support/hearth.ts";

const key = "sk-an-owner-s-key-0123456789";
const dataDir = makeDataDir();
const env = { HOME: dataDir, HEARTH_DATA_DIR: dataDir };
let upstream: ReturnType<typeof Bun.serve>;
const keysSeen: (string | null)[] = [];
beforeAll(() => {
  upstream = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    fetch: (request) => {
      keysSeen.push(request.headers.get("authorization"));
      return Response.json({ data: [{ id: "m" }] });
    },
  });
});
afterAll(async () => {
  removeDataDir(dataDir);
  await upstream.stop(true);
});

const config = (name: string) => `[[upstreams]]\nname = "attic"\nurl = "http://127.0.0.1:${upstream.port}/v1"\nkey = "${name}"\n`;

async function secret(args: string[], input = ""): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([...hearthCommand, "secret", ...args], { env: { PATH: process.env.PATH ?? "", ...env }, stdin: new TextEncoder().encode(input), stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, output: out + error };
}

test("piped in once it is sent to its server from then on, and shown by nothing", async () => {
  expect(await secret(["list"])).toEqual({ code: 0, output: "No secret is kept yet.\n" });
  expect(await secret(["set", "attic"], `${key}\n`)).toEqual({ code: 0, output: 'attic is kept. Name it in hearth.toml as "secret:attic".\n' });
  expect(await secret(["list"])).toEqual({ code: 0, output: "attic\n" });
  const hearth = await startHearth({ command: "serve", config: config("secret:attic"), dataDir });
  expect(keysSeen.at(-1)).toBe(`Bearer ${key}`);
  expect(hearth.output()).not.toContain(key);
  expect(await hearth.stop()).toBe(0);
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  for (const { parentPath, name } of files) expect([name, readFileSync(join(parentPath, name)).includes(key)]).toEqual([name, false]);
});

test("doctor says what protects it, and which is written out", async () => {
  await Bun.write(join(dataDir, "hearth.toml"), config("secret:attic"));
  expect((await runHearth(["doctor"], env)).output).toMatch(/ok +secrets: 1 sealed under \S+keys\/seal \(only your user reads it\)/);
  await Bun.write(join(dataDir, "hearth.toml"), config("sk-written-out"));
  const { output } = await runHearth(["doctor"], env);
  expect(output).toMatch(/FIX +secrets: upstreams\.attic\.key is written out in hearth\.toml/);
  expect(output).not.toContain("sk-written-out");
});

test("a setting that names one nobody keeps refuses to start, with what to do", async () => {
  await Bun.write(join(dataDir, "hearth.toml"), config("secret:gone"));
  const { code, output } = await runHearth(["serve"], env);
  expect({ code, output }).toEqual({ code: 2, output: 'hearth: Settings: upstreams.attic.key cannot be had: There is no secret "gone"; keep it with hearth secret set gone.\n' });
});

test("forgotten it is gone, and wrong words are answered with the right ones", async () => {
  expect(await secret(["remove", "attic"])).toEqual({ code: 0, output: "attic is forgotten.\n" });
  expect((await secret(["remove", "attic"])).code).toBe(1);
  for (const args of [[], ["show", "attic"], ["set"], ["set", "attic", key]]) expect(await secret(args)).toMatchObject({ code: 2, output: expect.stringContaining("hearth secret set NAME") });
  expect(await secret(["set", "attic"], "")).toMatchObject({ code: 2, output: expect.stringContaining("A secret has") });
});
