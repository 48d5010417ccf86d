/**
 * Whatever a tester makes up from `/openapi.json`, for a stranger and for two who hold money: never a 5xx, and never an answer
 * that the document does not announce. The sandbox works all the time, so a 503 is a failure here like any other.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { buyToken, endHearth, orderTopup, pay, type RunningHearth, runHearth, startHearth } from "../support/hearth.ts";
import { collect, orderOf, payeesInvoice } from "../support/collecting.ts";
import { type ApiDocument, installTester, readDocument, runTester, type TesterCase, type TesterRun } from "../support/openapi-tester.ts";
import { orderConfig, type OrderUpstream, startOrderUpstream } from "../support/order-upstream.ts";

const installTimeoutMs = 6 * 60_000;
const roleTimeoutMs = 110_000;
const seed = 20_090_103;
const examples = 60;
/** On average, of each operation for each role; less than half of what comes today. */
const leastCasesPerOperation = 20;
/** Nobody runs out of it in this test. */
const holdingSats = 1_000_000;

/** As many as a role may send: each is paid once. */
const payeesInvoices = 24;
const payoutSats = 400;
/** The shortest text there is to a tester, which its coverage phase puts wherever a text is asked for. */
const shortestText = "0";
/** With that as the name of a model those cases come to a sale, and not only to `model_not_found`. */
const aliases = `[aliases]\n"${shortestText}" = "sandbox"\n`;
const chatUpstream = (url: string) => `[[upstreams]]\nname = "sandbox"\nurl = "${url}"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n`;

type Role = {
  name: string;
  authorization(url: string): Promise<string | undefined>;
  /** Lines of the tester's configuration. */
  checks: string;
};

const statuses = (...list: (number | string)[]) => `expected-statuses = ${JSON.stringify(list.map(String))}`;
const off = (check: string, ...paths: string[]) =>
  paths.map((path) => `[[operations]]\ninclude-path = ${JSON.stringify(path)}\nchecks.${check}.enabled = false\n`).join("");

/** What a valid request may be answered: a bill is an answer, 5xx is none. */
const positive = `[checks.positive_data_acceptance]\n${statuses("2xx", 401, 402, 403, 404, 409, 429)}\n`;
const rejections = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429];
const negative = (...more: number[]) => `[checks.negative_data_rejection]\n${statuses(...rejections, ...more)}\n`;

/**
 * Every check of the tester is on, but for what is accepted below. `status_code_conformance` finds nothing as long as each operation
 * announces errors under `default`, so this file compares the other statuses itself.
 */
const accepted = [
  // A preimage or secret of the right shape is not one of a payment: 400 `invalid_payment`, as its clients expect.
  off("positive_data_acceptance", "/v1/topup/claim"),
  // A text of the right length is not an invoice: 400 `invalid_invoice`.
  ...["/v1/collect", "/v1/ai-for-hire/collect"].map((path) => `${off("positive_data_acceptance", path)}parameters = { "body.amount_sats" = { dictionary = "payout", probability = 0.8 } }\n`),
  `[dictionaries.payout]\nvalues = [${payoutSats}]\n`,
  // A paid path answers a stranger's GET with its bill.
  '[phases.coverage]\nunexpected-methods = ["DELETE", "PUT", "PATCH", "TRACE"]\n',
].join("");
/** A credential is a claim by itself, whatever is said beside it. */
const acceptedOfCredential = off("negative_data_rejection", "/v1/topup", "/v1/topup/claim");

const roles: Role[] = [
  // Directories probe paid paths without a body: a bill to a stranger accepts nothing.
  { name: "a stranger", authorization: async () => undefined, checks: positive + negative(402) + accepted },
  { name: "the holder of a token", authorization: async (url) => `Bearer ${await buyToken(url, holdingSats)}`, checks: positive + negative() + accepted },
  { name: "the holder of an L402 credential", authorization: buyBalance, checks: positive + negative() + accepted + acceptedOfCredential },
];

/** The credential of a paid topup, which holds its balance. */
async function buyBalance(url: string): Promise<string> {
  const bill = await orderTopup(url, { amount_sats: holdingSats });
  return `L402 ${bill.macaroon}:${await pay(url, bill.invoice)}`;
}

async function payoutValues(url: string, authorization: string | undefined): Promise<Record<string, (string | number)[]>> {
  const invoices = await Promise.all(Array.from({ length: payeesInvoices }, async () => (await payeesInvoice(url, payoutSats)).invoice));
  const ids = authorization === undefined ? [] : [(await collect(url, authorization, orderOf(await payeesInvoice(url, payoutSats)))).body.id!];
  return { "body.invoice": invoices, "path.id": ["sandbox", ...ids] };
}

/** Values that open something in this house; names that no operation has are passed over. */
async function knownValues(url: string, authorization: string | undefined): Promise<Record<string, (string | number)[]>> {
  const bill = await orderTopup(url, { amount_sats: 1_000 });
  const preimage = await pay(url, bill.invoice);
  const token = await buyToken(url);
  return {
    "body.model": ["sandbox", "painter"], "path.model": ["sandbox"], "path.hash": [bill.payment_hash],
    "body.claim_secret": [bill.claim_secret], "body.preimage": [preimage], "body.token": [token],
    ...(await payoutValues(url, authorization)),
  };
}

/** A refusal says nothing of what is behind it; what is sold is answered by its bill. */
const isAnswer = (status: number | undefined) => status !== undefined && (status < 400 || status === 402);
const distinct = (cases: TesterCase[]) => [...new Set(cases.map(({ operation, status }) => `${operation} ${status}`))];
/** Not one with a method that the path does not have. */
const isOwn = ({ operation, method, path }: TesterCase) => `${method} ${path}` === operation;

let chat: ReturnType<typeof startSandboxModel>, orders: OrderUpstream, hearth: RunningHearth, tester: string, document: ApiDocument;
const runs = new Map<string, TesterRun>();

beforeAll(async () => {
  tester = await installTester();
  // Only what is sold is in the document: chat, and beside it pictures, searches and single prompts.
  chat = startSandboxModel();
  orders = startOrderUpstream();
  hearth = await startHearth({ config: orderConfig(orders, { more: chatUpstream(chat.url) + aliases }) });
  document = await readDocument(hearth.url);
}, installTimeoutMs);
afterAll(async () => {
  if (hearth) await endHearth(hearth);
  await Promise.all([chat?.stop(), orders?.stop()]);
});

describe.each(roles)("$name", ({ name, authorization, checks }) => {
  let run: TesterRun;
  beforeAll(async () => {
    const { url } = hearth;
    const holds = await authorization(url);
    run = await runTester(tester, { url, document, authorization: holds, known: await knownValues(url, holds), config: checks, seed, examples });
    runs.set(name, run);
  }, roleTimeoutMs);

  test("gets no 5xx and nothing that the document does not announce", () =>
    expect(run.failures, run.output).toEqual([]));

  test("gets no 5xx by our own count either, and an answer to every request", () =>
    expect(distinct(run.cases.filter(({ status }) => status === undefined || status >= 500))).toEqual([]));

  test("is answered with statuses of their own in the document, errors excepted", () => {
    const named = new Map(document.operations.map(({ name: operation, statuses: known }) => [operation, known]));
    const unnamed = run.cases.filter((one) => isOwn(one) && isAnswer(one.status) && !named.get(one.operation)?.includes(String(one.status)));
    expect(distinct(unnamed)).toEqual([]);
  });

  test("had every operation tried, each in many ways", () => {
    const { operations } = document;
    expect({ selected: run.selected, tested: run.tested, skipped: run.skipped }).toEqual({ selected: operations.length, tested: operations.length, skipped: 0 });
    const tried = new Set(run.cases.filter(isOwn).map(({ operation }) => operation));
    expect(operations.map(({ name: operation }) => operation).filter((operation) => !tried.has(operation))).toEqual([]);
    expect(run.cases.length).toBeGreaterThan(leastCasesPerOperation * operations.length);
  });
});

describe("all of them together", () => {
  test("came through every operation's refusals to its answer", () => {
    const answered = new Set([...runs.values()].flatMap(({ cases }) => cases.filter((one) => isOwn(one) && isAnswer(one.status)).map(({ operation }) => operation)));
    expect(document.operations.map(({ name }) => name).filter((name) => !answered.has(name))).toEqual([]);
  });

  test("left the house alive, its books in order and its log without an error", async () => {
    expect((await fetch(`${hearth.url}/healthz`)).status).toBe(200);
    expect(await runHearth(["audit"], { HEARTH_DATA_DIR: hearth.dataDir })).toMatchObject({ code: 0, output: expect.stringMatching(/^ok: /) as string });
    expect(hearth.output().split("\n").filter((line) => /^\S+ error /.test(line))).toEqual([]);
  });
});
