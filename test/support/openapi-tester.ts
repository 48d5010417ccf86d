/**
 * Runs Schemathesis, which makes requests from an OpenAPI document, valid ones and broken ones, against a running door, and
 * reads what it did from its two reports. What a failure is, is decided by its checks and by the test that calls this.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type TesterPlan = {
  /** Of the public door, without a slash at the end. */
  url: string;
  document: ApiDocument;
  /** Sent with every request instead of what the document's security would have made up. */
  authorization: string | undefined;
  /** Values that open something, by the parameter they are for, e.g. `body.model`; used in most cases, invented ones in the rest. */
  known: Readonly<Record<string, readonly (string | number)[]>>;
  /** More lines for its configuration. */
  config: string;
  seed: number;
  /** Of the fuzzing phase, for each operation; the coverage phase adds its own. */
  examples: number;
};

/** One request and the status of its answer; undefined where none came. */
export type TesterCase = { operation: string; method: string; path: string; status: number | undefined };

export type TesterRun = {
  cases: TesterCase[];
  selected: number;
  tested: number;
  skipped: number;
  /** One line for each kind of failure, and one for each error of the tester itself. */
  failures: string[];
  /** Everything it printed, with a curl for each failure; secrets are filtered out. */
  output: string;
};

/** What `GET /openapi.json` says, and lists: each operation as `POST /v1/topup`, with the statuses it names. */
export type ApiDocument = { text: string; operations: { name: string; statuses: string[] }[] };

type Report = {
  complete: boolean;
  operations: { selected: number; tested: number; skipped: number };
  failures: { code: string; title: string; count: number; operations: string[] }[];
  errors: unknown[];
};
type Scenario = {
  label: string;
  cases?: Record<string, { value: { method: string; path: string } }>;
  interactions?: Record<string, { response: { status_code: number } | null }>;
};

const installer = join(import.meta.dir, "../peers/openapi-tester.sh");
const installTimeoutMs = 5 * 60_000;
const runTimeoutMs = 100_000;
/** How often a known value takes the place of an invented one. */
const knownShare = 0.5;

async function run(command: string[], cwd: string, timeoutMs: number): Promise<{ code: number; out: string; err: string }> {
  const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: timeoutMs, killSignal: "SIGKILL" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

/** The tester's program; installed first where this machine has none. @throws with what the installer said. */
export async function installTester(): Promise<string> {
  const { code, out, err } = await run(["bash", installer], tmpdir(), installTimeoutMs);
  const program = out.trim().split("\n").at(-1);
  if (code !== 0 || !program) throw new Error(`the tester is not installed (${code}):\n${err}`);
  return program;
}

/** Runs it to its end. @throws when it did not get there, with all it printed. */
export async function runTester(program: string, plan: TesterPlan): Promise<TesterRun> {
  const folder = mkdtempSync(join(tmpdir(), "hearth-openapi-"));
  const file = (name: string) => join(folder, name);
  const config = file("schemathesis.toml"), document = file("openapi.json"), report = file("report.json"), events = file("events.ndjson");
  try {
    // From a file: it leaves out the operation that it had the document from.
    writeFileSync(document, plan.document.text);
    // The credential is in the file, which only we can read: command lines are public.
    writeFileSync(config, configText(plan), { mode: 0o600 });
    const reports = ["--report", "json,ndjson", "--report-json-path", report, "--report-ndjson-path", events];
    // In the folder: it keeps a cache where it is started.
    const { code, out, err } = await run([program, "--config-file", config, "run", document, "--url", plan.url, "--no-color", ...reports], folder, runTimeoutMs);
    const output = out + err;
    // 0: nothing found, 1: failures found; anything else is the tester's own trouble.
    if (code !== 0 && code !== 1) throw new Error(`the tester ended with ${code}:\n${output}`);
    const { complete, operations, failures, errors } = JSON.parse(readFileSync(report, "utf8")) as Report;
    if (!complete) throw new Error(`the tester stopped early:\n${output}`);
    const found = [...failures.map(failureText), ...errors.map((error) => JSON.stringify(error))];
    return { ...operations, cases: casesOf(readFileSync(events, "utf8")), failures: found, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function failureText({ code, title, operations }: Report["failures"][number]): string {
  return `${code} ${title}: ${operations.join(", ")}`;
}

function casesOf(events: string): TesterCase[] {
  return events.split("\n").filter((line) => line.startsWith('{"ScenarioFinished"')).flatMap((line) => {
    const { recorder } = (JSON.parse(line) as { ScenarioFinished: { recorder: Scenario } }).ScenarioFinished;
    return Object.entries(recorder.interactions ?? {}).map(([id, { response }]) => {
      const { method, path } = recorder.cases![id]!.value;
      return { operation: recorder.label, method, path, status: response?.status_code };
    });
  });
}

function configText({ authorization, known, config, seed, examples }: TesterPlan): string {
  const text = (value: unknown) => JSON.stringify(value);
  const names = Object.keys(known);
  return [
    `seed = ${seed}`,
    // Threads share Hypothesis' caches, which then finds its own results inconsistent; and one seed is one run only without them.
    "workers = 1",
    "continue-on-failure = true",
    "request-timeout = 10.0",
    ...(authorization === undefined ? [] : [`headers = { Authorization = ${text(authorization)} }`]),
    "[generation]",
    `max-examples = ${examples}`,
    'database = "none"',
    ...names.map((name, i) => `[dictionaries.known${i}]\nvalues = ${text(known[name])}`),
    "[parameters]",
    ...names.map((name, i) => `${text(name)} = { dictionary = "known${i}", probability = ${knownShare} }`),
    config,
  ].join("\n");
}

export async function readDocument(url: string): Promise<ApiDocument> {
  const text = await (await fetch(`${url}/openapi.json`)).text();
  const { paths } = JSON.parse(text) as { paths: Record<string, Record<string, { responses: Record<string, unknown> }>> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { responses }]) => ({ name: `${method.toUpperCase()} ${path}`, statuses: Object.keys(responses) })));
  return { text, operations };
}
