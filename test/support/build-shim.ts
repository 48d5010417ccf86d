/** Compiles shim.c into .cache/ when it is missing or older than its source, and says where it cannot run. */
import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

const source = join(import.meta.dir, "shim.c");
const built = join(import.meta.dir, "../../.cache/shim.so");

/** Why the disk cannot be made to misbehave on this machine, or undefined where it can. */
export const noShimHere: string | undefined =
  process.platform !== "linux" || process.arch !== "x64"
    ? `The shim that cuts the power and fails the disk runs on x64 Linux only, and this is ${process.platform} ${process.arch}.`
    : Bun.which("cc") === null
      ? "The shim that cuts the power and fails the disk is C, and there is no `cc` here."
      : undefined;

/** The path of the compiled shim. @throws when the compiler refuses it. */
export function buildShim(): string {
  if (existsSync(built) && statSync(built).mtimeMs > statSync(source).mtimeMs) return built;
  mkdirSync(dirname(built), { recursive: true });
  const fresh = `${built}.${process.pid}`;
  const compiler = Bun.spawnSync(["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", fresh, source, "-ldl", "-pthread"]);
  if (!compiler.success) throw new Error(`cc refused ${source}:\n${compiler.stderr.toString()}`);
  renameSync(fresh, built); // two suites may build at the same time
  return built;
}
