/** One run of wrk: so many connections, kept alive, for so long. Judges nothing of what it measured. */
import { join } from "node:path";
import { runChild } from "./children.ts";

export type WrkRun = { url: string; connections: number; seconds: number; body: string; credentials: readonly string[] };

export type WrkResult = {
  /** Whole answers of any status. */
  requests: number;
  seconds: number;
  p50Ms: number;
  p99Ms: number;
  /** Answers of status 400 and above. */
  badStatus: number;
  socketErrors: number;
};

export const missingWrk: string | undefined =
  Bun.which("wrk") === null ? "wrk is not installed, so W1 and W3 are left out (Debian: apt install wrk)." : undefined;

/** The last answers of a run may be cut: up to `connections` calls are served that it does not count. */
export async function runWrk(run: WrkRun): Promise<WrkResult> {
  const { url, connections, seconds } = run;
  const command = ["wrk", "-t", "1", "-c", String(connections), "-d", `${seconds}s`, "--timeout", "10s", "-s", join(import.meta.dir, "post.lua"), url];
  const env = { BENCH_BODY: run.body, BENCH_CREDENTIALS: run.credentials.join("\n") };
  const output = await runChild(command, env, (seconds + 15) * 1000);
  const line = output.split("\n").find((one) => one.startsWith("{"));
  if (line === undefined) throw new Error(`wrk said nothing about ${url}:\n${output}`);
  return JSON.parse(line) as WrkResult;
}
