/**
 * The other side of Lightning Node Connect on loopback: a mailbox and the server of one session in front of a real lnd, two processes that
 * can be killed one by one. The session outlives its server, as it does in litd.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LndPeer } from "./lnd-network.ts";

const startTimeoutMs = 20_000;

export type Part = {
  kill(signal: NodeJS.Signals): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  start(): Promise<void>;
};

export type LncPeer = {
  /** host:port, as in [lnc]. */
  mailbox: string;
  /** To be trusted: NODE_EXTRA_CA_CERTS. */
  certificatePath: string;
  mailboxServer: Part;
  stop(): Promise<void>;
  /** A new one, with rights of its own. */
  openSession(lnd: LndPeer, macaroonPath: string): Promise<LncPeerSession>;
};
export type LncPeerSession = Part & { phrase: string };

/** Builds what is missing. The program's path. */
export async function buildLncPeer(): Promise<string> {
  const child = Bun.spawn(["bash", join(import.meta.dir, "build-lnc-peer.sh")], { stdout: "pipe", stderr: "inherit" });
  const out = (await new Response(child.stdout).text()).trim();
  if ((await child.exited) !== 0) throw new Error("the peer of Lightning Node Connect could not be built");
  return out.split("\n").at(-1)!;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A process that says one line once it is there. */
class Program implements Part {
  readonly #command: readonly string[];
  #child: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;
  said = "";

  constructor(command: readonly string[]) {
    this.#command = command;
  }

  async start(): Promise<void> {
    const child = Bun.spawn([...this.#command], { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
    this.#child = child;
    const late = setTimeout(() => child.kill("SIGKILL"), startTimeoutMs);
    for await (const bytes of child.stdout) {
      this.said = new TextDecoder().decode(bytes).split("\n")[0]!;
      clearTimeout(late);
      return;
    }
    throw new Error(`${this.#command.slice(0, 2).join(" ")} ended with ${await child.exited}`);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.signal(signal);
    await this.#child?.exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }
}

export async function startLncPeer(): Promise<LncPeer> {
  const program = await buildLncPeer();
  const built = Bun.spawnSync([process.execPath, join(import.meta.dir, "../../scripts/build-lnc.ts")], { stderr: "inherit" });
  if (built.exitCode !== 0) throw new Error("the WASM of Lightning Node Connect could not be built");
  const folder = mkdtempSync(join(tmpdir(), "hearth-lnc-"));
  const made = Bun.spawnSync([program, "certificate", folder]);
  if (made.exitCode !== 0) throw new Error(`no certificate: ${made.stderr}`);
  const certificatePath = join(folder, "cert.pem");
  const mailbox = `localhost:${await freePort()}`;
  const mailboxServer = new Program([program, "mailbox", mailbox, certificatePath, join(folder, "key.pem")]);
  await mailboxServer.start();
  const sessions: Program[] = [];
  return {
    mailbox, certificatePath, mailboxServer,
    openSession: async (lnd, macaroonPath) => {
      const session = new Program([program, "session", mailbox, certificatePath, join(folder, `session-${sessions.length}.json`), lnd.rpcAddress, lnd.certificatePath, macaroonPath]);
      sessions.push(session);
      await session.start();
      return Object.assign(session, { phrase: session.said });
    },
    stop: async () => {
      await Promise.all([...sessions, mailboxServer].map((one) => one.kill("SIGKILL")));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
