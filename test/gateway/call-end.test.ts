/** What each ending of a call costs: the table of the design's money section 7, as data. */
import { expect, test } from "bun:test";
import { type Delivered, endCall, type Ending } from "../../src/gateway/call-end.ts";
import type { UsageReport } from "../../src/upstream/usage.ts";

const terms = { model: "m", price: { inputMsatPerMtok: 1_000_000_000n, outputMsatPerMtok: 3_000_000_000n }, inputTokens: 20, cap: 100 };
const labels = { endpoint: "chat/completions", model: "m", upstream: "u" };
const absent: UsageReport = { kind: "absent" };
const reported: UsageReport = { kind: "reported", usage: { inputTokens: 9, outputTokens: 27 } };

type Row = [rule: string, ending: Ending, delivered: Partial<Delivered>, charged: { msat: bigint; estimated: boolean } | "nothing"];

// Our own counts are 10 in, 5 out, and 7 unseen.
const rows: Row[] = [
  ["completed with usage costs the usage", "completed", { usage: reported }, { msat: 90_000n, estimated: false }],
  ["completed without usage costs our count", "completed", { usage: absent }, { msat: 25_000n, estimated: true }],
  ["completed with absurd usage costs our count", "completed", { usage: { kind: "absurd" } }, { msat: 25_000n, estimated: true }],
  ["stopped at the cap costs our count", "cap_reached", { usage: absent }, { msat: 25_000n, estimated: true }],
  ["broken after a word costs the input and what was delivered", "upstream_broke", { usage: absent }, { msat: 25_000n, estimated: true }],
  ["broken after a word costs the running usage where there is one", "upstream_broke", { usage: reported }, { msat: 90_000n, estimated: false }],
  ["broken before a word costs nothing", "upstream_broke", { usage: absent, delivered: false }, "nothing"],
  ["broken before a word costs nothing whatever the upstream says", "upstream_broke", { usage: reported, delivered: false }, "nothing"],
  ["left after a word costs the input and what was made", "client_left", { usage: absent }, { msat: 25_000n, estimated: true }],
  ["left before a word costs the input and the unseen work", "client_left", { usage: absent, delivered: false }, { msat: 31_000n, estimated: true }],
  ["left with late usage costs the usage", "client_left", { usage: reported, delivered: false }, { msat: 90_000n, estimated: false }],
];

test.each(rows)("%s", (_rule, ending, partial, charged) => {
  const delivered: Delivered = { usage: absent, outputTokens: 5, delivered: true, likelyInputTokens: 10, unseenTokens: 7, ...partial };
  const end = endCall(ending, delivered, terms, labels);
  if (charged === "nothing") expect(end).toEqual({ act: "void", reason: ending });
  else expect(end).toMatchObject({ act: "post", costMsat: charged.msat, record: { ...labels, ending, estimated: charged.estimated } });
});
