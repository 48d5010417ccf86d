/** Starts what is compared, each as a process of its own in front of the same upstream. Loopback only. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buyCredential, buyToken } from "../test/support/hearth.ts";
import type { Served } from "./books.ts";
import { type Child, startChild } from "./children.ts";
import { chatBody, cheapestPlace, places, price } from "./workload.ts";

/** What is compared with each other. */
export const contestantNames = ["direct", "nginx", "bare-bun", "no-ledger", "hearth"] as const;
export type HearthName = "hearth" | "hearth-300";
export type ContestantName = (typeof contestantNames)[number] | HearthName;

/** `hearth`: where something is sold, and the books of it are held. */
export type Contestant = { name: ContestantName; chatUrl: string; pid: number; hearth?: HearthUnderTest };

export type HearthUnderTest = {
  name: HearthName;
  child: Child;
  dataDir: string;
  credentials: string[];
  /** Buys for the exact pass only. */
  exactCredential: string;
  /** Askers, as the upstream counts them: who must have been asked for every call, and who for none. */
  servedBy: string;
  passedOver: readonly string[];
  served: Served;
};

/** An upstream in hearth.toml: what the bench's upstream calls the asker, and what is asked for all its models. */
type Place = { name: string; price: { inputSatsPerMtok: number; outputSatsPerMtok: number } };

const here = import.meta.dir;
const main = join(here, "../src/main.ts");
const bun = process.execPath;
const credentialCount = 16;
/**
 * Bun's `fetch` keeps everything beyond 256 requests waiting, and reads this only when the process starts. The two
 * limits get it, so that they are limits; hearth runs as it is started, with it only where `npm run` sets it.
 */
const manyRequests = { BUN_CONFIG_MAX_HTTP_REQUESTS: "4096" };
const ownEnvironment: Record<string, string> = process.env.BUN_CONFIG_MAX_HTTP_REQUESTS
  ? { BUN_CONFIG_MAX_HTTP_REQUESTS: process.env.BUN_CONFIG_MAX_HTTP_REQUESTS }
  : {};
/** Buys more calls than any run makes. */
const credentialSats = 100_000;

export function startUpstream(): Promise<Child> {
  return startChild({ name: "upstream", command: [bun, join(here, "upstream.ts")] });
}

export async function startBareBun(upstreamUrl: string): Promise<Contestant> {
  const child = await startChild({ name: "bare-bun", command: [bun, join(here, "bare-bun.ts"), `${upstreamUrl}/bare-bun`], env: manyRequests });
  return { name: "bare-bun", chatUrl: `${child.url}/v1/chat/completions`, pid: child.pid };
}

export async function startNoLedger(upstreamUrl: string): Promise<Contestant> {
  const child = await startChild({ name: "no-ledger", command: [bun, join(here, "no-ledger.ts"), `${upstreamUrl}/no-ledger`], env: manyRequests });
  return { name: "no-ledger", chatUrl: `${child.url}/v1/chat/completions`, pid: child.pid };
}

/** Undefined, with a sentence printed, where nginx is missing. */
export async function startNginx(upstreamUrl: string, folder: string): Promise<Contestant | undefined> {
  const nginx = Bun.which("nginx", { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` });
  if (nginx === null) {
    process.stdout.write("nginx is not installed, so it is left out (Debian: apt install nginx-light).\n");
    return undefined;
  }
  const port = freePort();
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "nginx.conf"), nginxConfig(new URL(upstreamUrl).host, port, folder));
  // Its first notice comes when it listens.
  const child = await startChild({ name: "nginx", command: [nginx, "-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"], ready: /\[(notice)\]/ });
  return { name: "nginx", chatUrl: `http://127.0.0.1:${port}/v1/chat/completions`, pid: child.pid };
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop(true);
  return port;
}

/** One process without a master, so that its processor time is one number. */
function nginxConfig(upstreamHost: string, port: number, folder: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `  ${name}_temp_path ${folder}/${name};`).join("\n");
  return `daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr notice;
events { worker_connections 4096; }
http {
  access_log off;
${temporary}
  keepalive_requests 100000000;
  upstream model { server ${upstreamHost}; keepalive 512; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://model/nginx/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
`;
}

function hearthConfig(upstreamUrl: string, upstreams: readonly Place[]): string {
  const limits = `[limits]\nmin_price_sats = ${credentialSats}\nmax_open_invoices = 10000000\nmax_owed_sats = 2100000000000000\n`;
  const lists = upstreams.map((place) => `
[[upstreams]]
name = "${place.name}"
url = "${upstreamUrl}/${place.name}/v1"
price = { input_sats_per_mtok = ${place.price.inputSatsPerMtok}, output_sats_per_mtok = ${place.price.outputSatsPerMtok} }
`);
  return limits + lists.join("");
}

const oneModel = { name: "hearth", upstreams: [{ name: "hearth", price }], servedBy: "hearth" } as const;
/** Five upstreams that list 300 models together, and one more that all of them have. */
const manyModels = { name: "hearth-300", upstreams: places, servedBy: cheapestPlace } as const;

/** The real program with real credentials and one model. `options` go to Bun, e.g. to profile it. */
export function startHearth(upstreamUrl: string, dataDir: string, options = ""): Promise<HearthUnderTest> {
  return startHouse(oneModel, upstreamUrl, dataDir, options);
}

export function startHearth300(upstreamUrl: string, dataDir: string): Promise<HearthUnderTest> {
  return startHouse(manyModels, upstreamUrl, dataDir, "");
}

export function asContestant(hearth: HearthUnderTest): Contestant {
  const { name, child } = hearth;
  return { name, chatUrl: `${child.url}/v1/chat/completions`, pid: child.pid, hearth };
}

async function startHouse({ name, upstreams, servedBy }: typeof oneModel | typeof manyModels, upstreamUrl: string, dataDir: string, options: string): Promise<HearthUnderTest> {
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(join(dataDir, "hearth.toml"), hearthConfig(upstreamUrl, upstreams));
  const env = { ...ownEnvironment, HOME: dataDir, HEARTH_DATA_DIR: dataDir, HEARTH_PORT: "0", HEARTH_OWNER_PORT: "0", ...(options && { BUN_OPTIONS: options }) };
  const child = await startChild({ name, command: [bun, main, "serve"], env, cwd: dataDir, ready: /Hearth is ready: (\S+)/ });
  const credentials: string[] = [];
  for (let i = 0; i < credentialCount; i++) credentials.push(`Bearer ${await buyToken(child.url, credentialSats)}`);
  const exactCredential = await buyCredential(child.url, chatBody);
  const passedOver = upstreams.map((place) => place.name).filter((one) => one !== servedBy);
  // Each credential was bought with a bill of its own, and a bill that is paid is no longer open.
  const served = { calls: 0, cutCallsAtMost: 0, bills: 0, cutBillsAtMost: 0, exact: { calls: 0, chargedMsat: 0n } };
  return { name, child, dataDir, credentials, exactCredential, servedBy, passedOver, served };
}
