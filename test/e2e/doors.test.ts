/** Who comes in by which door, and what Hearth says when it cannot or must not start. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import {
  ask, askRaw, buyCredential, eventually, hello, makeDataDir, openOwnersDoor, RawConnection, removeDataDir, type RunningHearth, runHearth, startHearth,
} from "../support/hearth.ts";

const login = (hearth: RunningHearth, body: unknown) => fetch(`${hearth.ownerUrl}/admin/api/login`, { method: "POST", body: JSON.stringify(body) });
const codeOf = async (answer: Response) => ((await answer.json()) as { error: { code: string } }).error.code;
const wrongCode = { code: "AAAAAAAAAAAAAAAA" };
const password = "correct horse battery staple";

async function withHearth(work: (hearth: RunningHearth) => Promise<void>, options: Parameters<typeof startHearth>[0] = {}): Promise<void> {
  const hearth = await startHearth(options);
  try {
    await work(hearth);
  } finally {
    await hearth.stop();
    removeDataDir(hearth.dataDir);
  }
}

/** Starts what must not start, and answers what it said. */
async function refusedStart(env: Record<string, string>, config?: string): Promise<{ code: number; output: string }> {
  const dataDir = env.HEARTH_DATA_DIR ?? makeDataDir();
  if (config !== undefined) writeFileSync(join(dataDir, "hearth.toml"), config);
  const said = await runHearth(["serve"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_PORT: "0", HEARTH_OWNER_PORT: "0", ...env });
  if (env.HEARTH_DATA_DIR === undefined) removeDataDir(dataDir);
  return said;
}

describe("the owner's code", () => {
  test("opens once, and gives a cookie that only this door gets back", () =>
    withHearth(async (hearth) => {
      const first = await fetch(`${hearth.ownerUrl}/admin?code=${hearth.ownerCode}`, { redirect: "manual" });
      expect(first.status).toBe(303);
      const cookie = first.headers.get("set-cookie")!;
      const [pair, ...attributes] = cookie.split(/;\s*/);
      expect(pair).toMatch(/^__Host-[\w-]+=[0-9a-f]{64}$/);
      expect(attributes.map((one) => one.toLowerCase()).sort()).toEqual(["httponly", "path=/", "samesite=strict", "secure"]);
      expect((await fetch(`${hearth.ownerUrl}/admin/api/status`, { headers: { cookie: pair! } })).status).toBe(200);
      const second = await fetch(`${hearth.ownerUrl}/admin?code=${hearth.ownerCode}`, { redirect: "manual" });
      expect({ status: second.status, cookie: second.headers.get("set-cookie") }).toEqual({ status: 401, cookie: null });
      expect((await login(hearth, { code: hearth.ownerCode })).status).toBe(401);
    }));

  test("dies of five wrong tries", () =>
    withHearth(async (hearth) => {
      for (let i = 0; i < 5; i++) expect((await login(hearth, wrongCode)).status).toBe(401);
      const right = await login(hearth, { code: hearth.ownerCode });
      expect({ status: right.status, code: await codeOf(right) }).toEqual({ status: 401, code: "wrong_code" });
    }));

  test("outlives four wrong tries", () =>
    withHearth(async (hearth) => {
      for (let i = 0; i < 4; i++) expect((await login(hearth, wrongCode)).status).toBe(401);
      expect((await login(hearth, { code: hearth.ownerCode })).status).toBe(204);
    }));
});

describe("the owner's password", () => {
  test("opens after a restart, is slowed down after five wrong ones, and is nowhere to be read", async () => {
    const first = await startHearth({ command: "serve" });
    const { cookie } = await openOwnersDoor(first);
    const set = (text: string) => fetch(`${first.ownerUrl}/admin/api/password`, { method: "POST", headers: { cookie }, body: JSON.stringify({ password: text }) });
    expect((await set("short")).status).toBe(400);
    expect((await set(password)).status).toBe(204);
    await first.stop();

    const again = await startHearth({ command: "serve", dataDir: first.dataDir });
    expect(again.ownerCode).toBeUndefined();
    expect((await login(again, { password })).status).toBe(204);
    for (let i = 0; i < 5; i++) expect((await login(again, { password: "wrong" + i })).status).toBe(401);
    const burst = await Promise.all([1, 2, 3, 4].map(() => login(again, { password: "wrong" })));
    const slowed = burst.filter((answer) => answer.status === 429);
    expect({ slowed: slowed.length, code: await codeOf(slowed[0]!), wait: Number(slowed[0]!.headers.get("retry-after")) > 0 }).toEqual({ slowed: 3, code: "too_many_tries", wait: true });
    await eventually("the door opens again to the right one", async () => ((await login(again, { password })).status === 204 ? true : undefined));
    await again.stop();

    expect(first.output() + again.output()).not.toContain(password);
    for (const name of ["hearth.db", "hearth.db-wal"]) expect(await Bun.file(join(first.dataDir, name)).text().catch(() => "")).not.toContain(password);
    removeDataDir(first.dataDir);
  }, 20_000);
});

describe("the owner's door", () => {
  let hearth: RunningHearth;
  let cookie: string;
  beforeAll(async () => {
    hearth = await startHearth();
    ({ cookie } = await openOwnersDoor(hearth));
    await (await ask(hearth.url, hello, await buyCredential(hearth.url))).text();
  });
  afterAll(async () => {
    await hearth.stop();
    removeDataDir(hearth.dataDir);
  });

  const rooms: [method: string, path: string][] = [["GET", "/admin/api/status"], ["GET", "/metrics"], ["POST", "/admin/api/password"], ["POST", "/admin/api/logout"]];
  for (const [method, path] of rooms)
    test(`${method} ${path} wants a session`, async () => {
      for (const headers of [{}, { Cookie: `__Host-hearth=${"0".repeat(64)}` }, { Cookie: "__Host-hearth=" }] as Record<string, string>[]) {
        const answer = await askRaw(hearth.ownerUrl, { method, path, headers, ...(method === "POST" ? { body: '{"password":"long enough"}' } : {}) });
        expect({ status: answer.status, code: (JSON.parse(answer.body) as { error: { code: string } }).error.code }).toEqual({ status: 401, code: "login_required" });
      }
    });

  test("no session opens it for another Host: a name that was rebound, a stray tunnel", async () => {
    for (const host of ["hearth.example.org", "127.0.0.1.example.org", "localhost.evil", "10.0.0.1:4403", ""]) {
      const answer = await askRaw(hearth.ownerUrl, { path: "/admin/api/status", headers: { Host: host, Cookie: cookie } });
      expect([400, 403]).toContain(answer.status);
      expect(answer.body).not.toContain("owed_to_payers");
    }
  });

  test("no session opens it for a page of another origin", async () => {
    for (const origin of ["https://shop.example", "null", "http://127.0.0.1:1", hearth.url])
      for (const [method, path] of rooms)
        expect((await askRaw(hearth.ownerUrl, { method, path, headers: { Cookie: cookie, Origin: origin }, ...(method === "POST" ? { body: "{}" } : {}) })).status).toBe(403);
    expect((await askRaw(hearth.ownerUrl, { path: "/admin/api/status", headers: { Cookie: cookie, Origin: hearth.ownerUrl } })).status).toBe(200);
  });

  test("the status is in JSON, amounts as whole millisatoshi in text and sats in numbers", async () => {
    const answer = await fetch(`${hearth.ownerUrl}/admin/api/status`, { headers: { cookie } });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const amount = { msat: expect.stringMatching(/^\d+$/), sats: expect.any(Number) };
    expect(await answer.json()).toMatchObject({
      earned: { today: amount, last_7_days: amount, last_30_days: amount }, calls_today: 1, owed_to_payers: amount, open_invoices: 0,
      node: { reachable: true, network: expect.any(String), public_key: expect.stringMatching(/^0[23][0-9a-f]{64}$/) },
      upstreams: [{ name: "sandbox", healthy: true, models_for_sale: 3, models_without_price: 0 }], storage: { full: false },
    });
  });

  test("the metrics are text that Prometheus reads", async () => {
    const answer = await fetch(`${hearth.ownerUrl}/metrics`, { headers: { cookie } });
    expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const text = await answer.text();
    expect(text).toEndWith("\n");
    const types = new Set<string>();
    for (const line of text.trimEnd().split("\n")) {
      if (line.startsWith("# HELP ")) expect(line).toMatch(/^# HELP [a-z_:][a-z0-9_:]* \S.*$/);
      else if (line.startsWith("# TYPE ")) types.add(/^# TYPE ([a-z_:][a-z0-9_:]*) (?:gauge|counter|histogram|summary)$/.exec(line)![1]!);
      else expect(types).toContain(/^([a-z_:][a-z0-9_:]*)(?:\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? -?\d+(?:\.\d+)?$/.exec(line)![1]!);
    }
    expect(text).toContain("\nhearth_calls_today 1\n");
    expect(text).toContain('\nhearth_upstream_up{upstream="sandbox"} 1\n');
  });

  test("after a logout the session is worth nothing", () =>
    withHearth(async (other) => {
      const door = await openOwnersDoor(other);
      expect((await fetch(`${other.ownerUrl}/admin/api/logout`, { method: "POST", headers: { cookie: door.cookie } })).status).toBe(204);
      expect((await door.get("/admin/api/status")).status).toBe(401);
    }));

  test("the public door knows nothing of it, with a session or without", async () => {
    for (const path of ["/admin", `/admin?code=${hearth.ownerCode}`, "/admin/api/status", "/metrics"])
      expect((await fetch(`${hearth.url}${path}`, { headers: { cookie } })).status).toBe(404);
  });

  test("the owner's door sells nothing", async () => {
    for (const path of ["/v1/chat/completions", "/v1/models", "/sandbox/pay"]) expect((await fetch(`${hearth.ownerUrl}${path}`, { method: "POST", headers: { cookie } })).status).toBe(404);
  });

  test("the public door says that it lives", async () => {
    const answer = await fetch(`${hearth.url}/healthz`);
    expect({ status: answer.status, body: await answer.json() as unknown }).toEqual({ status: 200, body: { status: "ok" } });
  });

  test("play money listens on loopback only, at both doors", async () => {
    const addresses = Object.values(networkInterfaces()).flat().filter((one) => one !== undefined && one.family === "IPv4" && !one.internal).map((one) => one!.address);
    for (const url of [hearth.url, hearth.ownerUrl]) {
      const { port, hostname } = new URL(url);
      expect(hostname).toBe("127.0.0.1");
      for (const address of addresses) {
        const outside = new RawConnection(`http://${address}:${port}`);
        await expect(outside.answer()).rejects.toThrow("ended after 0 bytes");
      }
      expect(listeningAddresses(Number(port))).toEqual(["0100007F"]);
    }
  });

  test("what it keeps is for its own user only", () => {
    for (const name of ["keys/credentials", "sandbox-node.jsonl"]) expect({ name, mode: statSync(join(hearth.dataDir, name)).mode & 0o077 }).toEqual({ name, mode: 0 });
  });
});

/** Local addresses with a listening socket on this port, as the kernel writes them. */
function listeningAddresses(port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const lines = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => readFileSync(path, "utf8").split("\n"));
  return lines.map((line) => line.trim().split(/\s+/)).filter(([, local, , state]) => state === "0A" && local?.endsWith(`:${hex}`)).map(([, local]) => local!.split(":")[0]!);
}

describe("Hearth does not start", () => {
  test("with play money and a cloud upstream: it says so in one sentence", async () => {
    const { code, output } = await refusedStart({ HEARTH_UPSTREAM_URL: "https://api.openai.com/v1", HEARTH_UPSTREAM_KEY: "sk-secret-cloud" });
    expect(code).toBe(2);
    expect(output).toMatch(/^hearth: [^\n]*play money[^\n]*"upstream"[^\n]*\.\n$/);
    expect(output).not.toContain("sk-secret-cloud");
  });

  test("twice on one data directory", () =>
    withHearth(async (hearth) => {
      const { code, output } = await refusedStart({ HEARTH_DATA_DIR: hearth.dataDir });
      expect(code).toBe(2);
      expect(output).toMatch(/^hearth: Another Hearth already runs on this data directory[^\n]*\n$/);
      expect((await fetch(`${hearth.url}/healthz`)).status).toBe(200);
    }));

  test("on a data directory of another node", async () => {
    const hearth = await startHearth({ command: "serve" });
    await hearth.stop();
    rmSync(join(hearth.dataDir, "sandbox-node.jsonl"));
    const { code, output } = await refusedStart({ HEARTH_DATA_DIR: hearth.dataDir });
    expect(code).not.toBe(0);
    expect(output).toMatch(/this data directory belongs to the node 0[23][0-9a-f]{64}; use another HEARTH_DATA_DIR/);
    expect(output).not.toContain("Hearth is ready");
    removeDataDir(hearth.dataDir);
  });

  const wrong: [what: string, env: Record<string, string>, config: string | undefined, says: RegExp][] = [
    ["a port that is no number", { HEARTH_PORT: "http" }, undefined, /HEARTH_PORT is "http".*port from 0 to 65535/],
    ["a port above 65535", { HEARTH_OWNER_PORT: "70000" }, undefined, /HEARTH_OWNER_PORT is "70000".*65535/],
    ["a key nobody knows", {}, "prot = 1\n", /"?prot"?/],
    ["a key nobody knows in a price", {}, "[prices.default]\ninput_sats_per_mtok = 1\noutput_sats_per_mtok = 1\nfee = 2\n", /prices\.default.*fee/],
    ["a price that is no number", {}, '[prices.default]\ninput_sats_per_mtok = "cheap"\noutput_sats_per_mtok = 1\n', /prices\.default\.input_sats_per_mtok.*"cheap"/],
    ["TOML that is none", {}, "port = = 1\n", /hearth\.toml.*TOML/],
    ["an upstream that is no URL", { HEARTH_UPSTREAM_URL: "ollama" }, undefined, /HEARTH_UPSTREAM_URL.*"ollama".*http:\/\/127\.0\.0\.1:11434\/v1/],
    ["two upstreams of one name", {}, '[[upstreams]]\nname = "a"\nurl = "http://127.0.0.1:1/v1"\n[[upstreams]]\nname = "a"\nurl = "http://127.0.0.1:2/v1"\n', /upstreams.*"a" twice.*name of its own/],
    ["a node that there is not", { HEARTH_NODE: "lnd-of-my-dreams" }, undefined, /HEARTH_NODE is "lnd-of-my-dreams".*sandbox/],
    ["a settings file that is not there", { HEARTH_CONFIG: "/nowhere/hearth.toml" }, undefined, /HEARTH_CONFIG.*\/nowhere\/hearth\.toml.*does not exist/],
  ];
  for (const [what, env, config, says] of wrong)
    test(`with ${what}: it names key, value and what would be right`, async () => {
      const { code, output } = await refusedStart(env, config);
      expect({ output, code }).toEqual({ output: expect.stringMatching(says), code: 2 });
      expect(output.trimEnd().split("\n")).toHaveLength(1);
    });

  test("with a wrong setting beside a secret: the secret is not shown", async () => {
    const { output } = await refusedStart({}, '[[upstreams]]\nname = "a"\nurl = "http://127.0.0.1:1/v1"\nkey = ["sk-not-to-be-shown"]\n');
    expect(output).toContain("upstreams.a.key");
    expect(output).not.toContain("sk-not-to-be-shown");
  });

  for (const name of ["HEARTH_PORT", "HEARTH_OWNER_PORT"])
    test(`when ${name} is taken: it says which one, and ends`, async () => {
      const taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
      const port = String(taken.port);
      const { code, output } = await refusedStart({ [name]: port });
      await taken.stop(true);
      expect(code).not.toBe(0);
      expect(output).toContain(port);
      expect(output).toMatch(/in use|taken/);
      expect(output).toContain(name);
    });

  test("when the data directory cannot be written: it says so", async () => {
    const dataDir = makeDataDir();
    writeFileSync(join(dataDir, "file"), "");
    const { code, output } = await refusedStart({ HEARTH_DATA_DIR: join(dataDir, "file", "below") });
    expect(code).not.toBe(0);
    expect(output).toContain(join(dataDir, "file"));
    removeDataDir(dataDir);
  });
});

test("a Hearth that says it is ready can be told to end at once, and ends well", async () => {
  for (let i = 0; i < 8; i++) {
    const hearth = await startHearth();
    expect(await hearth.stop()).toBe(0);
    removeDataDir(hearth.dataDir);
  }
}, 20_000);

describe("the command line", () => {
  test("help names every command and setting; nothing at all does the same", async () => {
    for (const args of [["help"], ["--help"], []]) {
      const { code, output } = await runHearth(args, {});
      expect(code).toBe(0);
      for (const word of ["serve", "demo", "audit", "doctor", "hearth.toml", "HEARTH_DATA_DIR", "HEARTH_PORT", "HEARTH_OWNER_PORT", "HEARTH_UPSTREAM_URL"]) expect(output).toContain(word);
    }
  });

  test("an unknown command is answered with help and a failure", async () => {
    const { code, output } = await runHearth(["sevre"], {});
    expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(/there is no command "sevre"[\s\S]*hearth serve/) });
  });

  test("doctor says line by line what is well and what to do", async () => {
    const dataDir = makeDataDir();
    const { code, output } = await runHearth(["doctor"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir });
    expect(code).toBe(1);
    expect(output).toMatch(/^FIX {3}upstreams: none; set HEARTH_UPSTREAM_URL/m);
    for (const line of output.trimEnd().split("\n")) expect(line).toMatch(/^(ok {4}|FIX {3})\w+( \w+)?: \S/);
    removeDataDir(dataDir);
  });

  test("doctor works beside a running Hearth and looks at its upstreams", () =>
    withHearth(async (hearth) => {
      const { output } = await runHearth(["doctor"], { HOME: hearth.dataDir, HEARTH_DATA_DIR: hearth.dataDir, HEARTH_UPSTREAM_URL: "http://127.0.0.1:9/v1", HEARTH_UPSTREAM_KEY: "sk-doctor" });
      expect(output).toMatch(/^FIX {3}upstream upstream: /m);
      expect(output).not.toContain("sk-doctor");
      expect((await fetch(`${hearth.url}/healthz`)).status).toBe(200);
    }));

  test("audit proves a running Hearth's ledger", () =>
    withHearth(async (hearth) => {
      await (await ask(hearth.url, hello, await buyCredential(hearth.url))).text();
      const { code, output } = await runHearth(["audit"], { HOME: hearth.dataDir, HEARTH_DATA_DIR: hearth.dataDir });
      expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^ok: \d+ accounts equal \d+ transfers\n$/) });
    }));

  test("audit of nothing says where it looked", async () => {
    const dataDir = makeDataDir();
    mkdirSync(join(dataDir, "empty"));
    const { code, output } = await runHearth(["audit"], { HOME: dataDir, HEARTH_DATA_DIR: join(dataDir, "empty") });
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(join(dataDir, "empty", "hearth.db")) });
    removeDataDir(dataDir);
  });
});
