/** Money out: a balance, or a part of it, to the invoice of whoever owns it. Shapes: design, shapes section 6. */
import { Elysia } from "elysia";
import type { Collect, CollectOrder, CollectOutcome } from "../../accounts/collect.ts";
import { canonicalHash } from "../../base/canonical.ts";
import { floorToSat, type Msat, sat, toJsonNumber } from "../../money/msat.ts";
import type { Payout } from "../../payments/payout.ts";
import { readAsker } from "../asker.ts";
import { collectSchema } from "../contract/collect.ts";
import { errorObject, errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export type CollectParts = { collect: Collect };

/** The marketplace's name for the same door. */
const marketPath = "/ai-for-hire/collect";

export function collectRoutes({ collect }: CollectParts, context: PublicContext) {
  const app = new Elysia();
  const guarded = async (work: (headers: Record<string, string>) => Promise<Response>) => {
    const id = context.newCallId();
    try {
      return await work({ ...context.headers, "x-request-id": id, "Cache-Control": "no-store" });
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  const asker = (request: Request) => readAsker(request, context.addressOf(request), undefined);
  for (const prefix of apiPrefixes)
    for (const path of [`${prefix}/collect`, `${prefix}${marketPath}`]) {
      app.post(path, ({ request }) => guarded(async (headers) => {
        const text = await readText(request);
        return toResponse(await collect.collect(asker(request), () => parseOrder(text)), headers);
      }));
      app.get(`${path}/:id`, ({ request, params }) => guarded(async (headers) => Response.json(payoutToWire(await collect.find(asker(request), params.id)), { headers })));
    }
  return app;
}

/** @throws AppError `invalid_json`, `invalid_request`; ZodError. */
function parseOrder(text: string): CollectOrder {
  const body = parseJsonObject(text);
  const { invoice, amount_sats } = collectSchema.parse(body);
  return { bolt11: invoice.trim().replace(/^lightning:/i, ""), amountSats: sat(BigInt(amount_sats)), bodyHash: canonicalHash(body) };
}

function toResponse(outcome: CollectOutcome, headers: Record<string, string>): Response {
  if (outcome.kind === "insufficient_balance") return poor(outcome, headers);
  const { payout } = outcome;
  const body = payoutToWire(payout);
  if (payout.state === "succeeded") return Response.json(body, { headers });
  if (body.status === "pending") return Response.json(body, { status: 202, headers });
  // The money is back on the account by now.
  const error = errorObject("payment_failed", `The invoice was not paid, and your balance is as it was (${reasonOf(payout)}); ask with a new invoice.`, 502);
  return Response.json({ error, ...body }, { status: 502, headers: { ...headers, "x-should-retry": "false" } });
}

/** No challenge: nothing that could be paid for here would help a client that wants its money out. */
function poor({ spendableMsat, maxCollectableSats }: Extract<CollectOutcome, { kind: "insufficient_balance" }>, headers: Record<string, string>): Response {
  const message = `The balance of ${spendableMsat} msat is too little for this amount and what its way may cost; at most ${maxCollectableSats} sats can be collected.`;
  const body = { error: errorObject("insufficient_balance", message, 402, "amount_sats"), max_collectable_sats: toJsonNumber(maxCollectableSats), balance_msat: toJsonNumber(spendableMsat) };
  return Response.json(body, { status: 402, headers: { ...headers, "x-should-retry": "false" } });
}

const statusOf = { intent: "pending", sent: "pending", succeeded: "paid", failed: "failed", returned: "failed" } as const;

/** What the node says may name its channels and peers: of failures only that they were. */
function reasonOf(payout: Payout): string {
  return payout.state === "returned" ? "it was never sent" : "its way failed";
}

function payoutToWire(payout: Payout) {
  const { id, amountMsat } = payout;
  return {
    status: statusOf[payout.state], id, amount_sats: satsOf(amountMsat),
    ...(payout.state === "succeeded" && { payment: { payment_hash: payout.paymentHash, payment_preimage: payout.preimage, fee_msat: chargedFee(payout) } }),
  };
}

/** What a way cost above its limit was the house's. */
function chargedFee({ feeMsat, feeLimitMsat }: Extract<Payout, { state: "succeeded" }>): number {
  return toJsonNumber(feeMsat < feeLimitMsat ? feeMsat : feeLimitMsat);
}

function satsOf(amount: Msat): number {
  return toJsonNumber(floorToSat(amount));
}
