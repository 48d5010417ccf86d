/** The processes of a run: started, waited for, and gone with us whatever ends us. */

export type Child = {
  name: string;
  pid: number;
  /** Of its "ready" line. */
  url: string;
  /** The last of what it printed. */
  output(): string;
  /** SIGTERM, then waits; SIGKILL when it takes too long. */
  stop(): Promise<number>;
};

const startTimeoutMs = 20_000;
const stopTimeoutMs = 15_000;
const keptOutput = 65_536;

const running = new Set<Bun.Subprocess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));

export type ChildOptions = { name: string; command: string[]; env?: Record<string, string>; cwd?: string; ready?: RegExp };

/** Resolves once it has printed its address. @throws with its output when it ends or stays silent. */
export async function startChild({ name, command, env, cwd, ready = /^ready (\S+)/m }: ChildOptions): Promise<Child> {
  const child = Bun.spawn(command, { cwd, env: { PATH: process.env.PATH ?? "", ...env }, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.add(child);
  let printed = "";
  const address = Promise.withResolvers<string>();
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      printed = (printed + decoder.decode(bytes, { stream: true })).slice(-keptOutput);
      const found = ready.exec(printed);
      if (found) address.resolve(found[1]!);
    }
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  void child.exited.then(async (code) => {
    running.delete(child);
    await reading;
    address.reject(new Error(`${name} ended with ${code}:\n${printed}`));
  });
  const late = setTimeout(() => address.reject(new Error(`${name} did not start:\n${printed}`)), startTimeoutMs);
  const url = await address.promise.finally(() => clearTimeout(late));
  const stop = async () => {
    child.kill("SIGTERM");
    const patience = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    const code = await child.exited;
    clearTimeout(patience);
    return code;
  };
  return { name, pid: child.pid, url, output: () => printed, stop };
}

/** Runs a command to its end and answers what it printed. @throws when it fails or takes longer than `timeoutMs`. */
export async function runChild(command: string[], env: Record<string, string>, timeoutMs: number): Promise<string> {
  const child = Bun.spawn(command, { env: { PATH: process.env.PATH ?? "", ...env }, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  running.add(child);
  const patience = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  clearTimeout(patience);
  running.delete(child);
  if (code !== 0) throw new Error(`${command.slice(0, 2).join(" ")} ended with ${code}:\n${out}${err}`);
  return out;
}

const ticksPerSecond = 100;

/** Processor time a process has used, all threads; undefined where the system does not say. */
export async function processorMs(pid: number): Promise<number | undefined> {
  const text = await Bun.file(`/proc/${pid}/stat`).text().catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields && ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}
