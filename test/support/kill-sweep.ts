/**
 * Runs a program once for every write it makes to its database, killed with -9 at that write, and has each end judged.
 * Knows nothing of the program: `act` starts it (with the environment it is given), plays its clients and waits for its end.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildShim } from "./build-shim.ts";

export type Kill = { write: number; when: "before" | "after" };
export type Act<Seen> = (place: { directory: string; env: Record<string, string> }) => Promise<{ killed: boolean; seen: Seen }>;

export type Sweep<Seen> = {
  when: Kill["when"];
  /** The first write to die at; 1 unless told. */
  from?: number;
  /** Dies at every so manieth write; 1 unless told. Before one write is nearly after the one before it. */
  every?: number;
  act: Act<Seen>;
  /** Throws when the directory does not hold what the clients were told. Also called for the run that was not killed. */
  judge(end: { directory: string; kill: Kill; killed: boolean; seen: Seen }): Promise<void> | void;
};

const parallel = 2;
/** A program that writes more often than this never ends. */
const mostWrites = 20_000;

/** Dies at the first, second, ... write until a run reaches its end alive. Answers how many kills there were. */
export async function sweepKills<Seen>(sweep: Sweep<Seen>): Promise<{ kills: number }> {
  let next = sweep.from ?? 1;
  let kills = 0;
  let ended = false;
  let failure: Error | undefined;
  const lane = async () => {
    while (!ended) {
      const kill: Kill = { write: next, when: sweep.when };
      next += sweep.every ?? 1;
      if (kill.write > mostWrites) throw new Error(`still killed at write ${mostWrites}`);
      try {
        if (await killOnce(sweep, kill)) kills++;
        else ended = true;
      } catch (error) {
        ended = true;
        failure ??= new Error(`killed ${kill.when} write ${kill.write}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane)); // also the other lane's last run, so that nothing stays behind
  if (failure) throw failure as Error;
  return { kills };
}

async function killOnce<Seen>(sweep: Sweep<Seen>, kill: Kill): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), "hearth-kill-"));
  const env = { LD_PRELOAD: buildShim(), SHIM_KILL_WRITE: String(kill.write), SHIM_KILL_WHEN: kill.when };
  try {
    const { killed, seen } = await sweep.act({ directory, env });
    await sweep.judge({ directory, kill, killed, seen });
    return killed;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export type Ended = { killed: boolean; exitCode: number | null; stdout: string; stderr: string };

/** Runs a program of ours to its end, by itself or by a kill. */
export async function runToEnd(command: string[], env: Record<string, string> = {}): Promise<Ended> {
  const child = Bun.spawn(command, { env: { ...process.env, ...env }, stdout: "pipe", stderr: "pipe", timeout: 60_000, killSignal: "SIGTERM" });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  return { killed: child.signalCode === "SIGKILL", exitCode: child.exitCode, stdout, stderr };
}
