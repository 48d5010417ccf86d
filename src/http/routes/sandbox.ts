/**
 * The play money's own routes: a payer's wallet, somebody to pay, and knobs that make the node and the model misbehave. Mounted with
 * the sandbox node only.
 */
import { Elysia } from "elysia";
import { z } from "zod";
import { errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import type { PublicContext } from "../public-context.ts";

export type Sandbox = {
  pay(bolt11: string): Promise<{ preimage: string } | { error: string }>;
  /** An invoice of somebody else, whom the node can pay. */
  payeesInvoice(order: { amountSats: number; held: boolean; expirySeconds: number }): { paymentHash: string; bolt11: string };
  /** What they do with a payment they hold. */
  payeeDecides(paymentHash: string, taken: boolean): { error: string } | undefined;
  misbehaveNode(faults: Record<string, unknown>): Record<string, unknown>;
  /** Undefined where the sandbox model does not run. */
  misbehaveModel: ((faults: Record<string, unknown>) => Record<string, unknown>) | undefined;
};

/** As long as a payout's invoice usually has. */
const payeesExpirySeconds = 3_600;
const payeesInvoice = z.strictObject({ amount_sats: z.int().min(1).max(100_000_000), held: z.boolean().default(false), expiry_seconds: z.int().min(1).max(604_800).default(payeesExpirySeconds) });
const payeesDecision = z.strictObject({ payment_hash: z.string().max(64), take: z.boolean() });
const payRequest = z.object({ invoice: z.string().min(1).max(8_192) });

export function sandboxRoutes(sandbox: Sandbox, context: PublicContext) {
  const { headers } = context;
  const guarded = async (work: () => Promise<Response>) => {
    try {
      return await work();
    } catch (error) {
      return errorResponse(error, context.newCallId(), headers);
    }
  };
  const app = new Elysia()
    .post("/sandbox/pay", ({ request }) =>
      guarded(async () => {
        const { invoice } = payRequest.parse(parseJsonObject(await readText(request)));
        const paid = await sandbox.pay(invoice);
        return Response.json(paid, { status: "error" in paid ? 400 : 200, headers });
      }),
    )
    .post("/sandbox/payee/invoice", ({ request }) =>
      guarded(async () => {
        const { amount_sats: amountSats, held, expiry_seconds: expirySeconds } = payeesInvoice.parse(parseJsonObject(await readText(request)));
        const { paymentHash: payment_hash, bolt11: invoice } = sandbox.payeesInvoice({ amountSats, held, expirySeconds });
        return Response.json({ payment_hash, invoice, amount_sats: amountSats }, { headers });
      }),
    )
    .post("/sandbox/payee/decide", ({ request }) =>
      guarded(async () => {
        const { payment_hash, take } = payeesDecision.parse(parseJsonObject(await readText(request)));
        const trouble = sandbox.payeeDecides(payment_hash, take);
        return Response.json(trouble ?? { payment_hash, taken: take }, { status: trouble ? 400 : 200, headers });
      }),
    )
    .post("/sandbox/node", ({ request }) => guarded(async () => Response.json(sandbox.misbehaveNode(parseJsonObject(await readText(request))), { headers })));
  const { misbehaveModel } = sandbox;
  if (misbehaveModel)
    app.post("/sandbox/model", ({ request }) => guarded(async () => Response.json(misbehaveModel(parseJsonObject(await readText(request))), { headers })));
  return app;
}
