/** The printed snippets of what is sold by the piece: NanoGPT's web search, MaximumSats' single prompt, 402ai's picture. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { endHearth, pay, type RunningHearth, startHearth } from "../support/hearth.ts";
import { dvmText, orderConfig, type OrderUpstream, picture, startOrderUpstream } from "../support/order-upstream.ts";
import { readPrinted, SeedShell } from "../support/seed-shell.ts";

let upstream: OrderUpstream, hearth: RunningHearth, shell: SeedShell;
/** The owner's proxy in front of the door: it names the client's address, which loopback is not. */
let proxy: ReturnType<typeof Bun.serve>;
beforeAll(async () => {
  upstream = startOrderUpstream();
  const more = '[aliases]\n"gpt-image-1-mini" = "painter"\n[trial]\nmodels = ["talker"]\n';
  hearth = await startHearth({ command: "serve", config: orderConfig(upstream, { settings: 'trusted_proxies = ["127.0.0.0/8", "::1"]', more }) });
  proxy = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    fetch: async (request) => {
      const headers = new Headers(request.headers);
      headers.set("x-forwarded-for", "203.0.113.50");
      return fetch(hearth.url + new URL(request.url).pathname, { method: request.method, headers, body: await request.text() });
    },
  });
  shell = new SeedShell({ "https://nano-gpt.com": hearth.url, "https://402ai.net": hearth.url, "https://maximumsats.com": proxy.url.origin });
});
beforeEach(() => void (upstream.asked.length = 0));
afterAll(async () => {
  await proxy.stop(true);
  await endHearth(hearth);
  shell.remove();
  await upstream.stop();
});

type Option = { scheme: string; invoice: string; l402Token: string; amountFormatted: string; amountUsd: string };

const search = String.raw`
curl -is https://nano-gpt.com/api/v1/data/web/search \
-H "Content-Type: application/json" \
-d '{
"query": "latest AI agent payment protocols",
"max_results": 3
}'
`;
const searchReplay = String.raw`
curl -is https://nano-gpt.com/api/v1/data/web/search \
-H "Content-Type: application/json" \
-H "Authorization: L402 $L402_TOKEN:$PAYMENT_PREIMAGE" \
-d '{
"query": "latest AI agent payment protocols",
"max_results": 3
}'
`;

test("NanoGPT's search: billed with the lightning option, and replayed with its token it finds", async () => {
  const quoted = readPrinted(await shell.run(search));
  const option = (quoted.json.payment as { accepted: Option[] }).accepted.find(({ scheme }) => scheme === "lightning-l402")!;
  // The least invoice is 10 sats, the search itself 5; a dollar is 1,000 sats here.
  expect({ status: quoted.status, price: option.amountFormatted, usd: option.amountUsd, asked: upstream.asked }).toEqual({ status: 402, price: "10 sats", usd: "0.01", asked: [] });
  const variables = { L402_TOKEN: option.l402Token, PAYMENT_PREIMAGE: await pay(hearth.url, option.invoice) };
  const found = readPrinted(await shell.run(searchReplay, variables));
  expect({ status: found.status, data: found.json.data }).toEqual({
    status: 200,
    data: [
      { type: "text", title: "Bitcoin in schools", url: "https://example.org/a", content: "A short extract." },
      { type: "text", title: "Second", url: "https://example.org/b", content: "" },
      { type: "text", title: "Third", url: "https://example.org/c", content: "c" },
    ],
  });
  expect(found.json.metadata).toMatchObject({ query: "latest AI agent payment protocols", provider: "searxng", operation: "search", depth: "standard", outputType: "searchResults", cost: 0.005 });
  expect(upstream.asked).toEqual([{ q: "latest AI agent payment protocols", format: "json" }]);
  // There the second use is refused; here the change pays for it, and the third is billed.
  expect(readPrinted(await shell.run(searchReplay, variables)).status).toBe(200);
  expect(readPrinted(await shell.run(searchReplay, variables)).status).toBe(402);
});

const matrix = "curl -s https://nano-gpt.com/api/v1/x402/endpoints\n";
test("NanoGPT's matrix names what has something behind it, and each row called as a stranger is billed", async () => {
  const { data } = JSON.parse(await shell.run(matrix)) as { data: { endpoint: string; method: string; schemes: string[]; quoteType: string }[] };
  expect(data.map(({ endpoint, quoteType }) => `${endpoint} ${quoteType}`).toSorted()).toEqual([
    "/api/dvm deterministic", "/api/v1/chat/completions estimated with reconciliation", "/api/v1/data/web/search deterministic", "/api/v1/images/generations deterministic",
  ]);
  for (const { endpoint, method, schemes } of data) {
    expect(schemes).toEqual(["lightning-l402"]);
    expect((await fetch(hearth.url + endpoint, { method, headers: { "content-type": "application/json" }, body: "{}" })).status).toBe(402);
  }
});

/** As printed, but for the address it comes from. */
const dvm = (more = "") => String.raw`
# 1) First call: free (or you'll get a 402 if you've already used it today)
curl -sS https://maximumsats.com/api/dvm \
  -H 'content-type: application/json' \
  -d '{"prompt":"Give me 5 concrete ways to price an LLM feature without subscriptions."` + more + String.raw`}'
`;

test("MaximumSats' prompt: free once, then 21 sats, then answered once for the payment hash", async () => {
  expect(JSON.parse(await shell.run(dvm()))).toEqual({ status: "success", result: dvmText, model: "talker", free: true });
  const bill = JSON.parse(await shell.run(dvm())) as { status: number; amount_sats: number; invoice: string; payment_hash: string };
  expect(bill).toMatchObject({ status: 402, amount_sats: 21 });
  await pay(hearth.url, bill.invoice);
  const retry = dvm(`,"payment_hash":"${bill.payment_hash}"`);
  expect(JSON.parse(await shell.run(retry))).toEqual({ status: "success", result: dvmText, model: "talker" });
  expect(JSON.parse(await shell.run(retry))).toMatchObject({ status: 402, code: "payment_required" });
  expect(upstream.asked).toHaveLength(2);
});

test("MaximumSats' prices name the prompt's price and the free call", async () => {
  const pricing = (await (await fetch(`${hearth.url}/pricing`)).json()) as { free_tier_per_ip_per_day: number; priced_endpoints: { path: string; price_sats: number }[] };
  expect(pricing.free_tier_per_ip_per_day).toBe(1);
  expect(pricing.priced_endpoints.map(({ path, price_sats }) => [path, price_sats])).toEqual([
    ["/api/dvm", 21], ["/v1/chat/completions", 10], ["/v1/data/web/search", 10], ["/v1/images/generations", 21],
  ]);
});

const image = String.raw`
curl -sD- -X POST https://402ai.net/api/v1/images/generations \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-image-1-mini","prompt":"A neon bitcoin logo","size":"1024x1024"}'
`;

test("402ai's picture: billed, then made for the L402 header its comment names", async () => {
  const quoted = readPrinted(await shell.run(image));
  const { macaroon, invoice } = quoted.json as { macaroon: string; invoice: string };
  expect({ status: quoted.status, header: quoted.headers.get("www-authenticate")?.startsWith("L402 ") }).toEqual({ status: 402, header: true });
  const authorized = image.replace("-d '", '-H "Authorization: L402 $MACAROON:$PREIMAGE" \\\n  -d \'');
  const made = readPrinted(await shell.run(authorized, { MACAROON: macaroon, PREIMAGE: await pay(hearth.url, invoice) }));
  expect({ status: made.status, data: made.json.data }).toEqual({ status: 200, data: [{ b64_json: picture }] });
  expect(upstream.asked).toEqual([{ model: "painter", prompt: "A neon bitcoin logo", n: 1, size: "1024x1024", response_format: "b64_json" }]);
});
