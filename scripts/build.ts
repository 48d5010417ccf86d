// Builds the one file that is Hearth: `npm run build [-- OUTFILE]`. Threads are entry points of their own.
const outfile = process.argv[2] ?? "dist/hearth";

const entryPoints = ["src/main.ts", "src/writer.ts", "src/store/sync-worker.ts", "src/store/checkpoint-worker.ts"];
const child = Bun.spawn(
  [
    process.execPath, "build", "--compile", "--minify", "--bytecode", "--format=esm", "--sourcemap",
    // Without these two the file would read .env and bunfig.toml of whatever directory it is started in.
    "--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig",
    ...entryPoints, "--outfile", outfile,
  ],
  { cwd: new URL("..", import.meta.url).pathname, stdout: "inherit", stderr: "inherit" },
);
process.exit(await child.exited);
export {};
