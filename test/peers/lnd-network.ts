/**
 * A real Lightning network on loopback: btcd on regtest and two lnd nodes with a channel, so that one sells and the other pays. All of it
 * lives in one folder and ends with `stop`.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const rpcUser = "peers", rpcPassword = "peers";
const startTimeoutMs = 60_000;
const pollMs = 200;
const channelSats = 4_000_000;

export type LndPeer = {
  name: string;
  restUrl: string;
  /** gRPC. */
  rpcAddress: string;
  /** Where other nodes reach it. */
  address: string;
  folder: string;
  certificatePath: string;
  macaroonPath(name: "admin" | "invoice" | "readonly" | "router"): string;
  lncli(...args: string[]): Promise<string>;
  /** Ends it with a signal and waits. */
  kill(signal: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP, SIGCONT. */
  signal(signal: NodeJS.Signals): void;
};

export type LndNetwork = {
  seller: LndPeer;
  payer: LndPeer;
  generate(blocks: number): Promise<void>;
  stop(): Promise<void>;
};

/** Builds what is missing. The folder of the programs. */
export async function buildLnd(): Promise<string> {
  const child = Bun.spawn(["bash", join(import.meta.dir, "build-lnd.sh")], { stdout: "pipe", stderr: "inherit" });
  const out = (await new Response(child.stdout).text()).trim();
  if ((await child.exited) !== 0) throw new Error("lnd could not be built");
  return out.split("\n").at(-1)!;
}

/** All are held until the last is known, so that no two are one. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const giveUpAtMs = Date.now() + startTimeoutMs;
  let last: unknown;
  while (Date.now() < giveUpAtMs) {
    const found = await look().catch((error: unknown) => void (last = error));
    if (found !== undefined && found !== null) return found as T;
    await Bun.sleep(pollMs);
  }
  throw new Error(`${what} did not happen: ${String(last)}`);
}

async function run(command: string[]): Promise<string> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command.slice(0, 1).join("")}: ${error || out}`);
  return out.trim();
}

type Chain = { rpc: string; certificate: string; btcctl(...args: string[]): Promise<string>; start(miningAddress?: string): Promise<void>; stop(): Promise<void> };

async function startChain(programs: string, folder: string): Promise<Chain> {
  const [rpcPort, port] = await freePorts(2);
  const certificate = join(folder, "rpc.cert"), key = join(folder, "rpc.key");
  const rpc = `127.0.0.1:${rpcPort}`;
  let child: Bun.Subprocess | undefined;
  const btcctl = (...args: string[]) => run([join(programs, "btcctl"), "--configfile=/dev/null", "--regtest", `--rpcserver=${rpc}`, `--rpcuser=${rpcUser}`, `--rpcpass=${rpcPassword}`, `--rpccert=${certificate}`, ...args]);
  const stop = async () => {
    child?.kill("SIGINT");
    await child?.exited;
  };
  const start = async (miningAddress?: string) => {
    child = Bun.spawn(
      [join(programs, "btcd"), "--configfile=/dev/null", "--regtest", `--datadir=${join(folder, "data")}`, `--logdir=${join(folder, "log")}`, `--rpcuser=${rpcUser}`, `--rpcpass=${rpcPassword}`,
        `--rpclisten=${rpc}`, `--listen=127.0.0.1:${port}`, `--rpccert=${certificate}`, `--rpckey=${key}`, "--txindex", ...(miningAddress ? [`--miningaddr=${miningAddress}`] : [])],
      { stdout: "ignore", stderr: "ignore" },
    );
    await eventually("btcd", () => btcctl("getblockcount"));
  };
  await start();
  return { rpc, certificate, btcctl, start, stop };
}

async function startPeer(programs: string, folder: string, name: string, chain: Chain, [rpcPort, restPort, port]: number[]): Promise<LndPeer> {
  const dir = join(folder, name);
  mkdirSync(dir, { recursive: true });
  const certificatePath = join(dir, "tls.cert");
  const macaroonPath = (which: string) => join(dir, "data", "chain", "bitcoin", "regtest", `${which}.macaroon`);
  let child: Bun.Subprocess | undefined;
  const lncli = (...args: string[]) => run([join(programs, "lncli"), "--network=regtest", `--lnddir=${dir}`, `--rpcserver=127.0.0.1:${rpcPort}`, ...args]);
  const start = async () => {
    child = Bun.spawn(
      [join(programs, "lnd"), "--noseedbackup", `--lnddir=${dir}`, `--rpclisten=127.0.0.1:${rpcPort}`, `--restlisten=127.0.0.1:${restPort}`, `--listen=127.0.0.1:${port}`, `--alias=${name}`, "--debuglevel=warn",
        "--bitcoin.regtest", "--bitcoin.node=btcd", `--btcd.rpchost=${chain.rpc}`, `--btcd.rpcuser=${rpcUser}`, `--btcd.rpcpass=${rpcPassword}`, `--btcd.rpccert=${chain.certificate}`],
      { stdout: Bun.file(join(dir, "out.log")), stderr: Bun.file(join(dir, "err.log")) },
    );
    // Before the chain has blocks it waits for them, with its wallet open.
    await eventually(`${name} to start`, async () => (/SERVER_ACTIVE|RPC_ACTIVE/.test(await lncli("state")) ? true : undefined));
  };
  await start();
  const peer: LndPeer = {
    name, folder: dir, certificatePath, macaroonPath, lncli, start,
    restUrl: `https://127.0.0.1:${restPort}`, address: `127.0.0.1:${port}`, rpcAddress: `127.0.0.1:${rpcPort}`,
    kill: async (signal) => {
      child?.kill(signal);
      await child?.exited;
    },
    signal: (signal) => child?.kill(signal),
  };
  return peer;
}

const tries = 3;

/** About fifteen seconds once everything is built. Now and then a node does not hear of its chain: then all of it begins anew. */
export async function startLndNetwork(): Promise<LndNetwork> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce();
    } catch (error) {
      if (attempt === tries) throw error;
      console.warn(`the Lightning network did not start: ${String(error)}`);
    }
  }
}

async function startOnce(): Promise<LndNetwork> {
  const programs = await buildLnd();
  const folder = mkdtempSync(join(tmpdir(), "hearth-lnd-"));
  mkdirSync(join(folder, "btcd"));
  const chain = await startChain(programs, join(folder, "btcd"));
  const ports = await freePorts(6);
  const [seller, payer] = await Promise.all([startPeer(programs, folder, "seller", chain, ports.slice(0, 3)), startPeer(programs, folder, "payer", chain, ports.slice(3))]);
  const generate = async (blocks: number) => void (await chain.btcctl("generate", String(blocks)));
  const stop = async () => {
    await Promise.all([seller.kill("SIGKILL"), payer.kill("SIGKILL")]);
    await chain.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { address } = JSON.parse(await payer.lncli("newaddress", "p2wkh")) as { address: string };
    await chain.stop();
    await chain.start(address);
    // Segwit begins at 432.
    await generate(500);
    for (const peer of [seller, payer]) await eventually(`${peer.name} to know the chain`, async () => (JSON.parse(await peer.lncli("getinfo")) as { synced_to_chain: boolean }).synced_to_chain || undefined);
    await openChannel(payer, seller, generate);
    return { seller, payer, generate, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function connect(from: LndPeer, to: LndPeer): Promise<true | undefined> {
  const { identity_pubkey: key } = JSON.parse(await to.lncli("getinfo")) as { identity_pubkey: string };
  return from.lncli("connect", `${key}@${to.address}`).then(() => true as const, (error: unknown) => (String(error).includes("already connected") ? true : undefined));
}

async function openChannel(from: LndPeer, to: LndPeer, generate: (blocks: number) => Promise<void>): Promise<void> {
  const { identity_pubkey: key } = JSON.parse(await to.lncli("getinfo")) as { identity_pubkey: string };
  await eventually("the nodes to connect", () => connect(from, to));
  // Something on both sides, so that either can pay.
  await eventually("the channel to open", () => from.lncli("openchannel", `--node_key=${key}`, `--local_amt=${channelSats}`, `--push_amt=${channelSats / 4}`));
  await generate(6);
  await eventually("the channel to be active", async () => {
    await generate(1);
    const { channels } = JSON.parse(await from.lncli("listchannels", "--active_only")) as { channels: unknown[] };
    return channels.length > 0 ? true : undefined;
  });
  // An active channel is not routable at once, and not in both directions at the same time.
  for (const [payer, payee] of [[from, to], [to, from]] as const)
    await eventually("a first payment", async () => {
      const { payment_request: invoice } = JSON.parse(await payee.lncli("addinvoice", "--amt=1")) as { payment_request: string };
      await payer.lncli("payinvoice", "--force", "--timeout=5s", invoice);
      return true;
    });
}

/** From the payer to the seller, beside the public one. */
export async function openPrivateChannels({ payer, seller, generate }: LndNetwork, sats: readonly number[]): Promise<void> {
  const { identity_pubkey: key } = JSON.parse(await seller.lncli("getinfo")) as { identity_pubkey: string };
  for (const amount of sats) {
    await eventually("a private channel to open", () => payer.lncli("openchannel", "--private", `--node_key=${key}`, `--local_amt=${amount}`));
    // One at a time may wait for its confirmation.
    await generate(3);
  }
  await eventually("the private channels to be known at both ends", async () => {
    await generate(1);
    const { channels } = JSON.parse(await seller.lncli("listchannels", "--active_only", "--private_only")) as { channels: { scid: string }[] };
    const edges = await Promise.all(channels.map(async ({ scid }) => JSON.parse(await seller.lncli("getchaninfo", scid)) as { node1_policy: unknown; node2_policy: unknown }));
    return edges.filter(({ node1_policy, node2_policy }) => node1_policy && node2_policy).length === sats.length ? true : undefined;
  });
}

/** Pays an invoice and answers the preimage. */
export async function payFrom(peer: LndPeer, bolt11: string): Promise<string> {
  const out = await peer.lncli("payinvoice", "--force", "--json", "--timeout=30s", bolt11);
  const last = out.slice(out.lastIndexOf("\n{") + 1);
  const { status, payment_preimage: preimage } = JSON.parse(last) as { status: string; payment_preimage: string };
  if (status !== "SUCCEEDED") throw new Error(`the payment ended ${status}`);
  return preimage;
}

export function hexOf(path: string): string {
  if (!existsSync(path)) throw new Error(`${path} is not there`);
  return readFileSync(path).toString("hex");
}

/** An invoice of this peer. `held`: nothing settles before `take` or `refuse`. */
export async function invoiceOf(peer: LndPeer, sats: number, held: boolean): Promise<{ bolt11: string; paymentHash: string }> {
  if (!held) {
    const made = JSON.parse(await peer.lncli("addinvoice", `--amt=${sats}`)) as { payment_request: string; r_hash: string };
    return { bolt11: made.payment_request, paymentHash: made.r_hash };
  }
  const preimage = crypto.getRandomValues(new Uint8Array(32));
  const paymentHash = new Bun.CryptoHasher("sha256").update(preimage).digest("hex");
  heldPreimages.set(paymentHash, Buffer.from(preimage).toString("hex"));
  const made = JSON.parse(await peer.lncli("addholdinvoice", paymentHash, String(sats))) as { payment_request: string };
  return { bolt11: made.payment_request, paymentHash };
}

const heldPreimages = new Map<string, string>();

/** After a restart the nodes can be asked long before they can pay each other; by themselves they wait ever longer before they meet again. */
export async function channelsBack({ seller, payer }: LndNetwork): Promise<void> {
  await eventually("the channel to be back", async () => {
    if ((JSON.parse(await seller.lncli("listchannels", "--active_only")) as { channels: unknown[] }).channels.length > 0) return true;
    await connect(payer, seller);
    return undefined;
  });
}

/** Until the payment for a held invoice is there to be decided upon. */
export async function arrived(peer: LndPeer, paymentHash: string): Promise<void> {
  await eventually("a payment to be held", async () => ((JSON.parse(await peer.lncli("lookupinvoice", paymentHash)) as { state: string }).state === "ACCEPTED" ? true : undefined));
}

export async function take(peer: LndPeer, paymentHash: string): Promise<void> {
  await arrived(peer, paymentHash);
  await peer.lncli("settleinvoice", heldPreimages.get(paymentHash)!);
}

export async function refuse(peer: LndPeer, paymentHash: string): Promise<void> {
  await arrived(peer, paymentHash);
  await peer.lncli("cancelinvoice", paymentHash);
}

/** What this peer was paid for it, in msat; 0 while it was not. */
export async function paidTo(peer: LndPeer, paymentHash: string): Promise<number> {
  const { state, amt_paid_msat } = JSON.parse(await peer.lncli("lookupinvoice", paymentHash)) as { state: string; amt_paid_msat: string };
  return state === "SETTLED" ? Number(amt_paid_msat) : 0;
}
