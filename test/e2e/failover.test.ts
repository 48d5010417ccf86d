/** Two model servers with one model: the cheaper one serves it, and the other where the first cannot. One reservation, one price. */
import { afterEach, describe, expect, test } from "bun:test";
import { ask, balanceOf, buyCredential, buyToken, endHearth, hello, makeDataDir, readLedger, type RunningHearth, startHearth } from "../support/hearth.ts";

type Answer = (request: Request) => Response | Promise<Response>;
type Server = { url: string; asked: number; answer: Answer; stop(): Promise<void> };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const usage = { prompt_tokens: 10, completion_tokens: 20, total_tokens: 30 };
const says = (text: string): Answer => async (request) => {
  const body = (await request.json()) as { stream?: boolean };
  if (!body.stream) return Response.json({ id: "x", object: "chat.completion", created: 1, model: "m", choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }], usage });
  const event = (fields: object) => `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", ...fields })}\n\n`;
  return new Response(`${event({ choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}${event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}${event({ choices: [], usage })}data: [DONE]\n\n`, { headers: { "content-type": "text/event-stream" } });
};
const fails = (status: number): Answer => () => Response.json({ error: { message: "no" } }, { status });

function server(answer: Answer): Server {
  const listening = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    fetch(request) {
      if (request.url.endsWith("/models")) return Response.json({ data: [{ id: "m" }] });
      self.asked++;
      return self.answer(request);
    },
  });
  const self: Server = { url: `${listening.url.origin}/v1`, asked: 0, answer, stop: () => listening.stop(true) };
  stops.push(self.stop);
  return self;
}

/** 1,000 msat a token read and 2,000 written at the first; three times that at the second. */
async function house(first: Server, second: Server): Promise<RunningHearth> {
  const price = (times: number) => `{ input_sats_per_mtok = ${1_000_000 * times}, output_sats_per_mtok = ${2_000_000 * times} }`;
  const upstream = (name: string, { url }: Server, times: number) => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\nprice = ${price(times)}\n`;
  const hearth = await startHearth({ command: "serve", config: `${upstream("dear", second, 3)}${upstream("cheap", first, 1)}[aliases]\n"gpt-4o-mini" = "m"\n` });
  stops.push(() => endHearth(hearth));
  return hearth;
}

const request = { ...hello, model: "m", max_tokens: 50 };
const cheapCost = 10 * 1_000 + 20 * 2_000;
const rowsOf = (hearth: RunningHearth) => readLedger<{ upstream: string; charged_msat: bigint }>(hearth.dataDir, "SELECT upstream, charged_msat FROM call ORDER BY at_ms, id");
const served = async (answer: Response) => ({ status: answer.status, text: (await answer.text()).includes("second") ? "second" : "first" });

describe("two upstreams of one model", () => {
  test("the cheaper one serves it, whatever their order", async () => {
    const [cheap, dear] = [server(says("first")), server(says("second"))];
    const hearth = await house(cheap, dear);
    const answer = await ask(hearth.url, request, `Bearer ${await buyToken(hearth.url)}`);
    expect(await served(answer)).toEqual({ status: 200, text: "first" });
    expect([cheap.asked, dear.asked]).toEqual([1, 0]);
  });

  for (const stream of [false, true])
    for (const [what, broken] of [["an error 500", fails(500)], ["too many requests", fails(429)], ["a refusal of the owner's key", fails(401)], ["no such model any more", fails(404)]] as const)
      test(`where the first answers ${what}, the second does, under the same reservation and at the quoted price (stream: ${stream})`, async () => {
        const [cheap, dear] = [server(broken), server(says("second"))];
        const hearth = await house(cheap, dear);
        const token = await buyToken(hearth.url);
        expect(await served(await ask(hearth.url, { ...request, stream }, `Bearer ${token}`))).toEqual({ status: 200, text: "second" });
        expect([cheap.asked, dear.asked]).toEqual([1, 1]);
        expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000 - cheapCost);
        expect(rowsOf(hearth)).toEqual([{ upstream: "dear", charged_msat: BigInt(cheapCost) }]);
      });

  test("what was paid for the cheaper one, in dollars, is answered by it while the price of bitcoin is not known", async () => {
    const [cheap, dear] = [server(says("first")), server(says("second"))], dataDir = makeDataDir();
    const upstream = (name: string, { url }: Server, dollars: number) => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\nprice = { input_usd_per_mtok = ${dollars}.0, output_usd_per_mtok = ${dollars}.0 }\n`;
    const upstreams = upstream("dear", dear, 9) + upstream("cheap", cheap, 2);
    const before = await startHearth({ command: "serve", config: `usd_per_btc = 100000\n${upstreams}`, dataDir });
    const paid = await buyCredential(before.url, request);
    await before.stop();
    const silent = ["a", "b", "c"].map((name) => `{ name = "${name}", url = "http://127.0.0.1:1/", path = "USD" }`);
    const hearth = await startHearth({ command: "serve", config: `rate_sources = [${silent.join(", ")}]\n${upstreams}`, dataDir });
    stops.push(() => endHearth(hearth));
    expect((await ask(hearth.url, request)).status).toBe(503);
    expect(await served(await ask(hearth.url, request, paid))).toEqual({ status: 200, text: "first" });
    expect([cheap.asked, dear.asked]).toEqual([1, 0]);
  });

  test("where the first is gone, the second serves, and the first is not asked again for a while", async () => {
    const [cheap, dear] = [server(says("first")), server(says("second"))];
    const hearth = await house(cheap, dear);
    await cheap.stop();
    const token = await buyToken(hearth.url);
    for (let i = 0; i < 2; i++) expect(await served(await ask(hearth.url, request, `Bearer ${token}`))).toEqual({ status: 200, text: "second" });
    await balanceOf(hearth.url, `Bearer ${token}`);
    expect(rowsOf(hearth).map((row) => row.upstream)).toEqual(["dear", "dear"]);
  });

  test("a server that failed a moment ago is passed over, and what is then quoted is the other's price", async () => {
    const [cheap, dear] = [server(fails(503)), server(says("second"))];
    const hearth = await house(cheap, dear);
    const token = await buyToken(hearth.url);
    await (await ask(hearth.url, request, `Bearer ${token}`)).text();
    expect(await served(await ask(hearth.url, request, `Bearer ${token}`))).toEqual({ status: 200, text: "second" });
    expect([cheap.asked, dear.asked]).toEqual([1, 2]);
    await balanceOf(hearth.url, `Bearer ${token}`);
    expect(rowsOf(hearth).map((row) => Number(row.charged_msat))).toEqual([cheapCost, cheapCost * 3]);
  });

  test("a request that the first calls wrong is the buyer's mistake: the second is not asked", async () => {
    const [cheap, dear] = [server(fails(400)), server(says("second"))];
    const hearth = await house(cheap, dear);
    const token = await buyToken(hearth.url);
    expect((await ask(hearth.url, request, `Bearer ${token}`)).status).toBe(400);
    expect(dear.asked).toBe(0);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  });

  test("where all fail the buyer is told once and keeps the money", async () => {
    const [cheap, dear] = [server(fails(500)), server(fails(502))];
    const hearth = await house(cheap, dear);
    const token = await buyToken(hearth.url);
    expect((await ask(hearth.url, request, `Bearer ${token}`)).status).toBe(503);
    expect([cheap.asked, dear.asked]).toEqual([1, 1]);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000);
  });

  test("the long name asks that one and no other", async () => {
    const [cheap, dear] = [server(fails(500)), server(says("second"))];
    const hearth = await house(cheap, dear);
    expect((await ask(hearth.url, { ...request, model: "cheap/m" }, `Bearer ${await buyToken(hearth.url)}`)).status).toBe(503);
    expect(dear.asked).toBe(0);
  });

  test("an alias is the model under another name", async () => {
    const hearth = await house(server(says("first")), server(says("second")));
    const list = (await (await fetch(`${hearth.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(list.data.map((one) => one.id)).toEqual(["m", "gpt-4o-mini"]);
    expect(await served(await ask(hearth.url, { ...request, model: "gpt-4o-mini" }, `Bearer ${await buyToken(hearth.url)}`))).toEqual({ status: 200, text: "first" });
  });

  test("the owner sees which server refuses the key; the buyer sees nothing of it", async () => {
    const [cheap, dear] = [server(fails(402)), server(fails(500))];
    const hearth = await house(cheap, dear);
    const answer = await ask(hearth.url, request, `Bearer ${await buyToken(hearth.url)}`);
    expect(answer.status).toBe(503);
    const consoleKey = (await Bun.file(`${hearth.dataDir}/keys/console`).text()).trim();
    const status = (await (await fetch(`${hearth.ownerUrl}/admin/api/status`, { headers: { authorization: `Bearer ${consoleKey}` } })).json()) as { upstreams: object[] };
    expect(status.upstreams).toMatchObject([{ name: "dear", refuses_your_key: false }, { name: "cheap", refuses_your_key: true }]);
  });
});
