/** The measures as tables people read, and the aims of the design beside them. Pure. */
import { type ContestantName, contestantNames, type HearthName } from "./contestants.ts";
import { documentNames, documents } from "./documents.ts";
import { longPromptPaceMs, longPromptStreams, type Phase, phases, type PricingRoute, promptKindNames, promptSizes } from "./long-prompts.ts";
import type { Measures, Metric } from "./measures.ts";
import { paymentParallels } from "./payments.ts";
import { chatConnections, mintConnections, streamLoads } from "./workloads.ts";

export type Aim = { what: string; aim: string; got: string; met: boolean | undefined };

const difference = (one: number, other: number) => one - other;
const ratio = (one: number, other: number) => one / other;

function show(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? "-" : value.toFixed(digits);
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: string[]) => `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

function chatTable(measures: Measures): string {
  const rows = chatConnections.flatMap((parallel) =>
    contestantNames.flatMap((name) => {
      const at = (metric: Metric) => ({ workload: "W1" as const, parallel, metric });
      const rate = measures.median(name, at("requests_per_s"));
      if (rate === undefined) return [];
      const rateBeside = (other: ContestantName) => show(measures.paired(name, other, at("requests_per_s"), ratio), 2);
      return [[
        `${name}, ${parallel}`, show(rate, 0), show(measures.median(name, at("p50_ms")), 2), show(measures.median(name, at("p99_ms")), 2),
        show(measures.paired(name, "direct", at("p50_ms"), difference), 2), rateBeside("bare-bun"), rateBeside("no-ledger"),
        show(measures.median(name, at("cpu_ms_per_request")), 3),
      ]];
    }));
  return table(["W1 chat, connections", "req/s", "p50 ms", "p99 ms", "added p50 ms", "x bare-bun", "x no-ledger", "cpu ms/req"], rows);
}

function streamTable(measures: Measures): string {
  const rows = streamLoads.flatMap(({ streams: parallel }) =>
    contestantNames.flatMap((name) => {
      const at = (metric: Metric) => ({ workload: "W2" as const, parallel, metric });
      const first = measures.median(name, at("first_p50_ms"));
      if (first === undefined) return [];
      return [[
        `${name}, ${parallel}`, show(first, 2), show(measures.median(name, at("first_p99_ms")), 2),
        show(measures.paired(name, "direct", at("first_p50_ms"), difference), 2), show(timesBareBun(measures, name, parallel), 2),
        show(measures.median(name, at("total_p50_ms")), 0), show(measures.sum(name, at("streams")), 0), show(measures.sum(name, at("lost_frames")), 0),
      ]];
    }));
  return table(["W2 SSE, streams", "first p50 ms", "first p99 ms", "added p50 ms", "x bare-bun's", "total p50 ms", "streams", "lost frames"], rows);
}

function timesBareBun(measures: Measures, name: ContestantName, parallel: number): number | undefined {
  const added = (who: ContestantName) => measures.paired(who, "direct", { workload: "W2", parallel, metric: "first_p50_ms" }, difference);
  const own = added(name), bare = added("bare-bun");
  return name === "direct" || own === undefined || bare === undefined ? undefined : own / bare;
}

function mintTable(measures: Measures, signingMs: number): string {
  const rows = mintConnections.flatMap((parallel) => {
    const at = (metric: Metric) => ({ workload: "W3" as const, parallel, metric });
    const rate = measures.median("hearth", at("requests_per_s"));
    if (rate === undefined) return [];
    return [[
      `hearth, ${parallel}`, show(rate, 0), show(measures.median("hearth", at("p50_ms")), 2), show(measures.median("hearth", at("p99_ms")), 2),
      show(signingMs, 3), `${show(signingMs * rate / 10, 0)} %`,
    ]];
  });
  return table(["W3 402s, connections", "402/s", "p50 ms", "p99 ms", "node ms/402", "node's share"], rows);
}

function paymentTable(measures: Measures): string {
  const rows = (["W4", "W5"] as const).flatMap((workload) =>
    paymentParallels.flatMap((parallel) => {
      const shown = (metric: Metric) => show(measures.median("hearth", { workload, parallel, metric }), 2);
      if (measures.median("hearth", { workload, parallel, metric: "bill_p50_ms" }) === undefined) return [];
      return [[`${workload}, ${parallel}`, shown("bill_p50_ms"), shown("bill_p99_ms"), shown("redeem_p50_ms"), shown("redeem_p99_ms")]];
    }));
  return table(["W4 redeem, W5 topup and claim; buyers", "bill p50 ms", "bill p99 ms", "redeem or claim p50 ms", "p99 ms"], rows);
}

const houseNames: readonly HearthName[] = ["hearth", "hearth-300"];

/** hearth beside hearth-300, in the same rounds. */
function manyModelsTable(measures: Measures): string {
  const rowOf = (workload: "W1" | "W3", parallel: number): string[][] => {
    const at = (metric: Metric) => ({ workload, parallel, metric });
    const both = (metric: Metric, digits: number) => houseNames.map((name) => show(measures.median(name, at(metric)), digits));
    const quotient = measures.paired("hearth-300", "hearth", at("requests_per_s"), ratio);
    if (quotient === undefined) return [];
    return [[`${workload}, ${parallel}`, ...both("requests_per_s", 0), show(quotient, 2), ...both("p50_ms", 2), ...both("cpu_ms_per_request", 3)]];
  };
  const rows = [...chatConnections.flatMap((parallel) => rowOf("W1", parallel)), ...mintConnections.flatMap((parallel) => rowOf("W3", parallel))];
  return table(["300 models, connections", "1 model /s", "300 models /s", "300 x 1", "1: p50 ms", "300: p50 ms", "1: cpu ms/req", "300: cpu ms/req"], rows);
}

function documentTable(measures: Measures): string {
  const rows = documentNames.map((name) => {
    const of = (house: HearthName, metric: Metric) => measures.median(house, { workload: "W11", parallel: 1, metric });
    const bytes = of("hearth-300", `${name}_bytes`);
    return [
      documents[name], show(of("hearth", `${name}_p50_ms`), 2), show(of("hearth-300", `${name}_p50_ms`), 2), show(of("hearth-300", `${name}_p99_ms`), 2),
      show(of("hearth-300", `${name}_cpu_ms`), 2), show(bytes && bytes / 1_000, 1),
    ];
  });
  return table(["W11 documents, 1 connection", "1 model p50 ms", "300 models p50 ms", "p99 ms", "cpu ms/req", "kB"], rows);
}

const phaseNames: Record<Phase, string> = { quiet: "quiet", quote: "prices by POST /api/v1/quote", bill: "prices by 402" };

function inW12(metric: Metric) {
  return { workload: "W12" as const, parallel: longPromptStreams, metric };
}

function stallTable(measures: Measures): string {
  const rows = phases.map((phase) => {
    const shown = (metric: Metric) => show(measures.median("hearth", inW12(metric)), 2);
    const summed = (metric: Metric) => show(measures.sum("hearth", inW12(metric)), 0);
    return [
      phaseNames[phase], shown(`${phase}_gap_p50_ms`), shown(`${phase}_gap_p99_ms`), shown(`${phase}_largest_gap_ms`),
      show(measures.max("hearth", inW12(`${phase}_largest_gap_ms`)), 2),
      shown(`${phase}_small_call_p50_ms`), shown(`${phase}_small_call_p99_ms`), summed(`${phase}_streams`), summed(`${phase}_lost_frames`),
    ];
  });
  const head = `W12 ${longPromptStreams} streams, a frame every ${longPromptPaceMs} ms`;
  return table([head, "gap p50 ms", "gap p99 ms", "largest gap ms", "in all rounds", "small call p50 ms", "p99 ms", "streams", "lost frames"], rows);
}

function longPromptTable(measures: Measures): string {
  const rows = promptKindNames.map((kind) => {
    const cells = (route: PricingRoute) => {
      const [quarter, full] = promptSizes.map((size) => measures.median("hearth", inW12(`${route}_${kind}_${size}_ms`)));
      return [show(quarter, 2), show(full, 2), show(quarter && full && full / quarter, 1)];
    };
    return [kind, ...cells("quote"), ...cells("bill")];
  });
  return table(["W12 a long prompt's price", "quote, quarter ms", "quote, full ms", "ratio", "402, quarter ms", "402, full ms", "ratio"], rows);
}

export function tables(measures: Measures, signingMs: number): string {
  const compared = [chatTable(measures), streamTable(measures), mintTable(measures, signingMs), paymentTable(measures)];
  return [...compared, manyModelsTable(measures), documentTable(measures), stallTable(measures), longPromptTable(measures)].join("\n\n");
}

function aim(what: string, wanted: string, got: number | undefined, digits: number, holds: (got: number) => boolean): Aim {
  return { what, aim: wanted, got: show(got, digits), met: got === undefined || Number.isNaN(got) ? undefined : holds(got) };
}

/** quality.md, "Benchmarks". */
export function aims(measures: Measures): Aim[] {
  const chat = (parallel: number, metric: Metric) => ({ workload: "W1" as const, parallel, metric });
  const most = Math.max(...streamLoads.map((load) => load.streams));
  return [
    aim("W1, 1 connection: added p50 ms", "<= 0.5", measures.paired("hearth", "direct", chat(1, "p50_ms"), difference), 2, (got) => got <= 0.5),
    aim("W1, 16 connections: req/s, x no-ledger", ">= 0.60", measures.paired("hearth", "no-ledger", chat(16, "requests_per_s"), ratio), 2, (got) => got >= 0.6),
    aim("W1, 16 connections: req/s, x bare-bun", ">= 0.40", measures.paired("hearth", "bare-bun", chat(16, "requests_per_s"), ratio), 2, (got) => got >= 0.4),
    ...streamLoads.map(({ streams }) =>
      aim(`W2, ${streams} streams: added first frame, x bare-bun's`, "<= 2", timesBareBun(measures, "hearth", streams), 2, (got) => got <= 2)),
    aim(`W2, ${most} streams: lost frames`, "0", measures.sum("hearth", { workload: "W2", parallel: most, metric: "lost_frames" }), 0, (got) => got === 0),
  ];
}

export function aimTable(list: readonly Aim[]): string {
  return table(["Aim", "wanted", "got", ""], list.map((one) => [one.what, one.aim, one.got, one.met === undefined ? "not measured" : one.met ? "met" : "MISSED"]));
}
