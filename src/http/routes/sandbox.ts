/**
 * The play money's own routes: a payer's wallet, and knobs that make the node and the model misbehave. Mounted with
 * the sandbox node only.
 */
import { Elysia } from "elysia";
import { z } from "zod";
import { errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import type { PublicContext } from "../public-context.ts";

export type Sandbox = {
  pay(bolt11: string): Promise<{ preimage: string } | { error: string }>;
  misbehaveNode(faults: Record<string, unknown>): Record<string, unknown>;
  /** Undefined where the sandbox model does not run. */
  misbehaveModel: ((faults: Record<string, unknown>) => Record<string, unknown>) | undefined;
};

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
    .post("/sandbox/node", ({ request }) => guarded(async () => Response.json(sandbox.misbehaveNode(parseJsonObject(await readText(request))), { headers })));
  const { misbehaveModel } = sandbox;
  if (misbehaveModel)
    app.post("/sandbox/model", ({ request }) => guarded(async () => Response.json(misbehaveModel(parseJsonObject(await readText(request))), { headers })));
  return app;
}
