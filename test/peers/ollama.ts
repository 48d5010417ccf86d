/**
 * Starts a real Ollama with the tiny models, as an upstream that counts tokens by itself. Linux only, because it reads
 * the runner's CPU time from /proc. It never touches an Ollama that was already there: own home, own models, own port.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Ollama {
  /** Base of its OpenAI-compatible routes: `http://127.0.0.1:PORT/v1`. */
  readonly url: string;
  readonly pid: number;
  /** CPU time the model runners have used, user and system, in kernel ticks (a hundredth of a second). */
  runnerCpuTicks(): Promise<number>;
  /** How many chat completions it is done with, whether answered, refused or left by the caller; counted from its log. */
  chatsEnded(): Promise<number>;
  /** A crash: server and runners are gone at once, in the middle of whatever they say. */
  kill(): Promise<void>;
  /** An orderly end; also cleans up after `kill`. */
  stop(): Promise<void>;
}

const modelfiles = { "tiny": "Modelfile", "tiny-think": "Modelfile.think", "tiny-loop": "Modelfile.loop" };
const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;

/** Builds Ollama if this machine has none yet, which takes minutes; a start takes about a second. */
export async function startOllama(): Promise<Ollama> {
  const binary = lastLine(await run(["bash", join(import.meta.dir, "build-ollama.sh")], {}));
  const folder = mkdtempSync(join(tmpdir(), "hearth-ollama-"));
  const models = join(folder, "tiny");
  await run(["python3", join(import.meta.dir, "tiny-gguf.py"), models], {});

  const home = join(folder, "home");
  mkdirSync(home);
  const environment = {
    HOME: home,
    OLLAMA_MODELS: join(folder, "models"),
    OLLAMA_NO_CLOUD: "1",
    // Otherwise it follows the machine's video memory, and with it where a long prompt is cut.
    OLLAMA_CONTEXT_LENGTH: "4096",
    // A caller that leaves a stream may take a place with it for good (ollama/ollama issue 17131; here about one in four
    // does, the engine being so fast). With the usual single place no later call would ever be answered.
    OLLAMA_NUM_PARALLEL: "8",
  };
  const logPath = join(folder, "log");
  const log = openSync(logPath, "a");
  const server = Bun.spawn([binary, "serve"], {
    env: { PATH: process.env.PATH, ...environment, OLLAMA_HOST: "127.0.0.1:0" },
    stdin: "ignore", stdout: log, stderr: log,
  });
  closeSync(log);
  const readLog = () => readFileSync(logPath, "utf8");

  function killAll(): void {
    // The runners first: once their parent is gone, nothing says that they are ours.
    for (const pid of [...runnersOf(server.pid), server.pid]) killQuietly(pid);
  }
  process.once("exit", killAll);

  async function kill(): Promise<void> {
    killAll();
    await server.exited;
  }

  async function stop(): Promise<void> {
    const runners = runnersOf(server.pid);
    server.kill("SIGTERM");
    const patience = setTimeout(() => server.kill("SIGKILL"), stopTimeoutMs);
    await server.exited;
    clearTimeout(patience);
    runners.filter(isOllamaRunner).forEach(killQuietly);
    process.off("exit", killAll);
    rmSync(folder, { recursive: true, force: true });
  }

  try {
    const address = await until("Ollama listens", startTimeoutMs, () => {
      if (server.exitCode !== null) throw new Error(`Ollama ended with ${server.exitCode}:\n${readLog().slice(-2000)}`);
      return /msg="Listening on (127\.0\.0\.1:\d+) /.exec(readLog())?.[1];
    });
    for (const [model, modelfile] of Object.entries(modelfiles)) {
      await run([binary, "create", model, "-f", join(models, modelfile)], { ...environment, OLLAMA_HOST: address });
    }
    const url = `http://${address}/v1`;
    await askOnce(url); // starts the runner, so that no test pays for that
    return {
      url,
      pid: server.pid,
      runnerCpuTicks: async () => runnersOf(server.pid).reduce((sum, pid) => sum + (readStat(pid)?.cpuTicks ?? 0), 0),
      chatsEnded: async () => readLog().split("\n").filter((line) => /^\[GIN\].* POST +"\/v1\/chat\/completions"/.test(line)).length,
      kill,
      stop,
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

/** Tries until `check` gives something; throws, naming `what`, when it has not within `timeoutMs`. */
export async function until<T>(what: string, timeoutMs: number, check: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await check();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await Bun.sleep(10);
  }
}

async function askOnce(url: string): Promise<void> {
  const answer = await fetch(`${url}/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "tiny", messages: [{ role: "user", content: "hello" }] }),
    signal: AbortSignal.timeout(startTimeoutMs),
  });
  if (!answer.ok) throw new Error(`Ollama does not answer with tiny: ${answer.status} ${await answer.text()}`);
}

/** What the command printed on stdout; throws with what it said on stderr. */
async function run(command: string[], environment: Record<string, string>): Promise<string> {
  const child = Bun.spawn(command, { env: { ...process.env, ...environment }, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (status !== 0) throw new Error(`${command.join(" ")} ended with ${status}:\n${stderr.slice(-2000)}`);
  return stdout;
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself, which is as good.
  }
}

function runnersOf(parent: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  return pids.filter((pid) => readStat(pid)?.parent === parent && isOllamaRunner(pid));
}

function isOllamaRunner(pid: number): boolean {
  return /ollama\0runner\0/.test(readProc(pid, "cmdline") ?? "");
}

/** proc(5): after the command's name in brackets come state, ppid, ... and, as the 12th and 13th, utime and stime. */
function readStat(pid: number): { parent: number; cpuTicks: number } | undefined {
  const text = readProc(pid, "stat");
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { parent: Number(fields[1]), cpuTicks: Number(fields[11]) + Number(fields[12]) };
}

function readProc(pid: number, name: "stat" | "cmdline"): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return undefined; // the process has ended meanwhile
  }
}
