/** What the presented credential still holds. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import type { BalanceOutcome, Charge } from "../../charge/charge.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import { parseAuthorization } from "../../l402/authorization.ts";
import { floorToSat, toJsonNumber } from "../../money/msat.ts";
import { callFacts, challengeResponse, type ChallengeSetting } from "../challenge-body.ts";
import { errorResponse } from "../errors.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export function balanceRoutes(charge: Pick<Charge, "balance">, gateway: Pick<Gateway, "probe">, setting: ChallengeSetting, context: PublicContext) {
  const app = new Elysia();
  const handle = async (request: Request) => {
    const id = context.newCallId();
    try {
      const outcome = await charge.balance(parseAuthorization(request.headers.get("authorization") ?? undefined));
      return await respond(outcome, gateway, setting, context, id);
    } catch (error) {
      return errorResponse(error, id, context.headers);
    }
  };
  for (const prefix of apiPrefixes) app.get(`${prefix}/balance`, ({ request }) => handle(request));
  return app;
}

async function respond(outcome: BalanceOutcome, gateway: Pick<Gateway, "probe">, setting: ChallengeSetting, context: PublicContext, id: string) {
  const headers = { ...context.headers, "x-request-id": id };
  switch (outcome.kind) {
    case "balance":
      return Response.json(balanceToWire(outcome.balance), { headers: { ...headers, "Cache-Control": "no-store" } });
    case "unpaid":
      return challengeResponse(outcome.challenge, {}, setting, context.nowMs(), headers);
    case "narrowed":
      throw new AppError("narrowed_credential", outcome.message);
    case "refused": {
      // Clients throw a dead credential away only on a 402.
      const { challenge, quoted } = await gateway.probe();
      return challengeResponse(challenge, callFacts(quoted), setting, context.nowMs(), headers);
    }
  }
}

export function balanceToWire(balance: Extract<BalanceOutcome, { kind: "balance" }>["balance"]) {
  return {
    kind: "credential",
    balance_sats: toJsonNumber(floorToSat(balance.spendableMsat)),
    balance_msat: toJsonNumber(balance.spendableMsat),
    reserved_msat: toJsonNumber(balance.reservedMsat),
    valid_until: new Date(balance.validUntilS * 1000).toISOString(),
  };
}
