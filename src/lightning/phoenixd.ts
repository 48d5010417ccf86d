/**
 * A phoenixd node: sells with its limited password, and knows whole sats only. It is no `Liquid` node: phoenixd buys room for a payment
 * when it comes ("seemingly infinite inbound liquidity", phoenix.acinq.co/server/auto-liquidity), and has none before the first one.
 * Field by field from JsonSerializers.kt of phoenixd 0.8.0.
 */
import { z } from "zod";
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { phoenixdGraceMs, phoenixdPaymentPage } from "../base/limits.ts";
import { maxMsatOf, type Msat, msat } from "../money/msat.ts";
import { readInvoice } from "./bolt11.ts";
import type { Diagnosable, InvoiceState, Listable, Network, NewInvoice, Node, NodeCondition, NodeStatus, SettledInvoice, Settlement } from "./node.ts";
import { type PhoenixdApi, PhoenixdError } from "./phoenixd-api.ts";

const newInvoice = z.object({ paymentHash: z.string(), serialized: z.string() });
/** `requestedSat` and what tells the expiry came with 0.6.1; left out where the invoice has none. */
const incoming = z.object({
  isPaid: z.boolean(), isExpired: z.boolean(), expiresAt: z.int().optional(),
  requestedSat: z.int().positive().optional(), receivedSat: z.int(), fees: z.int().nonnegative(),
});
/** Of any kind: only payments have a hash. */
const event = z.object({ paymentHash: z.string().optional(), externalId: z.string().nullish() });
const info = z.object({
  nodeId: z.string().regex(/^0[23][0-9a-f]{64}$/), chain: z.string(), version: z.string(),
  channels: z.array(z.object({ state: z.string(), inboundLiquiditySat: z.int().optional() })),
});
export const balance = z.object({ balanceSat: z.int().nonnegative(), feeCreditSat: z.int() });

type Incoming = z.infer<typeof incoming>;

/** `Chain` in lower case; before lightning-kmp 1.8 the third testnet was the only one. */
const networks: Readonly<Record<string, Network>> = { mainnet: "mainnet", testnet: "testnet", testnet3: "testnet", testnet4: "testnet4", signet: "signet", regtest: "regtest" };
/** `maxDescriptionSize` in Api.kt, in UTF-16 units as Kotlin counts. */
const maxDescription = 128;
const oldestMinor = 7;

export type PhoenixdOptions = { api: PhoenixdApi; clock: Pick<Clock, "nowMs"> };

export function phoenixdNode(options: PhoenixdOptions): Node & Diagnosable & Listable {
  const { api } = options;
  return {
    createInvoice: (input) => createInvoice(api, input),
    lookupInvoice: (paymentHash) => lookUp(options, paymentHash),
    settlements: (_since, signal) => settlements(options, signal),
    status: () => status(api),
    condition: () => condition(api),
    listSettled: (sinceMs) => listSettled(api, sinceMs),
  };
}

async function createInvoice(api: PhoenixdApi, { amountMsat, reference, memo, expirySeconds }: Parameters<Node["createInvoice"]>[0]): Promise<NewInvoice> {
  assert(amountMsat > 0n && amountMsat % 1000n === 0n, "phoenixd is asked for whole sats");
  const form = { amountSat: String(amountMsat / 1000n), description: shortened(memo), externalId: reference, expirySeconds: String(expirySeconds) };
  const { paymentHash, serialized: bolt11 } = await api.post("/createinvoice", form, newInvoice);
  const text = readInvoice(bolt11);
  // A payer would be shown what we have not asked for.
  if (text === undefined || text.paymentHash !== paymentHash || text.amountMsat !== amountMsat)
    throw new PhoenixdError("refused", "phoenixd made another invoice than was asked for.");
  return { paymentHash, bolt11, expiresAtMs: text.expiresAtMs };
}

/** Never half of a letter. */
function shortened(memo: string): string {
  return memo.slice(0, maxDescription).replace(/[\uD800-\uDBFF]$/, "");
}

async function lookUp({ api, clock }: PhoenixdOptions, paymentHash: string): Promise<InvoiceState> {
  try {
    const payment = await api.get(`/payments/incoming/${paymentHash}`, incoming);
    const { requestedSat } = payment;
    // All that we make ask for an amount.
    if (requestedSat === undefined) return { state: "unknown" };
    if (payment.isPaid) return { state: "settled", paidMsat: satsToMsat(requestedSat), ...costOf(payment, requestedSat) };
    return { state: isDead(payment, clock.nowMs()) ? "dead" : "open" };
  } catch (error) {
    if (error instanceof PhoenixdError && error.trouble === "not_found") return { state: "unknown" };
    throw error;
  }
}

/**
 * The payer paid what was asked. `receivedSat` is what is left of it after room was bought, and below zero where that cost more
 * (github.com/ACINQ/phoenixd/pull/205). What fee credit paid is missing in that difference and counted in `fees`, in msat; what went into
 * fee credit is neither: it counts as received until it is used (LightningIncomingPayment in PaymentsDb.kt of lightning-kmp 1.12).
 */
function costOf({ receivedSat, fees }: Incoming, requestedSat: number): { feeMsat?: Msat } {
  const feeMsat = maxMsatOf(msat(BigInt(fees)), satsToMsat(Math.max(0, requestedSat - receivedSat)));
  return feeMsat === 0n ? {} : { feeMsat };
}

function satsToMsat(sats: number): Msat {
  return msat(BigInt(sats) * 1000n);
}

/** A payment that bought room before the expiry still arrives after it (validatePaymentPart in IncomingPaymentHandler.kt of lightning-kmp). */
function isDead({ isExpired, expiresAt }: Incoming, nowMs: number): boolean {
  return isExpired && expiresAt !== undefined && nowMs > expiresAt + phoenixdGraceMs;
}

/** Each telling is a hint: the amount in it is what is left after costs, so the invoice itself is looked up. There is no counting, hence no cursor. */
async function* settlements(options: PhoenixdOptions, signal: AbortSignal): AsyncGenerator<Settlement> {
  for await (const { paymentHash, externalId } of options.api.events(event, signal)) {
    // All that we make have one.
    if (paymentHash === undefined || externalId == null) continue;
    const found = await lookUp(options, paymentHash);
    if (found.state === "settled") yield { paymentHash, paidMsat: found.paidMsat, ...(found.feeMsat !== undefined && { feeMsat: found.feeMsat }), cursor: 0n };
  }
}

/** Of these the hash is told too. `externalId` is our own id where it is one. */
const listed = incoming.extend({ paymentHash: z.string(), externalId: z.string().nullish() });
const ownId = /^i_[0-9a-z]{26}$/;

async function* listSettled(api: PhoenixdApi, sinceMs: number): AsyncGenerator<SettledInvoice> {
  for (let offset = 0; ; offset += phoenixdPaymentPage) {
    const page = await api.get(`/payments/incoming?from=${sinceMs}&limit=${phoenixdPaymentPage}&offset=${offset}`, z.array(listed));
    for (const one of page) {
      const { paymentHash, externalId, requestedSat, isPaid } = one;
      if (!isPaid || requestedSat === undefined) continue;
      yield { paymentHash, paidMsat: satsToMsat(requestedSat), ...costOf(one, requestedSat), reference: externalId != null && ownId.test(externalId) ? externalId : undefined };
    }
    if (page.length < phoenixdPaymentPage) return;
  }
}

async function readInfo(api: PhoenixdApi): Promise<z.infer<typeof info>> {
  const answer = await api.get("/getinfo", info);
  const [, major, minor] = /^v?(\d+)\.(\d+)\./.exec(answer.version) ?? [];
  if (major === "0" && Number(minor) < oldestMinor)
    throw new PhoenixdError("refused", `phoenixd is version ${answer.version.slice(0, 32)}; 0.${oldestMinor} or newer is needed.`);
  return answer;
}

async function status(api: PhoenixdApi): Promise<NodeStatus> {
  const { nodeId: publicKey, chain } = await readInfo(api);
  const network = networks[chain];
  if (network === undefined) throw new PhoenixdError("refused", `phoenixd is on a network nobody here knows (${chain.slice(0, 32)}).`);
  return { network, publicKey, alias: "" };
}

/** A channel in none of these can be paid through (`stateName` in Channel.kt of lightning-kmp). */
const disconnected = /^(Offline|Syncing)\b/;

/** Never throws: whatever is wrong is what the owner has to know. */
async function condition(api: PhoenixdApi): Promise<NodeCondition> {
  try {
    const { channels } = await readInfo(api);
    if (channels.length > 0 && channels.every(({ state }) => disconnected.test(state)))
      return { kind: "syncing", what: "phoenixd is not connected to its peer; payments do not arrive until it is." };
    return { kind: "ready" };
  } catch (error) {
    const reached = error instanceof PhoenixdError && error.trouble !== "unreachable";
    return { kind: reached ? "refused" : "unreachable", what: error instanceof AppError ? error.message : String(error) };
  }
}

/** What is paid in from here on without buying room, and what was paid ahead for more. */
export type PhoenixdRoom = { channels: number; inboundSats: number; feeCreditSats: number };

/** @throws AppError `node_unavailable`. */
export async function phoenixdRoom(api: PhoenixdApi): Promise<PhoenixdRoom> {
  const [{ channels }, { feeCreditSat: feeCreditSats }] = await Promise.all([api.get("/getinfo", info), api.get("/getbalance", balance)]);
  const inbound = channels.flatMap(({ inboundLiquiditySat }) => inboundLiquiditySat ?? []);
  return { channels: inbound.length, inboundSats: inbound.reduce((sum, sats) => sum + sats, 0), feeCreditSats };
}

/** Whether this password may pay too: it is asked to pay nothing at all, which only such a one is told about. @throws AppError `node_unavailable`. */
export async function isFullPassword(api: PhoenixdApi): Promise<boolean> {
  try {
    await api.post("/payinvoice", {}, z.unknown());
    return true;
  } catch (error) {
    if (!(error instanceof PhoenixdError) || error.trouble === "unreachable") throw error;
    return error.trouble !== "forbidden";
  }
}
