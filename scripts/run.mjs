// Runs a file of this project on the pinned Bun. Needs only Node with npm: the first call installs Bun and the
// dependencies below this folder, later calls start at once. Nothing is installed outside the project.
//   node scripts/run.mjs FILE [ARG ...]        node scripts/run.mjs --bin NAME [ARG ...]
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const version = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).config.bun;

function versionOf(bun) {
  const answer = spawnSync(bun, ["--version"], { encoding: "utf8" });
  return answer.status === 0 ? answer.stdout.trim() : undefined;
}

/** The path of Bun in exactly the pinned version: the one on PATH if it is that, else our own copy. */
function findOrInstallBun() {
  if (versionOf("bun") === version) return "bun";
  const home = join(root, ".cache", `bun-${version}`);
  // npm's platform packages carry the program itself, so no install script has to run.
  const musl = process.platform === "linux" && !process.report?.getReport().header.glibcVersionRuntime;
  const cpu = process.arch === "arm64" ? "aarch64" : process.arch;
  const names = [`bun-${process.platform}-${cpu}${musl ? "-musl" : ""}`, `bun-${process.platform}-${cpu}${musl ? "-musl" : ""}-baseline`];
  const find = () => names.map((name) => join(home, "node_modules", "@oven", name, "bin", process.platform === "win32" ? "bun.exe" : "bun"))
    .find((path) => existsSync(path) && versionOf(path) === version);
  if (find()) return find();
  process.stderr.write(`Installing Bun ${version} (once) ...\n`);
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "package.json"), "{}");
  execFileSync(process.platform === "win32" ? "npm.cmd" : "npm",
    ["install", "--prefix", home, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", `bun@${version}`],
    { stdio: ["ignore", 2, 2], shell: process.platform === "win32", cwd: home });
  const bun = find();
  if (!bun) throw new Error(`npm installed no Bun for ${process.platform} ${process.arch}`);
  return bun;
}

/** Installs exactly what bun.lock says, unless that was done before. */
function installDependencies(bun) {
  const want = createHash("sha256").update(readFileSync(join(root, "bun.lock"))).digest("hex");
  const stamp = join(root, "node_modules", ".hearth-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === want) return;
  process.stderr.write("Installing dependencies (once) ...\n");
  execFileSync(bun, ["install", "--frozen-lockfile", "--ignore-scripts", "--silent"], { cwd: root, stdio: ["ignore", 2, 2] });
  writeFileSync(stamp, want);
}

const bun = findOrInstallBun();
installDependencies(bun);
const [first, ...rest] = process.argv.slice(2);
const args = first === "--bin" ? ["x", "--bun", ...rest] : [join(root, first), ...rest];
const child = spawn(bun, args, { stdio: "inherit", cwd: first === "--bin" ? root : process.env.INIT_CWD ?? process.cwd() });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal ? 1 : code ?? 1));
