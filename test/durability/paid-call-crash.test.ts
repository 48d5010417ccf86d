/**
 * kill -9 of the whole program at every other write of a paid call over HTTP. The client goes on as clients do, with the bill
 * and the preimage it has: its payment is one credit, it gets its answer, and it never pays for more calls than it sent.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startSandboxModel, type SandboxModel } from "../../src/upstream/sandbox-model.ts";
import { noShimHere } from "../support/build-shim.ts";
import { ask, askForBill, balanceOf, type Bill, hello, pay, readLedger, type RunningHearth, runHearth, startHearth, steepPrices } from "../support/hearth.ts";
import { firstLife } from "../support/first-life.ts";
import { type Kill, sweepKills } from "../support/kill-sweep.ts";

if (noShimHere) console.warn(noShimHere);

const config = `${steepPrices}[limits]\ndefault_output_tokens = 1024\n`;
/** 6 tokens in, 33 out. */
const callMsat = 6 * 1_000 + 33 * 3_000;
const budgetMs = 280_000;

let model: SandboxModel;
beforeAll(() => void (model = startSandboxModel()));
afterAll(() => model.stop());

/** What the client holds so far. It outlives every Hearth. */
type Client = { bill: Bill | undefined; preimage: string | undefined; sent: number; answered: number };

function start(dataDir: string, env: Record<string, string> = {}): Promise<RunningHearth> {
  return startHearth({ command: "serve", config, dataDir, env: { HEARTH_UPSTREAM_URL: model.url, ...env } });
}

const credentialOf = ({ bill, preimage }: Client) => `L402 ${bill!.macaroon}:${preimage}`;

async function call(url: string, client: Client, stream: boolean): Promise<void> {
  client.sent++;
  const answer = await ask(url, { ...hello, stream }, credentialOf(client));
  const text = await answer.text();
  if (answer.status !== 200 || !text.includes(stream ? "[DONE]" : "chat.completion")) throw new Error(`the paid call got ${answer.status}: ${text}`);
  client.answered++;
}

/** From wherever the client is, to two answers (one whole, one streamed) and the balance. */
async function goOn(url: string, client: Client): Promise<number> {
  client.bill ??= await askForBill(url);
  client.preimage ??= await pay(url, client.bill.invoice);
  if (client.answered < 1) await call(url, client, false);
  if (client.answered < 2) await call(url, client, true);
  return (await balanceOf(url, credentialOf(client))).balance_msat;
}

/** What must be true of the books, whatever happened: one credit, and no charge for what was not sent. */
function judgeBooks(dataDir: string, { bill, sent }: Client, balance: number): void {
  const hash = bill!.payment_hash;
  const credits = readLedger<{ amount_msat: bigint }>(dataDir, "SELECT amount_msat FROM transfer WHERE debit_account = 'node'");
  expect(credits).toEqual([{ amount_msat: BigInt(bill!.amount_msat) }]);
  const calls = readLedger<{ charged_msat: bigint }>(dataDir, "SELECT charged_msat FROM call WHERE account_id = (SELECT account_id FROM invoice WHERE payment_hash = ?)", hash);
  expect(calls.length).toBeLessThanOrEqual(sent);
  for (const { charged_msat } of calls) expect(Number(charged_msat)).toBe(callMsat);
  expect(balance).toBe(bill!.amount_msat - calls.length * callMsat);
  expect(readLedger(dataDir, "SELECT id FROM open_reservation")).toEqual([]);
}

/** The second life, without the shim: the client gets the rest, and one answer more. */
async function judge(dataDir: string, client: Client): Promise<void> {
  const hearth = await start(dataDir);
  try {
    const before = await goOn(hearth.url, client);
    expect(client.answered).toBe(2);
    await call(hearth.url, client, false);
    const balance = await balanceOf(hearth.url, credentialOf(client));
    expect(balance).toMatchObject({ balance_msat: before - callMsat, reserved_msat: 0 });
    expect(await hearth.stop()).toBe(0);
    judgeBooks(dataDir, client, balance.balance_msat);
  } finally {
    hearth.kill("SIGKILL");
  }
  const audit = await runHearth(["audit"], { HEARTH_DATA_DIR: dataDir });
  expect(audit).toMatchObject({ code: 0, output: expect.stringMatching(/^ok: /) });
}

describe.skipIf(noShimHere !== undefined)("kill -9 at writes all along the program", () => {
  test("loses no payment, credits it once, and charges no call that was not sent", async () => {
    const reached = { started: 0, billed: 0, paid: 0, answered: 0, stopping: 0 };
    const { kills } = await sweepKills<Client>({
      when: "before" satisfies Kill["when"],
      every: 2,
      act: async ({ directory, env }) => {
        const client: Client = { bill: undefined, preimage: undefined, sent: 0, answered: 0 };
        const { killed } = await firstLife(() => start(directory, env), (url) => goOn(url, client));
        const where = client.answered === 2 ? "stopping" : client.answered === 1 ? "answered" : client.preimage ? "paid" : client.bill ? "billed" : "started";
        reached[where]++;
        return { killed, seen: client };
      },
      judge: ({ directory, seen }) => judge(directory, seen),
    });
    console.info(`killed at ${kills} writes; the client had by then: ${JSON.stringify(reached)}`);
    // The sweep is worth its time only if kills land in every part of the way.
    for (const where of ["started", "paid", "answered", "stopping"] as const) expect(reached[where], where).toBeGreaterThan(0);
  }, budgetMs);
});
