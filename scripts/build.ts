// Builds the one file that is Hearth: `npm run build [-- OUTFILE]`. Threads are entry points of their own. The WASM of Lightning Node Connect
// goes in where `npm run build:lnc` has made it.
import { existsSync } from "node:fs";

const root = new URL("..", import.meta.url).pathname;
const wasm = "lnc/build/lnc.wasm.gz";
const outfile = process.argv[2] ?? "dist/hearth";

const entryPoints = ["src/main.ts", "src/writer.ts", "src/store/sync-worker.ts", "src/store/checkpoint-worker.ts", "src/lightning/lnc-worker.ts"];
if (existsSync(`${root}${wasm}`)) entryPoints.push(wasm);
else process.stderr.write("Without Lightning Node Connect: npm run build:lnc makes its part, where Go is.\n");
const child = Bun.spawn(
  [
    process.execPath, "build", "--compile", "--minify", "--bytecode", "--format=esm", "--sourcemap",
    // Without these two the file would read .env and bunfig.toml of whatever directory it is started in.
    "--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig",
    // Where the sources are, so that a file from elsewhere does not move the Workers.
    "--root=src", ...entryPoints, "--outfile", outfile,
  ],
  { cwd: root, stdout: "inherit", stderr: "inherit" },
);
process.exit(await child.exited);
export {};
