/** The bodies of topup and claim. Amounts are judged where their limits are known (`routes/topup.ts`). */
import { z } from "zod";

const absent = z.null().transform(() => undefined);

export const topupSchema = z.looseObject({
  amount_sats: z.unknown().optional().meta({ description: "Whole sats; either this or amount_usd", type: "integer", minimum: 1 }),
  amount_usd: z.unknown().optional().meta({ description: "A decimal with at most 2 places, as a number or a text", type: ["number", "string"] }),
  claim: z.enum(["secret", "preimage"]).nullish().meta({ description: "secret: only the claim_secret or the credential claims it" }),
});

export const claimSchema = z.looseObject({
  preimage: z.union([z.string(), absent], "must be 64 hex digits").optional(),
  claim_secret: z.union([z.string().max(256), absent], "must be a text").optional(),
  token: z.union([z.string().max(1_024), absent], "must be a token").optional(),
});
