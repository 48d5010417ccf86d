/**
 * Money out through LND, with a macaroon of its own: routerrpc/router.proto and lnrpc/lightning.proto. LND pays a payment hash once, keeps a
 * payment going when whoever asked is gone, and takes it up again after a restart.
 */
import { z } from "zod";
import { lndPaymentPage, maxPaymentCltvBlocks, nodeCallTimeoutMs, paymentTimeoutSeconds } from "../base/limits.ts";
import { msat } from "../money/msat.ts";
import { LndError, type LndRpc } from "./lnd-rpc.ts";
import { integer } from "./lnd-fields.ts";
import type { Holdings, NewPayment, PaidOut, Payable, PaymentState } from "./node.ts";

/** Whatever else a version may say is no end. */
const payment = z.object({
  payment_hash: z.string(), status: z.string(), payment_preimage: z.string().default(""), fee_msat: integer, value_msat: integer, failure_reason: z.string().default(""), creation_time_ns: integer,
});
const paymentPage = z.object({ payments: z.array(payment).default([]), last_index_offset: integer });
const channelBalance = z.object({ local_balance: z.object({ msat: integer }).optional(), unsettled_remote_balance: z.object({ msat: integer }).optional() });

const channelList = z.object({ channels: z.array(z.object({ local_balance: integer, local_constraints: z.object({ chan_reserve_sat: integer }).optional() })).default([]) });

type LndPayment = z.infer<typeof payment>;

export function lndPayer(rpc: LndRpc): Payable {
  return {
    holdings: () => holdings(rpc),
    leastFeeLimitMsat: () => msat(0n),
    pay: (input, signal) => pay(rpc, input, signal),
    lookupPayment: (paymentHash) => lookUp(rpc, paymentHash),
    listPaidOut: (sinceMs) => listPaidOut(rpc, sinceMs),
  };
}

/** What is leaving is the remote side's if it arrives, and LND counts it as that. What a channel keeps back for its peer cannot be paid with. */
async function holdings(rpc: LndRpc): Promise<Holdings> {
  const [{ local_balance: local, unsettled_remote_balance: leaving }, kept] = await Promise.all([rpc.call("ChannelBalance", {}, channelBalance), keptBack(rpc)]);
  const spendable = (local?.msat ?? 0n) - kept;
  return { spendableMsat: msat(spendable > 0n ? spendable : 0n), leavingMsat: msat(leaving?.msat ?? 0n) };
}

async function keptBack(rpc: LndRpc): Promise<bigint> {
  try {
    const { channels } = await rpc.call("ListChannels", {}, channelList);
    return channels.reduce((sum, { local_balance: local, local_constraints }) => {
      const reserve = local_constraints?.chan_reserve_sat ?? 0n;
      return sum + (local < reserve ? local : reserve) * 1000n;
    }, 0n);
  } catch (error) {
    // A right that names calls may leave this one out: then it is the owner's reserve that covers it.
    if (error instanceof LndError && (error.trouble === "forbidden" || error.trouble === "unknown_call")) return 0n;
    throw error;
  }
}

async function pay(rpc: LndRpc, { bolt11, paymentHash, feeLimitMsat }: NewPayment, signal: AbortSignal): Promise<PaymentState> {
  const request = { payment_request: bolt11, fee_limit_msat: String(feeLimitMsat), timeout_seconds: paymentTimeoutSeconds, cltv_limit: maxPaymentCltvBlocks };
  let isKnown = false;
  try {
    for await (const told of rpc.stream("SendPaymentV2", request, payment, signal)) {
      isKnown = true;
      const state = stateOf(told);
      if (state.state !== "pending") return state;
    }
  } catch (error) {
    // Refused at the door: nothing was begun. Whatever else LND says no to may have been.
    const isRefused = !isKnown && error instanceof LndError && error.trouble === "forbidden";
    const kept = isRefused ? await lookUp(rpc, paymentHash) : undefined;
    if (kept) return kept.state === "unknown" ? { state: "failed", reason: (error as LndError).message } : kept;
    if (!isKnown) throw error;
  }
  if (isKnown) return { state: "pending" };
  // Whether it was ever asked nobody knows.
  throw new LndError("unreachable", "The Lightning node has said nothing of this payment.");
}

/** The stream of one that is under way begins with how it stands. */
async function lookUp(rpc: LndRpc, paymentHash: string): Promise<PaymentState> {
  const leaving = new AbortController();
  const deadline = setTimeout(() => leaving.abort(), nodeCallTimeoutMs);
  try {
    for await (const told of rpc.stream("TrackPaymentV2", { payment_hash: Buffer.from(paymentHash, "hex").toString("base64") }, payment, leaving.signal)) return stateOf(told);
  } catch (error) {
    if (error instanceof LndError && error.trouble === "not_found") return { state: "unknown" };
    throw error;
  } finally {
    clearTimeout(deadline);
    leaving.abort();
  }
  throw new LndError("unreachable", "The Lightning node says nothing of this payment.");
}

function stateOf({ status, payment_preimage: preimage, fee_msat: feeMsat, failure_reason: reason }: LndPayment): PaymentState {
  if (status === "SUCCEEDED") return { state: "succeeded", preimage, feeMsat: msat(feeMsat) };
  if (status === "FAILED") return { state: "failed", reason: reason.replace("FAILURE_REASON_", "").toLowerCase() || "unknown" };
  return { state: "pending" };
}

async function* listPaidOut(rpc: LndRpc, sinceMs: number): AsyncGenerator<PaidOut> {
  for (let offset = 0n; ; ) {
    const request = { include_incomplete: true, index_offset: String(offset), max_payments: String(lndPaymentPage), creation_date_start: String(Math.floor(sinceMs / 1000)) };
    const page = await rpc.call("ListPayments", request, paymentPage);
    for (const one of page.payments) {
      const { state } = stateOf(one);
      if (state === "pending" || state === "succeeded") yield { paymentHash: one.payment_hash, amountMsat: msat(one.value_msat), atMs: Number(one.creation_time_ns / 1_000_000n), state };
    }
    if (page.payments.length < lndPaymentPage) return;
    offset = page.last_index_offset;
  }
}
