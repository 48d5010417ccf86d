/**
 * Money out. One type per state. Pure.
 *
 *     intent -> sent          everything has been checked; on the disk before the node is asked
 *     intent -> returned      it was never sent: refused, or Hearth ended before
 *     sent -> succeeded       the node shows the preimage
 *     sent -> failed          the node says so of this payment hash, or it never had it and never can
 *
 * Whatever else the node says, or does not say, leaves a sent one as it is: its money stays in its account and the node is asked again.
 */
import { AppError } from "../base/errors.ts";
import { type Msat, msat } from "../money/msat.ts";

type PayoutFacts = {
  id: string;
  /** Whose money it is. */
  accountId: string;
  paymentHash: string;
  bolt11: string;
  amountMsat: Msat;
  feeLimitMsat: Msat;
  /** The invoice's. */
  expiresAtMs: number;
  createdAtMs: number;
  /** The node has said once that it has this payment: from then on its not knowing it any more ends nothing. */
  known: boolean;
};

/** `hearth`: it was never sent. */
export type EndedBy = "node" | "owner" | "hearth";

export type OpenPayout = PayoutFacts & { state: "intent" | "sent" };
export type SucceededPayout = PayoutFacts & { state: "succeeded"; preimage: string; feeMsat: Msat; endedAtMs: number; endedBy: EndedBy };
export type FailedPayout = PayoutFacts & { state: "failed" | "returned"; reason: string; endedAtMs: number; endedBy: EndedBy };
export type Payout = OpenPayout | SucceededPayout | FailedPayout;

export type PayoutEnd =
  /** The fee is what was really paid. */
  | { state: "succeeded"; preimage: string; feeMsat: Msat }
  | { state: "failed"; reason: string }
  /** Only of an intent. */
  | { state: "returned"; reason: string };

export function isEnded(payout: Payout): payout is SucceededPayout | FailedPayout {
  return payout.state !== "intent" && payout.state !== "sent";
}

export function payoutsOff(): AppError {
  return new AppError("payouts_off", "This house pays nothing out at the moment; your balance stays where it is.", { retryable: true, retryAfterSeconds: 3_600 });
}

/** Where the money of one is. */
export function payoutAccount(id: string): string {
  return `payout:${id}`;
}

/** The most that a way may cost, of the amount and besides. */
export type FeeLimit = { percent: number; baseMsat: Msat };

/** Percents are counted in hundredths. */
const perPercent = 10_000n;
const hundredths = (percent: number) => BigInt(Math.round(percent * 100));

export function feeLimitOf(amountMsat: Msat, { percent, baseMsat }: FeeLimit): Msat {
  return msat(baseMsat + (amountMsat * hundredths(percent)) / perPercent);
}

/** The most whole sats of which amount and fee limit fit into what there is. */
export function maxCollectableSats(spendableMsat: Msat, limit: FeeLimit): bigint {
  const left = spendableMsat - limit.baseMsat;
  if (left <= 0n) return 0n;
  const sats = (left * perPercent) / (perPercent + hundredths(limit.percent)) / 1000n;
  // The limit itself is rounded down, so one more may just fit.
  const fits = (amountSats: bigint) => amountSats * 1000n + feeLimitOf(msat(amountSats * 1000n), limit) <= spendableMsat;
  return fits(sats + 1n) ? sats + 1n : sats;
}

export type PayoutRow = {
  id: string;
  account_id: string;
  payment_hash: string;
  bolt11: string;
  amount_msat: bigint;
  fee_limit_msat: bigint;
  state: Payout["state"];
  expires_at_ms: bigint;
  created_at_ms: bigint;
  ended_at_ms: bigint | null;
  ended_by: EndedBy | null;
  preimage: string | null;
  fee_msat: bigint | null;
  reason: string | null;
  known: bigint;
};

export function toPayout(row: PayoutRow): Payout {
  const facts: PayoutFacts = {
    id: row.id, accountId: row.account_id, paymentHash: row.payment_hash, bolt11: row.bolt11, amountMsat: msat(row.amount_msat),
    feeLimitMsat: msat(row.fee_limit_msat), expiresAtMs: Number(row.expires_at_ms), createdAtMs: Number(row.created_at_ms), known: row.known === 1n,
  };
  const ended = { endedAtMs: Number(row.ended_at_ms), endedBy: row.ended_by! };
  switch (row.state) {
    case "intent":
    case "sent":
      return { ...facts, state: row.state };
    case "succeeded":
      return { ...facts, ...ended, state: "succeeded", preimage: row.preimage!, feeMsat: msat(row.fee_msat!) };
    case "failed":
    case "returned":
      return { ...facts, ...ended, state: row.state, reason: row.reason! };
  }
}
