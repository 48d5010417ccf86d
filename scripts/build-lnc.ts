// Builds the WASM of Lightning Node Connect: `npm run build:lnc`. Its Go version is pinned, and what comes out must be what src/lightning/lnc-wasm.json
// says, byte for byte; `-- --accept` writes there what came out, and of which source, after a change. Built once per machine: a copy is
// kept in $HEARTH_PEERS_CACHE, else in ~/.cache/hearth-peers.
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const source = new URL("../lnc/", import.meta.url).pathname;
const outfile = join(source, "build", "lnc.wasm.gz");
const pinFile = new URL("../src/lightning/lnc-wasm.json", import.meta.url).pathname;
const pin = JSON.parse(readFileSync(pinFile, "utf8")) as { go: string; sources: string; sha256: string };

const sumOf = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

/** What it is built from; test/lightning/lnc-wasm.test.ts counts the same. */
function sumOfSources(): string {
  const names = [...new Bun.Glob("*.{go,binpb,mod,sum}").scanSync({ cwd: source })].sort();
  return sumOf(Buffer.concat(names.map((name) => readFileSync(join(source, name)))));
}

/** The flags are part of the result. */
function build(): Uint8Array<ArrayBuffer> {
  const file = join(source, "build", "lnc.wasm");
  if (Bun.which("go") === null) throw new Error("Go is not on PATH; install Go 1.21 or newer, which fetches the version that is needed by itself.");
  process.stderr.write("Building the WASM of Lightning Node Connect (once, about a minute) ...\n");
  const { exitCode, stderr } = Bun.spawnSync(
    ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w -buildid=", "-o", file, "."],
    // Another Go makes other bytes; of this one nothing may change them.
    { cwd: source, env: { ...process.env, GOOS: "js", GOARCH: "wasm", GOWASM: "", GOFLAGS: "", GOEXPERIMENT: "", GOWORK: "off", GOTOOLCHAIN: `go${pin.go}` }, stdout: "inherit", stderr: "pipe" },
  );
  if (exitCode !== 0) throw new Error(`Go ${pin.go} could not build it:\n${stderr}`);
  return readFileSync(file) as Uint8Array<ArrayBuffer>;
}

function put(program: Uint8Array<ArrayBuffer>): void {
  writeFileSync(`${outfile}.new`, Bun.gzipSync(program, { level: 9 }));
  renameSync(`${outfile}.new`, outfile);
}

function isRight(path: string): boolean {
  return existsSync(path) && sumOf(Bun.gunzipSync(readFileSync(path))) === pin.sha256;
}

function main(): void {
  mkdirSync(join(source, "build"), { recursive: true });
  if (process.argv.includes("--accept")) {
    const program = build();
    writeFileSync(pinFile, `${JSON.stringify({ go: pin.go, sources: sumOfSources(), sha256: sumOf(program) })}\n`);
    return put(program);
  }
  const cache = join(process.env.HEARTH_PEERS_CACHE || join(homedir(), ".cache", "hearth-peers"), `lnc-wasm-${pin.sha256.slice(0, 12)}`);
  const kept = join(cache, "lnc.wasm.gz");
  if (sumOfSources() !== pin.sources) throw new Error("lnc/ has changed since src/lightning/lnc-wasm.json was written; run npm run build:lnc -- --accept.");
  if (isRight(outfile)) return;
  if (isRight(kept)) return copyFileSync(kept, outfile);
  const program = build();
  if (sumOf(program) !== pin.sha256) throw new Error(`what was built has the SHA-256 ${sumOf(program)}, not ${pin.sha256} as src/lightning/lnc-wasm.json says: the build is not what it was elsewhere.`);
  put(program);
  mkdirSync(cache, { recursive: true });
  copyFileSync(outfile, kept);
}

try {
  main();
} catch (error) {
  process.stderr.write(`build:lnc: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
export {};
