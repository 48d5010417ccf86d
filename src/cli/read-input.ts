/** What is piped in, or typed with nothing shown. */
import { spawnSync } from "node:child_process";

export async function readInput(): Promise<string> {
  if (!process.stdin.isTTY) return new Response(Bun.stdin.stream()).text();
  process.stderr.write("Type or paste the secret, then Enter: ");
  const echo = (mode: "echo" | "-echo") => spawnSync("stty", [mode], { stdio: ["inherit", "ignore", "ignore"] });
  echo("-echo");
  try {
    for await (const line of console) return line;
    return "";
  } finally {
    echo("echo");
    process.stderr.write("\n");
  }
}
