/** Attempts on the code that sells: something for less than it costs the owner, a charge for what was not made, a fault that one buyer makes for all. */
import { describe, expect, test } from "bun:test";
import { ask, balanceOf, type Bill, buyToken, hello, pay, readLedger, type RunningHearth, until } from "../support/hearth.ts";
import { hits, order, orderConfig, type OrderUpstream } from "../support/order-upstream.ts";
import { studios } from "../support/studio.ts";

const { studio, open, atEnd } = studios();

const images = "/v1/images/generations", search = "/v1/data/web/search", dvm = "/api/dvm";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

const server = (name: string, { url }: { url: string }, more = "") => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\n${more}\n`;
/** A server at home that passes on to a cloud: each call costs the owner the public price. */
const relay = (upstream: OrderUpstream, more = "") => `usd_per_btc = 100000\n${server("relay", upstream, `provider = "openai"\n${more}`)}`;
const usdPerBtcGone = (url: string) => `rate_sources = [${["a", "b", "c"].map((name) => `{ name = "${name}", url = "${url}", path = "x" }`).join(", ")}]\n`;
const codeOf = async (answer: Response) => ({ status: answer.status, code: ((await answer.json()) as { error?: { code: string } }).error?.code });
const spent = async (hearth: RunningHearth, token: string) => 1_000_000 - (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat;

describe("nobody gets something for less than it costs the owner", () => {
  test.each([
    ["by the public table", ""],
    ["by the owner's price of tokens", "price = { input_usd_per_mtok = 10.0, output_usd_per_mtok = 40.0 }"],
  ])("a picture model that is priced in tokens (%s) is not given away: there are no tokens to count", async (_by, price) => {
    const upstream = studio(["chatgpt-image-latest"]);
    const hearth = await open(relay(upstream, price));
    const token = await buyToken(hearth.url);
    const answer = await order(hearth.url, images, { model: "chatgpt-image-latest", prompt: "A logo", n: 10 }, bearer(token));
    expect({ ...(await codeOf(answer)), made: upstream.asked.length }).toEqual({ status: 404, code: "model_not_found", made: 0 });
  });

  test.each([["pictures"], ["chat"]])("terms that were paid for do not send %s to a server that costs more than they bring, when the cheap one fails", async (what) => {
    const [home, cloud] = [studio(["gpt-image-1", "gpt-4o"]), studio(["gpt-image-1", "gpt-4o"])];
    const prices = '[prices.models]\n"home/gpt-image-1" = { sats_per_image = 1 }\n"home/gpt-4o" = { input_sats_per_mtok = 10, output_sats_per_mtok = 10 }\n';
    const hearth = await open(relay(cloud) + server("home", home) + prices);
    const [path, body] = what === "chat" ? ["/v1/chat/completions", { ...hello, model: "gpt-4o" }] : [images, { model: "gpt-image-1", prompt: "A logo", n: 10 }];
    const bill = (await (await order(hearth.url, path, body)).json()) as Bill;
    const authorization = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    home.behave(() => new Response("no", { status: 500 }));
    expect((await order(hearth.url, path, body, { authorization })).status).toBe(503);
    await order(hearth.url, path, body, { authorization });
    expect(cloud.asked).toEqual([]);
  });

  test("a quality that the public table has no price for is not sold at the price of a lesser one", async () => {
    const upstream = studio(["gpt-image-1-mini"]);
    const hearth = await open(relay(upstream));
    const token = await buyToken(hearth.url);
    expect((await order(hearth.url, images, { model: "gpt-image-1-mini", prompt: "A logo", quality: "high", size: "1024x1536" }, bearer(token))).status).toBeGreaterThanOrEqual(400);
    expect(upstream.asked).toEqual([]);
  });

  test.each([["image"], ["audio"], ["embeddings"]])("what its server says makes %s is not sold as chat, at the price of text", async (made) => {
    const listing = Bun.serve({
      hostname: "127.0.0.1", port: 0,
      fetch: () => Response.json({ data: [{ id: "maker", architecture: { output_modalities: [made] }, pricing: { prompt: "0.0000003", completion: "0.0000025" } }] }),
    });
    atEnd(() => listing.stop(true));
    const hearth = await open(`usd_per_btc = 100000\n${server("router", { url: `${listing.url.origin}/v1` }, 'profile = "openrouter"')}`);
    expect(await codeOf(await ask(hearth.url, { ...hello, model: "maker" }))).toEqual({ status: 404, code: "model_not_found" });
  });

  test("without a price of bitcoin one prompt is not sold at a flat price on a model that costs dollars", async () => {
    const silent = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("no", { status: 500 }) });
    atEnd(() => silent.stop(true));
    const upstream = studio(["o1-pro"]);
    const hearth = await open(`${usdPerBtcGone(silent.url.origin)}${server("relay", upstream, 'provider = "openai"')}[dvm]\nmodel = "o1-pro"\n`);
    expect(await codeOf(await order(hearth.url, dvm, { prompt: "Hi" }, bearer(await buyToken(hearth.url))))).toEqual({ status: 503, code: "rate_unknown" });
    expect(upstream.asked).toEqual([]);
  });

  test("a free prompt is answered no longer than other free calls", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream, { settings: 'trusted_proxies = ["127.0.0.1"]', more: '[trial]\nmodels = ["talker"]\nmax_output_tokens = 16\n' }));
    expect((await order(hearth.url, dvm, { prompt: "Hi" }, { "x-forwarded-for": "203.0.113.7" })).headers.get("x-hearth-free")).toBe("1");
    expect(upstream.asked).toMatchObject([{ max_tokens: 16 }]);
  });

  test("every text that is sent on with an order for pictures has a bound", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const answer = await order(hearth.url, images, { model: "painter", prompt: "A logo", negative_prompt: "x".repeat(100_000) }, bearer(await buyToken(hearth.url)));
    expect({ ...(await codeOf(answer)), made: upstream.asked.length }).toEqual({ status: 400, code: "invalid_request", made: 0 });
  });

  test("what the upstream charged the owner for a prompt is in the log, as for chat", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const token = await buyToken(hearth.url);
    upstream.behave(() => Response.json({ choices: [{ index: 0, message: { content: "Yes." } }], usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11, cost: 0.5 } }));
    expect((await order(hearth.url, dvm, { prompt: "Hi" }, bearer(token))).status).toBe(200);
    await balanceOf(hearth.url, `Bearer ${token}`);
    expect(readLedger(hearth.dataDir, "SELECT endpoint, upstream_cost_micros FROM call")).toEqual([{ endpoint: "dvm", upstream_cost_micros: 500_000n }]);
  });
});

describe("nobody pays for what was not made", () => {
  test("who leaves while a stand-in works is not charged for the time in which the first one failed", async () => {
    type How = (request: Request) => Response | Promise<Response>;
    const usage = { prompt_tokens: 10, completion_tokens: 200, total_tokens: 210 };
    const after = (delayMs: number, answer: () => Response): How => async () => (await Bun.sleep(delayMs), answer());
    const start = (how: How) => {
      const self = { how, url: "" };
      const listening = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 0, fetch: (request) => (request.url.endsWith("/models") ? Response.json({ data: [{ id: "m" }] }) : self.how(request)) });
      atEnd(() => listening.stop(true));
      self.url = `${listening.url.origin}/v1`;
      return self;
    };
    // A thousand tokens a second.
    const first = start(after(200, () => Response.json({ choices: [{ index: 0, message: { content: "Yes." }, finish_reason: "stop" }], usage }))), begun = Promise.withResolvers<void>();
    const second = start(() => (begun.resolve(), new Promise<Response>(() => {})));
    const price = (times: number) => `price = { input_sats_per_mtok = ${1_000 * times}, output_sats_per_mtok = ${10_000 * times} }`;
    const hearth = await open(server("first", first, price(1)) + server("second", second, price(2)));
    const token = await buyToken(hearth.url), request = { ...hello, model: "m", max_tokens: 5_000 };
    for (let call = 0; call < 5; call++) await (await ask(hearth.url, request, `Bearer ${token}`)).text();
    first.how = after(3_000, () => new Response("no", { status: 500 }));
    const leaving = new AbortController();
    const gone = ask(hearth.url, request, `Bearer ${token}`, { signal: leaving.signal }).catch(() => "left");
    await begun.promise;
    leaving.abort();
    expect(await gone).toBe("left");
    const calls = () => readLedger<{ upstream: string; output_tokens: bigint }>(hearth.dataDir, "SELECT upstream, output_tokens FROM call WHERE ending = 'client_left'");
    await until("it is posted", () => calls().length === 1);
    expect(Number(calls()[0]!.output_tokens)).toBeLessThan(1_000);
  });

  test("a picture at an address of the house's own network is none: no buyer can fetch it", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const token = await buyToken(hearth.url);
    upstream.behave(() => Response.json({ data: [{ url: "http://127.0.0.1:8080/generated-images/1.png" }] }));
    await order(hearth.url, images, { model: "painter", prompt: "A logo" }, bearer(token));
    expect(await spent(hearth, token)).toBe(0);
  });

  test("ten large pictures, which the owner has paid for, reach the buyer and are charged", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const token = await buyToken(hearth.url);
    const large = "A".repeat(4_000_000);
    upstream.behave(() => Response.json({ data: Array.from({ length: 10 }, () => ({ b64_json: large })) }));
    expect((await order(hearth.url, images, { model: "painter", prompt: "A logo", n: 10 }, bearer(token))).status).toBe(200);
    expect(await spent(hearth, token)).toBe(210_000);
  });
});

describe("one buyer's order does no harm to others", () => {
  test("a server that refuses the owner's pictures still sells its chat, at its price", async () => {
    const [both, dear] = [studio(["painter", "talker"]), studio(["talker"])];
    const prices = '[prices.models]\npainter = { sats_per_image = 21 }\n"both/talker" = { input_sats_per_mtok = 100000, output_sats_per_mtok = 300000 }\n"dear/talker" = { input_sats_per_mtok = 1000000, output_sats_per_mtok = 3000000 }\n';
    const hearth = await open(server("both", both) + server("dear", dear) + prices);
    const price = async () => ((await (await ask(hearth.url, { ...hello, model: "talker" })).json()) as Bill).amount_sats;
    const before = await price();
    both.behave(() => Response.json({ error: { message: "Your organization must be verified." } }, { status: 403 }));
    expect((await order(hearth.url, images, { model: "painter", prompt: "A logo" }, bearer(await buyToken(hearth.url)))).status).toBe(503);
    expect(await price()).toBe(before);
  });

  test("an error whose text never ends does not keep the stand-in waiting", async () => {
    const [endless, good] = [studio(["painter"]), studio(["painter"])];
    const hearth = await open(server("endless", endless, "price = { sats_per_image = 20 }") + server("good", good, "price = { sats_per_image = 30 }"));
    endless.behave(() => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode("{")) }), { status: 500 }));
    const answer = order(hearth.url, images, { model: "painter", prompt: "A logo" }, bearer(await buyToken(hearth.url)));
    try {
      await until("the stand-in is asked", () => good.asked.length === 1, 5_000);
    } finally {
      await endless.stop();
      await answer;
    }
  });

  test("what a buyer searches for is in no log, whatever the engine answers", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    upstream.behave(() => new Response("embarrassing"));
    expect((await order(hearth.url, search, { query: "embarrassing" }, bearer(await buyToken(hearth.url)))).status).toBe(503);
    await until("it is logged", () => hearth.output().includes("upstream.error"));
    expect(hearth.output()).not.toContain("embarrassing");
  });
});

describe("bad input is the buyer's, with a reason", () => {
  test("no model at all, written as null, is the cheapest that paints", async () => {
    const hearth = await open(orderConfig(studio()));
    expect(((await (await order(hearth.url, images, { model: null, prompt: "A logo" })).json()) as Bill & { model?: string }).model).toBe("painter");
  });

  test("a model whose name is not in Latin letters can be the cheapest", async () => {
    const hearth = await open(server("studio", studio(["модель"]), "price = { input_sats_per_mtok = 1, output_sats_per_mtok = 1 }"));
    expect((await ask(hearth.url, { ...hello, model: "auto" })).status).toBe(402);
  });

  test("a search that its engine calls wrong is a 400, which no client repeats", async () => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    upstream.behave(() => Response.json({ error: { detail: "q is too long" } }, { status: 422 }));
    expect(await codeOf(await order(hearth.url, search, { query: "x" }, bearer(await buyToken(hearth.url))))).toEqual({ status: 400, code: "invalid_request" });
  });

  test.each([["constructor"], ["toString"]])("a field called %s is one that nobody knows", async (name) => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const answer = await order(hearth.url, search, { query: "x", [name]: 1 }, bearer(await buyToken(hearth.url)));
    expect([answer.status, answer.headers.get("x-hearth-dropped")]).toEqual([200, name]);
  });
});

describe("documents say what is sold, and nothing else", () => {
  test("a flat price that pays for no answer is not advertised", async () => {
    const hearth = await open(`${relay(studio(["o1-pro"]))}[dvm]\nmodel = "o1-pro"\nprice_sats = 1\n`);
    expect(await codeOf(await order(hearth.url, dvm, { prompt: "Hi" }))).toEqual({ status: 404, code: "dvm_off" });
    expect(await (await fetch(`${hearth.url}/pricing`)).text()).not.toContain(dvm);
  });

  test("a bill names a discount only where one was given", async () => {
    const hearth = await open(orderConfig(studio()).replace("[prices.models]", "[prices]\nlightning_discount_percent = 50\n[prices.models]"));
    type Discounted = { amount_sats: number; payment: { accepted: { discountRate?: number }[] } };
    const discountOf = async (path: string, body: object) => ((await (await order(hearth.url, path, body)).json()) as Discounted).payment.accepted[0]!.discountRate;
    expect([await discountOf(images, { prompt: "A logo" }), await discountOf(dvm, { prompt: "Hi" })]).toEqual([0.5, undefined]);
  });

  test("the console's first purchase is of a model that chats", async () => {
    const hearth = await open(orderConfig(studio()));
    expect(hearth.output()).toContain('"model":"talker"');
    expect(hearth.output()).not.toContain('"model":"painter","messages"');
  });

  test("where only search is sold, something is for sale", async () => {
    const hearth = await open(`[search]\nengine = "searxng"\nurl = "${studio([]).searchUrl}"\nprice = { sats_per_call = 5 }\n`);
    expect((await order(hearth.url, search, { query: "x" })).status).toBe(402);
    expect(await (await fetch(`${hearth.url}/llms.txt`)).text()).not.toContain("Nothing is for sale");
  });
});

describe("what was tried and holds", () => {
  const faults: [what: string, how: () => Response][] = [
    ["a redirect to somebody else", () => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/" } })],
    ["no content", () => new Response(null, { status: 204 })],
    ["JSON that is null", () => Response.json(null)],
    ["a list", () => Response.json([])],
  ];
  test.each(faults)("%s from every server leaves no reservation open and no charge", async (_what, how) => {
    const upstream = studio();
    const hearth = await open(orderConfig(upstream));
    const token = await buyToken(hearth.url);
    upstream.behave(how);
    for (const [path, body] of [[images, { model: "painter", prompt: "x" }], [dvm, { prompt: "x" }], [search, { query: "x" }], ["/v1/chat/completions", { ...hello, model: "talker" }]] as const)
      expect([path, (await order(hearth.url, path, body, bearer(token))).status]).toEqual([path, 503]);
    expect(await balanceOf(hearth.url, `Bearer ${token}`)).toMatchObject({ balance_msat: 1_000_000, reserved_msat: 0 });
  });

  test("a hundred searches at once spend no more than there is", async () => {
    const hearth = await open(orderConfig(studio()));
    const token = await buyToken(hearth.url, 100);
    const answers = await Promise.all(Array.from({ length: 100 }, () => order(hearth.url, search, { query: "x", max_results: 1 }, bearer(token))));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(20);
    expect(((await answers.find((answer) => answer.status === 200)!.json()) as { data: object[] }).data).toMatchObject([{ title: hits[0]!.title }]);
    expect(await balanceOf(hearth.url, `Bearer ${token}`)).toMatchObject({ balance_msat: 0, reserved_msat: 0 });
  });
});
