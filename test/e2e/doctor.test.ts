/** `hearth doctor` says of each thing Hearth depends on whether it works, and what to do. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { makeDataDir, removeDataDir, runHearth } from "../support/hearth.ts";
import { orderConfig, type OrderUpstream, startOrderUpstream } from "../support/order-upstream.ts";

let upstream: OrderUpstream;
const dataDir = makeDataDir();
beforeAll(() => void (upstream = startOrderUpstream()));
afterAll(async () => {
  removeDataDir(dataDir);
  await upstream.stop();
});

async function doctor(config: string) {
  await Bun.write(`${dataDir}/hearth.toml`, config);
  const { code, output } = await runHearth(["doctor"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir });
  return { code, line: (name: string) => output.split("\n").find((text) => text.slice(6).startsWith(name)) };
}

test("where all is well each line says ok", async () => {
  const { code, line } = await doctor(orderConfig(upstream));
  expect(code).toBe(0);
  expect(["node:", "disk:", "clock:", "rate:", "upstream studio:", "dvm:", "search:"].map((name) => line(name)?.slice(0, 2))).toEqual(Array.from({ length: 7 }, () => "ok"));
});

const broken: [what: string, from: string | RegExp, to: string, name: string, advice: RegExp][] = [
  ["an upstream that is down", /url = "http[^"]*\/v1"/, 'url = "http://127.0.0.1:1/v1"', "upstream studio:", /gave no model list/],
  ["an upstream whose models have no price", /\[prices.models\][^[]*/, "", "dvm:", /ok/],
  ["prompts for a model nobody has", 'model = "talker"', 'model = "gone"', "dvm:", /FIX .*no upstream lists gone; name another model under \[dvm\]/],
  ["a search engine that answers no JSON", /(url = "http[^"]*)(:\d+)"\nprice/, '$1$2/v1/models/x"\nprice', "search:", /FIX .*search\.formats/],
  ["a search that costs money", /engine = "searxng"\nurl = "[^"]*"/, 'engine = "brave"\nkey = "k"', "search:", /ok .*not tried/],
  ["no price of bitcoin to be had", "usd_per_btc = 100000", `rate_sources = [${["a", "b", "c"].map((name) => `{ name = "${name}", url = "http://127.0.0.1:1/", path = "USD" }`).join(", ")}]`, "rate:", /FIX .*set usd_per_btc/],
  ["no upstream at all", /\[\[upstreams\]\]\nname = "studio"\nurl = "[^"]*"/, "", "upstreams:", /FIX .*HEARTH_UPSTREAM_URL/],
];
test.each(broken)("%s", async (_what, from, to, name, advice) => {
  const { line } = await doctor(orderConfig(upstream).replace(from, to));
  expect(line(name)).toMatch(advice);
});

test("an embedding model is not counted as for sale, and no price is asked for it", async () => {
  const data = ["qwen3:8b", "nomic-embed-text:latest"].map((id) => ({ id, object: "model" }));
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json({ object: "list", data }) });
  const { line } = await doctor(`[[upstreams]]\nname = "home"\nurl = "${server.url.origin}/v1"\n`);
  await server.stop(true);
  expect(line("upstream home:")).toMatch(/ok .*1 of 2 models for sale$/);
});
