/** Money out over HTTP, as whoever earned it here asks for it: paid, pending, failed, refused; and the owner's hand on it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { encode, sign } from "bolt11";
import { opens } from "../../src/lightning/preimage.ts";
import { systemRandom } from "../../src/base/clock.ts";
import { toHex } from "../../src/base/bytes.ts";
import { signInvoice } from "../../src/lightning/bolt11.ts";
import { msat } from "../../src/money/msat.ts";
import { collect, collected, orderOf, payeeDecides, payeesInvoice } from "../support/collecting.ts";
import {
  balanceOf, buyToken, endHearth, eventually, makeDataDir, misbehave, openOwnersDoor, orderTopup, readLedger, removeDataDir, type RunningHearth, runHearth, startHearth,
} from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth({ config: "[payouts]\nmax_daily_sats_per_account = 5000\n" })));
afterAll(() => endHearth(hearth));

const balance = async (token: string) => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;
const codeOf = ({ status, body }: Awaited<ReturnType<typeof collect>>) => [status, body.error?.code];
const payoutsCommand = (...args: string[]) => runHearth(["payouts", ...args], { HEARTH_DATA_DIR: hearth.dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port });

/** Of a payee that nobody can reach; whatever the invoice should say. */
function strangersInvoice(sats: number, { timestampS = Math.floor(Date.now() / 1000), expirySeconds = 3_600, millis = 0 } = {}): string {
  const hash = () => toHex(systemRandom.bytes(32));
  return signInvoice({ privateKey: systemRandom.bytes(32), amountMsat: msat(BigInt(sats) * 1_000n + BigInt(millis)), paymentHash: hash(), paymentSecret: hash(), memo: "", timestampS, expirySeconds });
}

/** With feature bit 30. */
function ampInvoice(sats: number): string {
  const hash = () => toHex(systemRandom.bytes(32));
  const features = { word_length: 7, var_onion_optin: { required: true }, payment_secret: { required: true }, extra_bits: { start_bit: 20, bits: Array.from({ length: 15 }, (_, at) => at === 10) } } as never;
  const tags = [{ tagName: "payment_hash", data: hash() }, { tagName: "payment_secret", data: hash() }, { tagName: "description", data: "" }, { tagName: "feature_bits", data: features }];
  const network = { bech32: "bcrt", pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0, 1] };
  return sign(encode({ network, timestamp: Math.floor(Date.now() / 1000), millisatoshis: String(sats * 1_000), tags }, false), hash()).paymentRequest!;
}

describe("POST /api/v1/collect", () => {
  test("pays the invoice and tells what it cost, with the proof; under every prefix and the marketplace's name", async () => {
    const token = await buyToken(hearth.url, 4_000);
    for (const path of ["/api/v1/collect", "/v1/collect", "/api/v1/ai-for-hire/collect"]) {
      const order = await payeesInvoice(hearth.url, 400);
      const before = await balance(token);
      const answer = await fetch(hearth.url + path, { method: "POST", headers: { "X-Token": token }, body: JSON.stringify(orderOf(order)) });
      const body = (await answer.json()) as { payment: { payment_preimage: string } };
      expect([answer.status, body]).toEqual([200, { status: "paid", id: expect.stringMatching(/^po_/), amount_sats: 400, payment: { payment_hash: order.payment_hash, payment_preimage: expect.any(String), fee_msat: 1_000 } } as never]);
      expect(opens(body.payment.payment_preimage, order.payment_hash)).toBe(true);
      expect(await balance(token)).toBe(before - 401_000);
    }
  });

  test("takes an invoice as wallets write it: upper case, with lightning: before it", async () => {
    const token = await buyToken(hearth.url, 4_000);
    for (const write of [(text: string) => text.toUpperCase(), (text: string) => `lightning:${text}`, (text: string) => `LIGHTNING:${text.toUpperCase()} `]) {
      const order = await payeesInvoice(hearth.url, 200);
      expect((await collect(hearth.url, token, { invoice: write(order.invoice), amount_sats: 200 })).status).toBe(200);
    }
  });

  test("too little: 402 without a challenge, and the most that fits is paid when asked for", async () => {
    const token = await buyToken(hearth.url, 1_000);
    const answer = await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 1_000)));
    expect(codeOf(answer)).toEqual([402, "insufficient_balance"]);
    const most = answer.body.max_collectable_sats!;
    expect(most).toBeGreaterThan(900);
    expect(codeOf(await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, most + 1))))).toEqual([402, "insufficient_balance"]);
    expect((await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, most)))).status).toBe(200);
    expect(await balance(token)).toBe(1_000_000 - most * 1_000 - 1_000);
  });

  test.each<[string, (token: string) => Promise<object> | object, string]>([
    ["no invoice at all", () => ({ invoice: "lnbc1nonsense", amount_sats: 400 }), "invalid_invoice"],
    ["an offer", () => ({ invoice: "lno1pg257enxv4ezqcneype82um50ynhxgrwdajx283qfwdpl28qqmc78ymlvhmxcsywdk5wrjnj36jryg488qwlrnzyjczlqs", amount_sats: 400 }), "invalid_invoice"],
    ["another amount", async () => ({ invoice: (await payeesInvoice(hearth.url, 401)).invoice, amount_sats: 400 }), "amount_mismatch"],
    ["msats that nobody asked for", () => ({ invoice: strangersInvoice(400, { millis: 1 }), amount_sats: 400 }), "amount_mismatch"],
    ["an expired invoice", () => ({ invoice: strangersInvoice(400, { timestampS: Math.floor(Date.now() / 1000) - 7_200 }), amount_sats: 400 }), "invalid_invoice"],
    ["one that expires within a minute", () => ({ invoice: strangersInvoice(400, { expirySeconds: 50 }), amount_sats: 400 }), "invalid_invoice"],
    ["one that is good for two days", () => ({ invoice: strangersInvoice(400, { expirySeconds: 172_800 }), amount_sats: 400 }), "invalid_invoice"],
    ["our own", async () => ({ invoice: (await orderTopup(hearth.url, { amount_sats: 400 })).invoice, amount_sats: 400 }), "own_invoice"],
    ["one that is paid by other hashes than its own (AMP)", () => ({ invoice: ampInvoice(400), amount_sats: 400 }), "invalid_invoice"],
    ["less than the least", async () => orderOf(await payeesInvoice(hearth.url, 99)), "invalid_amount"],
    ["nothing", () => ({}), "invalid_request"],
    ["half a sat", async () => ({ invoice: (await payeesInvoice(hearth.url, 400)).invoice, amount_sats: 400.5 }), "invalid_request"],
    ["an amount in words", async () => ({ invoice: (await payeesInvoice(hearth.url, 400)).invoice, amount_sats: "400" }), "invalid_request"],
    ["a longer invoice than there is", () => ({ invoice: `lnbc1${"q".repeat(9_000)}`, amount_sats: 400 }), "invalid_request"],
  ])("%s is a 400 that names its field, and nothing moves", async (_what, order, code) => {
    const token = await buyToken(hearth.url, 1_000);
    const { status, body } = await collect(hearth.url, token, await order(token));
    expect([status, body.error?.code, body.error?.param]).toEqual([400, code, expect.stringMatching(/^(invoice|amount_sats)$/)]);
    expect(await balance(token)).toBe(1_000_000);
  });

  test("an invoice of mainnet is refused by a house that plays", async () => {
    const token = await buyToken(hearth.url, 1_000);
    // BOLT 11, "Examples": donation of any amount; refused for its network before its want of an amount.
    const mainnet = "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";
    const { body } = await collect(hearth.url, token, { invoice: mainnet, amount_sats: 400 });
    expect(body.error).toMatchObject({ code: "invalid_invoice", message: expect.stringContaining("mainnet") });
  });

  test("a payment that fails is 502, the money is back before that, and the invoice is not sent again", async () => {
    const token = await buyToken(hearth.url, 1_000);
    await misbehave(hearth.url, "node", { failPayments: 1 });
    const order = orderOf(await payeesInvoice(hearth.url, 400));
    expect(await collect(hearth.url, token, order)).toMatchObject({ status: 502, body: { status: "failed", error: { code: "payment_failed" } } });
    expect(await balance(token)).toBe(1_000_000);
    expect(codeOf(await collect(hearth.url, token, order))).toEqual([400, "invoice_already_used"]);
  });

  test("to a payee whom nobody can reach: the same", async () => {
    const token = await buyToken(hearth.url, 1_000);
    expect(codeOf(await collect(hearth.url, token, { invoice: strangersInvoice(400), amount_sats: 400 }))).toEqual([502, "payment_failed"]);
    expect(await balance(token)).toBe(1_000_000);
  });

  test("the same Idempotency-Key and body: the same payout, however it ended; another body: 422", async () => {
    const token = await buyToken(hearth.url, 4_000);
    for (const fails of [0, 1]) {
      await misbehave(hearth.url, "node", { failPayments: fails });
      const order = orderOf(await payeesInvoice(hearth.url, 400));
      const headers = { "Idempotency-Key": `key-${fails}` };
      const first = await collect(hearth.url, token, order, headers);
      const before = await balance(token);
      expect(await collect(hearth.url, token, order, headers)).toEqual(first);
      expect(codeOf(await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 300)), headers))).toEqual([422, "idempotency_mismatch"]);
      expect(await balance(token)).toBe(before);
    }
  });

  test("the same key gets its answer whatever has changed since: an expired invoice, or payouts that are off", async () => {
    const token = await buyToken(hearth.url, 2_000);
    const order = orderOf(await payeesInvoice(hearth.url, 300));
    const headers = { "Idempotency-Key": "kept" };
    const first = await collect(hearth.url, token, order, headers);
    expect(await payoutsCommand("off")).toMatchObject({ code: 0 });
    expect(await collect(hearth.url, token, order, headers)).toEqual(first);
    expect(codeOf(await collect(hearth.url, token, { ...order, amount_sats: 301 }, headers))).toEqual([422, "idempotency_mismatch"]);
    expect(await payoutsCommand("on")).toMatchObject({ code: 0 });
  });

  test("node down: 503, the money is back, and the same request succeeds when it is up", async () => {
    const token = await buyToken(hearth.url, 1_000);
    const order = orderOf(await payeesInvoice(hearth.url, 400));
    const headers = { "Idempotency-Key": "again" };
    await misbehave(hearth.url, "node", { down: true });
    expect(codeOf(await collect(hearth.url, token, order, headers))).toEqual([503, "node_unavailable"]);
    expect(await balance(token)).toBe(1_000_000);
    await misbehave(hearth.url, "node", { down: false });
    expect((await collect(hearth.url, token, order, headers)).status).toBe(200);
  });

  test("of one account no more than the owner allows in a day: 429", async () => {
    const token = await buyToken(hearth.url, 20_000);
    expect((await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 4_900)))).status).toBe(200);
    const { status, body } = await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 200)));
    expect([status, body.error]).toMatchObject([429, { code: "payout_limit", message: expect.stringContaining("100 sats are left of that for you") }]);
  });

  test("a hundred at once of one balance: no more than it affords, to the msat", async () => {
    const token = await buyToken(hearth.url, 2_000);
    const orders = await Promise.all(Array.from({ length: 100 }, () => payeesInvoice(hearth.url, 150)));
    const answers = await Promise.all(orders.map((order) => collect(hearth.url, token, orderOf(order))));
    const paid = answers.filter(({ status }) => status === 200).length;
    expect(answers.every(({ status }) => status === 200 || status === 402 || status === 429)).toBe(true);
    // Those that come while eight are on their way are told to wait.
    expect(paid).toBeGreaterThanOrEqual(8);
    expect(paid).toBeLessThanOrEqual(13);
    expect(await balance(token)).toBe(2_000_000 - paid * 151_000);
  });

  test("one that stays in flight outlives its client: pending until the payee decides", async () => {
    const token = await buyToken(hearth.url, 2_000);
    for (const take of [true, false]) {
      const before = await balance(token);
      const order = await payeesInvoice(hearth.url, 300, { held: true });
      const leaving = new AbortController();
      const asked = fetch(`${hearth.url}/api/v1/collect`, { method: "POST", headers: { "X-Token": token }, body: JSON.stringify(orderOf(order)), signal: leaving.signal }).catch(() => undefined);
      const [{ id }] = await eventually("it is sent", () => {
        const rows = readLedger<{ id: string }>(hearth.dataDir, "SELECT id FROM payout WHERE payment_hash = ? AND state = 'sent'", order.payment_hash);
        return rows.length > 0 ? (rows as [{ id: string }]) : undefined;
      });
      leaving.abort();
      await asked;
      expect(await collected(hearth.url, token, id)).toEqual({ status: 200, body: { status: "pending", id, amount_sats: 300 } });
      expect(await balance(token)).toBe(before - 313_000);
      await payeeDecides(hearth.url, order.payment_hash, take);
      const { status } = await eventually("it has ended", async () => {
        const { body } = await collected(hearth.url, token, id);
        return body.status === "pending" ? undefined : body;
      });
      expect(status).toBe(take ? "paid" : "failed");
      expect(await balance(token)).toBe(take ? before - 301_000 : before);
    }
  });

  test("a payout is its account's own: 404 to another, 401 to a stranger", async () => {
    const [token, other] = [await buyToken(hearth.url, 1_000), await buyToken(hearth.url, 1_000)];
    const { body } = await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 200)));
    expect((await collected(hearth.url, token, body.id!)).body).toEqual(body);
    expect((await collected(hearth.url, other, body.id!)).status).toBe(404);
    expect((await collected(hearth.url, token, "po_nonsense")).status).toBe(404);
    expect((await fetch(`${hearth.url}/api/v1/collect/${body.id}`)).status).toBe(401);
    expect((await fetch(`${hearth.url}/api/v1/collect`, { method: "POST", body: JSON.stringify(orderOf(await payeesInvoice(hearth.url, 200))) })).status).toBe(401);
  });
});

describe("the owner", () => {
  test("switches it off and on, sees what was paid, and nobody else does", async () => {
    const token = await buyToken(hearth.url, 1_000);
    const { body } = await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 200)));
    expect(await payoutsCommand("off")).toEqual({ code: 0, output: "Payouts are off: you have switched them off; hearth payouts on.\n" });
    expect(codeOf(await collect(hearth.url, token, orderOf(await payeesInvoice(hearth.url, 200))))).toEqual([503, "payouts_off"]);
    expect(await payoutsCommand("on")).toEqual({ code: 0, output: "Payouts are on.\n" });
    const { code, output } = await payoutsCommand("list");
    expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(new RegExp(`^${body.id}  succeeded +200 sats \\+ 1000 msat  20[^]*\\nPayouts are on. 0 open.\\n$`)) });
    expect((await fetch(`${hearth.ownerUrl}/admin/api/payouts`)).status).toBe(401);
    const owner = await openOwnersDoor(hearth);
    expect(await owner.status()).toMatchObject({ payouts: { on: true, open: 0 } });
    expect(await (await owner.get("/metrics")).text()).toContain("\nhearth_payouts_on 1\n");
  });

  test.each([[[]], [["nonsense"]], [["unpaid"]], [["paid", "po_1"]], [["list", "more"]], [["confirm", "x", "y"]]])("asked as %p it shows how it is used", async (args) => {
    expect(await payoutsCommand(...args)).toMatchObject({ code: 2, output: expect.stringContaining("hearth payouts list") });
  });

  test("what cannot be decided is one sentence", async () => {
    expect(await payoutsCommand("unpaid", "po_none")).toMatchObject({ code: 2, output: "hearth: There is no such payout.\n" });
    expect((await payoutsCommand("restored")).output).toContain("No backup was put back");
    expect((await payoutsCommand("confirm", "yesterday")).output).toContain("yesterday is no time");
  });
});

test("after a backup was put back nothing leaves until the owner has seen what left meanwhile", async () => {
  const [dataDir, shelf] = [makeDataDir(), makeDataDir()];
  let house = await startHearth({ dataDir });
  const env = (directory: string, owner?: RunningHearth) => ({ HOME: directory, HEARTH_DATA_DIR: directory, ...(owner && { HEARTH_OWNER_PORT: new URL(owner.ownerUrl).port }) });
  try {
    const token = await buyToken(house.url, 2_000);
    await collect(house.url, token, orderOf(await payeesInvoice(house.url, 150)));
    expect((await runHearth(["backup", join(shelf, "copy")], env(dataDir))).code).toBe(0);
    const lost = await payeesInvoice(house.url, 400);
    expect((await collect(house.url, token, orderOf(lost))).status).toBe(200);
    await house.stop();
    const again = join(shelf, "again");
    expect((await runHearth(["restore", join(shelf, "copy")], env(again))).code).toBe(0);
    // The node goes on: only the ledger is of yesterday.
    rmSync(join(again, "sandbox-node.jsonl"), { force: true });
    await Bun.write(join(again, "sandbox-node.jsonl"), Bun.file(join(dataDir, "sandbox-node.jsonl")));
    house = await startHearth({ dataDir: again });
    const order = orderOf(await payeesInvoice(house.url, 200));
    expect(codeOf(await collect(house.url, token, order))).toEqual([503, "payouts_off"]);
    const { output } = await runHearth(["payouts", "restored"], env(again, house));
    expect(output).toMatch(new RegExp(`^${lost.payment_hash} +400 sats  20\\S+  succeeded: not in this ledger\\n`));
    const restoredAt = /hearth payouts confirm (\S+)/.exec(output)![1]!;
    expect(await runHearth(["payouts", "confirm", restoredAt], env(again, house))).toEqual({ code: 0, output: "Payouts are on.\n" });
    // What was paid then is paid: its invoice is known to the node, if not to the ledger.
    expect(codeOf(await collect(house.url, token, { invoice: lost.invoice, amount_sats: 400 }))).toEqual([400, "invoice_already_used"]);
    // The ledger owes more than the node holds: the copy has not got what left.
    expect(codeOf(await collect(house.url, token, order))).toEqual([503, "payouts_off"]);
    expect((await runHearth(["payouts", "list"], env(again, house))).output).toContain("the node holds less than is owed");
    const [, account] = / (a_\w+)\n/.exec((await runHearth(["key", "list"], env(again, house))).output)!;
    expect((await runHearth(["payouts", "book", lost.payment_hash, "a_nobody"], env(again, house))).output).toContain("No payer has this account");
    expect((await runHearth(["payouts", "book", lost.payment_hash, account!], env(again, house))).output).toMatch(/^po_\w+  succeeded +400 sats/);
    expect((await runHearth(["payouts", "book", lost.payment_hash, account!], env(again, house))).output).toContain("is a payout of this ledger already");
    expect((await balanceOf(house.url, `Bearer ${token}`)).balance_msat).toBe(2_000_000 - 151_000 - 401_000);
    await eventually("it is paid", async () => ((await collect(house.url, token, orderOf(await payeesInvoice(house.url, 200)))).status === 200 ? true : undefined));
    await house.stop();
    expect((await runHearth(["audit"], env(again))).code).toBe(0);
  } finally {
    await house.stop();
    for (const directory of [dataDir, shelf]) removeDataDir(directory);
  }
}, 60_000);

test("no invoice, preimage or token is in any line that was printed", () => {
  expect(hearth.output()).not.toMatch(/lnbcrt|abl_|preimage=/);
});
