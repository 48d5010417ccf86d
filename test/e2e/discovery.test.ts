/** What directories and agents read before they pay: free, true, and gone with what it speaks of. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ask, buyToken, endHearth, hello, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth({ config: '[trial]\nmodels = ["sandbox"]\ncalls = 2\n' })));
afterAll(() => endHearth(hearth));

const get = async (path: string) => {
  const answer = await fetch(hearth.url + path);
  return { status: answer.status, type: answer.headers.get("content-type"), cache: answer.headers.get("cache-control"), text: await answer.text() };
};
const read = async (path: string) => JSON.parse((await get(path)).text) as Record<string, unknown>;
const invoices = () => readLedger<{ n: bigint }>(hearth.dataDir, "SELECT count(*) AS n FROM invoice")[0]!.n;
const nulls = (value: unknown): boolean => value === null || (typeof value === "object" && Object.values(value).some(nulls));

describe("the documents", () => {
  const documents = ["/pricing", "/api/catalog", "/api/v1/catalog", "/api/v1/x402/endpoints", "/.well-known/l402.json", "/openapi.json", "/v1/models"];
  test.each(documents)("%s is JSON, free, without a null, and makes no invoice", async (path) => {
    const before = invoices();
    const answer = await get(path);
    expect({ status: answer.status, type: answer.type }).toEqual({ status: 200, type: expect.stringMatching(/^application\/json/) as string });
    // A JSON Schema may speak of null.
    if (path !== "/openapi.json") expect(nulls(JSON.parse(answer.text))).toBe(false);
    expect(invoices()).toBe(before);
  });

  test("NanoGPT's matrix has the seven fields of a row, and each row, called by a stranger, is a 402", async () => {
    const { object, data, meta } = (await read("/api/v1/x402/endpoints")) as { object: string; data: Record<string, unknown>[]; meta: unknown };
    expect({ object, meta }).toEqual({ object: "x402.endpoint_support.list", meta: { count: 1, totalCount: 1, unsupportedIncluded: false } });
    for (const row of data) {
      expect(row).toMatchObject({ method: "POST", supported: true, schemes: ["lightning-l402"], streaming: "stable", async: false, quoteType: "estimated with reconciliation" });
      expect((await fetch(hearth.url + (row.endpoint as string), { method: "POST" })).status).toBe(402);
    }
  });

  test("MaximumSats' prices name the free calls, the least price and where a payment hash goes", async () => {
    expect(await read("/pricing")).toMatchObject({
      l402_enabled: true, free_tier_per_ip_per_day: 2, priced_endpoints: [{ path: "/v1/chat/completions", price_sats: 10 }],
      payment_hints: { header_name: "X-Payment-Hash", query_param_name: "payment_hash", status_code: 402 },
    });
  });

  test("402ai's catalog has a price in sats for every model of every entry", async () => {
    const { apis, btc_usd } = (await read("/api/v1/catalog")) as { btc_usd: number; apis: { openai: { endpoints: { path: string; models: Record<string, { price_sats: number }> }[] } } };
    expect(btc_usd).toBe(100_000);
    for (const { path, models } of apis.openai.endpoints) {
      expect(path).toStartWith("/v1/");
      expect(Object.keys(models).length).toBeGreaterThan(0);
      for (const { price_sats } of Object.values(models)) expect(price_sats).toBeGreaterThanOrEqual(10);
    }
  });

  test("OpenAPI is valid by a validator that is not ours", async () => {
    const { valid, errors } = await new Validator().validate(await read("/openapi.json"));
    expect({ valid, errors }).toMatchObject({ valid: true });
  });

  test("OpenAPI has every operation once, with what a call costs at least", async () => {
    const { openapi, paths } = (await read("/openapi.json")) as { openapi: string; paths: Record<string, Record<string, { operationId: string; "x-payment-info"?: unknown }>> };
    expect(openapi).toBe("3.1.0");
    const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map((one) => one.operationId));
    expect(new Set(ids).size).toBe(ids.length);
    expect(paths["/v1/chat/completions"]!.post!["x-payment-info"]).toEqual({
      price: { mode: "dynamic", currency: "USD", min: "0.01" },
      protocols: [{ l402: { network: "lightning" } }, { mpp: { method: "lightning", intent: "charge", currency: "sat" } }],
    });
  });

  test.each(["/llms.txt", "/llms-full.txt"])("%s is text with the models and this address", async (path) => {
    const { type, text } = await get(path);
    expect(type).toStartWith("text/plain");
    expect(text).toContain("sandbox");
    expect(text).toContain(`${hearth.url}/v1/chat/completions`);
  });
});

describe("a quote", () => {
  const quote = async (body: unknown) => {
    const answer = await fetch(`${hearth.url}/api/v1/quote`, { method: "POST", body: JSON.stringify(body) });
    return { status: answer.status, body: (await answer.json()) as Record<string, { msat: number }> & { error?: { code: string } } };
  };

  test("is free, makes nothing, and bounds what the call then costs", async () => {
    const before = invoices();
    const { status, body } = await quote(hello);
    expect(status).toBe(200);
    expect(invoices()).toBe(before);
    const answer = await ask(hearth.url, hello, `Bearer ${await buyToken(hearth.url)}`);
    const cost = Number(answer.headers.get("x-hearth-cost-msat"));
    expect(cost).toBeGreaterThanOrEqual(body.least!.msat);
    expect(cost).toBeLessThanOrEqual(body.most!.msat);
    expect(body.expected!.msat).toBeGreaterThanOrEqual(body.least!.msat);
    expect(body.expected!.msat).toBeLessThanOrEqual(body.most!.msat);
  });

  test("expects what answers of this model were like", async () => {
    const token = await buyToken(hearth.url);
    const charged = Number((await ask(hearth.url, hello, `Bearer ${token}`)).headers.get("x-hearth-cost-msat"));
    const { body } = await quote(hello);
    expect(Math.abs(body.expected!.msat - charged)).toBeLessThanOrEqual(Math.ceil(charged * 0.25));
  });

  test.each([[{}, "invalid_request", 400], [{ ...hello, model: "nobody's" }, "model_not_found", 404], [{ ...hello, service_tier: "priority" }, "unsupported_field", 400]])("of %p is refused as the call would be", async (body, code, status) => {
    expect(await quote(body)).toMatchObject({ status, body: { error: { code } } });
  });
});

test("what has no working model server is not advertised", async () => {
  const upstream = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json({ data: [{ id: "only" }] }) });
  const other = await startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: `${upstream.url.origin}/v1` } });
  try {
    const rows = async () => ((await (await fetch(`${other.url}/v1/x402/endpoints`)).json()) as { data: unknown[] }).data.length;
    expect(await rows()).toBe(1);
    await upstream.stop(true);
    await until("the list is empty", async () => (await rows()) === 0, 60_000);
    expect(await (await fetch(`${other.url}/api/catalog`)).json()).toMatchObject({ apis: {} });
  } finally {
    await endHearth(other);
  }
}, 70_000);
