/** What `hearth doctor` says of a real node: how it is, whether what opens it is enough and not too much, how much it can be paid and can pay. */
import { describeError } from "../base/log.ts";
import { lowInboundSats } from "../base/limits.ts";
import type { Diagnosable, Liquid, Node, Payable } from "../lightning/node.ts";
import { type Judgement, sessionAdvice, type SessionWanted } from "./doctor-session.ts";
import { askOwnersDoor, type OwnersDoor } from "./owners-door.ts";

/** Two million sats of room at 1% and the miners' fee, as of 2026; it moves with the fees. */
const firstChannelSats = 23_500;

export type Line = { ok: boolean; text: string };

type Rights = { missing: readonly string[]; dangerous: readonly string[] };

export type NodeToCheck = {
  node: Node & Diagnosable & Partial<Liquid> & { payer?: Payable };
  /** What its macaroon allows, where it has one; undefined where that cannot be read. */
  rights?(): Rights | undefined;
  /** Of the one that may pay. */
  payoutRights?(): Rights | undefined;
  /** Whether the password to sell with could pay as well. */
  opensMore?(): Promise<boolean>;
  /** Of a node that is reached by Lightning Node Connect: what its session allows once it was asked anything, and how a better one is made. */
  session?: { judgement(): Judgement | undefined } & SessionWanted;
  /** Where a connection must be ended in good order. */
  stop?(): Promise<void>;
  /** Of a node that buys room for what comes: what it has, and what was paid ahead for more. */
  room?(): Promise<{ channels: number; inboundSats: number; feeCreditSats: number }>;
};

const sellingAdvice = "bake one with invoices:read invoices:write info:read offchain:read";
const payoutAdvice = "bake one with offchain:read offchain:write";

export async function checkNode({ node, rights, payoutRights, opensMore, session, room }: NodeToCheck): Promise<Line[]> {
  const condition = await node.condition();
  if (condition.kind !== "ready") return [{ ok: false, text: `node: ${condition.what}` }];
  const { network, publicKey, alias } = await node.status();
  return [
    { ok: true, text: `node: ${alias || publicKey.slice(0, 16)} on ${network}` },
    ...(rights ? [checkRights("macaroon", rights(), "it can sell and cannot spend", "selling", sellingAdvice)] : []),
    ...(opensMore ? [await checkPassword(opensMore)] : []),
    ...(session ? [sessionAdvice(session.judgement() ?? { missing: [], dangerous: [] }, session)] : []),
    room ? await checkRoom(room) : await checkInbound(node),
    await checkPayouts(node.payer),
    ...(payoutRights ? [checkRights("payout macaroon", payoutRights(), "it can pay and no more", "paying out", payoutAdvice)] : []),
  ];
}

function checkRights(name: string, rights: Rights | undefined, enough: string, what: string, advice: string): Line {
  if (rights === undefined) return { ok: true, text: `${name}: its rights cannot be read here` };
  const { missing, dangerous } = rights;
  if (missing.length > 0) return { ok: false, text: `${name}: it lacks ${missing.join(", ")}; ${advice}` };
  if (dangerous.length === 0) return { ok: true, text: `${name}: ${enough}` };
  return { ok: false, text: `${name}: it allows more than ${what} needs (${dangerous.slice(0, 4).join(", ")}${dangerous.length > 4 ? " ..." : ""}); whoever reads it could take your money; ${advice}` };
}

async function checkPassword(opensMore: NonNullable<NodeToCheck["opensMore"]>): Promise<Line> {
  try {
    if (!(await opensMore())) return { ok: true, text: "password: it can sell and cannot spend" };
    return { ok: false, text: "password: it is the full one, which can spend; whoever reads it could take your money. Set http-password-limited-access of phoenix.conf in its place" };
  } catch (error) {
    return { ok: false, text: `password: not known what it opens (${describeError(error)})` };
  }
}

/** Of a payment that nobody has made. */
const noPayment = "00".repeat(32);

async function checkPayouts(payer: Payable | undefined): Promise<Line> {
  if (payer === undefined) return { ok: true, text: "payouts: off; whoever has a balance here can spend it, not collect it" };
  try {
    const [{ spendableMsat }] = await Promise.all([payer.holdings(), payer.lookupPayment(noPayment)]);
    return { ok: true, text: `payouts: the node may pay; it holds ${spendableMsat / 1000n} sats` };
  } catch (error) {
    return { ok: false, text: `payouts: the node cannot be asked for them (${describeError(error)})` };
  }
}

/** What Hearth itself says of its node, where a second connection would disturb the first. */
export async function checkNodeInUse(door: OwnersDoor): Promise<Line[]> {
  try {
    const { node } = (await askOwnersDoor(door, "/status", undefined)) as { node: { state: string; what?: string; network?: string; public_key?: string; receivable_sats?: number } };
    if (node.state !== "ready") return [{ ok: false, text: `node: ${node.what}` }];
    const inbound = node.receivable_sats === undefined ? [] : [inboundLine(BigInt(node.receivable_sats))];
    return [{ ok: true, text: `node: ${node.public_key?.slice(0, 16)} on ${node.network}, by the word of the Hearth that runs here; stop it to have the session checked` }, ...inbound];
  } catch (error) {
    return [{ ok: false, text: `node: Hearth runs here but does not tell (${describeError(error)}); stop it, then ask again` }];
  }
}

function inboundLine(sats: bigint): Line {
  return { ok: sats >= lowInboundSats, text: `inbound: up to ${sats} sats can be paid in${sats >= lowInboundSats ? "" : "; buyers are turned away above that, open a channel towards you"}` };
}

async function checkInbound(node: Partial<Liquid>): Promise<Line> {
  try {
    const receivableMsat = await node.receivableMsat?.();
    if (receivableMsat === undefined) return { ok: true, text: "inbound: this node does not tell how much it can be paid" };
    return inboundLine(receivableMsat / 1000n);
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
