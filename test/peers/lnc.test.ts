/** Selling through Lightning Node Connect with a real LND, session and mailbox: paired once, sold with, found again. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { collect, collected } from "../support/collecting.ts";
import { ask, balanceOf, type Bill, claim, eventually, hearthCommand, hello, makeDataDir, openOwnersDoor, orderTopup, removeDataDir, type RunningHearth, runHearth, startHearth, until } from "../support/hearth.ts";
import { opens } from "../../src/lightning/preimage.ts";
import { sessionCommand } from "../../src/lightning/lnc-rights.ts";
import { startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { type LncPeer, type LncPeerSession, startLncPeer } from "./lnc-peer.ts";
import { invoiceOf, type LndNetwork, payFrom, startLndNetwork, take } from "./lnd-network.ts";

const slowMs = 120_000;
/** Minutes that tell nothing more of the compiled file than the others do. */
const fromSource = test.skipIf(process.env.HEARTH_BINARY !== undefined);
let net: LndNetwork, peer: LncPeer;
const dataDirs: string[] = [];
beforeAll(async () => {
  net = await startLndNetwork();
  peer = await startLncPeer();
}, 10 * 60_000);
afterAll(async () => {
  await peer?.stop();
  await net?.stop();
  dataDirs.forEach(removeDataDir);
});

function newDataDir(): string {
  const dataDir = makeDataDir();
  dataDirs.push(dataDir);
  return dataDir;
}

const environment = (dataDir: string) => ({ HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_NODE: "lnc", HEARTH_LNC_MAILBOX: peer.mailbox, NODE_EXTRA_CA_CERTS: peer.certificatePath });

/** As litd bakes it for a custom session made with the line that Hearth shows: one right for each URI. */
async function customMacaroon(payouts: boolean): Promise<string> {
  const path = join(net.seller.folder, `${payouts ? "paying" : "selling"}.macaroon`);
  if (existsSync(path)) return path;
  await net.seller.lncli("bakemacaroon", `--save_to=${path}`, ...[...sessionCommand(payouts).matchAll(/--uri=(\S+)/g)].map(([, uri]) => `uri:${uri}`));
  return path;
}
const sellingMacaroon = () => customMacaroon(false);

const openSellingSession = async () => peer.openSession(net.seller, await sellingMacaroon());

async function pair(dataDir: string, phrase: string): Promise<{ code: number; output: string }> {
  const child = Bun.spawn([...hearthCommand, "lnc", "pair"], { env: { PATH: process.env.PATH ?? "", ...environment(dataDir) }, stdin: new TextEncoder().encode(`${phrase}\n`), stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, output: out + error };
}

/** Any four words of it in a row would be too much. */
const tells = (text: string, phrase: string) => phrase.split(" ").some((_, at, words) => at + 4 <= words.length && text.includes(words.slice(at, at + 4).join(" ")));

const everythingIn = (dataDir: string) =>
  readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile()).map(({ parentPath, name }) => readFileSync(join(parentPath, name), "latin1")).join("\n");

describe("hearth lnc pair", () => {
  test("keeps what it takes to come back, sealed, and shows none of it", async () => {
    const dataDir = newDataDir();
    const { phrase } = await openSellingSession();
    const { code, output } = await pair(dataDir, `  ${phrase.toUpperCase()} `);
    expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^Connecting; .*\nPaired with seller on regtest\. Set node = "lnc" .*\n$/) });
    expect(tells(everythingIn(dataDir), phrase)).toBe(false);
    const { output: names } = await runHearth(["secret", "list"], environment(dataDir));
    expect(names).toBe("lnc-pairing\n");
  }, slowMs);

  test("says of a session that could spend how a better one is made", async () => {
    const { phrase } = await peer.openSession(net.seller, net.seller.macaroonPath("admin"));
    const { code, output } = await pair(newDataDir(), phrase);
    expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(/session: it allows more than selling needs .* litcli sessions add .*--type=custom --expiry=\d+ --uri=\/lnrpc\.Lightning\/GetInfo/) });
    expect(tells(output, phrase)).toBe(false);
  }, slowMs);

  test("says of a session that may not sell what it lacks", async () => {
    const { phrase } = await peer.openSession(net.seller, net.seller.macaroonPath("readonly"));
    expect(await pair(newDataDir(), phrase)).toEqual({ code: 1, output: expect.stringContaining("session: it lacks /lnrpc.Lightning/AddInvoice; ") });
  }, slowMs);

  test("says of a session that ends soon when it does, and of one that ends later too", async () => {
    const days = async (count: number) => {
      const path = join(net.seller.folder, `ends-${count}.macaroon`);
      await net.seller.lncli("constrainmacaroon", `--timeout=${count * 86_400}`, await sellingMacaroon(), path);
      return new Date(Date.now() + count * 86_400_000).toISOString().slice(0, 10);
    };
    const soon = await days(3), later = await days(90);
    expect((await pair(newDataDir(), (await peer.openSession(net.seller, join(net.seller.folder, "ends-3.macaroon"))).phrase)).output).toContain(`session: it ends on ${soon}, and selling with it; `);
    const dataDir = newDataDir();
    expect(await pair(dataDir, (await peer.openSession(net.seller, join(net.seller.folder, "ends-90.macaroon"))).phrase)).toMatchObject({ code: 0 });
    expect((await runHearth(["doctor"], environment(dataDir))).output).toContain(`session: it can sell and cannot spend, until ${later}\n`);
  }, slowMs);

  test("refuses what is no phrase, without repeating it", async () => {
    const nine = await pair(newDataDir(), "apple pear plum fig kiwi lime mango peach grape");
    expect(nine).toEqual({ code: 2, output: expect.stringContaining("A pairing phrase has 10 words; 9 came.") });
    const unknown = await pair(newDataDir(), "abandon ability able about above absent absorb abstract absurd zzzzz");
    expect(unknown).toEqual({ code: 2, output: expect.stringContaining("word 10 of the pairing phrase is none of the list") });
    expect(unknown.output).not.toContain("zzzzz");
  }, slowMs);

  fromSource("with a phrase nobody answers to changes nothing, and says so", async () => {
    const dataDir = newDataDir();
    const { code, output } = await pair(dataDir, "abandon ability able about above absent absorb abstract absurd abuse");
    expect({ code, output }).toEqual({ code: 2, output: expect.stringMatching(/no connection through the mailbox \(Session Not Found\).*nothing that worked before has changed/) });
    expect((await runHearth(["secret", "list"], environment(dataDir))).output).toBe("No secret is kept yet.\n");
  }, slowMs);

  test("is what a start asks for where nothing is paired", async () => {
    expect(await runHearth(["serve"], environment(newDataDir()))).toEqual({ code: 2, output: expect.stringContaining("run hearth lnc pair once") });
  }, slowMs);
});

const settings = (upstream: string, more = "") =>
  `usd_per_btc = 100000\nlisten = "127.0.0.1"\n[[upstreams]]\nname = "sandbox"\nurl = "${upstream}"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n${more}`;

describe("a Hearth that pays out by Lightning Node Connect", () => {
  let hearth: RunningHearth, session: LncPeerSession, upstream: ReturnType<typeof startSandboxModel>, token: string;
  const balance = async () => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;
  beforeAll(async () => {
    const dataDir = newDataDir();
    upstream = startSandboxModel();
    session = await peer.openSession(net.seller, await customMacaroon(true));
    hearth = await startHearth({ command: "serve", dataDir, config: settings(upstream.url, "[lnc]\npayouts = true\n"), env: { ...environment(dataDir), HEARTH_LNC_PAIRING_PHRASE: session.phrase } });
    const topup = await orderTopup(hearth.url, { amount_sats: 100_000 });
    const preimage = await payFrom(net.payer, topup.invoice);
    ({ token } = (await (await claim(hearth.url, { preimage })).json()) as { token: string });
  }, slowMs);
  afterAll(async () => {
    await hearth?.stop();
    await upstream?.stop();
  });

  test("pays an invoice of another node, and the account pays amount and fee", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 400, false);
    const { status, body } = await collect(hearth.url, token, { invoice: bolt11, amount_sats: 400 });
    expect({ status, state: body.status }).toEqual({ status: 200, state: "paid" });
    expect(opens(body.payment!.payment_preimage, paymentHash)).toBe(true);
    expect(await balance()).toBe(before - 400_000 - body.payment!.fee_msat);
    expect(hearth.output()).not.toContain("lnc.session_");
  }, slowMs);

  fromSource("a payment in flight when the session is lost is followed when it is back, and paid once", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 600, true);
    const { status, body } = await collect(hearth.url, token, { invoice: bolt11, amount_sats: 600 });
    expect({ status, state: body.status }).toEqual({ status: 202, state: "pending" });
    await session.kill("SIGKILL");
    await until("the node is away", async () => (await ask(hearth.url, hello)).status === 503, 60_000);
    await take(net.payer, paymentHash);
    await session.start();
    const end = await eventually("it has ended", async () => {
      const { body: now } = await collected(hearth.url, token, body.id!);
      return now.status === "pending" ? undefined : now;
    }, 120_000);
    expect(end.status).toBe("paid");
    expect(await balance()).toBe(before - 600_000 - end.payment!.fee_msat);
  }, 3 * slowMs);
});

describe("a Hearth on Lightning Node Connect", () => {
  let hearth: RunningHearth, session: LncPeerSession, upstream: ReturnType<typeof startSandboxModel>;
  let dataDir: string;
  const start = (env: Record<string, string> = {}) =>
    startHearth({
      command: "serve", dataDir,
      config: settings(upstream.url),
      env: { ...environment(dataDir), ...env },
    });
  const buy = async () => (await (await ask(hearth.url, hello)).json()) as Bill;
  const balance = async (bill: Bill, preimage: string) => (await balanceOf(hearth.url, `L402 ${bill.macaroon}:${preimage}`)).balance_msat;
  beforeAll(async () => {
    dataDir = newDataDir();
    upstream = startSandboxModel();
    session = await openSellingSession();
    // The phrase of the environment is used at the first start only.
    hearth = await start({ HEARTH_LNC_PAIRING_PHRASE: session.phrase });
  }, slowMs);
  afterAll(async () => {
    await hearth?.stop();
    await upstream?.stop();
  });

  test("sells: 402, paid by another node, answered, change kept", async () => {
    const bill = await buy();
    const preimage = await payFrom(net.payer, bill.invoice);
    const answer = await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`);
    expect(answer.status).toBe(200);
    expect(await balance(bill, preimage)).toBe(bill.amount_sats * 1_000 - Number(answer.headers.get("x-hearth-cost-msat")));
  }, slowMs);

  test("what is paid while Hearth is down is credited when it is back, by the stored keys alone", async () => {
    const bill = await buy();
    expect(await hearth.stop()).toBe(0);
    const preimage = await payFrom(net.payer, bill.invoice);
    const before = performance.now();
    hearth = await start();
    expect(performance.now() - before).toBeLessThan(15_000);
    expect(await eventually("it is credited", () => balance(bill, preimage).catch(() => undefined), 60_000)).toBe(bill.amount_sats * 1_000);
  }, slowMs);

  test("a crash is come back from as well, though nobody said goodbye", async () => {
    const bill = await buy();
    hearth.kill("SIGKILL");
    await hearth.exited;
    const preimage = await payFrom(net.payer, bill.invoice);
    hearth = await start();
    expect(await eventually("it is credited", () => balance(bill, preimage).catch(() => undefined), 60_000)).toBe(bill.amount_sats * 1_000);
  }, slowMs);

  test("doctor asks the Hearth that runs, and looks itself where none does", async () => {
    const env = { ...environment(dataDir), HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port };
    const beside = await runHearth(["doctor"], env);
    expect(beside.output).toMatch(/ok +node: 0[23]\w+ on regtest, by the word of the Hearth that runs here/);
    expect(beside.output).toMatch(/ok +inbound: up to \d{6,} sats/);
    expect((await ask(hearth.url, hello)).status).toBe(402);
    await hearth.stop();
    const alone = await runHearth(["doctor"], environment(dataDir));
    expect(alone.output).toMatch(/ok +node: seller on regtest\n/);
    expect(alone.output).toMatch(/ok +session: it can sell and cannot spend\n/);
    expect(await pair(dataDir, session.phrase)).toMatchObject({ code: 0 });
    hearth = await start();
    expect(await pair(dataDir, session.phrase)).toEqual({ code: 2, output: expect.stringContaining("Another Hearth already runs on this data directory") });
  }, 2 * slowMs);

  fromSource.each([["the session's server", () => session], ["the mailbox", () => peer.mailboxServer]] as const)("%s ends and comes back: buyers get a 503, the owner sees it, and selling goes on", async (_what, part) => {
    const owner = await openOwnersDoor(hearth).catch(() => undefined);
    const before = await buy();
    await part().kill("SIGKILL");
    await until("buyers are turned away", async () => (await ask(hearth.url, hello)).status === 503, 60_000);
    if (owner) expect(((await owner.status()) as unknown as { node: { state: string } }).node.state).toBe("unreachable");
    const preimage = await payFrom(net.payer, before.invoice);
    await part().start();
    await until("it sells", async () => (await ask(hearth.url, hello)).status === 402, 90_000);
    await until("what was paid meanwhile opens its request", async () => (await ask(hearth.url, hello, `L402 ${before.macaroon}:${preimage}`)).status === 200, 60_000);
  }, 3 * slowMs);

  test("starts beside a mailbox that is down, and sells once it is there", async () => {
    await hearth.stop();
    await peer.mailboxServer.kill("SIGKILL");
    hearth = await start();
    const fromMs = performance.now();
    expect((await ask(hearth.url, hello)).status).toBe(503);
    expect(performance.now() - fromMs).toBeLessThan(2_000);
    await peer.mailboxServer.start();
    await until("it sells", async () => (await ask(hearth.url, hello)).status === 402, 90_000);
    await peer.mailboxServer.kill("SIGKILL");
    const stopsFromMs = performance.now();
    expect(await hearth.stop()).toBe(0);
    expect(performance.now() - stopsFromMs).toBeLessThan(15_000);
    await peer.mailboxServer.start();
    hearth = await start();
  }, 3 * slowMs);

  test("nothing it printed and nothing it wrote tells the phrase, a key or the macaroon", async () => {
    await hearth.stop();
    const text = hearth.output() + everythingIn(dataDir);
    expect(tells(text, session.phrase)).toBe(false);
    expect(text).not.toContain(readFileSync(await sellingMacaroon()).toString("hex").slice(0, 60));
    writeFileSync(join(dataDir, "hearth.toml"), `[lnc]\npairing_phrase = "${session.phrase}"\n`);
    expect((await runHearth(["doctor"], environment(dataDir))).output).toMatch(/FIX +secrets: lnc\.pairing_phrase is written out in hearth\.toml/);
  }, slowMs);
});
