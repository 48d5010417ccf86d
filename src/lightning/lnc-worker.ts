/**
 * The Worker of Lightning Node Connect: lnc-web and below it our WASM (lnc/). It holds one connection and is thrown away when that is of no
 * use any more; deadlines and new beginnings are the main thread's. It keeps nothing and prints nothing.
 */
import "./lnc-shim.ts";
import { WasmManager } from "@lightninglabs/lnc-web";
import { describeError } from "../base/log.ts";
import type { FromLnc, ToLnc } from "./lnc-protocol.ts";

declare const self: Worker;

const namespace = "hearth";
const pollMs = 100;

/** What our WASM has besides lnc-web's own. */
type Wasm = { wasmClientLastCall(): number; wasmClientCancelRPC(number: number): boolean; wasmClientRights(): string; wasmClientProblem(): string };
const wasm = () => (globalThis as unknown as Record<string, Wasm>)[namespace]!;

const tell = (what: FromLnc) => self.postMessage(what);
/** The WASM's number of each call under way, by ours. */
const numbers = new Map<number, number>();
let manager: WasmManager;

async function connect({ wasm: path, sum, mailbox, phrase, localKey, remoteKey }: ToLnc & { do: "connect" }): Promise<void> {
  const program = Bun.gunzipSync(await Bun.file(path).bytes());
  if (new Bun.CryptoHasher("sha256").update(program).digest("hex") !== sum) throw new Error("the WASM is not the one this Hearth was made with; build it again with npm run build:lnc");
  const url = URL.createObjectURL(new Blob([program], { type: "application/wasm" }));
  manager = new WasmManager(namespace, url, { onLocalKeyCreated: () => undefined, onRemoteKeyReceived: (key) => tell({ told: "remote_key", key }) });
  await manager.preload();
  URL.revokeObjectURL(url);
  await manager.run();
  await manager.waitTilReady();
  tell({ told: "started" });
  // It gives up after ten seconds, the WASM does not: what counts is whether there is a connection.
  manager.connect({ pairingPhrase: phrase, serverHost: mailbox, localKey, remoteKey }).catch(() => undefined);
  if (wasm().wasmClientProblem() !== "") throw new Error(wasm().wasmClientProblem());
  for (let last = ""; !manager.isConnected; await Bun.sleep(pollMs)) {
    if (manager.status !== last) tell({ told: "status", status: (last = manager.status) });
  }
  // 1970 is lnc-web's way to say never.
  tell({ told: "connected", rights: wasm().wasmClientRights().split("\n").filter((right) => right !== ""), endsAtMs: manager.expiry.getTime() || undefined });
}

function ended(id: number, error: unknown): void {
  numbers.delete(id);
  tell({ told: "ended", id, words: error instanceof Error ? error.message : String(error), connected: manager.isConnected });
}

function call({ id, method, request }: { id: number; method: string; request: object }): void {
  const answer = manager.request<unknown>(method, request);
  numbers.set(id, wasm().wasmClientLastCall());
  answer.then(
    (value) => {
      numbers.delete(id);
      tell({ told: "answer", id, value });
    },
    (error: unknown) => ended(id, error),
  );
}

function stream({ id, method, request }: { id: number; method: string; request: object }): void {
  manager.subscribe<unknown>(method, request, (value) => tell({ told: "message", id, value }), (error) => ended(id, error));
  numbers.set(id, wasm().wasmClientLastCall());
}

function hear(what: ToLnc): void {
  switch (what.do) {
    case "connect":
      return void connect(what).catch((error: unknown) => tell({ told: "broken", why: describeError(error) }));
    case "call":
      return call(what);
    case "stream":
      return stream(what);
    case "cancel":
      if (numbers.has(what.id)) wasm().wasmClientCancelRPC(numbers.get(what.id)!);
      return;
    case "disconnect":
      return manager?.disconnect();
  }
}

self.onmessage = ({ data }: MessageEvent<ToLnc>) => {
  try {
    hear(data);
  } catch (error) {
    // A Go program that has ended throws at every call.
    tell({ told: "broken", why: describeError(error) });
  }
};
tell({ told: "loaded" });
