/** What calls teach about a model changes the next quotes, survives a restart, and never changes what was agreed. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ask, type Bill, buyCredential, buyToken, endHearth, makeDataDir, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";

/** More than we count of the words below, less than their bytes. */
const tokensPerCall = 2_300;
let hearth: RunningHearth, upstream: ReturnType<typeof Bun.serve>;
const dataDir = makeDataDir();
const config = () => `[[upstreams]]\nname = "odd"\nurl = "http://127.0.0.1:${upstream.port}/v1"\nprice = { input_sats_per_mtok = 10000, output_sats_per_mtok = 10000 }\n`;

beforeAll(async () => {
  upstream = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    routes: {
      "/v1/models": () => Response.json({ data: [{ id: "odd" }] }),
      "/v1/chat/completions": () =>
        Response.json({
          id: "x", object: "chat.completion", created: 1, model: "odd", choices: [{ index: 0, message: { role: "assistant", content: "Yes." }, finish_reason: "stop" }],
          usage: { prompt_tokens: tokensPerCall, completion_tokens: 2, total_tokens: tokensPerCall + 2, cost: 0.000123 },
        }),
    },
  });
  hearth = await startHearth({ command: "serve", config: config(), dataDir });
});
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop(true);
});

/** 500 words of four letters. */
const request = { model: "odd", max_tokens: 10, messages: [{ role: "user", content: "word ".repeat(500).trim() }] };
const other = { ...request, messages: [{ role: "user", content: "sand ".repeat(500).trim() }] };
const estimateOf = async (body: object) => ((await (await ask(hearth.url, body)).json()) as Bill & { estimated_input_tokens: number }).estimated_input_tokens;

test("a hundred calls of a model that makes more tokens of a word raise its quotes, a restart keeps that, and a bill paid before is held to", async () => {
  const before = await estimateOf(request);
  expect(before).toBeLessThan(tokensPerCall * 0.7);
  const early = await buyCredential(hearth.url, other);
  const token = await buyToken(hearth.url, 10_000);
  for (let call = 0; call < 100; call++) expect((await ask(hearth.url, request, `Bearer ${token}`)).status).toBe(200);
  const after = await estimateOf(request);
  expect(after).toBeGreaterThanOrEqual(tokensPerCall);
  expect(after).toBeLessThan(tokensPerCall * 1.02);

  await until("all are in the log", () => readLedger<{ calls: bigint }>(dataDir, "SELECT count(*) AS calls FROM call")[0]!.calls === 100n);
  await hearth.stop();
  hearth = await startHearth({ command: "serve", config: config(), dataDir });
  expect(await estimateOf(request)).toBe(after);
  // Bought at the old estimate: answered, and never charged more than was agreed.
  const answer = await ask(hearth.url, other, early);
  expect({ status: answer.status, withinAgreed: Number(answer.headers.get("x-hearth-cost-msat")) <= before * 10 + 100 + 10_000 }).toEqual({ status: 200, withinAgreed: true });
});

test("what the upstream says it charged the owner is in the log", () => {
  expect(readLedger(dataDir, "SELECT DISTINCT upstream_cost_micros FROM call")).toEqual([{ upstream_cost_micros: 123n }]);
});
