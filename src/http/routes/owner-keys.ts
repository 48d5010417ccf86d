/** The owner's API of tokens. Amounts are decimal strings of millisatoshi, as everywhere on this door. */
import { Elysia } from "elysia";
import { z } from "zod";
import type { KeyLine, OwnerKeys } from "../../owner/keys.ts";
import { floorToSat, toJsonNumber } from "../../money/msat.ts";
import { parseJsonObject, readText } from "../json-body.ts";

/** Checks the session, answers errors. */
export type Guard = (request: Request, work: () => Promise<Response> | Response) => Promise<Response>;

/** A token, or the payment hash it was claimed with. */
const named = z.strictObject({ key: z.string().min(1).max(256) });

export function ownerKeyRoutes(keys: OwnerKeys, guarded: Guard, headers: Record<string, string>) {
  const json = (body: object) => Response.json(body, { headers });
  const nameIn = async (request: Request) => named.parse(parseJsonObject(await readText(request))).key;
  const withToken = ({ token, key }: { token: string; key: KeyLine }) => json({ token, ...toWire(key) });
  return new Elysia()
    .get("/admin/api/keys", ({ request, query }) => guarded(request, () => json({ keys: keys.list(String(query.after ?? "")).map(toWire) })))
    .post("/admin/api/keys/show", ({ request }) => guarded(request, async () => withToken(keys.show(await nameIn(request)))))
    .post("/admin/api/keys/rotate", ({ request }) => guarded(request, async () => withToken(await keys.rotate(await nameIn(request)))))
    .post("/admin/api/keys/revoke", ({ request }) => guarded(request, async () => json(toWire(await keys.revoke(await nameIn(request))))));
}

function toWire(key: KeyLine) {
  return {
    payment_hash: key.paymentHash,
    account_id: key.accountId,
    generation: key.generation,
    state: key.ended?.by ?? "live",
    created_at: new Date(key.createdAtMs).toISOString(),
    balance: { msat: String(key.balanceMsat), sats: toJsonNumber(floorToSat(key.balanceMsat)) },
  };
}
