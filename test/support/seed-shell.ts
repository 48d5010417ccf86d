/** Runs documented shell snippets as they are printed, in a real shell, with a wallet that answers as phoenixd does. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pay } from "./hearth.ts";

export const walletPassword = "wallet-password";

/** phoenixd's `/payinvoice`, which pays with play money. */
export function startPhoenixd(hearthUrl: string) {
  const paid: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    routes: {
      "/payinvoice": {
        POST: async (request) => {
          if (request.headers.get("authorization") !== `Basic ${btoa(`:${walletPassword}`)}`) return new Response("", { status: 401 });
          const invoice = new URLSearchParams(await request.text()).get("invoice") ?? "";
          const paymentPreimage = await pay(hearthUrl, invoice);
          paid.push(invoice);
          return Response.json({ paymentId: "1", paymentPreimage, routingFeeSat: 0 });
        },
      },
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, paid, stop: () => server.stop(true) };
}

/** What the snippets use of jq, for machines that have none: a path of names, a slice, `-r`. */
const jqText = `#!${process.execPath}
const raw = process.argv.includes("-r");
const path = process.argv.slice(2).find((word) => !word.startsWith("-")) ?? ".";
let value = JSON.parse(await Bun.stdin.text());
for (const [, name, end] of path.matchAll(/\\.(\\w+)|\\[:(\\d+)\\]/g)) value = name === undefined ? value.slice(0, Number(end)) : (value[name] ?? null);
console.log(raw && typeof value === "string" ? value : JSON.stringify(value, null, 2));
`;

export class SeedShell {
  readonly #directory = mkdtempSync(join(tmpdir(), "hearth-seeds-"));
  /** Printed base URL -> where it is served here. */
  readonly #bases: Record<string, string>;

  constructor(bases: Record<string, string>) {
    this.#bases = bases;
    if (Bun.which("jq") !== null) return;
    writeFileSync(join(this.#directory, "jq"), jqText);
    chmodSync(join(this.#directory, "jq"), 0o755);
  }

  /** What the snippet prints. @throws when any of its commands fails. */
  async run(snippet: string, variables: Record<string, string> = {}): Promise<string> {
    const script = Object.entries(this.#bases).reduce((text, [printed, here]) => text.replaceAll(printed, here), snippet);
    const env = { PATH: `${this.#directory}:${process.env.PATH ?? ""}`, HOME: this.#directory, PHOENIX_WALLET_PASSWORD: walletPassword, ...variables };
    const child = Bun.spawn(["bash", "-euo", "pipefail", "-c", script], { cwd: this.#directory, env, stdout: "pipe", stderr: "pipe" });
    const [out, error, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
    if (code !== 0) throw new Error(`the snippet ended with ${code}:\n${error}\n${out}`);
    return out;
  }

  /** The JSON values it prints, pretty or not, one after the other. */
  async runJson(snippet: string, variables: Record<string, string> = {}): Promise<unknown[]> {
    const printed = await this.run(snippet, variables);
    return printed.split(/(?<=^[}\]])\n/m).filter((text) => text.trim() !== "").map((text) => JSON.parse(text) as unknown);
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** An answer as `curl -i` and `curl -D-` print it. */
export function readPrinted(printed: string): { status: number; headers: Headers; json: Record<string, unknown> } {
  const text = printed.replaceAll("\r\n", "\n");
  const end = text.indexOf("\n\n");
  const [statusLine = "", ...lines] = text.slice(0, end).split("\n");
  const headers = new Headers(lines.map((line): [string, string] => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  return { status: Number(statusLine.split(" ")[1]), headers, json: JSON.parse(text.slice(end + 2)) as Record<string, unknown> };
}
