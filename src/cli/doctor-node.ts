/** What `hearth doctor` says of a real node: how it is, whether its macaroon is enough and not too much, how much it can be paid. */
import { describeError } from "../base/log.ts";
import { lowInboundSats } from "../base/limits.ts";
import type { Diagnosable, Liquid, Node } from "../lightning/node.ts";

/** Two million sats of room at 1% and the miners' fee, as of 2026; it moves with the fees. */
const firstChannelSats = 23_500;

export type Line = { ok: boolean; text: string };

export type NodeToCheck = {
  node: Node & Diagnosable & Partial<Liquid>;
  /** What its macaroon allows, where it has one; undefined where that cannot be read. */
  rights?(): { missing: readonly string[]; dangerous: readonly string[] } | undefined;
  /** Of a node that buys room for what comes: what it has, and what was paid ahead for more. */
  room?(): Promise<{ channels: number; inboundSats: number; feeCreditSats: number }>;
};

export async function checkNode({ node, rights, room }: NodeToCheck): Promise<Line[]> {
  const condition = await node.condition();
  if (condition.kind !== "ready") return [{ ok: false, text: `node: ${condition.what}` }];
  const { network, publicKey, alias } = await node.status();
  return [
    { ok: true, text: `node: ${alias || publicKey.slice(0, 16)} on ${network}` },
    ...(rights ? [checkRights(rights())] : []),
    room ? await checkRoom(room) : await checkInbound(node),
  ];
}

function checkRights(rights: ReturnType<NonNullable<NodeToCheck["rights"]>>): Line {
  if (rights === undefined) return { ok: true, text: "macaroon: its rights cannot be read here" };
  const { missing, dangerous } = rights;
  if (missing.length > 0) return { ok: false, text: `macaroon: it lacks ${missing.join(", ")}; bake one with invoices:read invoices:write info:read offchain:read` };
  if (dangerous.length > 0)
    return { ok: false, text: `macaroon: it allows more than selling needs (${dangerous.slice(0, 4).join(", ")}${dangerous.length > 4 ? " ..." : ""}); whoever reads it could take your money. Bake one with invoices:read invoices:write info:read offchain:read` };
  return { ok: true, text: "macaroon: it can sell and cannot spend" };
}

async function checkInbound(node: Partial<Liquid>): Promise<Line> {
  try {
    const receivableMsat = await node.receivableMsat?.();
    if (receivableMsat === undefined) return { ok: true, text: "inbound: this node does not tell how much it can be paid" };
    const sats = receivableMsat / 1000n;
    return { ok: sats >= lowInboundSats, text: `inbound: up to ${sats} sats can be paid in${sats >= lowInboundSats ? "" : "; buyers are turned away above that, open a channel towards you"}` };
  } catch (error) {
    return { ok: false, text: `inbound: not known (${describeError(error)}); give the macaroon offchain:read` };
  }
}

async function checkRoom(room: NonNullable<NodeToCheck["room"]>): Promise<Line> {
  try {
    const { channels, inboundSats, feeCreditSats } = await room();
    if (channels === 0) return { ok: true, text: `inbound: no channel yet; the first ${firstChannelSats} sats or so that come in pay for it as fee credit (${feeCreditSats} now), which is not paid back` };
    return { ok: true, text: `inbound: ${inboundSats} sats in its channels and ${feeCreditSats} sats of fee credit; it buys more by itself, out of what comes in` };
  } catch (error) {
    return { ok: false, text: `inbound: not known (${describeError(error)})` };
  }
}
