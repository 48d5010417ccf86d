/** A balance bought ahead. The topup is itself an L402 purchase: whoever pays the challenge holds a credential of that amount. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import type { Challenge, Charge } from "../../charge/charge.ts";
import { topupSale } from "../../charge/topup.ts";
import { parseAuthorization } from "../../l402/authorization.ts";
import { type Sat, sat } from "../../money/msat.ts";
import { challengeResponse, type ChallengeSetting } from "../challenge-body.ts";
import { errorResponse } from "../errors.ts";
import { parseJsonObject, readText } from "../json-body.ts";
import { balanceToWire } from "./balance.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

const facts = { payment_method: "topup", purpose: "new" };

export type TopupLimits = { minSats: number; maxSats: number };

export function topupRoutes(charge: Pick<Charge, "challenge" | "balance">, limits: TopupLimits, setting: ChallengeSetting, context: PublicContext) {
  const app = new Elysia();
  const handle = async (request: Request) => {
    const id = context.newCallId();
    const headers = { ...context.headers, "x-request-id": id };
    const bill = (challenge: Challenge) => challengeResponse(challenge, facts, setting, context.nowMs(), headers);
    try {
      const proof = parseAuthorization(request.headers.get("authorization") ?? undefined);
      // L402 clients repeat the request they paid for: here it has nothing more to do than to show what was bought.
      if (proof.kind === "credential" || proof.kind === "payment") {
        const outcome = await charge.balance(proof);
        if (outcome.kind === "balance") return Response.json(balanceToWire(outcome.balance), { headers: { ...headers, "Cache-Control": "no-store" } });
        if (outcome.kind === "narrowed") throw new AppError("narrowed_credential", outcome.message);
        if (outcome.kind === "unpaid") return bill(outcome.challenge);
      }
      return bill(await charge.challenge(topupSale(parseAmount(parseJsonObject(await readText(request)), limits))));
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  for (const prefix of apiPrefixes) app.post(`${prefix}/topup`, ({ request }) => handle(request));
  return app;
}

/** @throws AppError `invalid_amount`. */
function parseAmount(body: Record<string, unknown>, { minSats, maxSats }: TopupLimits): Sat {
  const amount = body.amount_sats;
  if (typeof amount !== "number" || !Number.isSafeInteger(amount) || amount < minSats || amount > maxSats)
    throw new AppError("invalid_amount", `Send amount_sats, a whole number from ${minSats} to ${maxSats}.`, { param: "amount_sats" });
  return sat(BigInt(amount));
}
