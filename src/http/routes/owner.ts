/** The owner's door: log in, see the state of the house, hand it to a monitor. Every request but a login needs a session. */
import { Elysia } from "elysia";
import { z } from "zod";
import { AppError } from "../../base/errors.ts";
import { maxReconcileDays } from "../../base/limits.ts";
import type { AnyDiscrepancy, ReconcileReport } from "../../owner/reconciler.ts";
import type { Report } from "../../owner/report.ts";
import type { OwnerPayouts } from "../../owner/payouts.ts";
import type { OwnerKeys } from "../../owner/keys.ts";
import type { OwnerSessions } from "../../owner/session.ts";
import { floorToSat, toJsonNumber } from "../../money/msat.ts";
import { errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import { metricsText } from "../metrics.ts";
import { type Guard, ownerKeyRoutes } from "./owner-keys.ts";
import { ownerPayoutRoutes, stateToWire } from "./owner-payouts.ts";

export type OwnerParts = {
  sessions: OwnerSessions;
  keys: OwnerKeys;
  payouts: OwnerPayouts;
  report(): Promise<Report>;
  setPassword(password: string): Promise<void>;
  /** @throws AppError `node_unavailable`, `cannot_reconcile`. */
  reconcile(days: number | undefined): Promise<ReconcileReport>;
  newRequestId(): string;
};

const cookieName = "__Host-hearth";
const headers = { "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY" } as const;
const login = z.union([z.strictObject({ code: z.string().max(64) }), z.strictObject({ password: z.string().max(1_024) })], "send code or password");
const reconcileRequest = z.strictObject({ days: z.int().min(1).max(maxReconcileDays).optional() });
const newPassword = z.strictObject({ password: z.string() });
/** Names under which a browser on this machine reaches the door; anything else is a rebinding or a stray tunnel. */
const ownHosts = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

export function ownerRoutes(parts: OwnerParts) {
  const { sessions } = parts;
  const guarded = async (request: Request, work: () => Promise<Response> | Response, open: boolean = false) => {
    try {
      checkHostAndOrigin(request);
      if (!open && !sessions.isOpen(sessionToken(request)) && !sessions.isConsole(bearer(request))) throw new AppError("login_required", "Log in first: POST /admin/api/login with the code from the console or the password.");
      return await work();
    } catch (error) {
      return errorResponse(error, parts.newRequestId(), headers, "owner");
    }
  };
  const guardedOnly: Guard = (request, work) => guarded(request, work);
  return new Elysia()
    .use(ownerKeyRoutes(parts.keys, guardedOnly, headers))
    .use(ownerPayoutRoutes(parts.payouts, guardedOnly, headers))
    .get("/admin", ({ request, query }) =>
      guarded(request, () => {
        if (sessions.isOpen(sessionToken(request))) return redirect("/admin/api/status");
        return redirect("/admin/api/status", sessionCookie(sessions.openWithCode(String(query.code ?? ""))));
      }, true))
    .post("/admin/api/login", ({ request }) =>
      guarded(request, async () => {
        const given = login.parse(parseJsonObject(await readText(request)));
        const token = "code" in given ? sessions.openWithCode(given.code) : await sessions.openWithPassword(given.password);
        return new Response(null, { status: 204, headers: { ...headers, "Set-Cookie": sessionCookie(token) } });
      }, true))
    .post("/admin/api/logout", ({ request }) =>
      guarded(request, () => {
        sessions.close(sessionToken(request) ?? "");
        return new Response(null, { status: 204, headers: { ...headers, "Set-Cookie": `${cookieName}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0` } });
      }))
    .post("/admin/api/password", ({ request }) =>
      guarded(request, async () => {
        await parts.setPassword(newPassword.parse(parseJsonObject(await readText(request))).password);
        return new Response(null, { status: 204, headers });
      }))
    .get("/admin/api/status", ({ request }) => guarded(request, async () => Response.json(toWire(await parts.report()), { headers })))
    .post("/admin/api/reconcile", ({ request }) => guarded(request, async () => {
      const { days } = reconcileRequest.parse(parseJsonObject((await readText(request)) || "{}"));
      return Response.json(reconciledToWire(await parts.reconcile(days)), { headers });
    }))
    .get("/metrics", ({ request }) =>
      guarded(request, async () => new Response(metricsText(await parts.report()), { headers: { ...headers, "Content-Type": "text/plain; version=0.0.4; charset=utf-8" } })));
}

function checkHostAndOrigin(request: Request): void {
  const host = request.headers.get("host") ?? "";
  const origin = request.headers.get("origin");
  if (!ownHosts.test(host) || (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`))
    throw new AppError("forbidden_origin", "The owner's door opens only under this machine's own address.");
}

function sessionToken(request: Request): string | undefined {
  const cookie = request.headers.get("cookie") ?? "";
  return cookie.split(/;\s*/).find((pair) => pair.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1);
}

function bearer(request: Request): string {
  return /^Bearer ([0-9a-f]{64})$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

function sessionCookie(token: string): string {
  return `${cookieName}=${token}; Path=/; Secure; HttpOnly; SameSite=Strict`;
}

function redirect(to: string, cookie?: string): Response {
  return new Response(null, { status: 303, headers: { ...headers, Location: to, ...(cookie && { "Set-Cookie": cookie }) } });
}

function nodeToWire({ condition, network, publicKey, receivableMsat }: Report["node"]) {
  return {
    reachable: condition.kind === "ready" || condition.kind === "syncing", state: condition.kind, ...(condition.kind !== "ready" && { what: condition.what }),
    network, public_key: publicKey, ...(receivableMsat !== undefined && { receivable_sats: toJsonNumber(floorToSat(receivableMsat)) }),
  };
}

function reconciledToWire({ settledOnNode, creditedHere, repaired, payouts, discrepancies, atMs, days }: ReconcileReport) {
  return {
    at: new Date(atMs).toISOString(), days, settled_on_node: settledOnNode, credited_here: creditedHere, repaired,
    ...(payouts && { payouts: { paid_out_here: payouts.paidOutHere, ended_now: payouts.endedNow, still_open: payouts.stillOpen } }),
    discrepancies: discrepancies.map(discrepancyToWire),
  };
}

function discrepancyToWire(one: AnyDiscrepancy) {
  return {
    kind: one.kind, payment_hash: one.paymentHash,
    ...("payout" in one && { payout: one.payout }), ...("accountId" in one && { account_id: one.accountId }),
    ...("creditedMsat" in one && { credited_msat: String(one.creditedMsat) }), ...("paidMsat" in one && { paid_msat: String(one.paidMsat) }),
    ...("paidOutMsat" in one && { paid_out_msat: String(one.paidOutMsat) }),
    ...("feeMsat" in one && { fee_msat: String(one.feeMsat), booked_fee_msat: String(one.bookedFeeMsat) }),
    ...("nodeSays" in one && { node_says: one.nodeSays }), ...("reference" in one && { reference: one.reference }),
  };
}

/** Amounts of the owner's API are decimal strings of millisatoshi, and whole sats for reading. */
function toWire(report: Report) {
  const amount = (msat: Report["owedMsat"]) => ({ msat: String(msat), sats: toJsonNumber(floorToSat(msat)) });
  return {
    earned: { today: amount(report.earnedTodayMsat), last_7_days: amount(report.earned7DaysMsat), last_30_days: amount(report.earned30DaysMsat) },
    calls_today: report.callsToday,
    owed_to_payers: amount(report.owedMsat),
    open_invoices: report.openInvoices,
    node: nodeToWire(report.node),
    payouts: { ...stateToWire(report.payouts.state), open: report.payouts.open },
    ...(report.reconciled && { reconciled: { at: new Date(report.reconciled.atMs).toISOString(), repaired: report.reconciled.repaired, discrepancies: report.reconciled.discrepancies.length } }),
    upstreams: report.upstreams.map((one) => ({
      name: one.name, healthy: one.healthy, models_for_sale: one.modelsForSale, models_without_price: one.modelsWithoutPrice,
      refuses_your_key: one.refusesOwner,
    })),
    storage: { full: report.storageFull, queued_commands: report.queuedCommands },
  };
}
