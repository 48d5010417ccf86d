/**
 * The Worker of Lightning Node Connect with one more certificate to trust. Bun reads NODE_EXTRA_CA_CERTS when a process begins, and the
 * tests' own has begun before there is a certificate; a Hearth they start is simply given that variable.
 */
const ca = await Bun.file(process.env.LNC_TEST_CERTIFICATE!).text();
const Plain = globalThis.WebSocket;
globalThis.WebSocket = class extends Plain {
  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, { protocols, tls: { ca } } as Bun.WebSocketOptions);
  }
} as typeof WebSocket;
await import("../../src/lightning/lnc-worker.ts");

/** Tells who asks how many calls are under way in the WASM. */
declare const self: Worker;
type Counting = { wasmClientOpenCalls(): number };
self.addEventListener("message", ({ data }: MessageEvent) => {
  if (data === "open calls") self.postMessage({ told: "open calls", count: (globalThis as unknown as { hearth: Counting }).hearth.wasmClientOpenCalls() });
});
export {};
