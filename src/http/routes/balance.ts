/** What the presented key still holds, and what it has used. */
import { Elysia } from "elysia";
import type { Accounts, Balance, Opened, Usage } from "../../accounts/accounts.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { ChallengeMint } from "../../l402/challenge-mint.ts";
import { floorToSat, type Msat, toJsonNumber } from "../../money/msat.ts";
import { type BtcRate, usdOf } from "../../pricing/rate.ts";
import { readAsker } from "../asker.ts";
import { billResponse, callFacts, type ChallengeSetting, topupUrl, wantsProblem } from "../challenge-body.ts";
import { errorResponse } from "../errors.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export type BalanceParts = {
  accounts: Pick<Accounts, "balance" | "usage">;
  gateway: Pick<Gateway, "probe">;
  mint: Pick<ChallengeMint, "again">;
  setting: ChallengeSetting;
};

export function balanceRoutes(parts: BalanceParts, context: PublicContext) {
  const app = new Elysia();
  const { accounts } = parts;
  for (const prefix of apiPrefixes) {
    app.get(`${prefix}/balance`, ({ request }) =>
      answer(parts, context, request, async (asker) => toWire(await accounts.balance(asker), balanceToWire)));
    app.get(`${prefix}/key`, ({ request }) =>
      answer(parts, context, request, async (asker) => toWire(await accounts.usage(asker), (usage) => usageToWire(usage, parts.setting.rate()))));
  }
  return app;
}

type Answer = Exclude<Opened<never>, { kind: "opened" }> | { kind: "body"; body: object };

function toWire<Content>(opened: Opened<Content>, write: (content: Content) => object): Answer {
  return opened.kind === "opened" ? { kind: "body", body: write(opened.content) } : opened;
}

async function answer(parts: BalanceParts, context: PublicContext, request: Request, work: (asker: ReturnType<typeof readAsker>) => Promise<Answer>): Promise<Response> {
  const id = context.newCallId();
  const headers = { ...context.headers, "x-request-id": id };
  const answering = () => ({ setting: parts.setting, nowMs: context.nowMs(), headers, asProblem: wantsProblem(request) });
  try {
    const asker = readAsker(request, context.addressOf(request), undefined);
    const found = await work(asker);
    if (found.kind === "body") return Response.json(found.body, { headers: { ...headers, "Cache-Control": "no-store" } });
    if (found.kind === "unpaid") return billResponse({ challenge: parts.mint.again(found.invoice), reason: { kind: "unpaid" } }, {}, answering());
    // Clients throw a dead credential away only on a 402.
    const { bill, quoted } = await parts.gateway.probe(asker);
    return billResponse({ ...bill, reason: { kind: "refused" } }, callFacts(quoted), answering());
  } catch (error) {
    return errorResponse(error, id, context.headers);
  }
}

function balanceToWire(balance: Balance) {
  return {
    kind: balance.kind,
    balance_sats: toJsonNumber(floorToSat(balance.spendableMsat)),
    balance_msat: toJsonNumber(balance.spendableMsat),
    reserved_msat: toJsonNumber(balance.reservedMsat),
    ...(balance.kind === "credential" && { valid_until: new Date(balance.validUntilS * 1000).toISOString() }),
    topup_url: topupUrl,
  };
}

/** OpenRouter's names ("Get current API key"), in USD at today's rate; beside them the amounts as they are. */
function usageToWire(usage: Usage, rate: BtcRate | undefined) {
  const { balance, usedMsat } = usage;
  const paidInMsat = (balance.spendableMsat + balance.reservedMsat + usedMsat) as Msat;
  const inUsd = rate && {
    limit: usdOf(paidInMsat, rate),
    limit_remaining: usdOf(balance.spendableMsat, rate),
    usage: usdOf(usedMsat, rate),
    usage_daily: usdOf(usage.todayMsat, rate),
    usage_weekly: usdOf(usage.weekMsat, rate),
    usage_monthly: usdOf(usage.monthMsat, rate),
  };
  return {
    data: {
      label: usage.label,
      ...inUsd,
      // What is used is used: no period brings it back.
      limit_reset: null,
      is_free_tier: false,
      is_management_key: false,
      is_provisioning_key: false,
      include_byok_in_limit: false,
      byok_usage: 0,
      byok_usage_daily: 0,
      byok_usage_weekly: 0,
      byok_usage_monthly: 0,
      limit_msat: toJsonNumber(paidInMsat),
      limit_remaining_msat: toJsonNumber(balance.spendableMsat),
      usage_msat: toJsonNumber(usedMsat),
      usage_daily_msat: toJsonNumber(usage.todayMsat),
      usage_weekly_msat: toJsonNumber(usage.weekMsat),
      usage_monthly_msat: toJsonNumber(usage.monthMsat),
      topup_url: topupUrl,
    },
  };
}
