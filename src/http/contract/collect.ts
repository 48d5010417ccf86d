/** The body of a collection. Amounts are judged against the invoice where it is read (`accounts/collect.ts`). */
import { z } from "zod";
import { maxInvoiceCharacters } from "../../base/limits.ts";

/** All there is, in sats. */
const maxSats = 2_100_000_000_000_000;

export const collectSchema = z.looseObject({
  invoice: z.string("must be a Lightning invoice (BOLT 11)").min(1, "must be a Lightning invoice (BOLT 11)").max(maxInvoiceCharacters + 10, "is too long for an invoice").meta({ description: "BOLT 11, over exactly amount_sats" }),
  amount_sats: z.int("must be a whole number of sats").min(1, "must be a whole number of sats").max(maxSats, "is more than there is").meta({ description: "Whole sats" }),
});
