/**
 * kill -9 of the whole program at every write of a payout over HTTP: the cells "crash before commit" and "crash after commit before the reply"
 * of payout intent, sent and result. The client goes on as clients do, with its Idempotency-Key. However it went, the node was asked to pay
 * the invoice once at most, what arrived was booked once, and what did not arrive is on the account.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { noShimHere } from "../support/build-shim.ts";
import { collect, type CollectBody, collected, orderOf, payeesInvoice } from "../support/collecting.ts";
import { firstLife } from "../support/first-life.ts";
import { balanceOf, buyToken, eventually, makeDataDir, readLedger, removeDataDir, runHearth, startHearth } from "../support/hearth.ts";
import { sweepKills } from "../support/kill-sweep.ts";

if (noShimHere) console.warn(noShimHere);

const budgetMs = 280_000;
const paidInMsat = 1_000_000, amountMsat = 400_000, feeLimitMsat = 14_000, feeMsat = 1_000;

const start = (dataDir: string, env: Record<string, string> = {}) => startHearth({ dataDir, env });

/** Most of what a start writes: kills there are other suites'. */
const bootWrites = 20;

/** A house that somebody has paid into: every kill begins with a copy of it. */
const prepared = makeDataDir();
let token: string, order: { invoice: string; amount_sats: number };
beforeAll(async () => {
  const hearth = await start(prepared);
  token = await buyToken(hearth.url, 1_000);
  order = orderOf(await payeesInvoice(hearth.url, 400));
  await hearth.stop();
});
afterAll(() => removeDataDir(prepared));

/** What the client holds so far. It outlives every Hearth. */
type Client = { answer?: CollectBody };

/** Asks, and asks again with the same key, until there is an answer. */
async function goOn(url: string, client: Client): Promise<void> {
  const { status, body } = await collect(url, token, order, { "Idempotency-Key": "my-payout" });
  if (body.error && status !== 502) throw new Error(`collecting got ${status}: ${JSON.stringify(body)}`);
  client.answer = body;
}

/** How often the node was asked to pay, by its own file. */
function timesSent(dataDir: string): number {
  return readFileSync(join(dataDir, "sandbox-node.jsonl"), "utf8").split("\n").filter((line) => line.includes('"kind":"sending"')).length;
}

async function judge(dataDir: string, client: Client, reached: Record<string, number>): Promise<void> {
  const states = readLedger<{ state: string }>(dataDir, "SELECT state FROM payout ORDER BY id");
  const atTheKill = states.at(-1)?.state ?? "before";
  reached[atTheKill] = (reached[atTheKill] ?? 0) + 1;
  const hearth = await start(dataDir);
  const env = { HEARTH_DATA_DIR: dataDir, HEARTH_OWNER_PORT: new URL(hearth.ownerUrl).port };
  try {
    await goOn(hearth.url, client);
    const id = client.answer!.id!;
    if (timesSent(dataDir) === 0) {
      // It was written down as sent and never was: before its invoice has expired not even the owner can know that.
      expect(await runHearth(["payouts", "unpaid", id], env)).toMatchObject({ code: 2, output: expect.stringContaining("can still be paid") });
      expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(paidInMsat - amountMsat - feeLimitMsat);
      reached["waits for its expiry"] = (reached["waits for its expiry"] ?? 0) + 1;
      expect(await hearth.stop()).toBe(0);
      return;
    }
    const end = await eventually("it has ended", async () => {
      const { body } = await collected(hearth.url, token, id);
      return body.status === "pending" ? undefined : body;
    });
    expect({ sent: timesSent(dataDir), status: end.status }).toEqual({ sent: 1, status: "paid" });
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(paidInMsat - amountMsat - feeMsat);
    expect(await hearth.stop()).toBe(0);
  } finally {
    hearth.kill("SIGKILL");
  }
  expect(await runHearth(["audit"], env)).toMatchObject({ code: 0, output: expect.stringMatching(/^ok: /) });
}

const faults = [["crash before commit", "before"], ["crash after commit before the reply", "after"]] as const;

describe.skipIf(noShimHere !== undefined)("kill -9 at each write of the program", () => {
  test.each(faults)("payout intent, payout sent, payout result x %s: sent once at most, booked once, nothing lost", async (_fault, when) => {
    const reached: Record<string, number> = {};
    const { kills } = await sweepKills<Client>({
      when,
      // Before one write is after another: the two together come to all of them.
      from: bootWrites, every: 2,
      act: async ({ directory, env }) => {
        const client: Client = {};
        cpSync(prepared, directory, { recursive: true });
        const { killed } = await firstLife(() => start(directory, env), (url) => goOn(url, client), "at once");
        return { killed, seen: client };
      },
      judge: ({ directory, seen }) => judge(directory, seen, reached),
    });
    console.info(`killed ${when} ${kills} writes; the payout was by then: ${JSON.stringify(reached)}`);
    // The sweep is worth its time only if kills land in every part of the way.
    for (const where of ["before", "intent", "sent", "succeeded"]) expect(reached[where], where).toBeGreaterThan(0);
  }, budgetMs);
});
