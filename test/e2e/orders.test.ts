/** What is sold at a price known before it is made: pictures, a search, one prompt. Nothing is charged for what was not made. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { balanceOf, type Bill, buyToken, endHearth, pay, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";
import { dvmText, order, orderConfig, type OrderUpstream, picture, startOrderUpstream } from "../support/order-upstream.ts";

let upstream: OrderUpstream, hearth: RunningHearth;
beforeAll(async () => {
  upstream = startOrderUpstream();
  hearth = await startHearth({ command: "serve", config: orderConfig(upstream, { settings: 'trusted_proxies = ["127.0.0.1"]', more: '[trial]\nmodels = ["talker"]\n' }) });
});
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop();
});
afterEach(() => upstream.behave(undefined));

const images = "/v1/images/generations", dvm = "/api/dvm";
const draw = { model: "painter", prompt: "A neon bitcoin logo" };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const send = (path: string, body: unknown, headers?: Record<string, string>, signal?: AbortSignal) => order(hearth.url, path, body, headers, signal);
const lastCall = () => readLedger<{ endpoint: string; model: string; charged_msat: bigint; input_tokens: bigint; terms: string }>(hearth.dataDir, "SELECT * FROM call ORDER BY at_ms DESC, id DESC LIMIT 1")[0];
const errorOf = async (answer: Response) => ({ status: answer.status, code: ((await answer.json()) as { error: { code: string } }).error.code });

async function buy(path: string, body: unknown): Promise<{ bill: Bill; credential: string }> {
  const answer = await send(path, body);
  expect(answer.status).toBe(402);
  const bill = (await answer.json()) as Bill;
  return { bill, credential: `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}` };
}

describe("pictures", () => {
  test("are billed by the image, made when the bill is paid, and passed on as they came", async () => {
    const { bill, credential } = await buy(images, { ...draw, n: 3, size: "1024x1024", user: "me", sparkle: 1 });
    expect(bill.amount_sats).toBe(63);
    const answer = await send(images, { ...draw, n: 3, size: "1024x1024", user: "me", sparkle: 1 }, { authorization: credential });
    expect({ status: answer.status, cost: answer.headers.get("x-hearth-cost-msat"), dropped: answer.headers.get("x-hearth-dropped") }).toEqual({ status: 200, cost: "63000", dropped: "sparkle" });
    expect(((await answer.json()) as { data: unknown[] }).data).toEqual(Array.from({ length: 3 }, () => ({ b64_json: picture })));
    expect(upstream.asked.at(-1)).toEqual({ model: "painter", prompt: draw.prompt, n: 3, size: "1024x1024", response_format: "b64_json" });
    await until("the call is posted", () => lastCall()?.endpoint === "images/generations" && lastCall()?.charged_msat === 63_000n);
    expect(JSON.parse(lastCall()!.terms)).toMatchObject({ order: "images/generations", model: "painter", msat_per_million: { image: "21000000000" }, counts: { units: { image: 3 } } });
  });

  const made: [what: string, body: object, status: number, chargedMsat: number][] = [
    ["fewer than were ordered cost less", { data: [{ url: "https://example.org/1.png" }] }, 200, 21_000],
    ["more than were ordered cost no more", { data: Array.from({ length: 9 }, () => ({ b64_json: picture })) }, 200, 42_000],
    ["none cost nothing", { data: [] }, 503, 0],
    ["an answer that is none costs nothing", { hello: 1 }, 503, 0],
    ["entries without a picture are no pictures", { data: [{ revised_prompt: "x" }, null] }, 503, 0],
  ];
  test.each(made)("%s", async (_what, body, status, chargedMsat) => {
    const token = await buyToken(hearth.url);
    upstream.behave(() => Response.json(body));
    expect((await send(images, { ...draw, n: 2 }, bearer(token))).status).toBe(status);
    expect(1_000_000 - (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(chargedMsat);
  });

  const failures: [what: string, how: () => Response, status: number, code: string][] = [
    ["a server that breaks", () => new Response("no", { status: 500 }), 503, "upstream_unavailable"],
    ["the owner's key refused", () => new Response("no", { status: 401 }), 503, "upstream_unavailable"],
    ["the owner's account empty", () => new Response("no", { status: 402 }), 503, "upstream_unavailable"],
    ["a request that is wrong", () => Response.json({ error: { message: "size is wrong" } }, { status: 400 }), 400, "invalid_request"],
    ["no JSON", () => new Response("<html>"), 503, "upstream_unavailable"],
  ];
  test.each(failures)("%s costs nothing, and the same credential works again", async (_what, how, status, code) => {
    const { credential } = await buy(images, draw);
    upstream.behave(how);
    expect(await errorOf(await send(images, draw, { authorization: credential }))).toEqual({ status, code });
    upstream.behave(undefined);
    expect((await send(images, draw, { authorization: credential })).status).toBe(200);
    expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(0);
  });

  test("who leaves while they are made has bought them", async () => {
    const token = await buyToken(hearth.url);
    const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<Response>()];
    upstream.behave(() => (begun.resolve(), finish.promise));
    const leaving = new AbortController();
    const gone = send(images, draw, bearer(token), leaving.signal).catch(() => "left");
    await begun.promise;
    leaving.abort();
    expect(await gone).toBe("left");
    finish.resolve(Response.json({ data: [{ b64_json: picture }] }));
    await until("they are charged", async () => (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat === 979_000);
  });

  test("twenty at once cannot spend more than there is", async () => {
    const token = await buyToken(hearth.url, 100);
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(images, draw, bearer(token))));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(4);
    expect(answers.filter((answer) => answer.status === 402)).toHaveLength(16);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(16_000);
  });

  test("one request with one Idempotency-Key is made once", async () => {
    const token = await buyToken(hearth.url);
    const headers = { ...bearer(token), "idempotency-key": "picture-1" };
    expect((await send(images, draw, headers)).status).toBe(200);
    expect(await errorOf(await send(images, draw, headers))).toEqual({ status: 409, code: "duplicate_request" });
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(979_000);
  });

  test("a payment hash opens what was ordered, once, and nothing else", async () => {
    const { bill } = await buy(images, draw);
    const byHash = { "x-payment-hash": bill.payment_hash };
    expect((await send(images, { ...draw, prompt: "Another" }, byHash)).status).toBe(402);
    expect((await send(dvm, { prompt: draw.prompt }, byHash)).status).toBe(402);
    expect((await send(images, draw, byHash)).status).toBe(200);
    expect((await send(images, draw, byHash)).status).toBe(402);
  });

  const wrong: [what: string, path: string, body: object, status: number, code: string][] = [
    ["eleven of them", images, { ...draw, n: 11 }, 400, "invalid_request"],
    ["half of one", images, { ...draw, n: 0.5 }, 400, "invalid_request"],
    ["no prompt", images, { model: "painter" }, 400, "invalid_request"],
    ["a stream of them", images, { ...draw, stream: true }, 400, "unsupported_field"],
    ["partial ones", images, { ...draw, partial_images: 2 }, 400, "unsupported_field"],
    ["edits by another name", images, { ...draw, image: "https://example.org/a.png" }, 400, "unsupported_field"],
    ["by a model nobody has", images, { ...draw, model: "picasso" }, 404, "model_not_found"],
    ["by a model that talks", images, { ...draw, model: "talker" }, 404, "model_not_found"],
    ["talk by a model that paints", "/v1/chat/completions", { model: "painter", messages: [{ role: "user", content: "Hi" }] }, 404, "model_not_found"],
  ];
  test.each(wrong)("%s: refused without a bill", async (_what, path, body, status, code) => {
    expect(await errorOf(await send(path, body))).toEqual({ status, code });
  });

  test("without a model the cheapest one that paints is taken; a probe gets the least bill", async () => {
    const { model: _model, ...unnamed } = draw;
    expect(((await (await send(images, unnamed)).json()) as { model: string }).model).toBe("painter");
    const probe = await fetch(hearth.url + images);
    expect({ status: probe.status, sats: ((await probe.json()) as Bill).amount_sats }).toEqual({ status: 402, sats: 21 });
  });
});

describe("one prompt at one price", () => {
  test("the answer costs the flat price, whatever it used, and what it used is in the owner's log", async () => {
    const token = await buyToken(hearth.url);
    const answer = await send(dvm, { prompt: "Name five prices." }, bearer(token));
    expect({ status: answer.status, body: await answer.json() }).toEqual({ status: 200, body: { status: "success", result: dvmText, model: "talker" } } as never);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(979_000);
    await until("the call is in the log", () => lastCall()?.endpoint === "dvm" && lastCall()?.input_tokens === 9n);
    expect(upstream.asked.at(-1)).toMatchObject({ model: "talker", messages: [{ role: "user", content: "Name five prices." }], max_tokens: 512 });
  });

  test("a stranger's first is free where free calls are on, the next one is paid by its hash, once", async () => {
    const from = { "x-forwarded-for": "203.0.113.7" };
    const free = await send(dvm, { prompt: "Hello" }, from);
    expect({ free: free.headers.get("x-hearth-free"), body: (await free.json()) as unknown }).toEqual({ free: "1", body: { status: "success", result: dvmText, model: "talker", free: true } });
    const second = await send(dvm, { prompt: "Hello" }, from);
    const bill = (await second.json()) as Bill & { message: string };
    expect({ status: second.status, sats: bill.amount_sats, asks: bill.message.includes("Pay") }).toEqual({ status: 402, sats: 21, asks: true });
    await pay(hearth.url, bill.invoice);
    const retry = { prompt: "Hello", payment_hash: bill.payment_hash };
    expect(((await (await send(dvm, retry, from)).json()) as { result: string }).result).toBe(dvmText);
    expect((await send(dvm, retry, from)).status).toBe(402);
  });

  test.each([["an empty one", "  "], ["one longer than the owner allows", "x".repeat(201)], ["a number", 7]])("%s is refused without a bill", async (_what, prompt) => {
    expect(await errorOf(await send(dvm, { prompt }))).toEqual({ status: 400, code: "invalid_request" });
  });

  test("an answer without text is no answer, and costs nothing", async () => {
    const token = await buyToken(hearth.url);
    upstream.behave(() => Response.json({ choices: [{ message: { content: "" } }] }));
    expect(await errorOf(await send(dvm, { prompt: "Hello" }, bearer(token)))).toEqual({ status: 503, code: "upstream_unavailable" });
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  });
});
