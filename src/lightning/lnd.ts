/** An LND node, over REST or Lightning Node Connect: sells with a macaroon that reads and writes invoices, and nothing more. Field by field from lnrpc/lightning.proto. */
import { z } from "zod";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { lndInvoicePage, maxRouteHints } from "../base/limits.ts";
import { msat } from "../money/msat.ts";
import { maxMemoBytes, readInvoice } from "./bolt11.ts";
import { hash, integer } from "./lnd-fields.ts";
import { type RouteHint, RouteHints } from "./lnd-hints.ts";
import { LndError, type LndRequest, type LndRpc } from "./lnd-rpc.ts";
import type { Cleanable, Diagnosable, InvoiceState, Liquid, Listable, Network, NewInvoice, Node, NodeCondition, NodeStatus, SettledInvoice, Settlement } from "./node.ts";

const newInvoice = z.object({ r_hash: hash, payment_request: z.string() });
const invoice = z.object({ r_hash: hash, memo: z.string().default(""), state: z.enum(["OPEN", "SETTLED", "CANCELED", "ACCEPTED"]).catch("OPEN"), amt_paid_msat: integer, settle_index: integer });
const invoicePage = z.object({ invoices: z.array(invoice).default([]), last_index_offset: integer });
const walletState = z.object({ state: z.string() });
const info = z.object({
  identity_pubkey: z.string().regex(/^0[23][0-9a-f]{64}$/), alias: z.string().default(""), synced_to_chain: z.boolean().default(false), version: z.string().default(""),
  chains: z.array(z.object({ network: z.string() })).min(1),
});
const channelBalance = z.object({ remote_balance: z.object({ msat: integer }).optional() });
const anything = z.unknown();

type LndInvoice = z.infer<typeof invoice>;

const networks: Readonly<Record<string, Network>> = { mainnet: "mainnet", testnet: "testnet", testnet4: "testnet4", signet: "signet", regtest: "regtest", simnet: "simnet" };

export type LndOptions = {
  rpc: LndRpc;
  /** Route hints through private channels, for a node that has no public ones. */
  private: boolean;
  clock: Pick<Clock, "nowMs">;
};

export function lndNode({ rpc, private: isPrivate, clock }: LndOptions): Node & Diagnosable & Liquid & Cleanable & Listable {
  const hints = isPrivate ? new RouteHints(rpc, () => clock.nowMs()) : undefined;
  return {
    createInvoice: async (input) => createInvoice(rpc, input, hints && hintFields(await hints.get())),
    lookupInvoice: (paymentHash) => lookUp(rpc, paymentHash),
    settlements: (since, signal) => settlements(rpc, since, signal),
    status: () => status(rpc),
    condition: () => condition(rpc),
    receivableMsat: async () => msat((await rpc.call("ChannelBalance", {}, channelBalance)).remote_balance?.msat ?? 0n),
    discardInvoice: (paymentHash) => discard(rpc, paymentHash),
    listSettled: (sinceMs) => listSettledSince(rpc, sinceMs),
  };
}

/** `private`: LND chooses them. */
const hintFields = (hints: RouteHint[] | undefined): LndRequest => (hints === undefined ? { private: true } : { route_hints: hints });

async function createInvoice(rpc: LndRpc, { amountMsat, reference, memo, expirySeconds }: Parameters<Node["createInvoice"]>[0], hints: LndRequest = {}): Promise<NewInvoice> {
  const body = { memo: memoOf(memo, reference), value_msat: String(amountMsat), expiry: String(expirySeconds), ...hints };
  const made = await rpc.call("AddInvoice", body, newInvoice);
  const text = readInvoice(made.payment_request);
  // A payer would be shown what we have not asked for.
  if (text === undefined || text.paymentHash !== made.r_hash || text.amountMsat !== amountMsat) throw new LndError("refused", "The Lightning node made another invoice than was asked for.");
  // LND's own choice, where the channels cannot be looked at: it would not fit into the headers of every client.
  if (text.routeHints > maxRouteHints) throw new LndError("refused", `The Lightning node puts ${text.routeHints} route hints into an invoice; give its macaroon offchain:read and info:read (a session: ListChannels and GetChanInfo), so that ${maxRouteHints} can be chosen.`);
  return { paymentHash: made.r_hash, bolt11: made.payment_request, expiresAtMs: text.expiresAtMs };
}

/** LND has no field for an id of ours: it ends the memo, where a listing finds it again. */
function memoOf(memo: string, reference: string): string {
  const ending = ` [${reference}]`;
  let bytes = new TextEncoder().encode(memo).slice(0, maxMemoBytes - ending.length);
  // Never half of a letter.
  while (bytes.length > 0 && new TextDecoder().decode(bytes).endsWith("\uFFFD")) bytes = bytes.slice(0, -1);
  return new TextDecoder().decode(bytes) + ending;
}

async function lookUp(rpc: LndRpc, paymentHash: string): Promise<InvoiceState> {
  try {
    const { state, amt_paid_msat: paidMsat } = await rpc.call("LookupInvoice", { r_hash_str: paymentHash }, invoice);
    if (state === "SETTLED") return { state: "settled", paidMsat: msat(paidMsat) };
    // ACCEPTED: parts of a payment have come and may still settle. LND itself cancels what has expired.
    return { state: state === "CANCELED" ? "dead" : "open" };
  } catch (error) {
    if (error instanceof LndError && error.trouble === "not_found") return { state: "unknown" };
    throw error;
  }
}

/**
 * The stream of LND begins after a settle index, and 0 means from now on: then the past comes from a listing, asked for when the
 * stream has been asked for, so that nothing falls between.
 */
async function* settlements(rpc: LndRpc, since: bigint, signal: AbortSignal): AsyncGenerator<Settlement> {
  const live = rpc.stream("SubscribeInvoices", { settle_index: String(since) }, invoice, signal);
  const first = live.next();
  // Whoever waits for it hears of its failure below.
  first.catch(() => undefined);
  let told = since;
  if (since === 0n && !signal.aborted)
    for (const settlement of await listSettled(rpc)) {
      told = settlement.cursor;
      yield settlement;
    }
  for (let next = await first; !next.done; next = await live.next()) {
    const settlement = toSettlement(next.value);
    if (settlement === undefined || settlement.cursor <= told) continue;
    yield settlement;
  }
}

function toSettlement({ r_hash: paymentHash, state, amt_paid_msat: paidMsat, settle_index: cursor }: LndInvoice): Settlement | undefined {
  return state === "SETTLED" && paidMsat > 0n ? { paymentHash, paidMsat: msat(paidMsat), cursor } : undefined;
}

/** In the order of settlement. Only what is told is kept of each: a node may have a hundred thousand. */
async function listSettled(rpc: LndRpc): Promise<Settlement[]> {
  const settled: Settlement[] = [];
  for await (const one of listInvoices(rpc, 0)) {
    const settlement = toSettlement(one);
    if (settlement) settled.push(settlement);
  }
  return settled.sort((a, b) => (a.cursor < b.cursor ? -1 : 1));
}

async function* listInvoices(rpc: LndRpc, sinceMs: number): AsyncGenerator<LndInvoice> {
  for (let offset = 0n; ; ) {
    const page = await rpc.call("ListInvoices", { index_offset: String(offset), num_max_invoices: String(lndInvoicePage), creation_date_start: String(Math.floor(sinceMs / 1000)) }, invoicePage);
    yield* page.invoices;
    if (page.invoices.length < lndInvoicePage) return;
    offset = page.last_index_offset;
  }
}

/** Our mark, as `memoOf` writes it. */
const mark = / \[(i_[0-9a-z]{26})\]$/;

async function* listSettledSince(rpc: LndRpc, sinceMs: number): AsyncGenerator<SettledInvoice> {
  for await (const { r_hash: paymentHash, state, amt_paid_msat: paidMsat, memo } of listInvoices(rpc, sinceMs))
    if (state === "SETTLED" && paidMsat > 0n) yield { paymentHash, paidMsat: msat(paidMsat), reference: mark.exec(memo)?.[1] };
}

async function status(rpc: LndRpc): Promise<NodeStatus> {
  try {
    const { identity_pubkey: publicKey, alias, chains } = await rpc.call("GetInfo", {}, info);
    const network = networks[chains[0]!.network];
    if (network === undefined) throw new LndError("refused", `The Lightning node is on a network nobody here knows (${chains[0]!.network.slice(0, 32)}).`);
    return { network, publicKey, alias };
  } catch (error) {
    if (error instanceof LndError && error.trouble === "forbidden") return statusOfInvoice(rpc, error);
    throw error;
  }
}

/** LND's own invoice.macaroon may not ask who the node is; an invoice of the node says it. */
async function statusOfInvoice(rpc: LndRpc, forbidden: LndError): Promise<NodeStatus> {
  const made = await rpc.call("AddInvoice", { memo: "Hearth asks who this is", value_msat: "1000", expiry: "60" }, newInvoice).catch(() => Promise.reject(forbidden));
  const text = readInvoice(made.payment_request);
  if (text === undefined) throw forbidden;
  return { network: text.network, publicKey: text.payee, alias: "" };
}

const states: Readonly<Record<string, NodeCondition>> = {
  NON_EXISTING: { kind: "locked", what: "The node has no wallet yet; create one with `lncli create`." },
  LOCKED: { kind: "locked", what: "The node's wallet is locked; unlock it with `lncli unlock`." },
  UNLOCKED: { kind: "starting", what: "The node is starting." },
  RPC_ACTIVE: { kind: "starting", what: "The node is starting." },
  WAITING_TO_START: { kind: "starting", what: "The node waits for its turn in the cluster." },
};

/** Never throws: whatever is wrong is what the owner has to know. */
async function condition(rpc: LndRpc): Promise<NodeCondition> {
  try {
    const { state } = await rpc.call("GetState", {}, walletState);
    const waiting = states[state];
    if (waiting) return waiting;
    const { synced_to_chain: synced } = await rpc.call("GetInfo", {}, info);
    return synced ? { kind: "ready" } : { kind: "syncing", what: "The node is catching up with the chain; payments may not arrive until it has." };
  } catch (error) {
    // A macaroon that may not ask this may still sell.
    if (error instanceof LndError && error.trouble === "forbidden") return (await status(rpc).then(() => true, () => false)) ? { kind: "ready" } : { kind: "refused", what: error.message };
    return { kind: error instanceof LndError && (error.trouble === "locked" || error.trouble === "starting") ? error.trouble : "unreachable", what: error instanceof AppError ? error.message : String(error) };
  }
}

/** Since 0.20; only what can never be paid. */
async function discard(rpc: LndRpc, paymentHash: string): Promise<void> {
  await rpc.call("DeleteCanceledInvoice", { invoice_hash: paymentHash }, anything);
}

