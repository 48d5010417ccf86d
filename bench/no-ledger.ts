/**
 * Hearth's own door and gateway with a till that says yes from memory: what is left of Hearth when nothing is verified,
 * reserved or written. The difference to the real program is the price of being paid.
 */
import { Elysia } from "elysia";
import { systemClock, systemRandom } from "../src/base/clock.ts";
import { newId } from "../src/base/ids.ts";
import type { CallEnd, Reservation, Sale } from "../src/charge/sale.ts";
import { Gateway, type Till } from "../src/gateway/gateway.ts";
import { LoadBook } from "../src/gateway/load-book.ts";
import { Learnt } from "../src/gateway/learnt.ts";
import { ModelDirectory } from "../src/gateway/model-directory.ts";
import { corsHeaders } from "../src/http/public-context.ts";
import { chatRoutes } from "../src/http/routes/chat.ts";
import { msat } from "../src/money/msat.ts";
import { openAiCompatible } from "../src/upstream/openai-compatible.ts";
import { price } from "./workload.ts";

const upstreamUrl = process.argv[2];
if (upstreamUrl === undefined) throw new Error("usage: no-ledger.ts UPSTREAM_URL");

const clock = systemClock, random = systemRandom;
const modelPrice = { inputMsatPerMtok: BigInt(price.inputSatsPerMtok) * 1000n, outputMsatPerMtok: BigInt(price.outputSatsPerMtok) * 1000n };

function notHere(): never {
  throw new Error("there is no ledger here");
}

const freeTill: Till = {
  open: async (id: string, _asker: unknown, sale: Sale) => {
    const quote = sale.quote!;
    return {
      kind: "reserved",
      quote,
      reservation: { id, accountId: "a_free", amountMsat: quote.ceilingMsat, spendableMsat: msat(0n), terms: quote.terms, startedAtMs: clock.nowMs(), free: false, receipt: undefined },
    };
  },
  bill: notHere,
  settle: (reservation: Reservation, end: CallEnd) => ({ chargedMsat: end.act === "post" ? end.costMsat : msat(0n), spendableMsat: reservation.spendableMsat }),
};

const upstream = openAiCompatible({ name: "bench", url: `${upstreamUrl}/v1`, key: undefined, capField: undefined });
const directory = new ModelDirectory({
  upstreams: [upstream], clock, aliases: {}, rate: () => undefined,
  priceOf: () => ({ price: { kind: "sats", price: modelPrice }, cost: { kind: "sats", price: modelPrice } }),
});
await directory.refresh();
const gateway = new Gateway({ directory, till: freeTill, clock, limits: { defaultOutputTokens: 2_048, maxOutputTokens: 16_384 }, trial: { models: [], maxOutputTokens: 0 }, learnt: new Learnt(), loads: new LoadBook(clock) });
const context = { headers: corsHeaders, addressOf: () => () => undefined, nowMs: () => clock.nowMs(), newCallId: () => newId("c", clock.nowMs(), random) };
const app = new Elysia({ normalize: false })
  .onRequest(({ request }) => (request.method === "OPTIONS" ? new Response(null, { status: 204 }) : undefined))
  .use(chatRoutes(gateway, { offerPayment: false, paymentNetwork: () => "regtest", rate: () => undefined, discountPercent: 0 }, context));
// As `openDoor` listens.
const server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 255, development: false, fetch: (request) => app.fetch(request) });
process.stdout.write(`ready ${server.url.origin}\n`);
