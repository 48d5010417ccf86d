/** The phoenixd adapter: the contract every node obeys, what a payment costs, when an invoice is dead, and every trouble as a state. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { phoenixdGraceMs } from "../../src/base/limits.ts";
import { boundedNode } from "../../src/lightning/bounded-node.ts";
import { readInvoice } from "../../src/lightning/bolt11.ts";
import type { Settlement } from "../../src/lightning/node.ts";
import { phoenixdNode, phoenixdRoom } from "../../src/lightning/phoenixd.ts";
import { openPhoenixdApi, readPassword } from "../../src/lightning/phoenixd-access.ts";
import { msat } from "../../src/money/msat.ts";
import { nodeContract } from "../contract/node.ts";
import { FakePhoenixd, type Liquidity } from "../support/fake-phoenixd.ts";
import { until } from "../support/hearth.ts";

const slowMs = 30_000;
const startMs = Date.UTC(2026, 0, 1);
const fakes: FakePhoenixd[] = [];
afterEach(async () => void (await Promise.all(fakes.splice(0).map((fake) => fake.stop()))));

function start(liquidity: Partial<Liquidity> = {}) {
  const time = { nowMs: startMs };
  const fake = new FakePhoenixd(() => time.nowMs);
  fakes.push(fake);
  Object.assign(fake.liquidity, liquidity);
  return { fake, time, node: nodeWith(fake.url, fake.limitedPassword, time) };
}

function nodeWith(url: string, password: string, time = { nowMs: startMs }) {
  return phoenixdNode({ api: openPhoenixdApi({ url, password }), clock: { nowMs: () => time.nowMs } });
}

type Started = ReturnType<typeof start>;
const create = ({ node }: Started, sats = 21) => node.createInvoice({ amountMsat: msat(BigInt(sats) * 1_000n), reference: "i_1", memo: "test", expirySeconds: 600 });

/** By phoenixd's own means. */
async function askItself(fake: FakePhoenixd, path: string, password: string, form?: Record<string, string>): Promise<Response> {
  return fetch(fake.url + path, { headers: { authorization: `Basic ${btoa(`:${password}`)}` }, ...(form && { method: "POST", body: new URLSearchParams(form) }) });
}

nodeContract("phoenixd", async () => {
  const fake = new FakePhoenixd();
  return {
    node: boundedNode(phoenixdNode({ api: openPhoenixdApi({ url: fake.url, password: fake.limitedPassword }), clock: { nowMs: Date.now } })),
    payInvoice: async (bolt11) => {
      const paid = fake.pay(bolt11);
      if ("error" in paid) throw new Error(paid.error);
      return paid.preimage;
    },
    referenceOf: async (paymentHash) => ((await (await askItself(fake, `/payments/incoming/${paymentHash}`, fake.password)).json()) as { externalId?: string }).externalId,
    stop: () => fake.stop(),
  };
}, { replays: false });

describe("an invoice", () => {
  test.each([["a long one", "x".repeat(300), "x".repeat(128)], ["one whose last letter does not fit", `${"x".repeat(127)}\u{1F525}`, "x".repeat(127)], ["none", "", ""]])("says as much of the memo as phoenixd takes: %s", async (_what, memo, kept) => {
    const { node } = start();
    const { bolt11 } = await node.createInvoice({ amountMsat: msat(1_000n), reference: "i_1", memo, expirySeconds: 60 });
    expect(readInvoice(bolt11)?.memo).toBe(kept);
  });

  test.each(["1500", "999", "0"])("of %s msat is never asked for, since phoenixd knows whole sats only", async (amount) => {
    const { node, fake } = start();
    await expect(node.createInvoice({ amountMsat: msat(BigInt(amount)), reference: "i_1", memo: "", expirySeconds: 60 })).rejects.toThrow("whole sats");
    expect(fake.asked).toEqual([]);
  });

  test("that asks for no amount is none of ours", async () => {
    const { node, fake } = start();
    const { paymentHash } = (await (await askItself(fake, "/createinvoice", fake.password, { description: "tip", externalId: "theirs" })).json()) as { paymentHash: string };
    expect(await node.lookupInvoice(paymentHash)).toEqual({ state: "unknown" });
  });
});

const noRoom = { balance: 0, inbound: 0 };
/** Room costs 21,219 sats. */
const payments: [what: string, liquidity: Partial<Liquidity>, askedSats: number, extraSats: number, received: number, feeSats: number][] = [
  ["with room for it", {}, 21, 0, 21, 0],
  ["of more than was asked", {}, 1_000, 50, 1_050, 0],
  ["into fee credit, before there is a channel", noRoom, 5_000, 0, 5_000, 0],
  ["that buys the first channel by itself", { ...noRoom, maxFeeCredit: 0 }, 30_000, 0, 8_781, 21_219],
  ["that buys the first channel with the credit of others", { ...noRoom, feeCredit: 20_000 }, 10_000, 0, 8_781, 21_219],
  ["for which credit pays everything", { ...noRoom, feeCredit: 30_000 }, 10_000, 0, 10_000, 21_219],
  ["that costs more than it brings", { balance: 500_000, inbound: 0, maxFeeCredit: 0 }, 100, 0, -21_119, 21_219],
];
test.each(payments)("a payment %s is settled with what was asked, and its cost is told", async (_what, liquidity, askedSats, extraSats, receivedSat, feeSats) => {
  const started = start(liquidity);
  const { bolt11, paymentHash } = await create(started, askedSats);
  expect(started.fake.pay(bolt11, extraSats)).toHaveProperty("preimage");
  expect(await (await askItself(started.fake, `/payments/incoming/${paymentHash}`, started.fake.limitedPassword)).json()).toMatchObject({ isPaid: true, receivedSat });
  const fee = feeSats === 0 ? {} : { feeMsat: msat(BigInt(feeSats) * 1_000n) };
  expect(await started.node.lookupInvoice(paymentHash)).toStrictEqual({ state: "settled", paidMsat: msat(BigInt(askedSats) * 1_000n), ...fee });
});

test("what phoenixd does not call received is a cost as well, whatever it says of fees", async () => {
  const started = start();
  const { bolt11, paymentHash } = await create(started, 5_000);
  started.fake.pay(bolt11);
  for (const [receivedSat, feesMsat, feeMsat] of [[0, 0, 5_000_000n], [4_999, 0, 1_000n], [4_999, 999, 1_000n], [4_999, 1_500, 1_500n]] as const) {
    started.fake.amend(paymentHash, { receivedSat, feesMsat });
    expect(await started.node.lookupInvoice(paymentHash)).toStrictEqual({ state: "settled", paidMsat: msat(5_000_000n), feeMsat: msat(feeMsat) });
  }
});

describe("an expired invoice", () => {
  const expiredMs = startMs + 600_001;
  test("is open for a while, since a payment may be on its way, and dead then", async () => {
    const started = start();
    const { paymentHash } = await create(started);
    for (const [nowMs, state] of [[startMs + 599_000, "open"], [expiredMs, "open"], [expiredMs + phoenixdGraceMs, "dead"]] as const) {
      started.time.nowMs = nowMs;
      expect(await started.node.lookupInvoice(paymentHash)).toEqual({ state });
    }
  });

  test("whose payment was held for room settles after its expiry", async () => {
    const started = start();
    const { bolt11, paymentHash } = await create(started);
    expect(started.fake.hold(bolt11)).toBeUndefined();
    started.time.nowMs = expiredMs;
    expect(await started.node.lookupInvoice(paymentHash)).toEqual({ state: "open" });
    expect(started.fake.release(paymentHash)).toHaveProperty("preimage");
    expect(await started.node.lookupInvoice(paymentHash)).toMatchObject({ state: "settled" });
  });

  test("that was paid in time is settled for good", async () => {
    const started = start();
    const { bolt11, paymentHash } = await create(started);
    started.fake.pay(bolt11);
    started.time.nowMs = expiredMs + phoenixdGraceMs;
    expect(await started.node.lookupInvoice(paymentHash)).toMatchObject({ state: "settled" });
  });
});

describe("the password", () => {
  const folder = mkdtempSync(join(tmpdir(), "hearth-phoenixd-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const inFile = (name: string, text: string) => (writeFileSync(join(folder, name), text), join(folder, name));

  test.each([
    ["as it is", "beef", "beef"],
    ["in a file of its own", inFile("password", "beef\n"), "beef"],
    ["in phoenix.conf, where the one that cannot spend is taken", inFile("phoenix.conf", "chain=mainnet\nhttp-password=dead\nhttp-password-limited-access=beef\nwebhook-secret=feed\n"), "beef"],
  ])("is found %s", (_what, value, password) => expect(readPassword(value)).toBe(password));

  test.each([
    ["a file that is not there", join(folder, "hunter2"), "does not exist"],
    ["a folder", folder, "cannot be read"],
    ["a phoenix.conf of before there was a limited one", inFile("old.conf", "http-password=dead\n"), "no http-password-limited-access"],
  ])("in %s is a state with a sentence that does not show it", async (_what, value, words) => {
    const { fake } = start();
    const condition = await nodeWith(fake.url, value).condition();
    expect(condition).toMatchObject({ kind: "refused", what: expect.stringContaining(words) });
    expect(JSON.stringify(condition)).not.toMatch(/hunter2|dead/);
  });

  test("that is limited sells and cannot spend", async () => {
    const { fake, node } = start();
    expect(await node.condition()).toEqual({ kind: "ready" });
    expect((await askItself(fake, "/payinvoice", fake.limitedPassword, { invoice: "x" })).status).toBe(401);
    expect((await askItself(fake, "/payinvoice", fake.password, { invoice: "x" })).status).toBe(400);
  });
});

describe("what is wrong is a state with a sentence, and no answer about invoices:", () => {
  const troubles: [what: string, spoil: (started: Started) => unknown, kind: "refused" | "unreachable", words: string][] = [
    ["it is down", ({ fake }) => fake.stop(), "unreachable", "cannot be reached"],
    ["it says why it did not, with a 200", ({ fake }) => (fake.faults.reason = "not now"), "refused", "not now"],
    ["it answers no JSON", ({ fake }) => (fake.faults.garbage = "<html>"), "refused", "no JSON"],
    ["it answers other JSON", ({ fake }) => (fake.faults.garbage = "{}"), "refused", "0.7 does not"],
  ];
  test.each(troubles)("%s", async (_what, spoil, kind, words) => {
    const started = start();
    const { paymentHash } = await create(started);
    await spoil(started);
    expect(await started.node.condition()).toMatchObject({ kind, what: expect.stringContaining(words) });
    for (const call of [create(started), started.node.lookupInvoice(paymentHash), started.node.status()]) expect(await call.catch((error: unknown) => error)).toMatchObject({ code: "node_unavailable" });
  });

  test("a wrong password", async () => {
    const { fake } = start();
    const node = nodeWith(fake.url, "hunter2");
    expect(await node.condition()).toEqual({ kind: "refused", what: expect.stringMatching(/^phoenixd refuses the password(?!.*hunter2)/) });
    expect(await node.lookupInvoice("00".repeat(32)).catch((error: unknown) => error)).toMatchObject({ code: "node_unavailable", retryable: false });
  });

  test("another server at its address, whose 404 is no word on an invoice", async () => {
    using other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("<h1>Not found</h1>", { status: 404 }) });
    const node = nodeWith(other.url.origin, "x");
    expect(await node.condition()).toMatchObject({ kind: "refused", what: expect.stringContaining("check its url") });
    expect(await node.lookupInvoice("00".repeat(32)).catch((error: unknown) => error)).toMatchObject({ code: "node_unavailable" });
  });

  test.each(["0.6.3", "0.5.1"])("version %s, which does not tell what was asked for", async (version) => {
    const { fake, node } = start();
    fake.version = version;
    expect(await node.condition()).toEqual({ kind: "refused", what: `phoenixd is version ${version}; 0.7 or newer is needed.` });
  });

  test("a network nobody here knows", async () => {
    const { fake, node } = start();
    fake.chain = "moonnet";
    expect(await node.status().catch((error: unknown) => error)).toMatchObject({ message: expect.stringContaining("moonnet") });
  });

  test("no connection to its peer, by which payments would come", async () => {
    const { fake, node } = start();
    fake.connected = false;
    expect(await node.condition()).toMatchObject({ kind: "syncing", what: expect.stringContaining("peer") });
  });

  test("silence, after its time is over", async () => {
    const { fake, node } = start();
    fake.faults.silent = true;
    expect(await node.condition()).toMatchObject({ kind: "unreachable" });
  }, slowMs);
});

test.each(["mainnet", "testnet", "testnet3", "testnet4"])("%s is a network", async (chain) => {
  const { fake, node } = start();
  fake.chain = chain;
  expect(await node.status()).toEqual({ network: chain.replace("testnet3", "testnet") as "mainnet", publicKey: fake.nodeId, alias: "" });
});

test("its owner is told of its room: none before the first channel, with what was set aside for it", async () => {
  const { fake } = start({ ...noRoom, feeCredit: 391 });
  const api = openPhoenixdApi({ url: fake.url, password: fake.limitedPassword });
  expect(await phoenixdRoom(api)).toEqual({ channels: 0, inboundSats: 0, feeCreditSats: 391 });
  fake.liquidity.inbound = 7;
  expect(await phoenixdRoom(api)).toEqual({ channels: 1, inboundSats: 7, feeCreditSats: 391 });
});

describe("the stream", () => {
  /** Everything told, and how it ended. */
  function listen({ node, fake }: Started) {
    const told: Settlement[] = [];
    const stopping = new AbortController();
    const ended = (async () => {
      for await (const one of node.settlements(0n, stopping.signal)) told.push(one);
    })().then(() => undefined, (error: unknown) => error);
    return { told, ended, stop: () => stopping.abort(), open: () => until("it listens", () => fake.listening === 1) };
  }

  test("tells what was asked for and what it cost, not what is left", async () => {
    const started = start({ balance: 500_000, inbound: 0, maxFeeCredit: 0 });
    const stream = listen(started);
    await stream.open();
    const { bolt11, paymentHash } = await create(started, 100);
    started.fake.pay(bolt11);
    await until("it is told", () => stream.told.length > 0);
    stream.stop();
    expect(await stream.ended).toBeUndefined();
    expect(stream.told).toStrictEqual([{ paymentHash, paidMsat: msat(100_000n), feeMsat: msat(21_219_000n), cursor: 0n }]);
  });

  test("passes over what is not ours, and what it does not know", async () => {
    const started = start();
    const stream = listen(started);
    await stream.open();
    const { bolt11, paymentHash } = await create(started);
    const [offer, theirs] = ["0f".repeat(32), "0e".repeat(32)];
    for (const event of [{ type: "weather" }, { type: "payment_received", amountSat: 5, paymentHash: offer }, { type: "payment_received", amountSat: -5, paymentHash: theirs, externalId: "theirs" }]) started.fake.tellAnything(event);
    started.fake.pay(bolt11);
    await until("it is told", () => stream.told.length > 0);
    stream.stop();
    expect([await stream.ended, stream.told.map((one) => one.paymentHash)]).toEqual([undefined, [paymentHash]]);
    // What carries no id of anybody's is not even looked up.
    expect([theirs, offer].map((hash) => started.fake.asked.includes(`GET /payments/incoming/${hash}`))).toEqual([true, false]);
  });

  test.each<[string, (fake: FakePhoenixd) => unknown]>([["is cut", (fake) => fake.cutStreams()], ["is ended by a restart", (fake) => fake.stop()]])("that %s throws, so that it is opened again", async (_what, cut) => {
    const started = start();
    const stream = listen(started);
    await stream.open();
    await cut(started.fake);
    expect(await stream.ended).toMatchObject({ code: "node_unavailable" });
  });

  test("that tells nonsense throws, and its signal means nothing afterwards", async () => {
    const started = start();
    const stream = listen(started);
    await stream.open();
    started.fake.tellAnything([]);
    expect(await stream.ended).toMatchObject({ code: "node_unavailable" });
    await until("it is hung up", () => started.fake.listening === 0);
    stream.stop();
    expect(stream.told).toEqual([]);
  });

  test("with a wrong password throws", async () => {
    const { fake } = start();
    const first = nodeWith(fake.url, "hunter2").settlements(0n, new AbortController().signal)[Symbol.asyncIterator]().next();
    expect(await Promise.resolve(first).catch((error: unknown) => error)).toMatchObject({ code: "node_unavailable" });
  });

  test("that is not answered ends when its signal fires", async () => {
    const started = start();
    started.fake.faults.silent = true;
    const stream = listen(started);
    await until("it is asked for", () => started.fake.asked.includes("GET /websocket"));
    stream.stop();
    expect(await stream.ended).toBeUndefined();
  });
});

test("lists what it was paid over pages, with our own ids and what room cost, and leaves out what is unpaid or older", async () => {
  const started = start();
  const { fake, node, time } = started;
  const paid: string[] = [];
  for (let n = 0; n < 203; n++) {
    const reference = `i_${String(n).padStart(26, "0")}`;
    const { bolt11, paymentHash } = await node.createInvoice({ amountMsat: msat(5_000n), reference, memo: "", expirySeconds: 600 });
    fake.pay(bolt11);
    paid.push(paymentHash);
  }
  await create(started);
  const foreign = await node.createInvoice({ amountMsat: msat(7_000n), reference: "order 17", memo: "", expirySeconds: 600 });
  fake.pay(foreign.bolt11);
  fake.amend(paid[3]!, { feesMsat: 1_500 });
  const listed = await Array.fromAsync(node.listSettled(0));
  expect(new Set(listed.map((one) => one.paymentHash))).toEqual(new Set([...paid, foreign.paymentHash]));
  const of = (hash: string) => listed.find((one) => one.paymentHash === hash);
  expect(of(paid[3]!)).toEqual({ paymentHash: paid[3]!, paidMsat: msat(5_000n), feeMsat: msat(1_500n), reference: `i_${"3".padStart(26, "0")}` });
  expect(of(foreign.paymentHash)).toEqual({ paymentHash: foreign.paymentHash, paidMsat: msat(7_000n), reference: undefined });
  expect(await Array.fromAsync(node.listSettled(time.nowMs + 1))).toEqual([]);
});
