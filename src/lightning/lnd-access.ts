/** How LND is reached, from what an owner sets: paths, hex, or PEM. Files are read when they are needed, since they come and change by themselves. */
import { readFileSync } from "node:fs";
import type { LndAccess } from "./lnd-rest.ts";
import { LndError } from "./lnd-rpc.ts";

export type LndSettings = { url: string; certificate: string | undefined; macaroon: string };

export function lndAccess({ url, certificate, macaroon }: LndSettings): LndAccess {
  return {
    url: url.replace(/\/+$/, ""),
    certificate: () => (certificate === undefined ? undefined : readCertificate(certificate)),
    macaroon: () => readMacaroon(macaroon),
  };
}

const hex = /^(?:[0-9a-f]{2}){32,}$/i;

/** In hex, from hex or a file of LND's. @throws LndError */
export function readMacaroon(value: string): string {
  return hex.test(value) ? value.toLowerCase() : readBytes(value, "macaroon").toString("hex");
}

function readCertificate(value: string): string {
  if (value.startsWith("-----BEGIN")) return value;
  const bytes = hex.test(value) ? Buffer.from(value, "hex") : readBytes(value, "tls_cert");
  const text = bytes.toString("latin1");
  // Some boxes show it as the bytes inside.
  return text.startsWith("-----BEGIN") ? text : `-----BEGIN CERTIFICATE-----\n${bytes.toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
}

function readBytes(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const why = (cause as { code?: unknown }).code === "ENOENT" ? "does not exist" : "cannot be read by Hearth's user";
    throw new LndError("unreachable", `The node's ${setting} at ${path} ${why}.`, cause);
  }
}
