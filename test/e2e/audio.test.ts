/** Speech by the character, text of sound by the second: charged exactly, and nothing for what was not made. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { hmacSha256 } from "../../src/base/bytes.ts";
import { audioConfig, audioModels, formOf, transcriptions, type Upload, upload } from "../support/audio-house.ts";
import { balanceOf, type Bill, buyToken, endHearth, pay, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";
import { type AskedFile, heard, order, type OrderUpstream, spoken, startOrderUpstream } from "../support/order-upstream.ts";
import { readSound, wavOf } from "../support/sound.ts";

let upstream: OrderUpstream, hearth: RunningHearth;
beforeAll(async () => {
  upstream = startOrderUpstream(audioModels);
  hearth = await startHearth({ command: "serve", config: audioConfig(upstream) });
});
afterAll(async () => {
  await endHearth(hearth);
  await upstream.stop();
});
afterEach(() => upstream.behave(undefined));

const speech = "/v1/audio/speech", translations = "/v1/audio/translations";
const say = { model: "speaker", input: "Hello from Hearth, for 21 sats.", voice: "alloy" };
const hello = readSound("hello.wav");
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const speak = (body: unknown, headers?: Record<string, string>, signal?: AbortSignal) => order(hearth.url, speech, body, headers, signal);
const listen = (what: Upload = { file: hello }, headers?: Record<string, string>) => upload(hearth.url, what, headers);
const leftMsat = async (key: string) => (await balanceOf(hearth.url, key.startsWith("L402") ? key : `Bearer ${key}`)).balance_msat;
const lastCall = () => readLedger<{ endpoint: string; model: string; charged_msat: bigint; terms: string }>(hearth.dataDir, "SELECT * FROM call ORDER BY at_ms DESC, id DESC LIMIT 1")[0];
const errorOf = async (answer: Response) => {
  const { error } = (await answer.json()) as { error: { code: string; param: string | null } };
  return { status: answer.status, code: error.code, param: error.param };
};

/** A request sent twice: billed, paid, answered. */
async function buy(send: (headers?: Record<string, string>) => Promise<Response>): Promise<{ bill: Bill; credential: string }> {
  const answer = await send();
  expect(answer.status).toBe(402);
  const bill = (await answer.json()) as Bill;
  return { bill, credential: `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}` };
}

/** A caveat appended as any holder can: no secret but the macaroon's own signature is needed. */
function narrow(credential: string, caveat: string): string {
  const [, macaroon, preimage] = /^L402 ([^:]+):(.*)$/.exec(credential)!;
  const bytes = Buffer.from(macaroon!, "base64"), condition = Buffer.from(caveat);
  const signature = hmacSha256(bytes.subarray(-32), condition);
  // V2: each caveat is an identifier (2, length) and an end (0); an end closes the list; then the signature (6, 32).
  return `L402 ${Buffer.concat([bytes.subarray(0, -35), Buffer.from([2, condition.length]), condition, Buffer.from([0, 0, 6, 32]), signature]).toString("base64")}:${preimage}`;
}

describe("speech", () => {
  test("is billed by the character, spoken when the bill is paid, and passed on as it came", async () => {
    const body = { ...say, response_format: "mp3", speed: 1.25, instructions: "Cheerfully.", sparkle: 1 };
    const { bill, credential } = await buy((headers) => speak(body, headers));
    expect(bill.amount_sats).toBe(16);
    const answer = await speak(body, { authorization: credential });
    expect({ status: answer.status, type: answer.headers.get("content-type"), cost: answer.headers.get("x-hearth-cost-msat"), dropped: answer.headers.get("x-hearth-dropped") })
      .toEqual({ status: 200, type: "audio/mpeg", cost: "15500", dropped: "sparkle" });
    expect(Buffer.from(await answer.bytes())).toEqual(spoken);
    expect(upstream.asked.at(-1)).toEqual({ model: "speaker", input: say.input, voice: "alloy", response_format: "mp3", speed: 1.25, instructions: "Cheerfully." });
    await until("the call is posted", () => lastCall()?.endpoint === "audio/speech" && lastCall()?.charged_msat === 15_500n);
    expect(JSON.parse(lastCall()!.terms)).toMatchObject({ order: "audio/speech", model: "speaker", msat_per_million: { character: "500000000" }, counts: { units: { character: 31 } } });
  });

  test.each([["letters", "abcd", 2_000], ["letters of other scripts", "日本語で", 2_000], ["emoji, which are two of JavaScript's", "🔥🔥", 1_000]])("counts %s one by one", async (_what, input, msat) => {
    const token = await buyToken(hearth.url);
    expect((await speak({ ...say, input }, bearer(token))).status).toBe(200);
    expect(1_000_000 - (await leftMsat(token))).toBe(msat);
  });

  const answers: [what: string, how: () => Response, status: number, type: string | null][] = [
    ["another kind of sound keeps its name", () => new Response("RIFF", { headers: { "content-type": "audio/x-wav" } }), 200, "audio/x-wav"],
    ["sound from a server that does not say is what was asked for", () => new Response(new Uint8Array([1, 2, 3])), 200, "audio/flac"],
    ["nothing is no sound", () => new Response("", { headers: { "content-type": "audio/mpeg" } }), 503, null],
    ["JSON is no sound", () => Response.json({ error: "no voice" }), 503, null],
    ["JSON is no sound, whatever it is called", () => new Response('{"error":"no voice"}', { headers: { "content-type": "audio/mpeg" } }), 503, null],
    ["a page is no sound", () => new Response("ok", { headers: { "content-type": "text/html" } }), 503, null],
    ["a picture is no sound", () => new Response("ok", { headers: { "content-type": "image/svg+xml" } }), 503, null],
    ["a server that breaks", () => new Response("no", { status: 500 }), 503, null],
    ["the owner's key refused", () => new Response("no", { status: 401 }), 503, null],
    ["a request that is wrong", () => Response.json({ error: { message: "no such voice" } }, { status: 400 }), 400, null],
  ];
  test.each(answers)("%s; a failure costs nothing, and the same credential works again", async (_what, how, status, type) => {
    const body = { ...say, response_format: "flac" };
    const { credential } = await buy((headers) => speak(body, headers));
    upstream.behave(how);
    const answer = await speak(body, { authorization: credential });
    expect({ status: answer.status, type: answer.ok ? answer.headers.get("content-type") : null }).toEqual({ status, type });
    upstream.behave(undefined);
    expect(await leftMsat(credential)).toBe(status === 200 ? 500 : 16_000);
    if (status !== 200) expect((await speak(body, { authorization: credential })).status).toBe(200);
  });

  const wrong: [what: string, body: object, status: number, code: string, param: string][] = [
    ["no text", { ...say, input: "" }, 400, "invalid_request", "input"],
    ["more than 4,096 characters", { ...say, input: "x".repeat(4_097) }, 400, "invalid_request", "input"],
    ["a voice that is no name", { ...say, voice: 7 }, 400, "invalid_request", "voice"],
    ["a format nobody has", { ...say, response_format: "midi" }, 400, "invalid_request", "response_format"],
    ["too fast", { ...say, speed: 5 }, 400, "invalid_request", "speed"],
    ["events", { ...say, stream_format: "sse" }, 400, "unsupported_field", "stream_format"],
    ["by a model nobody has", { ...say, model: "parrot" }, 404, "model_not_found", "model"],
    ["by a model that listens", { ...say, model: "scribe" }, 404, "model_not_found", "model"],
  ];
  test.each(wrong)("%s: refused without a bill", async (_what, body, status, code, param) => expect(await errorOf(await speak(body))).toEqual({ status, code, param }));

  test("4,096 emoji are not too many, null means absent, and without a model the cheapest that speaks is taken", async () => {
    const bill = (await (await speak({ input: "🔥".repeat(4_096), voice: "alloy", speed: null, model: null })).json()) as Bill & { model: string };
    expect({ sats: bill.amount_sats, model: bill.model }).toEqual({ sats: 2_048, model: "speaker" });
  });

  test("who leaves while it is spoken has bought it", async () => {
    const token = await buyToken(hearth.url);
    const [begun, finish] = [Promise.withResolvers<void>(), Promise.withResolvers<Response>()];
    upstream.behave(() => (begun.resolve(), finish.promise));
    const leaving = new AbortController();
    const gone = speak(say, bearer(token), leaving.signal).catch(() => "left");
    await begun.promise;
    leaving.abort();
    expect(await gone).toBe("left");
    finish.resolve(new Response(spoken, { headers: { "content-type": "audio/mpeg" } }));
    await until("it is charged", async () => (await leftMsat(token)) === 984_500);
  });
});

describe("text of sound", () => {
  test("is billed by the begun second, made when the bill is paid for the same file in another form, and asked for in a form written anew", async () => {
    const fields = [
      ["model", "scribe"], ["language", "en"], ["prompt", "Hearth"], ["temperature", "0.2"], ["response_format", "verbose_json"], ["timestamp_granularities[]", "word"], ["timestamp_granularities[]", "segment"], ["user", "me"],
    ] as const;
    const { bill, credential } = await buy((headers) => listen({ file: hello, fields }, headers));
    expect(bill.amount_sats).toBe(10);
    const moved = [...fields.slice(3), ...fields.slice(0, 3)];
    const answer = await listen({ file: hello, fields: moved, name: "renamed.bin" }, { authorization: credential });
    expect({ status: answer.status, type: answer.headers.get("content-type"), cost: answer.headers.get("x-hearth-cost-msat"), dropped: answer.headers.get("x-hearth-dropped") })
      .toEqual({ status: 200, type: "application/json", cost: "8000", dropped: "user" });
    expect(((await answer.json()) as { text: string }).text).toBe(heard);
    const file: AskedFile = { name: "sound.wav", sha256: createHash("sha256").update(hello).digest("hex") };
    const asked = { model: "scribe", language: "en", prompt: "Hearth", temperature: "0.2", response_format: "verbose_json", "timestamp_granularities[]": ["word", "segment"] };
    expect(upstream.asked.at(-1)).toEqual({ ...asked, file });
    await until("the call is posted", () => lastCall()?.endpoint === "audio/transcriptions" && lastCall()?.charged_msat === 8_000n);
  });

  const formats = ["hello.wav", "hello.mp3", "headless.mp3", "hello.flac", "opus.ogg", "vorbis.ogg", "hello.m4a", "fragments.mp4", "hello.webm", "recorded.webm"];
  test.each(formats)("%s costs four seconds, and is passed on untouched", async (name) => {
    const token = await buyToken(hearth.url), file = readSound(name);
    expect((await listen({ file, name }, bearer(token))).status).toBe(200);
    expect(1_000_000 - (await leftMsat(token))).toBe(8_000);
    expect((upstream.asked.at(-1)!.file as AskedFile).sha256).toBe(createHash("sha256").update(file).digest("hex"));
  });

  test("five minutes whose header says a second cost five minutes", async () => {
    expect(((await (await listen({ file: wavOf(300, { fact: 1 }) })).json()) as Bill).amount_sats).toBe(600);
  });

  const [json, plain] = ["application/json", "text/plain; charset=utf-8"];
  test.each([["json", json], ["verbose_json", json], ["text", plain], ["srt", plain], ["vtt", plain]])("as %s it is %s", async (format, type) => {
    const answer = await listen({ file: hello, fields: [["model", "scribe"], ["response_format", format]] }, bearer(await buyToken(hearth.url)));
    expect({ type: answer.headers.get("content-type"), heard: (await answer.text()).includes(heard) }).toEqual({ type, heard: true });
  });

  const answers: [what: string, format: string, how: () => Response, status: number][] = [
    ["silence has an empty text", "json", () => Response.json({ text: "" }), 200],
    ["silence has an empty page of text", "text", () => new Response(""), 200],
    ["an upstream that heard an hour is not believed: what was quoted is charged", "json", () => Response.json({ text: "x", usage: { type: "duration", seconds: 3_600 } }), 200],
    ["an upstream that heard nothing is not either", "verbose_json", () => Response.json({ text: "x", duration: 0 }), 200],
    ["JSON without a text is none", "json", () => Response.json({ error: "busy" }), 503],
    ["no JSON is none", "json", () => new Response("hello"), 503],
    ["JSON is no subtitle", "srt", () => Response.json({ error: "busy" }), 503],
    ["text is no WebVTT", "vtt", () => new Response("hello"), 503],
    ["a page is no text", "text", () => new Response("<html>", { headers: { "content-type": "text/html" } }), 503],
    ["a server that breaks", "json", () => new Response("no", { status: 500 }), 503],
    ["a file it cannot read", "json", () => Response.json({ error: { message: "no audio" } }, { status: 400 }), 400],
  ];
  test.each(answers)("%s; a failure costs nothing, and the same credential works again", async (_what, format, how, status) => {
    const what: Upload = { file: wavOf(6), fields: [["model", "scribe"], ["response_format", format]] };
    const { credential } = await buy((headers) => listen(what, headers));
    upstream.behave(how);
    expect((await listen(what, { authorization: credential })).status).toBe(status);
    upstream.behave(undefined);
    expect(await leftMsat(credential)).toBe(status === 200 ? 0 : 12_000);
    if (status !== 200) expect((await listen(what, { authorization: credential })).status).toBe(200);
  });

  test("a payment hash opens the same file in another form, once, and no other file, field or route", async () => {
    const what: Upload = { file: wavOf(7) };
    const { bill } = await buy((headers) => listen(what, headers));
    const byHash = { "x-payment-hash": bill.payment_hash };
    expect((await listen({ file: wavOf(7.01) }, byHash)).status).toBe(402);
    expect((await listen({ ...what, fields: [["model", "scribe"], ["language", "de"]] }, byHash)).status).toBe(402);
    expect((await listen({ ...what, path: translations }, byHash)).status).toBe(402);
    expect((await listen({ ...what, fields: [["model", "scribe"], ["payment_hash", bill.payment_hash]] })).status).toBe(200);
    expect((await listen(what, byHash)).status).toBe(402);
  });

  test("a credential narrowed to another model does not open it, one narrowed to this does", async () => {
    const what: Upload = { file: wavOf(8) };
    const { credential } = await buy((headers) => listen(what, headers));
    expect(await errorOf(await listen(what, { authorization: narrow(credential, "llm_models=talker") }))).toMatchObject({ status: 403, code: "narrowed_credential" });
    expect((await listen(what, { authorization: narrow(credential, "llm_models=scribe") })).status).toBe(200);
  });

  test("twenty at once cannot spend more than there is", async () => {
    const token = await buyToken(hearth.url, 100);
    const answers = await Promise.all(Array.from({ length: 20 }, () => listen({ file: hello }, bearer(token))));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(12);
    expect(answers.filter(({ status }) => status === 402)).toHaveLength(8);
    expect(await leftMsat(token)).toBe(4_000);
  });

  test("one request with one Idempotency-Key is made once", async () => {
    const token = await buyToken(hearth.url), headers = { ...bearer(token), "idempotency-key": "sound-1" };
    expect((await listen({ file: hello }, headers)).status).toBe(200);
    expect(await errorOf(await listen({ file: hello }, headers))).toMatchObject({ status: 409, code: "duplicate_request" });
    expect(await leftMsat(token)).toBe(992_000);
  });

  test("translations are sold by the same models; a language to translate from is not asked for", async () => {
    const answer = await listen({ file: hello, path: translations, fields: [["language", "de"]] }, bearer(await buyToken(hearth.url)));
    expect({ status: answer.status, dropped: answer.headers.get("x-hearth-dropped"), cost: answer.headers.get("x-hearth-cost-msat") }).toEqual({ status: 200, dropped: "language", cost: "8000" });
    expect(upstream.asked.at(-1)).toMatchObject({ model: "scribe", file: { name: "sound.wav" } });
  });
});

describe("a form that is wrong is refused without a bill", () => {
  const file = hello;
  const rows: [what: string, send: () => Promise<Response>, status: number, code: string, param: string | null][] = [
    ["no file", () => listen({ fields: [["model", "scribe"]] }), 400, "invalid_request", "file"],
    ["a file that is a text", () => listen({ fields: [["file", "hello.wav"]] }), 400, "invalid_request", "file"],
    ["an empty file", () => listen({ file: new Uint8Array(0) }), 400, "invalid_request", "file"],
    ["a file that is no sound", () => listen({ file: new Uint8Array(Buffer.from("Hello, I am a text.")) }), 400, "invalid_request", "file"],
    ["a codec that is not timed", () => listen({ file: readSound("alac.m4a") }), 400, "invalid_request", "file"],
    ["two files", () => sendForm((form) => form.append("file", new File([file], "b.wav"))), 400, "invalid_request", "file"],
    ["two models", () => listen({ file, fields: [["model", "scribe"], ["model", "talker"]] }), 400, "invalid_request", "model"],
    ["a model that is a file", () => sendForm((form) => form.set("model", new File([file], "b.wav"))), 400, "invalid_request", "model"],
    ["a model nobody has", () => listen({ file, fields: [["model", "ear"]] }), 404, "model_not_found", "model"],
    ["a model that speaks", () => listen({ file, fields: [["model", "speaker"]] }), 404, "model_not_found", "model"],
    ["a stream", () => listen({ file, fields: [["stream", "true"]] }), 400, "unsupported_field", "stream"],
    ["a format nobody has", () => listen({ file, fields: [["response_format", "pdf"]] }), 400, "invalid_request", "response_format"],
    ["a temperature of two", () => listen({ file, fields: [["temperature", "2"]] }), 400, "invalid_request", "temperature"],
    ["a granularity nobody has", () => listen({ file, fields: [["timestamp_granularities[]", "letter"]] }), 400, "invalid_request", "timestamp_granularities[].0"],
    ["a language that is a sentence", () => listen({ file, fields: [["language", "as spoken in Rome"]] }), 400, "invalid_request", "language"],
    ["hundreds of fields", () => listen({ file, fields: Array.from({ length: 200 }, (_, i) => [`f${i}`, "x"] as const) }), 400, "invalid_request", null],
    ["JSON", () => order(hearth.url, transcriptions, { model: "scribe" }), 400, "invalid_request", "file"],
    ["a form without its boundary", () => sendRaw("multipart/form-data; charset=utf-8", "x"), 400, "invalid_request", null],
    ["a form that is cut off", () => sendRaw("multipart/form-data; boundary=b", '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF'), 400, "invalid_request", null],
    ["a form of other boundaries", () => sendRaw("multipart/form-data; boundary=b", "--c\r\n\r\n--c--\r\n"), 400, "invalid_request", null],
  ];
  test.each(rows)("%s", async (_what, send, status, code, param) => expect(await errorOf(await send())).toEqual({ status, code, param }));

  function sendForm(change: (form: FormData) => void): Promise<Response> {
    const form = formOf({ file });
    change(form);
    return fetch(hearth.url + transcriptions, { method: "POST", body: form });
  }
  const sendRaw = (type: string, body: string) => fetch(hearth.url + transcriptions, { method: "POST", headers: { "content-type": type }, body });

  test("nothing of it reached the model server, and no invoice was made", async () => {
    const before = [upstream.asked.length, readLedger(hearth.dataDir, "SELECT payment_hash FROM invoice").length];
    await Promise.all(rows.map(([, send]) => send()));
    expect([upstream.asked.length, readLedger(hearth.dataDir, "SELECT payment_hash FROM invoice").length]).toEqual(before);
  });
});

test.each([speech, transcriptions, translations])("%s: a bare GET, HEAD or POST is told the least there is", async (path) => {
  const bills = await Promise.all([fetch(hearth.url + path), fetch(hearth.url + path, { method: "POST" }), order(hearth.url, path, {})]);
  for (const bill of bills) expect({ status: bill.status, sats: ((await bill.json()) as Bill).amount_sats }).toEqual({ status: 402, sats: 10 });
  expect((await fetch(hearth.url + path, { method: "HEAD" })).status).toBe(402);
  expect((await fetch(hearth.url + path, { method: "PUT" })).status).toBe(405);
});
