/** The owner's report in Prometheus' text format. Pure. Source: prometheus.io, "Exposition formats", version 0.0.4. */
import type { Report } from "../owner/report.ts";

export function metricsText(report: Report): string {
  const lines: string[] = [];
  const gauge = (name: string, help: string, samples: [labels: string, value: number | bigint][]) => {
    lines.push(`# HELP hearth_${name} ${help}`, `# TYPE hearth_${name} gauge`);
    for (const [labels, value] of samples) lines.push(`hearth_${name}${labels} ${value}`);
  };
  gauge("earned_today_msat", "Posted calls of this UTC day.", [["", report.earnedTodayMsat]]);
  gauge("calls_today", "Posted calls of this UTC day.", [["", report.callsToday]]);
  gauge("owed_msat", "Paid in and not spent.", [["", report.owedMsat]]);
  gauge("open_invoices", "Invoices that wait for payment.", [["", report.openInvoices]]);
  gauge("payouts_on", "Whether money may leave.", [["", report.payouts.state.on ? 1 : 0]]);
  gauge("open_payouts", "Payouts whose end is not known.", [["", report.payouts.open]]);
  gauge("node_up", "Whether the Lightning node answers.", [["", report.node.condition.kind === "ready" ? 1 : 0]]);
  gauge("upstream_up", "Whether the model server answers.", report.upstreams.map((one) => [`{upstream="${one.name}"}`, one.healthy ? 1 : 0]));
  gauge("models_for_sale", "Models with a price at a healthy upstream.", report.upstreams.map((one) => [`{upstream="${one.name}"}`, one.modelsForSale]));
  gauge("storage_full", "Whether a full disk has stopped selling.", [["", report.storageFull ? 1 : 0]]);
  gauge("queued_commands", "Writes that are not answered yet.", [["", report.queuedCommands]]);
  return lines.join("\n") + "\n";
}
