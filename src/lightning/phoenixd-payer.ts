/**
 * Money out through phoenixd, with its full password. It pays while it is asked (`peer.payInvoice` in Api.kt), at a price of its own that no
 * request can bound, and knows whole sats of what it holds.
 */
import { z } from "zod";
import { phoenixdPaymentPage, stuckPayoutAfterMs } from "../base/limits.ts";
import { ceilDivide, ceilToSat, msat, satToMsat, type Msat } from "../money/msat.ts";
import type { Holdings, NewPayment, PaidOut, Payable, PaymentState } from "./node.ts";
import { type PhoenixdApi, PhoenixdError } from "./phoenixd-api.ts";
import { balance, type PhoenixdOptions } from "./phoenixd.ts";

const sent = z.object({ paymentHash: z.string() });
/** `sent` has the fees in it, in whole sats; `fees` are msat. */
const outgoing = z.object({
  paymentHash: z.string().nullish(), preimage: z.string().nullish(), isPaid: z.boolean(), sent: z.int().nonnegative(), fees: z.int().nonnegative(), completedAt: z.int().nullish(), createdAt: z.int(),
});

type Outgoing = z.infer<typeof outgoing>;

export function phoenixdPayer({ api, clock }: PhoenixdOptions): Payable {
  return {
    holdings: () => holdings(api, clock.nowMs() - stuckPayoutAfterMs),
    leastFeeLimitMsat,
    pay: (payment, signal) => pay(api, payment, signal),
    lookupPayment: (paymentHash) => lookUp(api, paymentHash),
    listPaidOut: (sinceMs) => listPaidOut(api, sinceMs),
  };
}

/** What is on its way out is no part of its balance (`availableBalanceForSend`); nothing is for longer than its blocks last. */
async function holdings(api: PhoenixdApi, sinceMs: number): Promise<Holdings> {
  const { balanceSat } = await api.get("/getbalance", balance);
  let leaving = 0n;
  for await (const { isPaid, completedAt, sent: sats } of listOutgoing(api, sinceMs)) if (!isPaid && completedAt == null) leaving += BigInt(sats);
  return { spendableMsat: msat(BigInt(balanceSat) * 1000n), leavingMsat: msat(leaving * 1000n) };
}

/** 0.4 % and 4 sats (`trampolineFees` in lightning-kmp's NodeParams.kt; phoenix.acinq.co/server/api). */
function leastFeeLimitMsat(amountMsat: Msat): Msat {
  return msat(ceilDivide(amountMsat * 4n, 1000n) + 4_000n);
}

async function pay(api: PhoenixdApi, { bolt11, paymentHash }: NewPayment, signal: AbortSignal): Promise<PaymentState> {
  try {
    await api.post("/payinvoice", { invoice: bolt11 }, sent, signal);
  } catch (error) {
    // Refused at the door, or answered that it failed; the latter also of an invoice that is being paid, or was. What the node keeps tells which.
    if (!(error instanceof PhoenixdError) || (error.trouble !== "payment_failed" && error.trouble !== "forbidden")) throw error;
    const kept = await lookUp(api, paymentHash);
    return kept.state === "unknown" ? { state: "failed", reason: error.message } : kept;
  }
  return lookUp(api, paymentHash);
}

async function lookUp(api: PhoenixdApi, paymentHash: string): Promise<PaymentState> {
  try {
    return stateOf(await api.get(`/payments/outgoingbyhash/${paymentHash}`, outgoing));
  } catch (error) {
    if (error instanceof PhoenixdError && error.trouble === "not_found") return { state: "unknown" };
    throw error;
  }
}

function stateOf({ isPaid, preimage, fees, completedAt }: Outgoing): PaymentState {
  if (isPaid) return { state: "succeeded", preimage: preimage ?? "", feeMsat: msat(BigInt(fees)) };
  return completedAt == null ? { state: "pending" } : { state: "failed", reason: "phoenixd found no way" };
}

/** Of any state; without `all`, those on their way are left out (`listOutgoingPayments` in SqlitePaymentsDb.kt). */
async function* listOutgoing(api: PhoenixdApi, sinceMs: number): AsyncGenerator<Outgoing> {
  for (let offset = 0; ; offset += phoenixdPaymentPage) {
    const page = await api.get(`/payments/outgoing?all=true&from=${sinceMs}&limit=${phoenixdPaymentPage}&offset=${offset}`, z.array(outgoing));
    yield* page;
    if (page.length < phoenixdPaymentPage) return;
  }
}

/** What went on chain has no hash. */
async function* listPaidOut(api: PhoenixdApi, sinceMs: number): AsyncGenerator<PaidOut> {
  for await (const one of listOutgoing(api, sinceMs)) {
    const { state } = stateOf(one);
    if (one.paymentHash == null || (state !== "pending" && state !== "succeeded")) continue;
    const amountMsat = satToMsat(ceilToSat(msat(BigInt(Math.max(0, one.sent * 1000 - one.fees)))));
    yield { paymentHash: one.paymentHash, amountMsat, atMs: one.createdAt, state };
  }
}
