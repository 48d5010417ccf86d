/** Orders over time: a price that changes, a crash, a server that fails; and what is told of them before anybody pays. */
import { describe, expect, test } from "bun:test";
import { ask, balanceOf, type Bill, buyToken, hello, makeDataDir, pay, readLedger, runHearth, type RunningHearth, startHearth } from "../support/hearth.ts";
import { order, orderConfig, type OrderUpstream, picture } from "../support/order-upstream.ts";
import { studios } from "../support/studio.ts";

const { studio, open } = studios();

const images = "/v1/images/generations";
const draw = { model: "painter", prompt: "A neon bitcoin logo", n: 2 };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

test("a price that doubled between bill and payment does not break the bill; who comes later pays the new one", async () => {
  const upstream = studio(), dataDir = makeDataDir();
  const before = await startHearth({ command: "serve", config: orderConfig(upstream), dataDir });
  const bill = (await (await order(before.url, images, draw)).json()) as Bill;
  const credential = `L402 ${bill.macaroon}:${await pay(before.url, bill.invoice)}`;
  expect((await balanceOf(before.url, credential)).balance_msat).toBe(42_000);
  await before.stop();
  const after = await open(orderConfig(upstream, { imageSats: 42 }), dataDir);
  expect(((await (await order(after.url, images, draw)).json()) as Bill).amount_sats).toBe(84);
  const answer = await order(after.url, images, draw, { authorization: credential });
  expect([answer.status, answer.headers.get("x-hearth-cost-msat")]).toEqual([200, "42000"]);
  // The pin is the question: another one costs what it costs today.
  expect((await order(after.url, images, { ...draw, prompt: "Another" }, { authorization: credential })).status).toBe(402);
});

test("killed while a picture is made: the money is back, the key works, the books agree", async () => {
  const upstream = studio(), dataDir = makeDataDir();
  const before = await startHearth({ command: "serve", config: orderConfig(upstream), dataDir });
  const token = await buyToken(before.url);
  const begun = Promise.withResolvers<void>();
  upstream.behave(() => (begun.resolve(), new Promise<Response>(() => {})));
  const lost = order(before.url, images, draw, bearer(token)).catch(() => "lost");
  await begun.promise;
  before.kill("SIGKILL");
  expect(await lost).toBe("lost");
  await before.exited;
  upstream.behave(undefined);
  const after = await open(orderConfig(upstream), dataDir);
  expect(await balanceOf(after.url, `Bearer ${token}`)).toMatchObject({ balance_msat: 1_000_000, reserved_msat: 0 });
  expect((await order(after.url, images, draw, bearer(token))).status).toBe(200);
  expect((await balanceOf(after.url, `Bearer ${token}`)).balance_msat).toBe(958_000);
  await after.stop();
  expect((await runHearth(["audit"], { HOME: dataDir, HEARTH_DATA_DIR: dataDir })).code).toBe(0);
});

describe("a model that two servers have", () => {
  async function house() {
    const [first, second] = [studio(["painter"]), studio(["painter"])];
    const upstream = (name: string, { url }: OrderUpstream, sats: number) => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\nprice = { sats_per_image = ${sats} }\n`;
    const hearth = await open(upstream("dear", second, 63) + upstream("cheap", first, 21));
    return { first, second, hearth, token: await buyToken(hearth.url) };
  }

  test("is painted by the cheaper one; when that fails the other stands in, at the price that was quoted, under one reservation", async () => {
    const { first, second, hearth, token } = await house();
    expect((await order(hearth.url, images, draw, bearer(token))).status).toBe(200);
    first.behave(() => new Response("no", { status: 500 }));
    expect((await order(hearth.url, images, draw, bearer(token))).status).toBe(200);
    expect([first.asked.length, second.asked.length]).toEqual([2, 1]);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000 - 2 * 42_000);
    expect(readLedger(hearth.dataDir, "SELECT upstream, charged_msat FROM call ORDER BY at_ms, id")).toEqual([{ upstream: "cheap", charged_msat: 42_000n }, { upstream: "dear", charged_msat: 42_000n }]);
  });

  test("a request that is wrong is wrong everywhere: nobody else is asked", async () => {
    const { first, second, hearth, token } = await house();
    first.behave(() => Response.json({ error: { message: "That size is not made." } }, { status: 400 }));
    const answer = await order(hearth.url, images, draw, bearer(token));
    expect({ status: answer.status, said: await answer.text(), others: second.asked.length }).toEqual({ status: 400, said: expect.stringContaining("That size is not made."), others: 0 });
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  });
});

test("chat at a flat price for the call costs that, however long it is, and is said so everywhere", async () => {
  const upstream = studio(["talker"]);
  const hearth = await open(`usd_per_btc = 100000\n[[upstreams]]\nname = "studio"\nurl = "${upstream.url}"\nprice = { sats_per_call = 33 }\n`);
  const request = { ...hello, model: "talker" };
  expect(((await (await ask(hearth.url, request)).json()) as Bill).amount_sats).toBe(33);
  const token = await buyToken(hearth.url);
  const answer = await ask(hearth.url, request, `Bearer ${token}`);
  expect([answer.status, answer.headers.get("x-hearth-cost-msat")]).toEqual([200, "33000"]);
  const { data } = (await (await fetch(`${hearth.url}/v1/models`)).json()) as { data: { pricing: object }[] };
  expect(data[0]!.pricing).toMatchObject({ msat_per_call: 33_000, usd_per_call: 0.033 });
});

describe("told before anybody pays", () => {
  const quoteOf = async (hearth: RunningHearth, body: object) => {
    const answer = await fetch(`${hearth.url}/api/v1/quote`, { method: "POST", body: JSON.stringify(body) });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  test("a quote for every route that has a price, least, expected and most, in msat, sats and dollars", async () => {
    const hearth = await open(orderConfig(studio()));
    const rows: [body: object, msat: number, usd: string][] = [
      [{ endpoint: "/v1/images/generations", ...draw }, 42_000, "0.042"],
      [{ endpoint: "api/v1/images/generations", ...draw, n: 1 }, 21_000, "0.021"],
      [{ endpoint: "/images/generations", ...draw }, 42_000, "0.042"],
      [{ endpoint: "/api/v1/data/web/search", query: "x" }, 5_000, "0.005"],
      [{ endpoint: "/api/dvm", prompt: "x" }, 21_000, "0.021"],
    ];
    for (const [body, msat, usd] of rows) {
      const amount = { msat, sats: msat / 1_000, usd };
      expect(await quoteOf(hearth, body)).toMatchObject({ status: 200, body: { least: amount, expected: amount, most: amount } });
    }
    expect((await quoteOf(hearth, { endpoint: "/v1/chat/completions", ...hello, model: "talker" })).body).toMatchObject({ model: "talker", max_tokens: 2048 });
    expect(await quoteOf(hearth, { endpoint: "/v1/nothing" })).toMatchObject({ status: 400, body: { error: { code: "invalid_request", param: "endpoint" } } });
    expect(await quoteOf(hearth, { endpoint: 7 })).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
    expect(await quoteOf(hearth, { endpoint: "/v1/images/generations", ...draw, n: 99 })).toMatchObject({ status: 400, body: { error: { code: "invalid_request" } } });
    expect(readLedger(hearth.dataDir, "SELECT count(*) AS invoices FROM invoice")).toEqual([{ invoices: 0n }]);
  });

  test("the catalog has each path with the models that serve it, flat prices without any, and examples that are billed as printed", async () => {
    const hearth = await open(orderConfig(studio()));
    type Entry = { path: string; price_type: string; price_sats?: number; models?: Record<string, { price_sats: number }>; example: { body: object } };
    const { apis } = (await (await fetch(`${hearth.url}/api/v1/catalog`)).json()) as { apis: { openai: { endpoints: Entry[] } } };
    expect(apis.openai.endpoints.map(({ path, price_type, price_sats, models }) => [path, price_type, price_sats ?? Object.entries(models!).map(([id, { price_sats: sats }]) => [id, sats])])).toEqual([
      ["/v1/chat/completions", "per_model", [["talker", 10]]], ["/v1/images/generations", "per_model", [["painter", 21]]], ["/v1/data/web/search", "flat", 10],
    ]);
    for (const { path, example } of apis.openai.endpoints) expect((await order(`${hearth.url}/openai`, path, example.body)).status).toBe(402);
  });

  test("what has nothing behind it is not advertised, and says so when called", async () => {
    const hearth = await open(`[[upstreams]]\nname = "studio"\nurl = "${studio(["talker"]).url}"\n`);
    const { paths } = (await (await fetch(`${hearth.url}/openapi.json`)).json()) as { paths: Record<string, object> };
    expect(Object.keys(paths).filter((path) => /images|search|dvm/.test(path))).toEqual([]);
    const codes = await Promise.all([["/api/dvm", { prompt: "x" }], ["/v1/data/web/search", { query: "x" }], [images, { prompt: "x" }]].map(async ([path, body]) => {
      const answer = await order(hearth.url, path as string, body);
      return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code];
    }));
    expect(codes).toEqual([[404, "dvm_off"], [404, "not_found"], [404, "model_not_found"]]);
  });
});

test("pictures that cannot be read in time are not lost money: a body cut off in the middle costs nothing", async () => {
  const upstream = studio();
  const hearth = await open(orderConfig(upstream));
  const token = await buyToken(hearth.url);
  upstream.behave(() => new Response(new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(`{"data":[{"b64_json":"${picture}`)),
    pull: (controller) => controller.error(new Error("cut")),
  })));
  expect((await order(hearth.url, images, draw, bearer(token))).status).toBe(503);
  expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
});

test("a quote tells how long one would wait, from the calls that run at the server now", async () => {
  const upstream = studio();
  const hearth = await open(orderConfig(upstream));
  const token = await buyToken(hearth.url);
  const wait = async () => ((await (await order(hearth.url, "/api/v1/quote", { ...hello, model: "talker" })).json()) as { wait_seconds: number }).wait_seconds;
  expect(await wait()).toBe(0);
  // One call that takes a while teaches how long they are.
  upstream.behave(async () => (await Bun.sleep(300), new Response("no", { status: 500 })));
  expect((await ask(hearth.url, { ...hello, model: "talker" }, `Bearer ${token}`)).status).toBe(503);
  const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<Response>()];
  upstream.behave(() => (begun.resolve(), finish.promise));
  const running = ask(hearth.url, { ...hello, model: "talker" }, `Bearer ${token}`);
  await begun.promise;
  expect(await wait()).toBe(1);
  finish.resolve(new Response("no", { status: 500 }));
  await running;
  expect(await wait()).toBe(0);
});
