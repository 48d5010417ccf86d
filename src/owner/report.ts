/** What the owner sees at a glance. Reads by key only; no payer, no prompt. */
import type { NodeCondition } from "../lightning/node.ts";
import type { Clock } from "../base/clock.ts";
import { totalSince } from "../charge/commands.ts";
import type { UpstreamHealth } from "../gateway/model-directory.ts";
import { owedMsat } from "../ledger/owed.ts";
import type { Msat } from "../money/msat.ts";
import type { PayoutsState } from "../payments/payouts.ts";
import type { ReconcileReport } from "./reconciler.ts";
import type { Reader } from "../store/reader.ts";

/** Network and key are unknown where it has never answered. */
export type NodeHealth = { network?: string; publicKey?: string; condition: NodeCondition; /** Undefined where it cannot tell. */ receivableMsat: Msat | undefined };

export type Report = {
  earnedTodayMsat: Msat;
  earned7DaysMsat: Msat;
  earned30DaysMsat: Msat;
  callsToday: number;
  /** What payers have paid in and not spent. */
  owedMsat: Msat;
  openInvoices: number;
  node: NodeHealth;
  /** `open`: whose end is not known. */
  payouts: { state: PayoutsState; open: number };
  /** Of node and ledger; undefined until the first has ended. */
  reconciled: ReconcileReport | undefined;
  upstreams: UpstreamHealth[];
  storageFull: boolean;
  queuedCommands: number;
};

export type ReportSources = {
  reader: Reader;
  clock: Clock;
  openInvoices(): number;
  nodeHealth(): Promise<NodeHealth>;
  payouts(): Report["payouts"];
  reconciled(): ReconcileReport | undefined;
  upstreams(): UpstreamHealth[];
  storage(): { full: boolean; queued: number };
};

const dayMs = 86_400_000;

export async function makeReport(sources: ReportSources): Promise<Report> {
  const { reader, clock } = sources;
  const since = (days: number) => totalSince(reader, new Date(clock.nowMs() - (days - 1) * dayMs).toISOString().slice(0, 10));
  const today = since(1);
  const storage = sources.storage();
  return {
    earnedTodayMsat: today.earnedMsat,
    earned7DaysMsat: since(7).earnedMsat,
    earned30DaysMsat: since(30).earnedMsat,
    callsToday: today.calls,
    owedMsat: owedMsat(reader),
    openInvoices: sources.openInvoices(),
    node: await sources.nodeHealth(),
    payouts: sources.payouts(),
    reconciled: sources.reconciled(),
    upstreams: sources.upstreams(),
    storageFull: storage.full,
    queuedCommands: storage.queued,
  };
}
