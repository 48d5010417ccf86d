/** A real LND through a real mailbox and session: the port's contract, and what is left when parts of the way end and come back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { toHex } from "../../src/base/bytes.ts";
import { boundedNode } from "../../src/lightning/bounded-node.ts";
import { LncRpc } from "../../src/lightning/lnc.ts";
import { LncLink } from "../../src/lightning/lnc-link.ts";
import type { SessionTerms } from "../../src/lightning/lnc-protocol.ts";
import type { Pairing } from "../../src/lightning/lnc-pairing.ts";
import { findLncWasm } from "../../src/lightning/lnc-wasm.ts";
import { lndNode } from "../../src/lightning/lnd.ts";
import { LndError } from "../../src/lightning/lnd-rpc.ts";
import { msat } from "../../src/money/msat.ts";
import { z } from "zod";
import { lndPayer } from "../../src/lightning/lnd-payer.ts";
import { payerContract } from "../contract/payer.ts";
import { nodeContract } from "../contract/node.ts";
import { until } from "../support/hearth.ts";
import { type LncPeer, startLncPeer } from "./lnc-peer.ts";
import { invoiceOf, type LndNetwork, payFrom, refuse, startLndNetwork, take } from "./lnd-network.ts";

const slowMs = 120_000;
let net: LndNetwork, peer: LncPeer;
beforeAll(async () => {
  net = await startLndNetwork();
  peer = await startLncPeer();
}, 10 * 60_000);
afterAll(async () => {
  await peer?.stop();
  await net?.stop();
});

const worker = new URL("../support/trusting-lnc-worker.ts", import.meta.url).href;
const fresh = (phrase: string): Pairing => ({ phrase, localKey: toHex(crypto.getRandomValues(new Uint8Array(32))), proven: false });

type Reached = { link: LncLink; rpc: LncRpc; pairing: Pairing; terms(): SessionTerms | undefined; stop(): Promise<void> };

/** As Hearth does it, keeping what it is told to keep. */
function reach(pairing: Pairing, onWorker: (worker: Worker) => void = () => undefined): Reached {
  const kept = { ...pairing };
  let terms: SessionTerms | undefined;
  const link = new LncLink({
    openWorker: () => {
      const made = new Worker(worker, { env: { ...process.env, LNC_TEST_CERTIFICATE: peer.certificatePath } } as WorkerOptions);
      onWorker(made);
      return made;
    },
    wasm: findLncWasm(), mailbox: peer.mailbox, pairing,
    onRemoteKey: (key) => void (kept.remoteKey = key),
    onConnected: (given) => {
      kept.proven = true;
      terms = given;
    },
  });
  link.start();
  return { link, rpc: new LncRpc(link), pairing: kept, terms: () => terms, stop: () => link.stop() };
}

async function openAdminSession() {
  return peer.openSession(net.seller, net.seller.macaroonPath("admin"));
}

nodeContract("LND over LNC", async () => {
  const reached = reach(fresh((await openAdminSession()).phrase));
  const node = lndNode({ rpc: reached.rpc, private: false, clock: systemClock });
  return {
    node: boundedNode(node),
    payInvoice: (bolt11) => payFrom(net.payer, bolt11),
    referenceOf: async (paymentHash) => / \[(\w+)\]$/.exec((JSON.parse(await net.seller.lncli("lookupinvoice", paymentHash)) as { memo: string }).memo)?.[1],
    stop: () => reached.stop(),
  };
});

payerContract("LND over LNC", async () => {
  const reached = reach(fresh((await openAdminSession()).phrase));
  return {
    payer: boundedNode({ ...lndNode({ rpc: reached.rpc, private: false, clock: systemClock }), payer: lndPayer(reached.rpc) }).payer!,
    payeesInvoice: (sats, held) => invoiceOf(net.payer, sats, held),
    take: (paymentHash) => take(net.payer, paymentHash),
    refuse: (paymentHash) => refuse(net.payer, paymentHash),
    stop: () => reached.stop(),
  };
});

/** Milliseconds until it answers again. */
async function untilItAnswers(rpc: LncRpc, boundMs: number): Promise<number> {
  const fromMs = performance.now();
  await until("the node answers", () => rpc.call("GetInfo", {}, z.unknown()).then(() => true, () => false), boundMs);
  return performance.now() - fromMs;
}

describe("every RPC that is asked for", () => {
  let reached: Reached;
  beforeAll(async () => void (reached = reach(fresh((await openAdminSession()).phrase))));
  afterAll(() => reached.stop());

  test("answers over Lightning Node Connect as over REST: names, integers as text, bytes in base64", async () => {
    const info = await reached.rpc.call("GetInfo", {}, z.record(z.string(), z.unknown()));
    expect(info).toMatchObject({ alias: "seller", identity_pubkey: expect.stringMatching(/^0[23]/), synced_to_chain: true, num_active_channels: 1, best_header_timestamp: expect.stringMatching(/^\d+$/) });
    expect(await reached.rpc.call("GetState", {}, z.unknown())).toEqual({ state: "SERVER_ACTIVE" });
    expect(await reached.rpc.call("ChannelBalance", {}, z.unknown())).toMatchObject({ local_balance: { sat: expect.any(String), msat: expect.any(String) } });
    expect(await reached.rpc.call("ListPayments", { include_incomplete: true }, z.unknown())).toMatchObject({ payments: expect.any(Array), last_index_offset: expect.any(String) });
    const { channels } = await reached.rpc.call("ListChannels", { active_only: true }, z.object({ channels: z.array(z.object({ remote_pubkey: z.string(), chan_id: z.string(), remote_balance: z.string() })) }));
    expect(await reached.rpc.call("GetChanInfo", { chan_id: channels[0]!.chan_id }, z.unknown())).toMatchObject({ node1_pub: expect.any(String), node1_policy: { fee_base_msat: expect.any(String), time_lock_delta: expect.any(Number) } });
    const { r_hash: hash } = await reached.rpc.call("AddInvoice", { value_msat: "5000" }, z.object({ r_hash: z.string() }));
    expect(Buffer.from(hash, "base64")).toHaveLength(32);
  }, slowMs);

  test("pays and tracks a payment, each message until the last", async () => {
    const { payment_request: invoice } = JSON.parse(await net.payer.lncli("addinvoice", "--amt=12")) as { payment_request: string };
    const payment = z.object({ status: z.string(), payment_hash: z.string(), value_msat: z.string(), payment_preimage: z.string() });
    const told: z.infer<typeof payment>[] = [];
    for await (const one of reached.rpc.stream("SendPaymentV2", { payment_request: invoice, timeout_seconds: 20, fee_limit_msat: "1000", no_inflight_updates: false }, payment, new AbortController().signal)) told.push(one);
    const last = told.at(-1)!;
    expect(last).toMatchObject({ status: "SUCCEEDED", value_msat: "12000" });
    const tracked: string[] = [];
    const payment_hash = Buffer.from(last.payment_hash, "hex").toString("base64");
    for await (const { status, payment_preimage } of reached.rpc.stream("TrackPaymentV2", { payment_hash }, payment, new AbortController().signal)) tracked.push(`${status} ${payment_preimage}`);
    expect(tracked).toEqual([`SUCCEEDED ${last.payment_preimage}`]);
  }, slowMs);

  test("is refused in LND's words, with the same trouble as over REST", async () => {
    const gone = reached.rpc.call("LookupInvoice", { r_hash_str: "00".repeat(32) }, z.unknown());
    expect(await gone.catch((error: unknown) => error)).toMatchObject({ trouble: "not_found" });
    const nothing = reached.rpc.stream("TrackPaymentV2", { payment_hash: Buffer.alloc(32, 1).toString("base64") }, z.unknown(), new AbortController().signal);
    expect(await nothing.next().catch((error: unknown) => error)).toMatchObject({ trouble: "not_found" });
    const odd = reached.rpc.call("AddInvoice", { value_msat: "-5" }, z.unknown());
    expect(await odd.catch((error: unknown) => error)).toMatchObject({ trouble: "refused" });
  }, slowMs);
});

test("what was asked leaves nothing behind, answered, refused, given up or ended", async () => {
  const workers: Worker[] = [];
  const { phrase } = await openAdminSession();
  const { link, rpc, stop } = reach(fresh(phrase), (made) => workers.push(made));
  const openCalls = async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const hear = ({ data }: MessageEvent) => void (data.told === "open calls" && resolve(data.count as number));
    workers[0]!.addEventListener("message", hear);
    workers[0]!.postMessage("open calls");
    return promise.finally(() => workers[0]!.removeEventListener("message", hear));
  };
  await untilItAnswers(rpc, 30_000);
  await Promise.all(Array.from({ length: 200 }, () => rpc.call("GetInfo", {}, z.unknown())));
  await Promise.allSettled(Array.from({ length: 50 }, () => rpc.call("LookupInvoice", { r_hash_str: "00".repeat(32) }, z.unknown())));
  expect(await openCalls()).toBe(0);
  const stopping = new AbortController();
  const streams = Array.from({ length: 5 }, () => rpc.stream("SubscribeInvoices", { settle_index: "0" }, z.unknown(), stopping.signal).next());
  await until("they are open", async () => (await openCalls()) === 5);
  stopping.abort();
  expect((await Promise.all(streams)).every(({ done }) => done)).toBe(true);
  await until("they are gone", async () => (await openCalls()) === 0);
  // Given up before lnd could answer.
  net.seller.signal("SIGSTOP");
  const given = await link.call("lnrpc.Lightning.GetInfo", {}).catch((error: unknown) => error);
  net.seller.signal("SIGCONT");
  expect(String(given)).toContain("it does not answer");
  expect(workers).toHaveLength(1);
  await until("it is gone", async () => (await openCalls()) === 0);
  await stop();
}, slowMs);

test("a session that may only read is refused what it may not, and is known by its rights", async () => {
  const session = await peer.openSession(net.seller, net.seller.macaroonPath("readonly"));
  const { terms, rpc, stop } = reach(fresh(session.phrase));
  const refused = await rpc.call("AddInvoice", { value_msat: "1000" }, z.unknown()).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(LndError);
  expect(refused).toMatchObject({ trouble: "forbidden" });
  expect(terms()!.rights).toContain("info:read");
  expect(terms()!.rights).not.toContain("invoices:write");
  expect(terms()!.endsAtMs).toBeUndefined();
  await stop();
}, slowMs);

test("a pairing is used again without its phrase's help, by the keys alone", async () => {
  const session = await openAdminSession();
  const first = reach(fresh(session.phrase));
  await untilItAnswers(first.rpc, 30_000);
  await first.stop();
  expect(first.pairing.proven).toBe(true);
  expect(first.pairing.remoteKey).toMatch(/^0[23][0-9a-f]{64}$/);
  const again = reach(first.pairing);
  expect(await untilItAnswers(again.rpc, 20_000)).toBeLessThan(12_000);
  await again.stop();
}, slowMs);

describe("what ends comes back", () => {
  const parts: [what: string, of: (session: Awaited<ReturnType<typeof openAdminSession>>) => { kill(signal: NodeJS.Signals): Promise<void>; start(): Promise<void> }][] = [
    ["the session's server", (session) => session],
    ["the mailbox", () => peer.mailboxServer],
  ];
  test.each(parts)("%s: calls end at their deadline, and the node is there again by itself", async (_what, of) => {
    const session = await openAdminSession();
    const { rpc, stop } = reach(fresh(session.phrase));
    await untilItAnswers(rpc, 30_000);
    const invoices = rpc.stream("SubscribeInvoices", { settle_index: "0" }, z.unknown(), new AbortController().signal);
    const broken = invoices.next().then(() => "a message", (error: unknown) => error);
    const part = of(session);
    await part.kill("SIGKILL");
    const fromMs = performance.now();
    const lost = await rpc.call("GetInfo", {}, z.unknown()).catch((error: unknown) => error);
    expect(lost).toMatchObject({ trouble: "unreachable" });
    expect(performance.now() - fromMs).toBeLessThan(11_000);
    await Bun.sleep(12_000);
    await part.start();
    expect(await untilItAnswers(rpc, 90_000)).toBeLessThan(90_000);
    expect(await broken).toMatchObject({ trouble: "unreachable" });
    const node = lndNode({ rpc, private: false, clock: systemClock });
    const { bolt11, paymentHash } = await node.createInvoice({ amountMsat: msat(3_000n), reference: "i_1", memo: "back", expirySeconds: 600 });
    await payFrom(net.payer, bolt11);
    expect(await node.lookupInvoice(paymentHash)).toEqual({ state: "settled", paidMsat: msat(3_000n) });
    await stop();
  }, 3 * slowMs);

  test("an lnd that ends behind its session is told apart from a lost session", async () => {
    const { rpc, stop } = reach(fresh((await openAdminSession()).phrase));
    await untilItAnswers(rpc, 30_000);
    await net.seller.kill("SIGKILL");
    expect(await rpc.call("GetInfo", {}, z.unknown()).catch((error: unknown) => error)).toMatchObject({ trouble: "unreachable" });
    await net.seller.start();
    await untilItAnswers(rpc, 60_000);
    await stop();
  }, 3 * slowMs);
});
