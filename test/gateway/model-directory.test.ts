/** Which models are for sale when several upstreams offer them, and what an owner's price does. */
import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { configSchema } from "../../src/config/schema.ts";
import { ModelDirectory } from "../../src/gateway/model-directory.ts";
import { priceAndCost } from "../../src/pricing/owner-prices.ts";
import { openAiCompatible } from "../../src/upstream/openai-compatible.ts";
import type { Upstream } from "../../src/upstream/upstream.ts";

/** Servers with a model list of their own, on free ports. */
const servers: ReturnType<typeof Bun.serve>[] = [];
afterAll(() => void servers.forEach((server) => server.stop(true)));

function upstream(name: string, models: () => string[] | undefined): Upstream {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch() {
      const ids = models();
      return ids ? Response.json({ object: "list", data: ids.map((id) => ({ id, object: "model" })) }) : new Response("", { status: 500 });
    },
  });
  servers.push(server);
  return openAiCompatible({ name, url: `${server.url.origin}/v1`, key: undefined, capField: undefined });
}

const noPublicPrices = { source: "none", licence: "none", takenOn: "2026-01-01", models: {} };

function directoryOf(upstreams: Upstream[], settings: Record<string, unknown> = {}) {
  const config = configSchema.parse({ data_dir: "unused", ...settings });
  return new ModelDirectory({
    upstreams, clock: systemClock, aliases: config.aliases, rate: () => undefined,
    priceOf: (one, { id, listedPrice }) => priceAndCost(config, noPublicPrices, one, id, listedPrice),
  });
}

describe("several upstreams", () => {
  test("a name both have is one model, served by the first in line at the same price; each alone is reached by its long name", async () => {
    const directory = directoryOf([upstream("attic", () => ["qwen", "phi"]), upstream("cellar", () => ["qwen", "llama"])]);
    await directory.refresh();
    expect(directory.list().map((model) => model.id)).toEqual(["qwen", "phi", "llama"]);
    expect(directory.find("qwen")?.upstream.name).toBe("attic");
    expect(directory.find("attic/qwen")?.upstream.name).toBe("attic");
    expect(directory.find("cellar/qwen")).toMatchObject({ upstreamModelId: "qwen", upstream: { name: "cellar" } });
    expect(directory.find("cellar/llama")?.id).toBe("llama");
  });

  test("one that fails sells nothing until it answers again; the others go on", async () => {
    let up = true;
    const directory = directoryOf([upstream("attic", () => (up ? ["qwen"] : undefined)), upstream("cellar", () => ["llama"])]);
    await directory.refresh();
    up = false;
    await directory.refresh();
    expect([directory.find("qwen"), directory.find("llama")?.id]).toEqual([undefined, "llama"]);
    expect(directory.health()).toMatchObject([{ name: "attic", healthy: false, modelsForSale: 0 }, { name: "cellar", healthy: true, modelsForSale: 1 }]);
    up = true;
    await directory.refresh();
    expect(directory.find("qwen")?.id).toBe("qwen");
  });

  test("Ollama's `name:latest` is sold as `name` and found by both", async () => {
    const directory = directoryOf([upstream("ollama", () => ["tiny:latest", "tiny:7b"])]);
    await directory.refresh();
    expect(directory.list().map((model) => model.id)).toEqual(["tiny", "tiny:7b"]);
    expect(directory.find("tiny:latest")?.upstreamModelId).toBe("tiny");
  });
});

describe("the owner's price", () => {
  const price = (input: number, output: number) => ({ input_sats_per_mtok: input, output_sats_per_mtok: output });

  test("of the model goes before that of the upstream, that before the default", async () => {
    const attic = upstream("attic", () => ["a", "b"]), cellar = upstream("cellar", () => ["c"]);
    const directory = directoryOf([attic, cellar], {
      upstreams: [{ name: "attic", url: "http://127.0.0.1:1/v1", price: price(3, 4) }],
      prices: { default: price(5, 6), models: { "attic/a": price(1, 2) } },
    });
    await directory.refresh();
    expect(directory.list().map((model) => [model.id, model.price.inputMsatPerMtok])).toEqual([["a", 1000n], ["b", 3000n], ["c", 5000n]]);
    expect(directory.cheapest()?.id).toBe("a");
    expect(directory.find("auto")?.id).toBe("a");
  });

  test("is needed for a server of somebody else: without one its models are not for sale", async () => {
    const cloud: Upstream = { ...upstream("cloud", () => ["big", "small"]), local: false };
    const directory = directoryOf([cloud], { prices: { default: price(5, 6), models: { small: price(7, 8) } } });
    await directory.refresh();
    expect(directory.list().map((model) => model.id)).toEqual(["small"]);
    expect(directory.health()).toMatchObject([{ modelsForSale: 1, modelsWithoutPrice: 1 }]);
  });

  test("does not make an embedding model something for sale: it is counted neither as sold nor as without a price", async () => {
    const home = upstream("home", () => ["qwen", "nomic-embed-text"]);
    const models = async () => [{ id: "qwen", createdS: 1 }, { id: "nomic-embed-text", createdS: 1, modality: "embedding" as const }];
    const directory = directoryOf([{ ...home, models }]);
    await directory.refresh();
    expect(directory.list().map((model) => model.id)).toEqual(["qwen"]);
    expect(directory.health()).toMatchObject([{ modelsForSale: 1, modelsWithoutPrice: 0 }]);
  });
});
