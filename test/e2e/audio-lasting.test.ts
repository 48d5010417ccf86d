/** Sound over time: a price that changes, a crash, uploads that are too large, too many or too slow; and what is told before anybody pays. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { audioConfig, audioModels, transcriptions, upload } from "../support/audio-house.ts";
import { balanceOf, type Bill, buyToken, makeDataDir, pay, RawConnection, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";
import { heard, order, type OrderUpstream } from "../support/order-upstream.ts";
import { readSound, wavOf } from "../support/sound.ts";
import { studios } from "../support/studio.ts";

const { studio, open, atEnd } = studios();

const megabyte = 1024 * 1024;
const hello = { file: readSound("hello.wav") };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

test("a price that doubled between bill and payment does not break the bill; who comes later pays the new one", async () => {
  const upstream = studio(audioModels), dataDir = makeDataDir();
  const before = await startHearth({ command: "serve", config: audioConfig(upstream, { secondSats: 5 }), dataDir });
  const bill = (await (await upload(before.url, hello)).json()) as Bill;
  const credential = `L402 ${bill.macaroon}:${await pay(before.url, bill.invoice)}`;
  expect((await balanceOf(before.url, credential)).balance_msat).toBe(20_000);
  await before.stop();
  const after = await open(audioConfig(upstream, { secondSats: 10 }), dataDir);
  expect(((await (await upload(after.url, hello)).json()) as Bill).amount_sats).toBe(40);
  const answer = await upload(after.url, hello, { authorization: credential });
  expect([answer.status, answer.headers.get("x-hearth-cost-msat")]).toEqual([200, "20000"]);
});

test("killed while a file is heard: the money is back, the key works, the books agree", async () => {
  const upstream = studio(audioModels), dataDir = makeDataDir();
  const before = await startHearth({ command: "serve", config: audioConfig(upstream), dataDir });
  const token = await buyToken(before.url);
  const begun = Promise.withResolvers<void>();
  upstream.behave(() => (begun.resolve(), new Promise<Response>(() => {})));
  const lost = upload(before.url, hello, bearer(token)).catch(() => "lost");
  await begun.promise;
  before.kill("SIGKILL");
  expect(await lost).toBe("lost");
  await before.exited;
  upstream.behave(undefined);
  const after = await open(audioConfig(upstream), dataDir);
  expect(await balanceOf(after.url, bearer(token).authorization)).toMatchObject({ balance_msat: 1_000_000, reserved_msat: 0 });
  expect((await upload(after.url, hello, bearer(token))).status).toBe(200);
  expect((await balanceOf(after.url, bearer(token).authorization)).balance_msat).toBe(992_000);
});

test("when the cheaper server fails the other one hears the whole file, at the price that was quoted", async () => {
  const [first, second] = [studio(["scribe"]), studio(["scribe"])];
  const server = (name: string, { url }: OrderUpstream, sats: number) => `[[upstreams]]\nname = "${name}"\nurl = "${url}"\nprice = { sats_per_second = ${sats} }\n`;
  const hearth = await open(server("dear", second, 6) + server("cheap", first, 2));
  const token = await buyToken(hearth.url);
  first.behave(() => new Response("no", { status: 500 }));
  expect((await upload(hearth.url, hello, bearer(token))).status).toBe(200);
  expect(second.asked).toEqual(first.asked);
  expect((await balanceOf(hearth.url, bearer(token).authorization)).balance_msat).toBe(992_000);
});

describe("uploads", () => {
  const head = (url: string, bytes: number) => `POST ${transcriptions} HTTP/1.1\r\nHost: ${new URL(url).host}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${bytes}\r\n\r\n`;
  const refusalOf = async (answer: Response) => ({ status: answer.status, code: ((await answer.json()) as { error: { code: string } }).error.code });

  test("of 25 MB are taken; of more they are refused", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    const file = wavOf((25 * megabyte - 44) / 8_000);
    expect(file.length).toBe(25 * megabyte);
    expect((await upload(hearth.url, { file })).status).toBe(402);
    expect(await refusalOf(await upload(hearth.url, { file: wavOf((25 * megabyte - 43) / 8_000) }))).toEqual({ status: 413, code: "request_too_large" });
    expect(await refusalOf(await upload(hearth.url, { file: new Uint8Array(26 * megabyte) }))).toEqual({ status: 413, code: "request_too_large" });
  }, 60_000);

  test("that say they are too large are refused before they are sent, those that do not say while they come", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    const declared = new RawConnection(hearth.url);
    declared.send(head(hearth.url, 30 * megabyte));
    expect((await declared.answer()).status).toBe(413);
    declared.close();
    const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(megabyte)) });
    const answer = await fetch(hearth.url + transcriptions, { method: "POST", body: endless, headers: { "content-type": "multipart/form-data; boundary=b" } });
    expect(await refusalOf(answer)).toEqual({ status: 413, code: "request_too_large" });
  }, 60_000);

  test("that would not fit beside the others are asked to come again, and fit when others have left", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    const waiting = Array.from({ length: 3 }, () => new RawConnection(hearth.url)), piece = new Uint8Array(25 * megabyte);
    for (const connection of waiting) {
      connection.send(head(hearth.url, 25 * megabyte + 1_000));
      connection.send(piece);
    }
    const refused = await Promise.race(waiting.map((connection) => connection.answer()));
    expect({ status: refused.status, again: refused.header("retry-after"), busy: refused.body.includes('"code":"busy"') }).toEqual({ status: 503, again: "10", busy: true });
    expect((await upload(hearth.url, hello)).status).toBe(402);
    const large = { file: wavOf((20 * megabyte) / 8_000) };
    for (const connection of waiting) connection.close();
    await until("there is room", async () => (await upload(hearth.url, large)).status === 402, 30_000);
  }, 90_000);
});

test("curl sends a form, gets a bill, and sends it again with the preimage or the hash", async () => {
  const hearth = await open(audioConfig(studio(audioModels)));
  const folder = makeDataDir(), file = join(folder, "talk.wav");
  // Above a megabyte curl asks first whether it may send.
  writeFileSync(file, wavOf(150));
  atEnd(() => Bun.$`rm -r ${folder}`.quiet());
  const curl = async (...more: string[]) => JSON.parse(await Bun.$`curl -sS ${hearth.url + transcriptions} -F model=scribe -F file=@${file} ${more}`.text()) as Bill & { text: string };
  const bill = await curl();
  expect(bill.amount_sats).toBe(300);
  const preimage = await pay(hearth.url, bill.invoice);
  expect((await curl("-H", `Authorization: L402 ${bill.macaroon}:${preimage}`)).text).toBe(heard);
  const other = await curl("-F", "language=en");
  await pay(hearth.url, other.invoice);
  expect((await curl("-F", "language=en", "-H", `X-Payment-Hash: ${other.payment_hash}`)).text).toBe(heard);
});

describe("told before anybody pays", () => {
  const get = async (hearth: RunningHearth, path: string) => (await (await fetch(hearth.url + path)).json()) as Record<string, unknown>;

  test("a quote of speech by its text, of sound by its seconds, without a file", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    const rows: [body: object, status: number, told: object][] = [
      [{ endpoint: "/v1/audio/speech", model: "speaker", input: "x".repeat(30) }, 200, { model: "speaker", most: { msat: 15_000, sats: 15, usd: "0.015" } }],
      [{ endpoint: "/v1/audio/transcriptions", seconds: 12, model: "scribe" }, 200, { model: "scribe", least: { msat: 24_000 }, most: { msat: 24_000, sats: 24, usd: "0.024" } }],
      [{ endpoint: "/v1/audio/translations", seconds: 11.2 }, 200, { model: "scribe", expected: { msat: 24_000 } }],
      [{ endpoint: "/v1/audio/transcriptions" }, 400, { error: { code: "invalid_request", param: "seconds" } }],
      [{ endpoint: "/v1/audio/transcriptions", seconds: -1 }, 400, { error: { code: "invalid_request", param: "seconds" } }],
      [{ endpoint: "/v1/audio/transcriptions", seconds: 1e9 }, 400, { error: { code: "invalid_request", param: "seconds" } }],
      [{ endpoint: "/v1/audio/speech" }, 400, { error: { code: "invalid_request", param: "input" } }],
    ];
    for (const [body, status, told] of rows) {
      const answer = await order(hearth.url, "/api/v1/quote", body);
      expect({ status: answer.status, body: (await answer.json()) as object }).toMatchObject({ status, body: told });
    }
    expect(readLedger(hearth.dataDir, "SELECT count(*) AS invoices FROM invoice")).toEqual([{ invoices: 0n }]);
  });

  test("the catalog has the three paths with their models, and says which of them want a file", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    type Entry = { path: string; price_type: string; models: Record<string, { price_sats: number }>; example: object };
    const { apis } = (await get(hearth, "/api/v1/catalog")) as { apis: { openai: { endpoints: Entry[] } } };
    expect(apis.openai.endpoints.filter(({ path }) => path.includes("audio")).map(({ path, price_type, models, example }) => ({ path, price_type, models: Object.keys(models), example }))).toEqual([
      { path: "/v1/audio/speech", price_type: "per_model", models: ["speaker"], example: { content_type: "json", body: { model: "speaker", input: "Hello from Hearth.", voice: "alloy" } } },
      { path: "/v1/audio/transcriptions", price_type: "per_model", models: ["scribe"], example: { content_type: "multipart", file_field: "file", fields: { model: "scribe" } } },
      { path: "/v1/audio/translations", price_type: "per_model", models: ["scribe"], example: { content_type: "multipart", file_field: "file", fields: { model: "scribe" } } },
    ]);
  });

  test("openapi.json is valid, and has forms where forms are sent", async () => {
    const hearth = await open(audioConfig(studio(audioModels)));
    const document = (await get(hearth, "/openapi.json")) as { paths: Record<string, { post: { requestBody: { content: Record<string, { schema: { properties: object; required: string[] } }> } } }> };
    expect(await new Validator().validate(document)).toMatchObject({ valid: true });
    const { content } = document.paths[transcriptions]!.post.requestBody;
    expect(Object.keys(content)).toEqual(["multipart/form-data"]);
    expect(content["multipart/form-data"]!.schema).toMatchObject({ properties: { file: { type: "string" } }, required: ["file"] });
  });

  test("NanoGPT's matrix lists them while a model serves them", async () => {
    const rows = async (models: readonly string[]) => {
      const { data } = (await get(await open(audioConfig(studio(models))), "/v1/x402/endpoints")) as { data: { endpoint: string; quoteType: string }[] };
      return data.filter(({ endpoint }) => endpoint.includes("audio")).map(({ endpoint, quoteType }) => `${endpoint} ${quoteType}`);
    };
    expect(await rows(audioModels)).toEqual(["speech", "transcriptions", "translations"].map((name) => `/api/v1/audio/${name} deterministic`));
    expect(await rows(["talker", "painter"])).toEqual([]);
  });

  test("where nothing speaks or listens, that is said, without a bill", async () => {
    const hearth = await open(audioConfig(studio(["talker", "painter"])));
    for (const answer of [await order(hearth.url, "/v1/audio/speech", { input: "x" }), await upload(hearth.url, { ...hello, fields: [] })])
      expect([answer.status, ((await answer.json()) as { error: { code: string } }).error.code]).toEqual([404, "model_not_found"]);
  });
});
