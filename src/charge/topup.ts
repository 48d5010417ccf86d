/** A balance bought ahead: a sale with nothing but an amount. The credential it is paid with holds all of it. Pure. */
import { type Sat, satToMsat } from "../money/msat.ts";
import type { Sale } from "./sale.ts";

export function topupSale(amountSats: Sat): Sale {
  const amountMsat = satToMsat(amountSats);
  return {
    fingerprint: () => "topup",
    names: [],
    memo: `Balance of ${amountSats} sats`,
    quote: { ceilingMsat: amountMsat, leastMsat: amountMsat, terms: "{}" },
    // It pins no price: a balance buys at the price of the day.
    quoteAt: () => undefined,
  };
}
