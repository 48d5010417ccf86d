/** Reads a chat answer off the socket itself: how many writes it came in. */
import { connect } from "node:net";

/** The sizes of the HTTP chunks as they came over the socket: one per write of the server. */
export function rawWrites(modelUrl: string, body: object): Promise<{ sizes: number[]; raw: string }> {
  const payload = JSON.stringify(body);
  const { port } = new URL(modelUrl);
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("data", (bytes) => void parts.push(Buffer.from(bytes)));
    socket.on("error", reject);
    socket.on("close", () => {
      const raw = Buffer.concat(parts).toString("latin1");
      resolve({ raw, sizes: chunkSizes(raw.slice(raw.indexOf("\r\n\r\n") + 4)) });
    });
    const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(payload)}`;
    socket.write(`${head}\r\n\r\n${payload}`);
  });
}

function chunkSizes(rest: string): number[] {
  const sizes: number[] = [];
  for (let at = 0; at < rest.length; ) {
    const lineEnd = rest.indexOf("\r\n", at);
    const size = Number.parseInt(rest.slice(at, lineEnd), 16);
    if (lineEnd < 0 || !(size > 0)) break;
    sizes.push(size);
    at = lineEnd + 2 + size + 2;
  }
  return sizes;
}
