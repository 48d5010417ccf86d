/**
 * Lifts Bun's bound on requests in flight, 256 for the whole process: the next stream would wait for another to end, and
 * health checks would time out with it. Bun reads the setting only when a process begins, so Hearth begins again, in
 * the same process; importing this file first is all it takes.
 */
const setting = "BUN_CONFIG_MAX_HTTP_REQUESTS";
const maxRequests = "65336";

/** A compiled file is its own program; from source the program is Bun and its first argument our file. */
function commandLine(): string[] {
  const compiled = import.meta.url.includes("$bunfs");
  return compiled ? [process.execPath, ...process.argv.slice(2)] : [process.execPath, process.argv[1]!, ...process.argv.slice(2)];
}

const sells = process.argv[2] === "serve" || process.argv[2] === "demo";
if (sells && process.env[setting] === undefined && process.platform !== "win32") {
  const environment = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  process.execve!(process.execPath, commandLine(), { ...Object.fromEntries(environment), [setting]: maxRequests });
}
export {};
