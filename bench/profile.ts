/**
 * Where hearth's processor time goes under W1 (`chat`), W2's request (`stream`) or W3 (`mint`): by thread, and by function of the main
 * thread. `bun bench/profile.ts [chat|stream|mint] [CONNECTIONS]`. Profiling costs time itself, so its rates are not results.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startHearth, startUpstream } from "./contestants.ts";
import { chatBody, streamBody } from "./workload.ts";
import { runWrk } from "./wrk.ts";

type ProfileNode = { id: number; callFrame: { functionName: string; url: string; lineNumber: number }; children?: number[] };
type Profile = { nodes: ProfileNode[]; samples: number[]; timeDeltas: number[] };

const seconds = 5;
const shownFunctions = 25;
const ticksPerSecond = 100;

/** Processor time by thread, in ms. */
function threadTimes(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const name = `${text.slice(text.indexOf("(") + 1, text.lastIndexOf(")"))} ${task}`;
    times.set(name, ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond);
  }
  return times;
}

/** Two lists: time in a function itself, and time in our own functions with all they call (up to their next `await`). */
function printFunctions(path: string): void {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(path, "utf8")) as Profile;
  const nodeOf = new Map(nodes.map((node) => [node.id, node]));
  const parentOf = new Map(nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id] as const)));
  const own = new Map<string, number>(), withCalls = new Map<string, number>();
  const add = (times: Map<string, number>, name: string, time: number) => times.set(name, (times.get(name) ?? 0) + time);
  let whole = 0;
  samples.forEach((sample, index) => {
    const time = timeDeltas[index]!;
    whole += time;
    add(own, nameOf(nodeOf.get(sample)!), time);
    const seen = new Set<string>();
    for (let id: number | undefined = sample; id !== undefined; id = parentOf.get(id)) seen.add(nameOf(nodeOf.get(id)!));
    for (const name of seen) if (name.includes(" src/")) add(withCalls, name, time);
  });
  for (const [title, times] of [["itself", own], ["with what it calls", withCalls]] as const) {
    process.stdout.write(`\nmain thread, ${title}\n`);
    for (const [name, time] of [...times].toSorted((a, b) => b[1] - a[1]).slice(0, shownFunctions))
      process.stdout.write(`${((100 * time) / whole).toFixed(1).padStart(5)} %  ${name}\n`);
  }
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  return `${functionName || "(anonymous)"} ${url.replace(/^.*\/(src|node_modules)\//, "$1/")}:${lineNumber + 1}`;
}

const what = process.argv[2] ?? "chat";
const connections = Number(process.argv[3] ?? "16");
const cache = join(import.meta.dir, "../.cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, "profile-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const upstream = await startUpstream();
const wanted = process.env.HEARTH_BENCH_NO_PROFILE ? "" : `--cpu-prof --cpu-prof-dir=${folder}`;
const hearth = await startHearth(upstream.url, join(folder, "hearth"), wanted);
const run = { url: `${hearth.child.url}/v1/chat/completions`, connections, body: what === "stream" ? streamBody : chatBody, credentials: what === "mint" ? [] : hearth.credentials };
await runWrk({ ...run, seconds: 3 });
const before = threadTimes(hearth.child.pid);
const { requests, p50Ms } = await runWrk({ ...run, seconds });
const after = threadTimes(hearth.child.pid);
process.stdout.write(`${(requests / seconds).toFixed(0)} requests/s, p50 ${p50Ms} ms\n`);
for (const [name, time] of after) {
  const perRequest = (time - (before.get(name) ?? 0)) / requests;
  if (perRequest > 0.001) process.stdout.write(`${perRequest.toFixed(4)} ms a request: ${name}\n`);
}
await hearth.child.stop();
for (const file of readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"))) printFunctions(join(folder, file));
process.exit(0);
