/**
 * Route hints for a node whose channels nobody sees. LND itself puts up to twenty into an invoice, which then fits into no header; the few
 * with most room are chosen here. Field by field from lnrpc/lightning.proto.
 */
import { z } from "zod";
import { inboundMs, maxRouteHints } from "../base/limits.ts";
import { log } from "../base/log.ts";
import { LndError, type LndRpc } from "./lnd-rpc.ts";
import { integer } from "./lnd-fields.ts";

const channels = z.object({
  channels: z.array(z.object({ active: z.boolean().default(false), remote_pubkey: z.string(), chan_id: z.string(), remote_balance: integer, peer_scid_alias: z.string().default("0") })).default([]),
});
const policy = z.object({ fee_base_msat: integer, fee_rate_milli_msat: integer, time_lock_delta: z.number().default(0) }).nullish();
const edge = z.object({ node1_pub: z.string(), node1_policy: policy, node2_policy: policy });

type Channel = z.infer<typeof channels>["channels"][number];
export type RouteHint = { hop_hints: { node_id: string; chan_id: string; fee_base_msat: number; fee_proportional_millionths: number; cltv_expiry_delta: number }[] };

export class RouteHints {
  readonly #rpc: LndRpc;
  readonly #nowMs: () => number;
  #known: { atMs: number; hints: Promise<RouteHint[] | undefined> } | undefined;

  constructor(rpc: LndRpc, nowMs: () => number) {
    this.#rpc = rpc;
    this.#nowMs = nowMs;
  }

  /** Undefined where the node tells none: whatever LND finds is taken then. */
  get(): Promise<RouteHint[] | undefined> {
    const nowMs = this.#nowMs();
    if (this.#known === undefined || nowMs >= this.#known.atMs + inboundMs) this.#known = { atMs: nowMs, hints: this.#ask() };
    return this.#known.hints;
  }

  async #ask(): Promise<RouteHint[] | undefined> {
    try {
      const listed = await this.#rpc.call("ListChannels", { active_only: true, private_only: true }, channels);
      const roomiest = listed.channels.filter(({ active }) => active).sort((a, b) => (a.remote_balance < b.remote_balance ? 1 : -1)).slice(0, maxRouteHints);
      const hints = await Promise.all(roomiest.map((channel) => this.#hintOf(channel)));
      const told = hints.filter((hint) => hint !== undefined);
      return told.length > 0 ? told : undefined;
    } catch (error) {
      if (!(error instanceof LndError)) throw error;
      log.info("node.hints_unknown", { reason: error.message });
      return undefined;
    }
  }

  /** What the peer asks for passing a payment on to us. Undefined while it has not said. */
  async #hintOf({ remote_pubkey: peer, chan_id, peer_scid_alias: alias }: Channel): Promise<RouteHint | undefined> {
    const found = await this.#rpc.call("GetChanInfo", { chan_id }, edge).catch(nothingKnown);
    if (found === undefined) return undefined;
    const { node1_pub, node1_policy, node2_policy } = found;
    const its = node1_pub === peer ? node1_policy : node2_policy;
    if (!its) return undefined;
    // Where both ends agreed on aliases, the peer knows the channel by its own.
    const known = alias === "0" ? chan_id : alias;
    return { hop_hints: [{ node_id: peer, chan_id: known, fee_base_msat: Number(its.fee_base_msat), fee_proportional_millionths: Number(its.fee_rate_milli_msat), cltv_expiry_delta: its.time_lock_delta }] };
  }
}

/** Of a channel that is new. */
function nothingKnown(error: unknown): undefined {
  if (!(error instanceof LndError) || error.trouble !== "not_found") throw error;
}
