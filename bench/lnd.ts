/**
 * W3 and W4 with a real LND on this machine: a 402, and the first call with the credential once it is paid. Beside them, in turns, what the
 * node alone takes for an invoice and for a look-up, so that its share of the time is seen. `bun bench/lnd.ts`; builds what is missing.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { lndAccess } from "../src/lightning/lnd-access.ts";
import { lndPayer } from "../src/lightning/lnd-payer.ts";
import { LndRest } from "../src/lightning/lnd-rest.ts";
import { readInvoice } from "../src/lightning/bolt11.ts";
import { msat } from "../src/money/msat.ts";
import { askForBill, type Bill } from "../test/support/hearth.ts";
import { type LndNetwork, type LndPeer, startLndNetwork } from "../test/peers/lnd-network.ts";
import { startChild } from "./children.ts";
import { startUpstream } from "./contestants.ts";
import { percentile } from "./measures.ts";
import { chatBody, modelId } from "./workload.ts";

const rounds = 5;
const parallels = [1, 16] as const;
const requests = 96;
const purchases = 24;
const folder = join(import.meta.dir, "../.cache/bench-lnd");

type Times = { alone: number[]; bill: number[]; lookUp: number[]; redeem: number[] };

async function timed<Answer>(times: number[], work: () => Promise<Answer>): Promise<Answer> {
  const begunMs = performance.now();
  const answer = await work();
  times.push(performance.now() - begunMs);
  return answer;
}

async function inParallel(parallel: number, count: number, work: () => Promise<unknown>): Promise<void> {
  const worker = async () => {
    for (let i = 0; i < count / parallel; i++) await work();
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

const reached = (peer: LndPeer) => new LndRest(lndAccess({ url: peer.restUrl, certificate: peer.certificatePath, macaroon: peer.macaroonPath("admin") }));

async function payBill(net: LndNetwork, { invoice }: Bill): Promise<string> {
  const { paymentHash, amountMsat } = readInvoice(invoice)!;
  const said = await lndPayer(reached(net.payer)).pay({ bolt11: invoice, paymentHash, amountMsat: amountMsat!, feeLimitMsat: msat(10_000n) }, new AbortController().signal);
  if (said.state !== "succeeded") throw new Error(`a payment ended ${said.state}`);
  return said.preimage;
}

async function redeem(url: string, bill: Bill, preimage: string): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json", authorization: `L402 ${bill.macaroon}:${preimage}` }, body: chatBody });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`a paid call was answered ${answer.status}`);
}

async function measure(net: LndNetwork, url: string, parallel: number, times: Times): Promise<void> {
  const node = reached(net.seller);
  const alone = () => node.call("AddInvoice", { memo: "bench", value_msat: "10000", expiry: "600" }, z.unknown());
  await inParallel(parallel, requests, () => timed(times.alone, alone));
  await inParallel(parallel, requests, () => timed(times.bill, () => askForBill(url, chatBody)));
  for (let i = 0; i < purchases / rounds; i++) {
    const bill = await askForBill(url, chatBody);
    const preimage = await payBill(net, bill);
    await timed(times.redeem, () => redeem(url, bill, preimage));
    await timed(times.lookUp, () => node.call("LookupInvoice", { r_hash_str: bill.payment_hash }, z.unknown()));
  }
}

function row(parallel: number, { alone, bill, lookUp, redeem }: Times): string {
  const ms = (times: number[], percent: number) => percentile(times, percent)!.toFixed(2);
  const share = Math.round((100 * percentile(alone, 50)!) / percentile(bill, 50)!);
  return `| ${parallel} | ${ms(alone, 50)} | ${ms(bill, 50)} | ${ms(bill, 99)} | ${share} % | ${ms(lookUp, 50)} | ${ms(redeem, 50)} | ${ms(redeem, 99)} |`;
}

async function run(): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const net = await startLndNetwork();
  const upstream = await startUpstream();
  writeFileSync(join(folder, "hearth.toml"), `listen = "127.0.0.1"\n[limits]\nmax_open_invoices = 10000000\nmax_open_invoices_per_address = 100000\n[[upstreams]]\nname = "hearth"\nurl = "${upstream.url}/hearth/v1"\nprice = { input_sats_per_mtok = 200, output_sats_per_mtok = 800 }\n`);
  const env = { HOME: folder, HEARTH_DATA_DIR: folder, HEARTH_PORT: "0", HEARTH_OWNER_PORT: "0", HEARTH_NODE: "lnd", HEARTH_LND_REST_URL: net.seller.restUrl, HEARTH_LND_TLS_CERT: net.seller.certificatePath, HEARTH_LND_MACAROON: net.seller.macaroonPath("admin") };
  const hearth = await startChild({ name: "hearth", command: [process.execPath, join(import.meta.dir, "../src/main.ts"), "serve"], env, cwd: folder, ready: /Hearth is ready: (\S+)/ });
  try {
    const all = parallels.map((parallel) => ({ parallel, times: { alone: [], bill: [], lookUp: [], redeem: [] } as Times }));
    await measure(net, hearth.url, 1, { alone: [], bill: [], lookUp: [], redeem: [] });
    for (let round = 0; round < rounds; round++) for (const { parallel, times } of all) await measure(net, hearth.url, parallel, times);
    process.stdout.write(`Model ${modelId}, ${rounds} rounds, ${new Date().toISOString().slice(0, 10)}\n`);
    process.stdout.write("| askers | LND's invoice p50 ms | 402 p50 ms | p99 | LND's share | LND's look-up p50 ms | redeem p50 ms | p99 |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (const { parallel, times } of all) process.stdout.write(`${row(parallel, times)}\n`);
  } finally {
    await hearth.stop();
    await upstream.stop();
    await net.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

await run();
