/** Paying out with a real LND: the port's contract, a collection, what stays in flight, and either side killed on the way. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { boundedNode } from "../../src/lightning/bounded-node.ts";
import { lndNode } from "../../src/lightning/lnd.ts";
import { lndAccess } from "../../src/lightning/lnd-access.ts";
import { lndPayer } from "../../src/lightning/lnd-payer.ts";
import { LndRest } from "../../src/lightning/lnd-rest.ts";
import { opens } from "../../src/lightning/preimage.ts";
import { startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { payerContract } from "../contract/payer.ts";
import { collect, collected } from "../support/collecting.ts";
import { balanceOf, claim, eventually, makeDataDir, orderTopup, readLedger, removeDataDir, type RunningHearth, runHearth, startHearth, until } from "../support/hearth.ts";
import { arrived, channelsBack, invoiceOf, type LndNetwork, paidTo, payFrom, refuse, startLndNetwork, take } from "./lnd-network.ts";

const slowMs = 180_000;
let net: LndNetwork;
let selling: string, paying: string;
const bake = async (...rights: string[]) => (JSON.parse(`"${await net.seller.lncli("bakemacaroon", ...rights)}"`) as string).trim();
beforeAll(async () => {
  net = await startLndNetwork();
  selling = await bake("invoices:read", "invoices:write", "info:read", "offchain:read");
  paying = await bake("offchain:read", "offchain:write");
}, 10 * 60_000);
afterAll(() => net?.stop());

const reached = (macaroon: string) => new LndRest(lndAccess({ url: net.seller.restUrl, certificate: net.seller.certificatePath, macaroon }));

const payer = () => boundedNode({ ...lndNode({ rpc: reached(selling), private: false, clock: systemClock }), payer: lndPayer(reached(paying)) }).payer!;

payerContract("LND", async () => ({
  payer: payer(),
  payeesInvoice: (sats, held) => invoiceOf(net.payer, sats, held),
  take: (paymentHash) => take(net.payer, paymentHash),
  refuse: (paymentHash) => refuse(net.payer, paymentHash),
  stop: () => undefined,
}));

describe("a Hearth that pays out with this node", () => {
  let hearth: RunningHearth, upstream: ReturnType<typeof startSandboxModel>, token: string;
  const dataDir = makeDataDir();
  const start = (macaroon: string | undefined = paying) =>
    startHearth({
      command: "serve", dataDir,
      config: `usd_per_btc = 100000\nlisten = "127.0.0.1"\n[[upstreams]]\nname = "sandbox"\nurl = "${upstream.url}"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n`,
      env: {
        HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.seller.restUrl, HEARTH_LND_TLS_CERT: net.seller.certificatePath, HEARTH_LND_MACAROON: selling,
        ...(macaroon && { HEARTH_LND_PAYOUT_MACAROON: macaroon }),
      },
    });
  const balance = async () => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;
  const ended = (id: string) => eventually("it has ended", async () => {
    const { body } = await collected(hearth.url, token, id);
    return body.status === "pending" ? undefined : body;
  }, 90_000);
  const audit = () => runHearth(["audit"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir });

  beforeAll(async () => {
    upstream = startSandboxModel();
    hearth = await start();
    const topup = await orderTopup(hearth.url, { amount_sats: 100_000 });
    const preimage = await payFrom(net.payer, topup.invoice);
    ({ token } = (await (await claim(hearth.url, { preimage })).json()) as { token: string });
  }, slowMs);
  afterAll(async () => {
    await hearth?.stop();
    await upstream?.stop();
    removeDataDir(dataDir);
  });

  test("pays an invoice of another node, and the account pays amount and fee", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 400, false);
    const { status, body } = await collect(hearth.url, token, { invoice: bolt11, amount_sats: 400 });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: "paid", amount_sats: 400, payment: { payment_hash: paymentHash } });
    expect(opens(body.payment!.payment_preimage, paymentHash)).toBe(true);
    expect(await paidTo(net.payer, paymentHash)).toBe(400_000);
    expect(await balance()).toBe(before - 400_000 - body.payment!.fee_msat);
  }, slowMs);

  test("an invoice of its own node, one of another network, and one without an amount are refused, and nothing moves", async () => {
    const before = await balance();
    const own = await invoiceOf(net.seller, 400, false);
    const open = JSON.parse(await net.payer.lncli("addinvoice", "--amt=0")) as { payment_request: string };
    const mainnet = "lnbc20u1pvjluezhp58yjmdan79s6qqdhdzgynm4zwqd5d7xmw5fk98klysy043l2ahrqspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqfppqw508d6qejxtdg4y5r3zarvary0c5xw7kxqrrsssp5m6kmam774klwlh4dhmhaatd7al02m0h0m6kmam774klwlh4dhmhs9qypqqqcqpf3cwux5979a8j28d4ydwahx00saa68wq3az7v9jdgzkghtxnkf3z5t7q5suyq2dl9tqwsap8j0wptc82cpyvey9gf6zyylzrm60qtcqsq7egtsq";
    const codes = await Promise.all([own.bolt11, open.payment_request, mainnet].map(async (invoice) => (await collect(hearth.url, token, { invoice, amount_sats: 400 })).body.error!.code));
    expect(codes).toEqual(["own_invoice", "invalid_invoice", "invalid_invoice"]);
    expect(await balance()).toBe(before);
  }, slowMs);

  test("a payment that the payee refuses is back before the answer", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 500, true);
    const asked = collect(hearth.url, token, { invoice: bolt11, amount_sats: 500 });
    await refuse(net.payer, paymentHash);
    expect(await asked).toMatchObject({ status: 502, body: { status: "failed", error: { code: "payment_failed" } } });
    expect(await balance()).toBe(before);
  }, slowMs);

  test("one that stays in flight is pending, outlives kill -9 of Hearth, and is paid once", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 600, true);
    const { status, body } = await collect(hearth.url, token, { invoice: bolt11, amount_sats: 600 });
    expect({ status, state: body.status }).toEqual({ status: 202, state: "pending" });
    const limit = before - (await balance());
    expect(limit).toBe(600_000 + 6_000 + 10_000);
    hearth.kill("SIGKILL");
    await hearth.exited;
    hearth = await start();
    expect((await collected(hearth.url, token, body.id!)).body.status).toBe("pending");
    expect((await collect(hearth.url, token, { invoice: bolt11, amount_sats: 600 })).body.error!.code).toBe("invoice_already_used");
    await take(net.payer, paymentHash);
    const end = await ended(body.id!);
    expect(end.status).toBe("paid");
    expect(await balance()).toBe(before - 600_000 - end.payment!.fee_msat);
  }, slowMs);

  test("one that stays in flight outlives kill -9 of LND", async () => {
    const before = await balance();
    const { bolt11, paymentHash } = await invoiceOf(net.payer, 700, true);
    const asked = collect(hearth.url, token, { invoice: bolt11, amount_sats: 700 });
    await arrived(net.payer, paymentHash);
    await net.seller.kill("SIGKILL");
    const { status, body } = await asked;
    expect(status).toBe(202);
    expect(before - (await balance())).toBe(700_000 + 7_000 + 10_000);
    await net.seller.start();
    await take(net.payer, paymentHash);
    expect((await ended(body.id!)).status).toBe("paid");
  }, slowMs);

  test("with the node down nothing is sent, the money is back, and the same invoice can be tried again", async () => {
    const before = await balance();
    const { bolt11 } = await invoiceOf(net.payer, 300, false);
    await net.seller.kill("SIGKILL");
    expect(await collect(hearth.url, token, { invoice: bolt11, amount_sats: 300 })).toMatchObject({ status: 503, body: { error: { code: "node_unavailable" } } });
    expect(await balance()).toBe(before);
    await net.seller.start();
    await channelsBack(net);
    const end = await eventually("it is paid", async () => {
      const { status, body } = await collect(hearth.url, token, { invoice: bolt11, amount_sats: 300 });
      return status === 200 ? body : undefined;
    }, 60_000);
    expect(end.status).toBe("paid");
  }, slowMs);

  /**
   * Either Hearth was killed before the node heard of it; or LND between writing an attempt down and putting it into a channel, and calls it
   * in flight for ever. Nothing has left, but nobody can know that yet: the money stays aside, and the owner is told until when.
   */
  async function expectAside(before: number, paymentHash: string, nodeSays: "unknown" | "pending", decide: () => Promise<{ code: number; output: string }>): Promise<string> {
    const { channels } = JSON.parse(await net.seller.lncli("listchannels")) as { channels: { pending_htlcs: unknown[] }[] };
    expect({ state: (await payer().lookupPayment(paymentHash)).state, inChannels: channels.flatMap((one) => one.pending_htlcs), paid: await paidTo(net.payer, paymentHash) }).toEqual({ state: nodeSays, inChannels: [], paid: 0 });
    expect(await decide()).toMatchObject({ code: 2, output: expect.stringMatching(/can be called unpaid from 20/) });
    expect(await balance()).toBe(before - 150_000 - 1_500 - 10_000);
    return `aside, ${nodeSays}`;
  }

  /** Whatever moment is hit: paid once and booked, or not paid and given back. */
  async function expectNothingLost(before: number, paymentHash: string): Promise<string> {
    const payouts = () => readLedger<{ id: string; state: string }>(dataDir, "SELECT id, state FROM payout WHERE payment_hash = ?", paymentHash);
    const isOpen = () => payouts().some(({ state }) => state === "intent" || state === "sent");
    // Killed when it was written down as sent, before the node heard of it: nobody but the owner can say so before the invoice has expired.
    const decide = () => runHearth(["payouts", "unpaid", payouts().at(-1)!.id], { HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port });
    const settled = await until("it has ended, or the node does not know it", async () => !isOpen() || (await payer().lookupPayment(paymentHash)).state === "unknown", 20_000).then(() => true, () => false);
    if (isOpen()) return expectAside(before, paymentHash, settled ? "unknown" : "pending", decide);
    const last = payouts().at(-1)?.state ?? "never taken";
    const paid = await paidTo(net.payer, paymentHash);
    expect({ last, paid: paid > 0 }).toEqual({ last, paid: last === "succeeded" });
    const [{ fee } = { fee: 0n }] = readLedger<{ fee: bigint }>(dataDir, "SELECT fee_msat AS fee FROM payout WHERE payment_hash = ? AND state = 'succeeded'", paymentHash);
    expect(await balance()).toBe(before - paid - Number(fee));
    return last;
  }

  test("kill -9 of Hearth at any moment of a payout: it is paid once and booked, or not paid and given back", async () => {
    const seen: string[] = [];
    for (const delayMs of [0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90, 130]) {
      const before = await balance();
      const { bolt11, paymentHash } = await invoiceOf(net.payer, 150, false);
      const asked = collect(hearth.url, token, { invoice: bolt11, amount_sats: 150 }).catch(() => undefined);
      await Bun.sleep(delayMs);
      hearth.kill("SIGKILL");
      await Promise.all([asked, hearth.exited]);
      hearth = await start();
      seen.push(await expectNothingLost(before, paymentHash));
    }
    // Early and late moments were both hit.
    expect(seen).toContain("succeeded");
    expect(seen.some((state) => state !== "succeeded")).toBe(true);
    expect((await audit()).code).toBe(0);
  }, 2 * slowMs);

  test("kill -9 of LND at any moment of a payout: the same", async () => {
    for (const delayMs of [1, 5, 10, 20, 40, 80]) {
      const before = await balance();
      const { bolt11, paymentHash } = await invoiceOf(net.payer, 150, false);
      const asked = collect(hearth.url, token, { invoice: bolt11, amount_sats: 150 });
      await Bun.sleep(delayMs);
      await net.seller.kill("SIGKILL");
      await net.seller.start();
      await asked;
      await channelsBack(net);
      await expectNothingLost(before, paymentHash);
    }
    expect((await audit()).code).toBe(0);
  }, 3 * slowMs);

  test("without the second macaroon nothing is paid out", async () => {
    await hearth.stop();
    hearth = await start("");
    const { bolt11 } = await invoiceOf(net.payer, 300, false);
    expect(await collect(hearth.url, token, { invoice: bolt11, amount_sats: 300 })).toMatchObject({ status: 503, body: { error: { code: "payouts_off" } } });
  }, slowMs);
});
