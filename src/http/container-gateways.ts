/**
 * Inside a container whose ports are published, every client may seem to come from the container network's gateway. The
 * default routes name it; on a plain machine they name the router, which is nobody's client either.
 */
import { readFileSync } from "node:fs";

/** IPv4 addresses of the default routes; none where the system does not tell (`/proc/net/route`, proc(5)). */
export function containerGateways(path = "/proc/net/route"): string[] {
  try {
    return readGateways(readFileSync(path, "utf8"));
  } catch {
    return [];
  }
}

function readGateways(table: string): string[] {
  const routes = table.split("\n").slice(1).map((line) => line.trim().split(/\s+/));
  return routes.filter(([, destination, gateway]) => destination === "00000000" && gateway !== undefined && gateway !== "00000000").map(([, , gateway]) => toText(gateway!));
}

/** Hex of four bytes, the last first. */
function toText(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(".");
}
