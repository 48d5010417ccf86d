/** A quote says when the node could not be paid so much. */
import { expect, test } from "bun:test";
import { discoveryRoutes, type DiscoveryParts } from "../../src/http/routes/discovery.ts";
import { msat } from "../../src/money/msat.ts";

const estimate = { model: "m", local: true, maxTokens: 10, rate: undefined, leastMsat: msat(1_000n), expectedMsat: msat(2_000n), mostMsat: msat(5_000n), waitSeconds: 0 };
const context = { headers: {}, nowMs: () => 0, newCallId: () => "c", addressOf: () => () => undefined };

async function quoteWith(receivable: bigint | undefined) {
  const parts = {
    service: () => { throw new Error("nobody asks"); }, gateway: { quote: async () => estimate }, orders: {}, planner: {}, rate: () => undefined,
    inbound: { receivable: async () => (receivable === undefined ? undefined : msat(receivable)) },
  } as unknown as DiscoveryParts;
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "x" }] });
  const answer = await discoveryRoutes(parts, context).handle(new Request("http://127.0.0.1/api/v1/quote", { method: "POST", body }));
  const { payable, receivable_sats } = (await answer.json()) as { payable?: boolean; receivable_sats?: number };
  return { payable, receivable_sats };
}

test.each([
  ["takes less than the most", 4_999n, { payable: false, receivable_sats: 4 }],
  ["takes just the most", 5_000n, { payable: undefined, receivable_sats: undefined }],
  ["takes nothing", 0n, { payable: false, receivable_sats: 0 }],
  ["cannot tell", undefined, { payable: undefined, receivable_sats: undefined }],
])("a node that %s", async (_what, receivable, said) => {
  expect(await quoteWith(receivable)).toEqual(said as never);
});
