// Runs the tests: types first, then every suite that needs nothing but this checkout. `--heavy` runs the suites that take
// minutes or build real peers, `--compiled` the end-to-end tests against the compiled file. Further arguments are
// files or folders to run instead. Ends with one line: `N passed, N failed`.
import { readdirSync } from "node:fs";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
/** Suites of the heavier run; everything else below test/ belongs to the ordinary one. */
const heavyFolders = ["test/durability", "test/peers"];
const testTimeoutMs = 60_000;

function testFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name))
    .sort();
}

async function run(command: string[], env: Record<string, string | undefined> = process.env): Promise<{ code: number; output: string }> {
  const child = Bun.spawn(command, { cwd: root, stdout: "pipe", stderr: "pipe", env });
  let output = "";
  const pass = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      const text = decoder.decode(bytes, { stream: true });
      output += text;
      process.stdout.write(text);
    }
  };
  await Promise.all([pass(child.stdout), pass(child.stderr)]);
  return { code: await child.exited, output };
}

function count(output: string, what: "pass" | "fail"): number {
  return Number(new RegExp(`^\\s*(\\d+) ${what}$`, "m").exec(output)?.[1] ?? "0");
}

let passed = 0, failed = 0;

/** A run that ends badly without a failed test (a crash, no test found) counts as one failure. */
function add({ code, output }: { code: number; output: string }): void {
  const fails = count(output, "fail");
  passed += count(output, "pass");
  failed += fails > 0 || code === 0 ? fails : 1;
}

async function runTests(files: string[], env?: Record<string, string | undefined>): Promise<void> {
  add(await run([process.execPath, "test", "--timeout", String(testTimeoutMs), ...files.map((file) => `./${file}`)], env));
}

async function checkTypes(): Promise<void> {
  const { code } = await run([process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", root]);
  code === 0 ? passed++ : failed++;
}

async function runCompiled(): Promise<void> {
  const binary = join(root, "dist/hearth");
  const built = await run([process.execPath, join(root, "scripts/build.ts"), binary]);
  if (built.code !== 0) return void failed++;
  await runTests(testFiles("test/e2e"), { ...process.env, HEARTH_BINARY: binary });
}

const [flag, ...rest] = process.argv.slice(2);
const all = testFiles("test");
const isHeavy = (file: string) => heavyFolders.some((folder) => file.startsWith(`${folder}/`));
if (flag === "--heavy") await runTests(rest.length > 0 ? rest : all.filter(isHeavy));
else if (flag === "--compiled") await runCompiled();
else if (flag !== undefined) await runTests([flag, ...rest]);
else {
  await checkTypes();
  await runTests(all.filter((file) => !isHeavy(file)));
}
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
export {};
