/** What is for sale in one request, as the till sees it. Pure. It knows amounts and opaque terms, no model and no token. */
import type { PaidCharge } from "../l402/payment-scheme.ts";
import type { Msat } from "../money/msat.ts";

export type Quote = {
  /** The most the call can cost. */
  ceilingMsat: Msat;
  /** With less than this the call is of no use to the caller; equal to the ceiling when it cannot shrink. */
  leastMsat: Msat;
  /** Everything needed to quote and to charge the same again; pinned to the invoice that is made for it. */
  terms: string;
};

export type Sale = {
  /** The same for the same request, whatever its formatting. Asked for only when needed: it reads the whole request. */
  fingerprint(): string;
  /** What a credential may be narrowed to (`llm_models=`), the first as we call it. */
  names: readonly string[];
  /** Short text for the payer's wallet. */
  memo: string;
  /** Undefined while nobody can say what it costs: then only terms quoted earlier count. */
  quote: Quote | undefined;
  /** The same sale on terms quoted earlier; undefined when they do not fit this sale. */
  quoteAt(terms: string): Quote | undefined;
  /** How the house gives it away to somebody who tries it; undefined where it does not. */
  trialQuote: Quote | undefined;
};

/** Money set aside for one call. Ends in exactly one `settle`. */
export type Reservation = {
  /** Also the call's id and the answer's `x-request-id`. */
  id: string;
  accountId: string;
  amountMsat: Msat;
  /** What the payer could still spend besides, when it was made; undefined where the asker may not know. */
  spendableMsat: Msat | undefined;
  terms: string;
  startedAtMs: number;
  /** Permission of the house, no money. */
  free: boolean;
  /** For who paid by the `Payment` scheme. */
  receipt: PaidCharge | undefined;
};

/** What a call cost, and what its payer can spend from now on, where that is theirs to know. */
export type Settled = { chargedMsat: Msat; spendableMsat: Msat | undefined };

/** What the log keeps of an ended call. No prompt, no answer. */
export type CallRecord = {
  endpoint: string;
  model: string;
  upstream: string;
  /** How it ended, e.g. `completed`, `client_left`. */
  ending: string;
  inputTokens: number;
  outputTokens: number;
  /** True when the counts are ours and not the upstream's. */
  estimated: boolean;
  /** What the owner paid, in micro-dollars, where the upstream says so. */
  upstreamCostMicros?: number | undefined;
};

export type CallEnd =
  /** Nothing was delivered: the payer keeps all of it, and the same credential works again. */
  | { act: "void"; reason: string }
  | { act: "post"; costMsat: Msat; record: CallRecord };
