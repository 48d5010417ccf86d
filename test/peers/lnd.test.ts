/** Selling with a real LND on a real chain: the port's contract, a purchase, and the states an owner sees. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeHex32, sha256, toHex } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { boundedNode } from "../../src/lightning/bounded-node.ts";
import { lndNode } from "../../src/lightning/lnd.ts";
import { lndAccess } from "../../src/lightning/lnd-access.ts";
import { judgeSellingRights, macaroonRights } from "../../src/lightning/lnd-macaroon.ts";
import { LndRest } from "../../src/lightning/lnd-rest.ts";
import { msat } from "../../src/money/msat.ts";
import { nodeContract } from "../contract/node.ts";
import { ask, balanceOf, type Bill, eventually, hello, makeDataDir, openOwnersDoor, removeDataDir, type RunningHearth, runHearth, startHearth, until } from "../support/hearth.ts";
import { channelsBack, type LndNetwork, openPrivateChannels, payFrom, startLndNetwork } from "./lnd-network.ts";
import { startSandboxModel } from "../../src/upstream/sandbox-model.ts";

const slowMs = 120_000;
let net: LndNetwork;
beforeAll(async () => void (net = await startLndNetwork()), 10 * 60_000);
afterAll(() => net?.stop());

let baked: Promise<string> | undefined;

/** As a careful owner bakes it, once. */
function sellingMacaroon(): Promise<string> {
  return (baked ??= bake());
}

async function bake(): Promise<string> {
  return (JSON.parse(`"${await net.seller.lncli("bakemacaroon", "invoices:read", "invoices:write", "info:read", "offchain:read")}"`) as string).trim();
}

const nodeWith = (macaroon: string, url = net.seller.restUrl) => lndNode({ rpc: new LndRest(lndAccess({ url, certificate: net.seller.certificatePath, macaroon })), private: false, clock: systemClock });

nodeContract("LND", async () => ({
  node: boundedNode(nodeWith(await sellingMacaroon())),
  payInvoice: (bolt11) => payFrom(net.payer, bolt11),
  referenceOf: async (paymentHash) => / \[(\w+)\]$/.exec((JSON.parse(await net.seller.lncli("lookupinvoice", paymentHash)) as { memo: string }).memo)?.[1],
  stop: () => undefined,
}));

describe("the macaroon", () => {
  test("that is baked for selling is enough, and allows nothing with which money could leave", async () => {
    const rights = macaroonRights(await sellingMacaroon());
    expect(rights?.toSorted()).toEqual(["info:read", "invoices:read", "invoices:write", "offchain:read"]);
    expect(judgeSellingRights(rights!).dangerous).toEqual([]);
  });

  test("of the admin is known for what it is", () => {
    const rights = macaroonRights(readFileSync(net.seller.macaroonPath("admin")).toString("hex"));
    expect(judgeSellingRights(rights!).dangerous).toEqual(expect.arrayContaining(["offchain:write", "onchain:write", "macaroon:generate"]));
  });

  test("that LND makes for invoices sells too, though it may not say who the node is", async () => {
    const node = nodeWith(net.seller.macaroonPath("invoice"));
    const { identity_pubkey: publicKey } = JSON.parse(await net.seller.lncli("getinfo")) as { identity_pubkey: string };
    expect(await node.status()).toEqual({ network: "regtest", publicKey, alias: "" });
    expect(await node.condition()).toEqual({ kind: "ready" });
    expect((await node.createInvoice({ amountMsat: msat(1_000n), reference: "i_1", memo: "x", expirySeconds: 60 })).bolt11).toStartWith("lnbcrt");
  });

  test.each([["nonsense", "ab".repeat(40)], ["a file that is not there", "/nowhere/hearth.macaroon"]])("%s is a state with a sentence, not a crash", async (_what, macaroon) => {
    const condition = await nodeWith(macaroon).condition();
    expect(["refused", "unreachable"]).toContain(condition.kind);
    expect(condition).toMatchObject({ what: expect.stringMatching(/macaroon/) });
  });
});

describe("the connection", () => {
  test("is not made to a node with another certificate, whatever it says", async () => {
    const node = lndNode({ rpc: new LndRest(lndAccess({ url: net.seller.restUrl, certificate: net.payer.certificatePath, macaroon: await sellingMacaroon() })), private: false, clock: systemClock });
    expect(await node.condition()).toMatchObject({ kind: "unreachable", what: expect.stringContaining("tls_cert") });
  });

  test("is not made without its certificate", async () => {
    const node = lndNode({ rpc: new LndRest(lndAccess({ url: net.seller.restUrl, certificate: undefined, macaroon: await sellingMacaroon() })), private: false, clock: systemClock });
    expect((await node.condition()).kind).toBe("unreachable");
  });

  test("finds the node under a name its certificate was not made for, since it is trusted by itself", async () => {
    const pem = readFileSync(net.seller.certificatePath, "utf8");
    const port = new URL(net.seller.restUrl).port;
    for (const [url, certificate] of [[`https://localhost:${port}`, pem], [`https://127.0.0.2:${port}`, pem], [net.seller.restUrl, Buffer.from(pem).toString("hex")]]) {
      const answer = await lndNode({ rpc: new LndRest(lndAccess({ url: url!, certificate, macaroon: await sellingMacaroon() })), private: false, clock: systemClock }).condition();
      // 127.0.0.2 is not listened on: it may not be reached, but not for its certificate.
      expect(answer.kind === "ready" || !(answer as { what: string }).what.includes("tls_cert")).toBe(true);
    }
  });
});

describe("hearth doctor", () => {
  const doctor = async (macaroon: string, certificate = net.seller.certificatePath, payoutMacaroon?: string) => {
    const dataDir = makeDataDir();
    const env = { HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.seller.restUrl, HEARTH_LND_TLS_CERT: certificate, HEARTH_LND_MACAROON: macaroon, ...(payoutMacaroon && { HEARTH_LND_PAYOUT_MACAROON: payoutMacaroon }) };
    await Bun.write(join(dataDir, "hearth.toml"), "usd_per_btc = 100000\n");
    const { output } = await runHearth(["doctor"], env);
    removeDataDir(dataDir);
    return output;
  };

  test("is content with a macaroon that sells and a node that can be paid", async () => {
    const output = await doctor(await sellingMacaroon());
    expect(output).toMatch(/ok +node: seller on regtest\n/);
    expect(output).toMatch(/ok +macaroon: it can sell and cannot spend\n/);
    expect(output).toMatch(/ok +inbound: up to \d{6,} sats/);
    expect(output).toMatch(/ok +payouts: off; /);
  });

  test("is content with a second macaroon that pays and no more, warns of one that does more, and of one that cannot", async () => {
    const selling = await sellingMacaroon();
    const paying = (JSON.parse(`"${await net.seller.lncli("bakemacaroon", "offchain:read", "offchain:write")}"`) as string).trim();
    const output = await doctor(selling, undefined, paying);
    expect(output).toMatch(/ok +payouts: the node may pay; it holds \d{6,} sats\n/);
    expect(output).toMatch(/ok +payout macaroon: it can pay and no more\n/);
    expect(await doctor(selling, undefined, net.seller.macaroonPath("admin"))).toMatch(/FIX +payout macaroon: it allows more than paying out needs \(.*; bake one with offchain:read offchain:write\n/);
    expect(await doctor(selling, undefined, selling)).toMatch(/FIX +payout macaroon: it lacks offchain:write; /);
  });

  test("takes a macaroon that names calls for what they are", async () => {
    const calls = (...names: string[]) => names.map((name) => `uri:/${name}`);
    const sell = calls("lnrpc.Lightning/AddInvoice", "lnrpc.Lightning/LookupInvoice", "lnrpc.Lightning/ListInvoices", "lnrpc.Lightning/SubscribeInvoices", "lnrpc.Lightning/GetInfo", "lnrpc.Lightning/ChannelBalance");
    const pay = calls("routerrpc.Router/SendPaymentV2", "routerrpc.Router/TrackPaymentV2", "lnrpc.Lightning/ListPayments", "lnrpc.Lightning/ListChannels", "lnrpc.Lightning/ChannelBalance");
    const bakeCalls = async (rights: string[]) => (JSON.parse(`"${await net.seller.lncli("bakemacaroon", ...rights)}"`) as string).trim();
    const output = await doctor(await bakeCalls(sell), undefined, await bakeCalls(pay));
    expect(output).toMatch(/ok +macaroon: it can sell and cannot spend\n/);
    expect(output).toMatch(/ok +payouts: the node may pay; .*\nok +payout macaroon: it can pay and no more\n/);
  });

  test("warns of the admin's macaroon, and does not print it", async () => {
    const output = await doctor(net.seller.macaroonPath("admin"));
    expect(output).toMatch(/FIX +macaroon: it allows more than selling needs \(.*\); .*bake one/);
    expect(output).not.toContain(readFileSync(net.seller.macaroonPath("admin")).toString("hex").slice(0, 40));
  });

  test("says what is wrong with a certificate that is another's", async () => {
    expect(await doctor(await sellingMacaroon(), net.payer.certificatePath)).toMatch(/FIX +node: .*cannot be reached.*tls_cert/);
  });
});

test("an expired or cancelled invoice is dead, and gone from the node once discarded", async () => {
  const node = nodeWith(await sellingMacaroon());
  const { paymentHash } = await node.createInvoice({ amountMsat: msat(1_000n), reference: "i_2", memo: "x", expirySeconds: 600 });
  await net.seller.lncli("cancelinvoice", paymentHash);
  expect(await node.lookupInvoice(paymentHash)).toEqual({ state: "dead" });
  await node.discardInvoice(paymentHash);
  expect(await node.lookupInvoice(paymentHash)).toEqual({ state: "unknown" });
});

test("of many private channels the three with most room are told in an invoice, and it can be paid", async () => {
  const sats = [60_000, 90_000, 70_000, 100_000, 80_000];
  await openPrivateChannels(net, sats);
  const node = lndNode({ rpc: new LndRest(lndAccess({ url: net.seller.restUrl, certificate: net.seller.certificatePath, macaroon: await sellingMacaroon() })), private: true, clock: systemClock });
  const { bolt11 } = await node.createInvoice({ amountMsat: msat(5_000n), reference: "i_1", memo: "hidden", expirySeconds: 600 });
  const { route_hints } = JSON.parse(await net.payer.lncli("decodepayreq", bolt11)) as { route_hints: { hop_hints: { node_id: string; chan_id: string }[] }[] };
  const { channels } = JSON.parse(await net.seller.lncli("listchannels", "--private_only")) as { channels: { scid: string; chan_id: string; capacity: string; remote_pubkey: string }[] };
  const roomiest = channels.toSorted((a, b) => Number(b.capacity) - Number(a.capacity)).slice(0, 3);
  expect(route_hints.map(({ hop_hints }) => [hop_hints.length, hop_hints[0]!.node_id])).toEqual(roomiest.map(({ remote_pubkey }) => [1, remote_pubkey]));
  expect(new Set(route_hints.map(({ hop_hints }) => hop_hints[0]!.chan_id)).size).toBe(3);
  expect(await payFrom(net.payer, bolt11)).toMatch(/^[0-9a-f]{64}$/);
  // A macaroon that may not look at channels leaves the choice to LND, which takes as many as the amount wants.
  const blind = lndNode({ rpc: new LndRest(lndAccess({ url: net.seller.restUrl, certificate: net.seller.certificatePath, macaroon: net.seller.macaroonPath("invoice") })), private: true, clock: systemClock });
  await expect(blind.createInvoice({ amountMsat: msat(250_000_000n), reference: "i_2", memo: "hidden", expirySeconds: 600 })).rejects.toMatchObject({ code: "node_unavailable", message: expect.stringMatching(/puts \d+ route hints/) });
}, 2 * slowMs);

describe("a Hearth with this node", () => {
  let hearth: RunningHearth, upstream: ReturnType<typeof startSandboxModel>;
  const dataDir = makeDataDir();
  const start = async () =>
    startHearth({
      command: "serve", dataDir,
      config: `usd_per_btc = 100000\nlisten = "127.0.0.1"\n[[upstreams]]\nname = "sandbox"\nurl = "${upstream.url}"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n[limits]\nmax_topup_sats = 5000000\n`,
      env: { HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.seller.restUrl, HEARTH_LND_TLS_CERT: net.seller.certificatePath, HEARTH_LND_MACAROON: await sellingMacaroon() },
    });
  beforeAll(async () => {
    upstream = startSandboxModel();
    hearth = await start();
  }, slowMs);
  afterAll(async () => {
    await hearth?.stop();
    await upstream?.stop();
    removeDataDir(dataDir);
  });
  const buy = async () => (await (await ask(hearth.url, hello)).json()) as Bill;
  const balance = async (bill: Bill, preimage: string) => (await balanceOf(hearth.url, `L402 ${bill.macaroon}:${preimage}`)).balance_msat;

  test("sells: 402, paid by another node, answered, change kept", async () => {
    const bill = await buy();
    const preimage = await payFrom(net.payer, bill.invoice);
    expect(toHex(sha256(decodeHex32(preimage)!))).toBe(bill.payment_hash);
    const answer = await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`);
    expect(answer.status).toBe(200);
    expect(await balance(bill, preimage)).toBe(bill.amount_sats * 1_000 - Number(answer.headers.get("x-hearth-cost-msat")));
  }, slowMs);

  test("asks for no more than its channels can take, and tells so in a quote", async () => {
    const topup = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", body: JSON.stringify({ amount_sats: 3_900_000 }) });
    expect({ status: topup.status, code: ((await topup.json()) as { error: { code: string } }).error.code }).toEqual({ status: 503, code: "no_inbound" });
    const small = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", body: JSON.stringify({ amount_sats: 1_000 }) });
    expect(small.status).toBe(402);
    const quote = (await (await fetch(`${hearth.url}/api/v1/quote`, { method: "POST", body: JSON.stringify(hello) })).json()) as { payable?: boolean };
    expect(quote.payable).toBeUndefined();
  }, slowMs);

  test("an unpaid invoice's preimage, read from the node, buys nothing", async () => {
    const bill = await buy();
    const { r_preimage: preimage } = JSON.parse(await net.seller.lncli("lookupinvoice", bill.payment_hash)) as { r_preimage: string };
    expect(toHex(sha256(decodeHex32(preimage)!))).toBe(bill.payment_hash);
    expect((await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`)).status).toBe(503);
    expect((await ask(hearth.url, hello, undefined, { headers: { authorization: `L402 ${bill.macaroon}` } })).status).toBe(402);
  }, slowMs);

  test("what is paid while Hearth is down is credited when it is back, by the stored index", async () => {
    const bill = await buy();
    await hearth.stop();
    const preimage = await payFrom(net.payer, bill.invoice);
    // Somebody else's invoice on the same node is none of ours.
    const { payment_request: foreign } = JSON.parse(await net.seller.lncli("addinvoice", "--amt=5")) as { payment_request: string };
    await payFrom(net.payer, foreign);
    hearth = await start();
    await eventually("it is credited", async () => (hearth.output().includes(bill.payment_hash) ? true : undefined), 30_000);
    expect(await balance(bill, preimage)).toBe(bill.amount_sats * 1_000);
  }, slowMs);

  test("node and ledger agree, and other apps' invoices are none of ours", async () => {
    const env = { HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port };
    expect(await runHearth(["reconcile"], env)).toEqual({ code: 0, output: "2 settled on the node, 2 credited here, 0 credited now, 0 that do not agree.\n" });
    // One that carries our mark and was never ours: a backup was put back.
    const { payment_request: strange } = JSON.parse(await net.seller.lncli("addinvoice", "--amt=7", "--memo=x [i_0123456789abcdefghjkmnpqrs]")) as { payment_request: string };
    await payFrom(net.payer, strange);
    expect(await runHearth(["reconcile"], env)).toMatchObject({ code: 1, output: expect.stringContaining("the node was paid 7000 msat for i_0123456789abcdefghjkmnpqrs") });
  }, slowMs);

  test("a node that ends and comes back: the owner sees it, buyers get a 503, and selling goes on", async () => {
    const owner = await openOwnersDoor(hearth);
    const nodeOf = async () => (await owner.status() as unknown as { node: { state: string; what?: string; receivable_sats?: number } }).node;
    expect(await nodeOf()).toMatchObject({ state: "ready", receivable_sats: expect.any(Number) });
    const before = await buy();
    await net.seller.kill("SIGKILL");
    expect((await ask(hearth.url, hello)).status).toBe(503);
    expect(await nodeOf()).toMatchObject({ state: "unreachable", what: expect.stringContaining("cannot be reached") });
    await net.seller.start();
    await until("the node is ready", async () => (await nodeOf()).state === "ready", 60_000);
    const preimage = await eventually("the payer finds its way", () => payFrom(net.payer, before.invoice).catch(() => undefined), 60_000);
    expect((await ask(hearth.url, hello, `L402 ${before.macaroon}:${preimage}`)).status).toBe(200);
  }, 3 * slowMs);

  test("what settles while Hearth cannot hear, on a node that ends right after, is credited by the stored index when both are back", async () => {
    const bill = await buy();
    hearth.kill("SIGSTOP");
    const preimage = await payFrom(net.payer, bill.invoice);
    await net.seller.kill("SIGKILL");
    hearth.kill("SIGCONT");
    expect((await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`)).status).toBe(503);
    await net.seller.start();
    await eventually("it is credited", async () => (hearth.output().includes(`invoice.credited payment_hash=${bill.payment_hash}`) ? true : undefined), 60_000);
    expect((await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`)).status).toBe(200);
  }, 3 * slowMs);

  test("a payer's payment that stays pending buys nothing and is not billed again; when it arrives it is one credit", async () => {
    await channelsBack(net);
    const bill = await buy();
    // The payment is on its way to a node that does not answer for a while.
    net.seller.signal("SIGSTOP");
    const paying = payFrom(net.payer, bill.invoice);
    await eventually("it is on its way", async () => ((await net.payer.lncli("listpayments", "--include_incomplete")).includes("IN_FLIGHT") ? true : undefined), 30_000);
    const waiting = await ask(hearth.url, hello, undefined, { headers: { authorization: `L402 ${bill.macaroon}` } });
    expect({ status: waiting.status, code: ((await waiting.json()) as { error: { code: string } }).error.code }).toEqual({ status: 503, code: "settlement_unknown" });
    net.seller.signal("SIGCONT");
    const preimage = await paying;
    const answer = await eventually("it is answered", async () => {
      const one = await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`);
      return one.status === 200 ? one : undefined;
    }, 60_000);
    expect(await balance(bill, preimage)).toBe(bill.amount_sats * 1_000 - Number(answer.headers.get("x-hearth-cost-msat")));
  }, 3 * slowMs);

  test("starts beside a node that is down, and sells once it is there", async () => {
    await hearth.stop();
    await net.seller.kill("SIGTERM");
    hearth = await start();
    expect((await ask(hearth.url, hello)).status).toBe(503);
    await net.seller.start();
    await eventually("it sells", async () => ((await ask(hearth.url, hello)).status === 402 ? true : undefined), 60_000);
  }, 3 * slowMs);

  test("an admin's macaroon is warned of at the start, and not shown", async () => {
    await hearth.stop();
    const admin = net.seller.macaroonPath("admin");
    hearth = await startHearth({ command: "serve", dataDir, env: { HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.seller.restUrl, HEARTH_LND_TLS_CERT: net.seller.certificatePath, HEARTH_LND_MACAROON: admin } });
    expect(hearth.output()).toMatch(/warn node\.more_rights_than_needed setting=macaroon rights=".*offchain:write/);
    expect(hearth.output()).not.toContain(readFileSync(admin).toString("hex").slice(0, 40));
  }, slowMs);

  test("another node refuses to start on this data directory", async () => {
    await hearth.stop();
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "../../src/main.ts"), "serve"], {
      env: { PATH: process.env.PATH!, HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_PORT: "0", HEARTH_OWNER_PORT: "0", HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.payer.restUrl, HEARTH_LND_TLS_CERT: net.payer.certificatePath, HEARTH_LND_MACAROON: net.payer.macaroonPath("admin") },
      stdout: "pipe", stderr: "pipe",
    });
    expect(await child.exited).toBe(70);
    expect(await new Response(child.stdout).text() + (await new Response(child.stderr).text())).toContain("this data directory belongs to the node");
  }, slowMs);
});
