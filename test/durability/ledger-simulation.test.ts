/**
 * The long run of the ledger's random walks: a thousand seeds unless `HEARTH_SEEDS` says otherwise, on two processes.
 * A failure names the seed and the step; `HEARTH_SEED=N bun test test/ledger/simulation.test.ts` replays it.
 */
import { expect, test } from "bun:test";
import { walkSize } from "../support/ledger-walk.ts";

const processes = 2;
const program = new URL("../support/ledger-walk.ts", import.meta.url).pathname;

async function walkShare(share: number): Promise<number> {
  const child = Bun.spawn([process.execPath, program, String(share), String(processes)], { stdout: "pipe", stderr: "pipe" });
  const [said, complained] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(/seed \d+ step \d+.*/.exec(complained)?.[0] ?? complained);
  return Number.parseInt(said);
}

test("no order of events in any of the seeds makes or loses a millisatoshi", async () => {
  const { seeds, steps } = walkSize(1_000);
  const walked = await Promise.all(Array.from({ length: processes }, (_, share) => walkShare(share)));
  expect(walked.reduce((sum, count) => sum + count, 0)).toBe(seeds.length * steps);
}, 600_000);
