/** What a run measured: one number a line, kept as CSV, read back as medians over rounds. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { ContestantName } from "./contestants.ts";
import type { DocumentName } from "./documents.ts";
import type { Phase, PricingRoute, PromptKind, PromptSize } from "./long-prompts.ts";

export type Metric =
  | "requests_per_s" | "p50_ms" | "p99_ms" | "cpu_ms_per_request"
  | "first_p50_ms" | "first_p99_ms" | "total_p50_ms" | "streams" | "lost_frames"
  | "bill_p50_ms" | "bill_p99_ms" | "redeem_p50_ms" | "redeem_p99_ms"
  | `${DocumentName}_${"p50_ms" | "p99_ms" | "cpu_ms" | "bytes"}`
  | `${PricingRoute}_${PromptKind}_${PromptSize}_ms`
  | `${Phase}_${"gap_p50_ms" | "gap_p99_ms" | "largest_gap_ms" | "small_call_p50_ms" | "small_call_p99_ms" | "streams" | "lost_frames"}`;

/** W6 to W10 are the design's, for later. */
export type Workload = "W1" | "W2" | "W3" | "W4" | "W5" | "W11" | "W12";

type Measure = { workload: Workload; contestant: ContestantName; parallel: number; round: number; metric: Metric; value: number };
type Place = { workload: Workload; parallel: number; metric: Metric };

export class Measures {
  readonly #all: Measure[] = [];

  add(at: Omit<Measure, "metric" | "value">, values: Partial<Record<Metric, number>>): void {
    for (const [metric, value] of Object.entries(values)) this.#all.push({ ...at, metric: metric as Metric, value });
  }

  /** The median over rounds, or undefined for what was not measured. */
  median(contestant: ContestantName, at: Place): number | undefined {
    return median(this.#of(contestant, at).map((one) => one.value));
  }

  sum(contestant: ContestantName, at: Place): number {
    return this.#of(contestant, at).reduce((sum, one) => sum + one.value, 0);
  }

  /** The largest of all rounds. */
  max(contestant: ContestantName, at: Place): number | undefined {
    const values = this.#of(contestant, at).map((one) => one.value);
    return values.length === 0 ? undefined : Math.max(...values);
  }

  /** The median over rounds of what two contestants measured in the same round, so that a slow minute hits both. */
  paired(one: ContestantName, other: ContestantName, at: Place, combine: (one: number, other: number) => number): number | undefined {
    const others = new Map(this.#of(other, at).map((measure) => [measure.round, measure.value]));
    const pairs = this.#of(one, at).flatMap(({ round, value }) => {
      const beside = others.get(round);
      return beside === undefined ? [] : [combine(value, beside)];
    });
    return median(pairs);
  }

  writeCsv(path: string): void {
    mkdirSync(dirname(path), { recursive: true });
    const lines = this.#all.map((one) => [one.workload, one.contestant, one.parallel, one.round, one.metric, one.value].join(","));
    writeFileSync(path, ["workload,contestant,parallel,round,metric,value", ...lines].join("\n") + "\n");
  }

  #of(contestant: ContestantName, at: Place): Measure[] {
    return this.#all.filter((one) =>
      one.contestant === contestant && one.workload === at.workload && one.parallel === at.parallel && one.metric === at.metric);
  }
}

export function median(values: readonly number[]): number | undefined {
  return percentile(values, 50);
}

/** The smallest value that so many percent do not exceed; the mean of the middle two for an even median. */
export function percentile(values: readonly number[], percent: number): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  if (percent === 50 && sorted.length % 2 === 0) return (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)];
}
