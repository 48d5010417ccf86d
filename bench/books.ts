/**
 * Holds what clients were served against what was charged, after the program has ended. A benchmark whose sums differ
 * measured something else than selling.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { revenueAccount } from "../src/ledger/account.ts";
import { runHearth } from "../test/support/hearth.ts";
import { exactCostMsat } from "./workload.ts";

/** What clients of hearth saw. */
export type Served = {
  /** Whole good answers. */
  calls: number;
  /** Calls that may have been under way when a load generator hung up: served and owed, but seen by nobody. */
  cutCallsAtMost: number;
  /** 402s for which an invoice was made, and how many more may have been made for nobody. */
  bills: number;
  cutBillsAtMost: number;
  /** The exact pass: every call awaited, every charge added up from its header. */
  exact: { calls: number; chargedMsat: bigint };
};

export type Books = {
  problems: string[];
  calls: number;
  cutCalls: number;
  /** At least so many were charged to clients that left before the upstream had read the request. */
  neverAsked: number;
  chargedMsat: bigint;
  servedMsat: bigint;
  audit: string;
};

type Ended = { ending: string; calls: number; charged: bigint; wrong: number };

type Sums = { ofCalls: bigint; ofDays: bigint; ofLedger: bigint; pending: bigint; bills: number };

function readSums(dataDir: string): { ended: Ended[]; sums: Sums } {
  const database = new Database(join(dataDir, "hearth.db"), { readonly: true, safeIntegers: true });
  const number = (sql: string, ...values: string[]) => BigInt(Object.values(database.query(sql).get(...values) as Record<string, bigint | null>)[0] ?? 0n);
  const ended = database
    .query("SELECT ending, count(*) AS calls, sum(charged_msat) AS charged, sum(charged_msat <> ?) AS wrong FROM call GROUP BY ending")
    .all(exactCostMsat)
    .map((row) => row as Record<"calls" | "charged" | "wrong", bigint> & { ending: string })
    .map((row): Ended => ({ ending: row.ending, calls: Number(row.calls), charged: row.charged, wrong: Number(row.wrong) }));
  const sums = {
    ofCalls: number("SELECT sum(charged_msat) FROM call"),
    ofDays: number("SELECT sum(earned_msat) FROM daily_total"),
    ofLedger: number("SELECT credits_posted_msat FROM account WHERE id = ?", revenueAccount),
    pending: number("SELECT count(*) FROM open_reservation"),
    bills: Number(number("SELECT count(*) FROM invoice WHERE state = 'open'")),
  };
  database.close();
  return { ended, sums };
}

/** How often those upstreams were asked that must serve every call, and those that stand by. */
export type Asked = { served: number; passedOver: number };

export async function checkBooks(dataDir: string, served: Served, asked: Asked): Promise<Books> {
  const { ended, sums } = readSums(dataDir);
  const audit = await runHearth(["audit"], { HEARTH_DATA_DIR: dataDir });
  const completed = ended.find((one) => one.ending === "completed") ?? { ending: "completed", calls: 0, charged: 0n, wrong: 0 };
  const left = ended.filter((one) => one !== completed);
  const allCalls = completed.calls + left.reduce((sum, one) => sum + one.calls, 0);
  const problems: string[] = [];
  const must = (holds: boolean, what: string) => void (holds || problems.push(what));
  must(completed.wrong === 0, `${completed.wrong} whole calls were not charged ${exactCostMsat} msat`);
  must(completed.calls >= served.calls, `clients saw ${served.calls} answers, only ${completed.calls} were charged`);
  must(allCalls <= served.calls + served.cutCallsAtMost, `${allCalls} calls were charged, at most ${served.calls + served.cutCallsAtMost} were made`);
  must(left.every((one) => one.ending === "client_left"), `calls ended as ${left.map((one) => one.ending).join(", ")}`);
  must(completed.calls <= asked.served, `${completed.calls} whole calls were charged, the upstream was asked ${asked.served} times`);
  must(asked.passedOver === 0, `${asked.passedOver} calls went to an upstream that is not the cheapest`);
  must(sums.ofCalls === sums.ofDays && sums.ofCalls === sums.ofLedger, `charged: ${sums.ofCalls} by calls, ${sums.ofDays} by days, ${sums.ofLedger} by the ledger`);
  must(sums.pending === 0n, `${sums.pending} reservations are still open`);
  must(sums.bills >= served.bills && sums.bills <= served.bills + served.cutBillsAtMost, `${served.bills} bills were seen, ${sums.bills} invoices are open`);
  const exactMsat = BigInt(served.exact.calls) * exactCostMsat;
  must(served.exact.chargedMsat === exactMsat, `${served.exact.calls} awaited calls cost ${served.exact.chargedMsat} msat, not ${exactMsat}`);
  must(audit.code === 0, `hearth audit: ${audit.output.trim()}`);
  const cutCalls = allCalls - served.calls;
  // Cut calls that completed cost what any other does; one that was given up costs what its row says.
  const servedMsat = BigInt(completed.calls) * exactCostMsat + left.reduce((sum, one) => sum + one.charged, 0n);
  must(servedMsat === sums.ofDays, `served ${servedMsat} msat, charged ${sums.ofDays}`);
  return { problems, calls: allCalls, cutCalls, neverAsked: Math.max(0, allCalls - asked.served), chargedMsat: sums.ofDays, servedMsat, audit: audit.output.trim().split("\n").at(-1) ?? "" };
}
