/** Models priced in dollars, sold in sats: the rate is of the moment of the quote, a payment keeps it, and where nobody knows a rate nothing is guessed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import {
  ask, askForBill, type BalanceBody, balanceOf, type Bill, buyCredential, buyToken, type ChatBody, endHearth, hello, orderTopup, pay, readLedger, type RunningHearth, startHearth, until,
} from "../support/hearth.ts";
import { SourceCopy } from "../support/source-copy.ts";

/** Sources of the price of a bitcoin that say what the test wants; undefined is a source that is down. */
class Sources {
  readonly said: (number | undefined)[];
  readonly #servers: ReturnType<typeof Bun.serve>[];

  constructor(count: number, dollars: number | undefined) {
    this.said = Array.from({ length: count }, () => dollars);
    this.#servers = this.said.map((_one, i) =>
      Bun.serve({
        hostname: "127.0.0.1", port: 0,
        fetch: () => (this.said[i] === undefined ? new Response("down", { status: 500 }) : Response.json({ data: { amount: this.said[i]!.toFixed(2) } })),
      }));
  }

  say = (dollars: number | undefined): void => void this.said.fill(dollars);

  get config(): string {
    const lines = this.#servers.map((server, i) => `  { name = "source-${i}", url = "${server.url.href}", path = "data.amount" },`);
    return `rate_sources = [\n${lines.join("\n")}\n]\n`;
  }

  stop = (): void => this.#servers.forEach((server) => void server.stop(true));
}

/** Micro-dollars per million tokens of the model `sandbox`; `sandbox-think` is priced in sats. */
const [inputMicros, outputMicros] = [2_570_001n, 10_190_003n];
const inUsd = "{ input_usd_per_mtok = 2.570001, output_usd_per_mtok = 10.190003 }";
const inSats = "{ input_sats_per_mtok = 200, output_sats_per_mtok = 800 }";
const small = { ...hello, max_tokens: 2_000 } satisfies ChatBody;
const satsModel = { ...small, model: "sandbox-think" };

const msatPerMtok = (micros: bigint, cents: bigint) => (micros * 100_000_000_000n + cents * 10_000n - 1n) / (cents * 10_000n);

/** What the design's formula makes of these counts at this rate. */
function costAt(cents: bigint, inputTokens: number, outputTokens: number): bigint {
  const exact = BigInt(inputTokens) * msatPerMtok(inputMicros, cents) + BigInt(outputTokens) * msatPerMtok(outputMicros, cents);
  return (exact + 999_999n) / 1_000_000n;
}

const cents = (dollars: number) => BigInt(Math.round(dollars * 100));

type Terms = { input_msat_per_mtok: string; output_msat_per_mtok: string; input_tokens: number; cap: number; model: string; usd_cents_per_btc?: string };

function quotedTerms(hearth: RunningHearth, bill: Bill): Terms {
  const [row] = readLedger<{ quote_terms: string }>(hearth.dataDir, "SELECT quote_terms FROM invoice WHERE payment_hash = ?", bill.payment_hash);
  return JSON.parse(row!.quote_terms) as Terms;
}

type CallRow = { charged_msat: bigint; cost_msat: bigint; input_tokens: bigint; output_tokens: bigint; terms: string };

/** The log's row of an answered call; it follows the answer. */
async function callRow(hearth: RunningHearth, answer: Response): Promise<CallRow & { read: Terms }> {
  const find = () => readLedger<CallRow>(hearth.dataDir, "SELECT charged_msat, cost_msat, input_tokens, output_tokens, terms FROM call WHERE id = ?", answer.headers.get("x-request-id")!)[0];
  await until("the call is in the log", () => find() !== undefined);
  const row = find()!;
  return { ...row, read: JSON.parse(row.terms) as Terms };
}

async function listed(hearth: RunningHearth): Promise<Map<string, { output_msat_per_mtok: number }>> {
  const { data } = (await (await fetch(`${hearth.url}/v1/models`)).json()) as { data: { id: string; pricing: { output_msat_per_mtok: number } }[] };
  return new Map(data.map((model) => [model.id, model.pricing]));
}

async function untilPricedAt(hearth: RunningHearth, dollars: number): Promise<void> {
  const expected = Number(msatPerMtok(outputMicros, cents(dollars)));
  await until(`models are priced at ${dollars} dollars a bitcoin`, async () => (await listed(hearth)).get("sandbox")?.output_msat_per_mtok === expected);
}

const codeOf = async (answer: Response) => ((await answer.json()) as { error: { code: string } }).error.code;

let model: SandboxModel;
let quick: SourceCopy;
beforeAll(() => {
  model = startSandboxModel();
  quick = new SourceCopy([
    { file: "src/base/limits.ts", from: "export const rateRefreshMs = 120_000;", to: "export const rateRefreshMs = 50;" },
    { file: "src/base/limits.ts", from: "export const rateRetryMs = 30_000;", to: "export const rateRetryMs = 50;" },
  ]);
  symlinkSync(join(import.meta.dir, "../../node_modules"), join(quick.directory, "node_modules"));
});
afterAll(async () => {
  quick[Symbol.dispose]();
  await model.stop();
});

/** Asks its sources all the time instead of every two minutes. */
const startQuick = (config: string) => startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url }, main: join(quick.directory, "src/main.ts") });

const mixedPrices = `[limits]\nmin_price_sats = 1\n[prices.models]\nsandbox = ${inUsd}\nsandbox-think = ${inSats}\n`;

describe("with sources that agree", () => {
  const start = 97_123.45;
  let sources: Sources, hearth: RunningHearth;
  beforeAll(async () => {
    sources = new Sources(4, start);
    hearth = await startQuick(`${sources.config}${mixedPrices}`);
    await untilPricedAt(hearth, start);
  });
  afterAll(async () => {
    await endHearth(hearth);
    sources.stop();
  });

  const changeTo = (dollars: number) => (sources.say(dollars), untilPricedAt(hearth, dollars));

  test("the bill is the ceiling in dollars at the rate, in whole sats, and the rate is in its terms", async () => {
    await changeTo(start);
    const bill = await askForBill(hearth.url, small);
    const terms = quotedTerms(hearth, bill);
    expect(terms).toMatchObject({ model: "sandbox", cap: 2_000, usd_cents_per_btc: "9712345" });
    const ceiling = costAt(9_712_345n, terms.input_tokens, terms.cap);
    expect(bill.amount_sats).toBe(Number((ceiling + 999n) / 1_000n));
    expect(bill.amount_sats).toBeGreaterThan(10);
    const { payment } = bill as unknown as { payment: { amountUsd: string } };
    expect(payment.amountUsd).toBe(String(Math.floor((bill.amount_sats * 9_712_345) / 100_000_000 * 10_000) / 1e6));
  });

  test.each([["a buffered", false], ["a streamed", true]] as const)("the charge of %s answer is the formula's to the msat, and the log keeps the rate", async (_what, stream) => {
    await changeTo(start);
    const bill = await askForBill(hearth.url, small);
    const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    const answer = await ask(hearth.url, { ...small, stream }, credential);
    const text = await answer.text();
    const row = await callRow(hearth, answer);
    const expected = costAt(9_712_345n, Number(row.input_tokens), Number(row.output_tokens));
    expect(row).toMatchObject({ charged_msat: expected, cost_msat: expected });
    const price = { input_msat_per_mtok: String(msatPerMtok(inputMicros, 9_712_345n)), output_msat_per_mtok: String(msatPerMtok(outputMicros, 9_712_345n)) };
    expect(row.read).toMatchObject({ ...price, usd_cents_per_btc: "9712345" });
    expect(Number(stream ? /cost_msat=(\d+)/.exec(text)![1] : answer.headers.get("x-hearth-cost-msat"))).toBe(Number(expected));
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(bill.amount_msat - Number(expected));
    if (stream) return;
    const { usage } = JSON.parse(text) as { usage: { prompt_tokens: number; completion_tokens: number } };
    expect([row.input_tokens, row.output_tokens]).toEqual([BigInt(usage.prompt_tokens), BigInt(usage.completion_tokens)]);
  });

  test("a token pays by today's rate, call by call", async () => {
    const token = await buyToken(hearth.url, 5_000);
    let left = 5_000_000n;
    for (const dollars of [50_000, 120_000.01, 33_333.33]) {
      await changeTo(dollars);
      const answer = await ask(hearth.url, small, `Bearer ${token}`);
      expect(answer.status).toBe(200);
      const row = await callRow(hearth, answer);
      expect(row.read.usd_cents_per_btc).toBe(String(cents(dollars)));
      expect(row.charged_msat).toBe(costAt(cents(dollars), Number(row.input_tokens), Number(row.output_tokens)));
      left -= row.charged_msat;
      expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(Number(left));
    }
  });

  test("a model priced in sats costs the same at every rate, and no rate is in its terms", async () => {
    const amounts: number[] = [];
    for (const dollars of [20_000, 200_000]) {
      await changeTo(dollars);
      const bill = await askForBill(hearth.url, satsModel);
      expect(quotedTerms(hearth, bill)).not.toHaveProperty("usd_cents_per_btc");
      amounts.push(bill.amount_sats);
    }
    expect(amounts[0]).toBe(amounts[1]!);
  });

  test.each([[1.2, 120n], ["0.50", 50n], [3, 300n]])("a topup of %p dollars asks for them in sats at the rate, rounded up", async (amount_usd, amountCents) => {
    await changeTo(start);
    const bill = await orderTopup(hearth.url, { amount_usd });
    expect(BigInt(bill.amount_sats)).toBe((amountCents * 100_000_000n + 9_712_344n) / 9_712_345n);
  });

  const paths: [what: string, proof: (bill: Bill, preimage: string) => Record<string, string>][] = [
    ["its credential", (bill, preimage) => ({ authorization: `L402 ${bill.macaroon}:${preimage}` })],
    ["its preimage alone", (_bill, preimage) => ({ authorization: `Payment method="lightning", preimage="${preimage}"` })],
    ["its payment hash alone", (bill) => ({ "x-payment-hash": bill.payment_hash })],
  ];
  const moments = ["between the quote and the payment", "between the payment and the call"] as const;
  const rows = moments.flatMap((when) => paths.map(([what, proof]) => [when, what, proof] as const));

  async function buyWhileRateMoves(when: (typeof moments)[number], proof: (typeof paths)[number][1], from: number, to: number) {
    await changeTo(from);
    const bill = await askForBill(hearth.url, small);
    if (when === "between the quote and the payment") await changeTo(to);
    const preimage = await pay(hearth.url, bill.invoice);
    if (when === "between the payment and the call") await changeTo(to);
    const answer = await ask(hearth.url, small, undefined, { headers: { "content-type": "application/json", ...proof(bill, preimage) } });
    expect(answer.status).toBe(200);
    return { answer, row: await callRow(hearth, answer), terms: quotedTerms(hearth, bill) };
  }

  test.each(rows)("a bitcoin that falls to a tenth %s leaves the quoted price to %s", async (when, _what, proof) => {
    const { row, terms, answer } = await buyWhileRateMoves(when, proof, 100_000.07, 10_000);
    expect(row.read).toEqual(terms);
    expect(row.read.usd_cents_per_btc).toBe("10000007");
    expect(row.charged_msat).toBe(costAt(10_000_007n, Number(row.input_tokens), Number(row.output_tokens)));
    // The whole cap of the quote, not as much of it as the payment would buy today.
    expect(answer.headers.get("x-hearth-max-tokens")).toBeNull();
  });

  test.each(rows)("a bitcoin that rises tenfold %s costs no more than was quoted to %s: today's lower price counts", async (when, _what, proof) => {
    const { row } = await buyWhileRateMoves(when, proof, 10_000, 100_000.07);
    expect(row.read.usd_cents_per_btc).toBe("10000007");
    expect(row.charged_msat).toBe(costAt(10_000_007n, Number(row.input_tokens), Number(row.output_tokens)));
  });

  test("the pinned rate is the quoted request's: another one on the same payment costs today's", async () => {
    await changeTo(100_000);
    const bill = await askForBill(hearth.url, { ...small, max_tokens: 4_000 });
    const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    await changeTo(50_000);
    const other = await callRow(hearth, await ask(hearth.url, { ...small, max_tokens: 100 }, credential));
    expect(other.read.usd_cents_per_btc).toBe("5000000");
    expect(other.charged_msat).toBe(costAt(5_000_000n, Number(other.input_tokens), Number(other.output_tokens)));
  });

  test.each([["half as much again", 1.5], ["half as much", 0.5]] as const)("one of four sources that says %s is dropped: the price stays what the others say", async (_what, lie) => {
    await changeTo(100_000);
    const before = hearth.output().length;
    sources.said[3] = 100_000 * lie;
    await until("the outlier is named in the log", () => hearth.output().slice(before).includes("rate.outliers sources=source-3\n"));
    expect(quotedTerms(hearth, await askForBill(hearth.url, small)).usd_cents_per_btc).toBe("10000000");
    // The others may still move it.
    for (const honest of [0, 1, 2]) sources.said[honest] = 101_000;
    await untilPricedAt(hearth, 101_000);
  });

  test.each([
    ["one of three sources lies", "sources_disagree", [100_000, 100_010, 150_000, undefined]],
    ["two of four sources lie", "sources_disagree", [100_000, 100_000, 150_000, 150_000]],
    ["two of four sources are down", "too_few_sources", [100_000, 100_000, undefined, undefined]],
    ["all sources are down", "too_few_sources", [undefined, undefined, undefined, undefined]],
  ])("when %s, nothing moves: the last price stays for the time being, and is paid and charged", async (_what, reason, said) => {
    await changeTo(100_000);
    const before = hearth.output().length;
    sources.said.splice(0, 4, ...said);
    await until("the log says why", () => hearth.output().slice(before).includes(`rate.unknown reason=${reason}\n`));
    const answer = await ask(hearth.url, small, await buyCredential(hearth.url, small));
    expect(answer.status).toBe(200);
    expect((await callRow(hearth, answer)).read.usd_cents_per_btc).toBe("10000000");
    await changeTo(99_000);
  });
});

describe("with all sources down from the start", () => {
  let sources: Sources, hearth: RunningHearth;
  beforeAll(async () => {
    sources = new Sources(3, undefined);
    hearth = await startQuick(`${sources.config}${mixedPrices}`);
    await until("the sources have been asked", () => hearth.output().includes("rate.unknown"));
  });
  afterAll(async () => {
    await endHearth(hearth);
    sources.stop();
  });

  const invoices = () => readLedger<{ n: bigint }>(hearth.dataDir, "SELECT count(*) AS n FROM invoice")[0]!.n;

  test("the price of a request in dollars is not guessed for who only asks what it would cost", async () => {
    const answer = await fetch(`${hearth.url}/api/v1/quote`, { method: "POST", body: JSON.stringify(small) });
    expect([answer.status, await codeOf(answer)]).toEqual([503, "rate_unknown"]);
  });

  const askers: [what: string, authorization: () => Promise<string | undefined>][] = [
    ["a stranger", async () => undefined],
    ["a token", async () => `Bearer ${await buyToken(hearth.url, 5_000)}`],
    ["the change of a credential", () => buyCredential(hearth.url, { ...satsModel, max_tokens: 16_000 })],
  ];
  test.each(askers)("%s that asks for a model in dollars is told 503 rate_unknown and when to come back; no invoice is made, nothing is taken", async (_what, authorization) => {
    const key = await authorization();
    const [before, held] = [invoices(), key && (await balanceOf(hearth.url, key))];
    for (const body of [small, { ...small, stream: true }, { ...small, model: "upstream/sandbox" }]) {
      const answer = await ask(hearth.url, body, key);
      expect([answer.status, await codeOf(answer)]).toEqual([503, "rate_unknown"]);
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(answer.headers.get("www-authenticate")).toBeNull();
    }
    expect(invoices()).toBe(before);
    if (key) expect(await balanceOf(hearth.url, key)).toEqual(held as BalanceBody);
  });

  test("a model that nobody sells is still a 404", async () => {
    const answer = await ask(hearth.url, { ...small, model: "unheard-of" });
    expect([answer.status, await codeOf(answer)]).toEqual([404, "model_not_found"]);
  });

  test("a model in sats is quoted, sold and charged as ever", async () => {
    const bill = await askForBill(hearth.url, satsModel);
    expect(bill).not.toHaveProperty("payment.amountUsd");
    const answer = await ask(hearth.url, satsModel, `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`);
    expect(answer.status).toBe(200);
    const row = await callRow(hearth, answer);
    expect(row.charged_msat).toBe((row.input_tokens * 200_000n + row.output_tokens * 800_000n + 999_999n) / 1_000_000n);
  });

  test("`auto` and a bare probe are about what can be priced", async () => {
    const auto = await ask(hearth.url, { ...small, model: "auto" });
    expect([auto.status, auto.headers.get("x-route-model")]).toEqual([402, "sandbox-think"]);
    const probe = await ask(hearth.url, {});
    expect([probe.status, ((await probe.json()) as { model?: string }).model]).toEqual([402, "sandbox-think"]);
  });

  test("the list of models has those in sats only", async () => {
    expect([...(await listed(hearth)).keys()].sort()).toEqual(["sandbox-loop", "sandbox-think"]);
  });

  test("a model in dollars is not said to be unknown when it is asked for by its id", async () => {
    const answer = await fetch(`${hearth.url}/v1/models/sandbox`);
    expect([answer.status, await codeOf(answer)]).toEqual([503, "rate_unknown"]);
  });

  test("a topup in dollars is 503 rate_unknown and makes no invoice; one in sats is sold", async () => {
    const before = invoices();
    for (const amount_usd of [1.2, "5", 0.01, 999_999]) {
      const answer = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", body: JSON.stringify({ amount_usd }) });
      expect([answer.status, await codeOf(answer)]).toEqual([503, "rate_unknown"]);
      expect(answer.headers.get("retry-after")).not.toBeNull();
    }
    expect(invoices()).toBe(before);
    expect((await orderTopup(hearth.url, { amount_sats: 500 })).amount_sats).toBe(500);
  });

  test.each([[0], [-1], [1.234], ["1e3"], [""], [true]])("a topup of %p dollars is the request's mistake, with or without a rate", async (amount_usd) => {
    const answer = await fetch(`${hearth.url}/api/v1/topup`, { method: "POST", body: JSON.stringify({ amount_usd }) });
    expect([answer.status, await codeOf(answer)]).toEqual([400, "invalid_amount"]);
  });

  test("the balance and the usage of a key are told without dollars", async () => {
    const token = await buyToken(hearth.url, 500);
    const { data } = (await (await fetch(`${hearth.url}/api/v1/key`, { headers: { authorization: `Bearer ${token}` } })).json()) as { data: Record<string, unknown> };
    expect(data).toMatchObject({ limit_msat: 500_000, limit_remaining_msat: 500_000 });
    expect(data).not.toHaveProperty("limit");
  });

  test("sources that come back put the models in dollars up for sale without a restart", async () => {
    sources.say(90_000);
    await untilPricedAt(hearth, 90_000);
    expect((await ask(hearth.url, small, await buyCredential(hearth.url, small))).status).toBe(200);
  });
});

describe("a house that sells in dollars only, started again while no source answers", () => {
  let sources: Sources, hearth: RunningHearth, bill: Bill, paid: string, alsoPaid: string;
  const config = () => `${sources.config}[limits]\nmin_price_sats = 1\n[prices]\ndefault = ${inUsd}\n`;
  beforeAll(async () => {
    sources = new Sources(3, 100_000);
    const before = await startQuick(config());
    await untilPricedAt(before, 100_000);
    bill = await askForBill(before.url, small);
    paid = `L402 ${bill.macaroon}:${await pay(before.url, bill.invoice)}`;
    alsoPaid = await buyCredential(before.url, small);
    await before.stop();
    sources.say(undefined);
    hearth = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: model.url }, main: join(quick.directory, "src/main.ts"), dataDir: before.dataDir });
    await until("the sources have been asked", () => hearth.output().includes("rate.unknown"));
  });
  afterAll(async () => {
    await endHearth(hearth);
    sources.stop();
  });

  test("what was paid is still there", async () => {
    expect((await balanceOf(hearth.url, paid)).balance_msat).toBe(bill.amount_msat);
  });

  test("`auto` is 503 rate_unknown, not a model that does not exist", async () => {
    const answer = await ask(hearth.url, { ...small, model: "auto" });
    expect([answer.status, await codeOf(answer)]).toEqual([503, "rate_unknown"]);
  });

  test("a probe is a 503 that says when to come back", async () => {
    const answer = await ask(hearth.url, {});
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).not.toBeNull();
  });

  test("a request that was quoted and paid is answered at its pinned price: it has a rate of its own", async () => {
    const answer = await ask(hearth.url, small, paid);
    expect(answer.status).toBe(200);
    expect((await callRow(hearth, answer)).read).toEqual(quotedTerms(hearth, bill));
  });

  test("when the sources are back the same credential still pays, at no more than its quote", async () => {
    sources.say(20_000);
    await untilPricedAt(hearth, 20_000);
    const fresh = await askForBill(hearth.url, small);
    expect(fresh.amount_sats).toBeGreaterThan(bill.amount_sats);
    const answer = await ask(hearth.url, small, alsoPaid);
    expect(answer.status).toBe(200);
    expect((await callRow(hearth, answer)).read).toEqual(quotedTerms(hearth, bill));
  });
});
