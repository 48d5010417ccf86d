/** The owner's API of money out. Amounts are decimal strings of millisatoshi, as everywhere on this door. */
import { Elysia } from "elysia";
import { z } from "zod";
import { floorToSat, msat, type Msat, toJsonNumber } from "../../money/msat.ts";
import type { OwnerPayouts, RestoreReview } from "../../owner/payouts.ts";
import type { Payout } from "../../payments/payout.ts";
import type { PayoutsState } from "../../payments/payouts.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import type { Guard } from "./owner-keys.ts";

const switched = z.strictObject({ on: z.boolean() });
/** The fee is the owner's word too: what is not said stays with whoever collected. */
const decision = z.discriminatedUnion("paid", [
  z.strictObject({ id: z.string(), paid: z.literal(false) }),
  z.strictObject({ id: z.string(), paid: z.literal(true), preimage: z.string(), fee_msat: z.string().regex(/^\d{1,15}$/, "a decimal of millisatoshi").default("0") }),
]);
const booking = z.strictObject({ payment_hash: z.string().max(64), account_id: z.string().max(64) });
const confirmed = z.strictObject({ restored_at: z.iso.datetime() });

export function ownerPayoutRoutes(payouts: OwnerPayouts, guarded: Guard, headers: Record<string, string>) {
  const json = (body: object) => Response.json(body, { headers });
  const read = async <T>(request: Request, schema: z.ZodType<T>) => schema.parse(parseJsonObject(await readText(request)));
  return new Elysia()
    .get("/admin/api/payouts", ({ request, query }) => guarded(request, () =>
      json({ ...stateToWire(payouts.state), open: payouts.open.map(toWire), payouts: payouts.list(String(query.before ?? "")).map(toWire) })))
    .post("/admin/api/payouts/switch", ({ request }) => guarded(request, async () => json(stateToWire(await payouts.switch((await read(request, switched)).on)))))
    .post("/admin/api/payouts/decide", ({ request }) => guarded(request, async () => {
      const said = await read(request, decision);
      const word = said.paid ? { paid: true as const, preimage: said.preimage, feeMsat: msat(BigInt(said.fee_msat)) } : { paid: false as const };
      return json(toWire(await payouts.decide(said.id, word)));
    }))
    .post("/admin/api/payouts/book", ({ request }) => guarded(request, async () => {
      const { payment_hash, account_id } = await read(request, booking);
      return json(toWire(await payouts.book(payment_hash.toLowerCase(), account_id)));
    }))
    .get("/admin/api/payouts/restored", ({ request }) => guarded(request, async () => json(reviewToWire(await payouts.reviewRestore()))))
    .post("/admin/api/payouts/restored", ({ request }) => guarded(request, async () =>
      json(stateToWire(await payouts.confirmRestore(Date.parse((await read(request, confirmed)).restored_at))))));
}

export function stateToWire(state: PayoutsState) {
  return { on: state.on, ...(!state.on && { why: state.why }) };
}

const amount = (value: Msat) => ({ msat: String(value), sats: toJsonNumber(floorToSat(value)) });
const time = (ms: number) => new Date(ms).toISOString();

function toWire(payout: Payout) {
  const ended = "endedAtMs" in payout && { ended_at: time(payout.endedAtMs), ended_by: payout.endedBy };
  return {
    id: payout.id, state: payout.state, account_id: payout.accountId, payment_hash: payout.paymentHash, amount: amount(payout.amountMsat), fee_limit: amount(payout.feeLimitMsat),
    created_at: time(payout.createdAtMs), invoice_expires_at: time(payout.expiresAtMs), ...ended,
    ...(payout.state === "succeeded" && { fee: amount(payout.feeMsat) }), ...("reason" in payout && { reason: payout.reason }),
  };
}

function reviewToWire({ restoredAtMs, sinceMs, stillOpen, notKnownHere }: RestoreReview) {
  return {
    restored_at: time(restoredAtMs), since: time(sinceMs), open: stillOpen.map(toWire),
    not_known_here: notKnownHere.map((paid) => ({ payment_hash: paid.paymentHash, amount: amount(paid.amountMsat), at: time(paid.atMs), state: paid.state })),
  };
}
