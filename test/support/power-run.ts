/**
 * Runs the load through a real writer under the shim, then cuts the power at random points of what was recorded and
 * checks the disks that could be left. The images follow from the seed; the order of threads in the run does not.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildShim } from "./build-shim.ts";
import { decodeRecord, type DiskEvent, DiskFile, pick, seededRandom } from "./disk-model.ts";
import { findFault, Promises } from "./image-check.ts";
import type { Load } from "./writer-load.ts";

export type Recording = { events: DiskEvent[]; exitCode: number | null; stderr: string };

/** Runs `program` (writer-load.ts of some copy of the source) and reads what it did to its disk. */
export async function recordLoad(program: string, load: Omit<Load, "path">, shim: Record<string, string> = {}): Promise<Recording> {
  const directory = mkdtempSync(join(tmpdir(), "hearth-power-"));
  const recordPath = join(directory, "record");
  try {
    const child = Bun.spawn([process.execPath, program, JSON.stringify({ ...load, path: join(directory, "hearth.db") } satisfies Load)], {
      env: { ...process.env, LD_PRELOAD: buildShim(), SHIM_LOG: recordPath, SHIM_DELAY_US: "2000", ...shim },
      stdout: "ignore",
      stderr: "pipe",
      timeout: 60_000,
    });
    const stderr = await new Response(child.stderr).text();
    const exitCode = await child.exited;
    return { events: existsSync(recordPath) ? decodeRecord(readFileSync(recordPath)) : [], exitCode, stderr };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export type PowerCuts = {
  images: number;
  seed: number;
  /** Where to cut: half around resets, checkpoints and the close (the default), or all between a reset of the log and its next sync. */
  where?: "everywhere" | "resets";
  /** For mutants: one failing image is proof enough. */
  stopAtFirst?: boolean;
};

export type PowerReport = { images: number; failed: number; reasons: Record<string, number>; first: string; resets: number; promises: number };

/** Cuts the power `images` times and counts the disks that break a promise. */
export function cutPower(events: readonly DiskEvent[], cuts: PowerCuts): PowerReport {
  const random = seededRandom(cuts.seed);
  const points = choosePoints(events, cuts, random);
  const files = { database: new DiskFile(), wal: new DiskFile() };
  const promises = new Promises();
  const report: PowerReport = { images: 0, failed: 0, reasons: {}, first: "", resets: events.filter(isReset).length, promises: 0 };
  using desk = new ImageDesk();
  let next = 0;
  for (const [index, event] of events.entries()) {
    if (event.kind === "mark") promises.take(event.text);
    else if (event.kind !== "lost") files[event.file].take(event);
    for (; points[next] === index; next++) {
      const fault = desk.judge({ database: files.database.image(random), wal: files.wal.image(random) }, promises, random() < 0.2);
      report.images++;
      if (fault === undefined) continue;
      report.failed++;
      report.reasons[fault] = (report.reasons[fault] ?? 0) + 1;
      report.first ||= `event ${event.seq} (${event.kind}): ${fault}`;
      if (cuts.stopAtFirst) return { ...report, promises: promises.size };
    }
  }
  return { ...report, promises: promises.size };
}

/** The disk at the end of the record with nothing on it but what is certain. */
export function judgeCertain(events: readonly DiskEvent[]): { fault: string | undefined; promises: number } {
  const files = { database: new DiskFile(), wal: new DiskFile() };
  const promises = new Promises();
  for (const event of events) {
    if (event.kind === "mark") promises.take(event.text);
    else if (event.kind !== "lost") files[event.file].take(event);
  }
  using desk = new ImageDesk();
  return { fault: desk.judge({ database: files.database.certain(), wal: files.wal.certain() }, promises, false), promises: promises.size };
}

/** A new header at the start of the log: the old frames are given up. */
function isReset(event: DiskEvent): boolean {
  return event.kind === "write" && event.file === "wal" && event.offset === 0;
}

/** Where mistakes show: the log's resets, all that happens to the database file, the close. */
function isDelicate(event: DiskEvent): boolean {
  if (event.kind === "mark" || event.kind === "lost") return false;
  return isReset(event) || event.kind === "unlink" || (event.file === "database" && event.kind !== "truncate");
}

function choosePoints(events: readonly DiskEvent[], cuts: PowerCuts, random: () => number): number[] {
  const ready = events.findIndex((event) => event.kind === "mark" && event.text === "ready");
  if (ready < 0) throw new Error("the load never got as far as to be ready");
  const last = events.length - 1;
  const indexes = [...events.keys()].filter((index) => index > ready);
  const anywhere = () => ready + Math.floor(random() * (last - ready));
  if (cuts.where === "resets") {
    const windows = indexes.filter((index) => isReset(events[index]!)).map((index) => [index, findSynced(events, index)] as const);
    const within = ([from, to]: readonly [number, number]) => from + Math.floor(random() * (to - from));
    return sorted(Array.from({ length: cuts.images }, () => within(pick(windows, random))));
  }
  const delicate = indexes.filter((index) => isDelicate(events[index]!));
  const near = () => Math.min(last, Math.max(ready, pick(delicate, random) + Math.floor(random() * 60) - 20));
  return sorted(Array.from({ length: cuts.images }, (_, i) => (i % 2 === 1 && delicate.length > 0 ? near() : anywhere())));
}

/** The end of the first sync that makes what was written at `index` certain. */
function findSynced(events: readonly DiskEvent[], index: number): number {
  const { seq } = events[index]!;
  const found = events.findIndex((event) => event.kind === "syncEnded" && event.file === "wal" && event.beganSeq > seq);
  return found < 0 ? events.length - 1 : found;
}

function sorted(numbers: number[]): number[] {
  return numbers.sort((a, b) => a - b);
}

type Image = { database: Buffer | undefined; wal: Buffer | undefined };

/** Puts images down as files, in memory where the machine has such a place, and has them checked. */
class ImageDesk {
  readonly #directory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "hearth-image-"));
  readonly #path = join(this.#directory, "hearth.db");

  judge(image: Image, promises: Promises, withOldIndex: boolean): string | undefined {
    for (const end of ["", "-wal", "-shm"]) rmSync(this.#path + end, { force: true });
    if (image.database) writeFileSync(this.#path, image.database);
    if (image.wal) writeFileSync(`${this.#path}-wal`, image.wal);
    // The log's index is rebuilt at every start and never synced, so anything may be in it.
    if (withOldIndex) writeFileSync(`${this.#path}-shm`, Buffer.alloc(32_768, 0x5a));
    return findFault(this.#path, promises);
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
