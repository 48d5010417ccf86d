/**
 * The long run of the ledger's random walks: six hundred seeds unless `HEARTH_SEEDS` says otherwise, on two processes.
 * A failure names the seed and the step; `HEARTH_SEED=N bun test test/ledger/simulation.test.ts` replays it.
 */
import { expect, test } from "bun:test";
import { claimPayment } from "../../src/accounts/claim.ts";
import { reserveCall, voidCall } from "../../src/charge/commands.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import { accountOutcomes } from "../support/account-steps.ts";
import { payoutOutcomes } from "../support/payout-steps.ts";
import { DirectWriter } from "../support/direct-writer.ts";
import { type ShareReport, walkSize } from "../support/ledger-walk.ts";
import { atMs, hashOf, sampleClaim, sampleInvoice } from "../support/payments-sample.ts";

const processes = 2;
const program = new URL("../support/ledger-walk.ts", import.meta.url).pathname;

async function walkShare(share: number): Promise<ShareReport> {
  const child = Bun.spawn([process.execPath, program, String(share), String(processes)], { stdout: "pipe", stderr: "pipe" });
  const [said, complained] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(/seed \d+ step \d+.*/.exec(complained)?.[0] ?? complained);
  return JSON.parse(said) as ShareReport;
}

test("no order of events in any of the seeds makes or loses a millisatoshi, or opens an account to whom it is not", async () => {
  const { seeds, steps } = walkSize(600);
  const shares = await Promise.all(Array.from({ length: processes }, (_, share) => walkShare(share)));
  expect(shares.reduce((sum, share) => sum + share.steps, 0)).toBe(seeds.length * steps);
  // A walk that never gets somewhere proves nothing about it.
  const reached = new Set(shares.flatMap((share) => share.reachedOfAccounts));
  if (seeds.length * steps >= 80_000) expect([...reached].sort()).toEqual([...accountOutcomes, ...payoutOutcomes].sort());
}, 600_000);

// Fails: the row of a claim keeps one sum for all the tokens a payment went to. The walk leaves this figure out (`notCompared`).
test("a claim into a token that is asked again says what it brought to that token, also when the payment went to another before", () => {
  const writer = new DirectWriter();
  const common = { boot: 1n, atMs };
  writer.run(startBoot, { atMs });
  for (const n of [1, 2, 3]) {
    writer.run(openInvoice, sampleInvoice(n, { amountMsat: 100_000n, purpose: { kind: "topup", claimNeedsSecret: true } }));
    writer.run(creditInvoice, { paymentHash: hashOf(n), paidMsat: msat(100_000n), accountId: `a-${n}`, cursor: undefined, ...common });
  }
  const claim = (into: string) => writer.run(claimPayment, sampleClaim(hashOf(1), "secret", into, 1n));
  const held = { id: "c", accountId: "a-1", atMostMsat: msat(30_000n), atLeastMsat: msat(30_000n), ...common };
  writer.run(reserveCall, held);
  expect(claim("a-2")).toMatchObject({ ok: true, creditedMsat: msat(70_000n) });
  writer.run(voidCall, { id: "c", reason: "upstream_failed", ...common });
  const first = claim("a-3");
  expect(first).toEqual({ ok: true, kind: "moved", creditedMsat: msat(30_000n), balanceMsat: msat(130_000n) });
  expect(claim("a-3")).toEqual(first);
  writer.close();
});
