/**
 * Power loss, failing syncs and full disks. What a client was told is durable must be on every disk that a cut could
 * leave; broken writers must be caught, or the test proves nothing.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildShim, noShimHere } from "../support/build-shim.ts";
import type { FullDiskReport } from "../support/full-disk.ts";
import { findFault, Promises } from "../support/image-check.ts";
import { runToEnd } from "../support/kill-sweep.ts";
import { cutPower, judgeCertain, type PowerCuts, recordLoad } from "../support/power-run.ts";
import { busyLimits, type Replacement, SourceCopy } from "../support/source-copy.ts";

if (noShimHere) console.warn(noShimHere);

const runMs = 120_000;
const copies: SourceCopy[] = [];
const directories: string[] = [];
afterAll(() => {
  for (const copy of copies) copy[Symbol.dispose]();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** A program of test/support on the source as it is, but for the limits and what is broken on purpose. */
function programWith(name: string, ...broken: Replacement[]): string {
  const copy = new SourceCopy([...busyLimits, ...broken]);
  copies.push(copy);
  return copy.program(name);
}

function newDatabasePath(): string {
  const directory = mkdtempSync(join(tmpdir(), "hearth-disk-"));
  directories.push(directory);
  return join(directory, "hearth.db");
}

async function cutLoad(cuts: PowerCuts & { buyers: number; broken?: Replacement[] }) {
  const program = programWith("writer-load.ts", ...(cuts.broken ?? []));
  const { events, exitCode, stderr } = await recordLoad(program, { seed: cuts.seed, commands: 1_000, buyers: cuts.buyers });
  if (exitCode !== 0) throw new Error(`the load ended with ${exitCode}: ${stderr}`);
  const report = cutPower(events, cuts);
  console.info(`  seed ${cuts.seed}, ${cuts.buyers} buyers: ${report.failed} of ${report.images} images failed; ${report.resets} resets, ${report.promises} promises ${JSON.stringify(report.reasons)}`);
  return report;
}

describe.skipIf(noShimHere !== undefined)("power loss at every step of money in, a call, and money out", () => {
  test.each([
    { seed: 1, buyers: 6, images: 1_000, where: "everywhere" },
    { seed: 2, buyers: 2, images: 800, where: "everywhere" },
    { seed: 3, buyers: 24, images: 800, where: "everywhere" },
    { seed: 4, buyers: 6, images: 1_200, where: "resets" },
  ] as const)("loses nothing a client was told, applies nothing by half, corrupts nothing (seed $seed)", async (cuts) => {
    const report = await cutLoad(cuts);
    expect(report.first).toBe("");
    expect(report.failed).toBe(0);
    expect(report.images).toBe(cuts.images);
    // Without resets and promises there is nothing to lose.
    expect(report.resets).toBeGreaterThan(3);
    expect(report.promises).toBeGreaterThan(300);
  }, runMs);
});

/** Each breaks one condition of the writer's recipe. One failing image is enough. */
const mutants: { name: string; buyers: number; images: number; where: PowerCuts["where"]; broken: Replacement[] }[] = [
  {
    name: "nosync: durable is answered at the commit, nothing is ever synced",
    buyers: 6,
    images: 500,
    where: "everywhere",
    broken: [
      { file: "src/store/open.ts", from: 'database.run("PRAGMA synchronous=NORMAL");', to: 'database.run("PRAGMA synchronous=OFF");' },
      { file: "src/store/writer-thread.ts", from: "this.#syncer.postMessage(this.#log);", to: 'this.#synced("");' },
    ],
  },
  {
    name: "late: a finished sync also answers what was committed while it ran",
    buyers: 6,
    images: 500,
    where: "everywhere",
    broken: [
      {
        file: "src/store/writer-thread.ts",
        from: "const outcomes = this.#covered;",
        to: "const outcomes = this.#covered.concat(this.#waiting); this.#waiting = [];",
      },
    ],
  },
  {
    name: "noheadersync: SQLite does not sync the new header after a reset, all else is right",
    buyers: 6,
    images: 3_000,
    where: "resets",
    broken: [{ file: "src/store/open.ts", from: 'database.run("PRAGMA synchronous=NORMAL");', to: 'database.run("PRAGMA synchronous=OFF");' }],
  },
  {
    name: "nodbsync: the checkpointer does not sync the database before the log is used again",
    buyers: 6,
    images: 500,
    where: "everywhere",
    broken: [{ file: "src/store/checkpoint-worker.ts", from: 'database.run("PRAGMA synchronous=NORMAL");', to: 'database.run("PRAGMA synchronous=OFF");' }],
  },
];

describe.skipIf(noShimHere !== undefined)("power loss with a broken writer is caught", () => {
  test.each(mutants)("$name", async ({ buyers, images, where, broken }) => {
    // HEARTH_COUNT_FAILURES=1 judges every image instead of stopping at the first that fails.
    const stopAtFirst = process.env.HEARTH_COUNT_FAILURES === undefined;
    const report = await cutLoad({ seed: 7, buyers, images, where, broken, stopAtFirst });
    expect(report.failed).toBeGreaterThan(0);
  }, runMs);
});

/** Whoever notices: the sync thread, the checkpointer, SQLite at a commit that resets the log, or the start. */
const clearLines = {
  sync: /^the disk refused to store the log: .*EIO.*; check the disk$/m,
  checkpoint: /^checkpoint: .*SQLITE_IOERR_FSYNC/m,
  commit: /^the database failed: .*SQLITE_IOERR_FSYNC/m,
  start: /^the database cannot be opened: .*(EIO|SQLITE_IOERR_FSYNC)/m,
};

describe.skipIf(noShimHere !== undefined)("a sync that fails once", () => {
  test.each([
    { file: "wal", syncs: 40, noticedBy: ["start", "sync", "checkpoint"] },
    { file: "db", syncs: 10, noticedBy: ["start", "checkpoint"] },
  ] as const)("of the $file ends the process with a clear line, and nothing it covered was answered", async ({ file, syncs, noticedBy }) => {
    const program = programWith("writer-load.ts");
    const seen = new Set<string>();
    for (let n = 1; n <= syncs; n++) {
      const { events, exitCode, stderr } = await recordLoad(program, { seed: n, commands: 1_000, buyers: 6 }, { SHIM_EIO: `${file}:${n}` });
      const [noticed] = Object.entries(clearLines).find(([, line]) => line.test(stderr)) ?? [`sync ${n}: ${stderr}`];
      seen.add(noticed);
      expect(`sync ${n}: ${exitCode}`).toBe(`sync ${n}: 70`);
      // Before the start is complete there is nothing to judge.
      if (noticed !== "start") expect(`sync ${n}: ${judgeCertain(events).fault}`).toBe(`sync ${n}: undefined`);
    }
    for (const one of seen) expect(Object.keys(clearLines)).toContain(one);
    for (const one of noticedBy) expect([...seen]).toContain(one);
  }, runMs);
});

describe.skipIf(noShimHere !== undefined)("a full disk", () => {
  async function fillUp(): Promise<{ path: string; report: FullDiskReport }> {
    const path = newDatabasePath();
    const ended = await runToEnd([process.execPath, programWith("full-disk.ts"), path], { LD_PRELOAD: buildShim() });
    if (ended.exitCode !== 0) throw new Error(`it ended with ${ended.exitCode}: ${ended.stderr}`);
    return { path, report: JSON.parse(ended.stdout) as FullDiskReport };
  }

  test("turns new sales away, keeps ended calls and payments, writes them when there is room, and loses nothing", async () => {
    const { path, report } = await fillUp();
    expect(report.turnedAway).toEqual(Array.from({ length: 4 }, () => "storage_full retryable"));
    expect(report.waitedForSpace).toBe(true);
    expect(report.fullWhileFull).toBe(true);
    expect(report.fullAfterwards).toBe(false);
    expect(report.effects.map(([what]) => what).sort()).toEqual(["credit", "credit", "open", "open", "open", "post", "post", "post"]);
    const promises = new Promises();
    for (const effect of report.effects) promises.take(`D ${effect.join(" ")}`);
    expect(findFault(path, promises)).toBeUndefined();
  }, runMs);

  // Fails: `through` never passes what was turned away last, so `caughtUp` waits for the next command to be executed.
  test("does not hold back a reader once there is room again", async () => {
    const { report } = await fillUp();
    expect(report.readersWake).toBe(true);
  }, runMs);

  // Fails: SQLITE_FULL of a checkpoint is taken for a failed sync, so the process ends, and again after every start.
  test("found by a checkpoint does not end the process", async () => {
    const ended = await runToEnd([process.execPath, programWith("full-checkpoint.ts"), newDatabasePath()], { LD_PRELOAD: buildShim() });
    expect(`${ended.exitCode} ${ended.stderr}`).toBe("0 ");
  }, runMs);
});
