/**
 * A data directory belongs to one network and one node: an account funded with play money must never be spent against
 * a real node, and open invoices live on the node that made them.
 */
import type { Network, NodeStatus } from "../lightning/node.ts";
import { command } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";

export type BindOutcome = { ok: true } | { ok: false; bound: string; boundTo: "network" | "node" };

/** Written at the first start, compared at every later one. */
export const bindNode = command("payments.bindNode", (tx, node: Pick<NodeStatus, "network" | "publicKey">): BindOutcome => {
  const bind = (name: string, value: string): string => {
    tx.run("INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, value);
    return tx.get<{ value: string }>("SELECT value FROM setting WHERE name = ?", name)!.value;
  };
  const network = bind("network", node.network);
  if (network !== node.network) return { ok: false, bound: network, boundTo: "network" };
  const publicKey = bind("node_public_key", node.publicKey);
  return publicKey === node.publicKey ? { ok: true } : { ok: false, bound: publicKey, boundTo: "node" };
});

/** Undefined in a data directory whose node never answered. */
export function boundNode(reader: Pick<Reader, "get">): Pick<NodeStatus, "network" | "publicKey"> | undefined {
  const read = (name: string) => reader.get<{ value: string }>("SELECT value FROM setting WHERE name = ?", name)?.value;
  const [network, publicKey] = [read("network"), read("node_public_key")];
  return network === undefined || publicKey === undefined ? undefined : { network: network as Network, publicKey };
}
