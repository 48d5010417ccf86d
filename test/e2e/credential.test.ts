/** What a credential opens and for how much: change, pinned quotes, lowered caps, roll-over, narrowing, every way to send it (money 4 and 6). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { hmacSha256 } from "../../src/base/bytes.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, askForBill, balanceOf, type Bill, buyCredential, type ChatBody, endHearth, hello, pay, type RunningHearth, startHearth, steepPrices } from "../support/hearth.ts";

/** `hello` takes 6 tokens in and 33 out. */
const inMsat = 1_000, outMsat = 3_000;
const helloMsat = 6 * inMsat + 33 * outMsat;
/** The most the prompt of `hello` can cost, by the bill. */
let quotedInputMsat = 0;
const ceilingMsat = (cap: number) => quotedInputMsat + cap * outMsat;
const limits = "[limits]\ndefault_output_tokens = 1024\n";
/** The least an answer without a cap of its own is cut to: 256 tokens, which is also a quarter of the default. */
const leastCap = 256;

let hearth: RunningHearth;
let model: SandboxModel;
const serve = (config: string, dataDir?: string) => startHearth({ command: "serve", config, env: { HEARTH_UPSTREAM_URL: model.url }, dataDir });
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await serve(steepPrices + limits);
  quotedInputMsat = (await askForBill(hearth.url)).amount_msat - 1_024 * outMsat;
});
afterEach(() => model.misbehave({}));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

const loop = (tokens: number): ChatBody => ({ ...hello, model: "sandbox-loop", max_tokens: tokens });
const balance = async (credential: string) => (await balanceOf(hearth.url, credential)).balance_msat;

type Refusal = Bill & { available_sats: number; required_sats: number };

async function refusal(answer: Response, code: string): Promise<Refusal> {
  expect(answer.status).toBe(402);
  expect(answer.headers.get("www-authenticate")).toMatch(/^L402 macaroon="/);
  const body = (await answer.json()) as Refusal;
  expect(body.error.code).toBe(code);
  return body;
}

async function expectServed(answer: Response): Promise<void> {
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("chat.completion")]);
}

/** A credential bought for `hello`, with exactly what `cap` tokens of it can cost left on it. */
async function credentialWorth(cap: number): Promise<string> {
  const credential = await buyCredential(hearth.url);
  const spendMsat = ceilingMsat(1_024) - ceilingMsat(cap);
  await expectServed(await ask(hearth.url, loop((spendMsat - 6 * inMsat) / outMsat), credential));
  expect(await balance(credential)).toBe(ceilingMsat(cap));
  return credential;
}

async function payFor(bill: Bill): Promise<string> {
  return `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
}

test("the change stays and pays for other requests and other models, streamed or not", async () => {
  const credential = await buyCredential(hearth.url);
  let left = ceilingMsat(1_024);
  expect(await balance(credential)).toBe(left);
  for (const body of [hello, loop(7), { ...hello, model: "sandbox-think" }, { ...hello, messages: [{ role: "user", content: "Another question." }] }]) {
    const answer = await ask(hearth.url, body, credential);
    expect(answer.status).toBe(200);
    left -= Number(answer.headers.get("x-hearth-cost-msat"));
    expect(Number(answer.headers.get("x-hearth-balance-msat"))).toBe(left);
    expect(await balanceOf(hearth.url, credential)).toMatchObject({ balance_msat: left, balance_sats: Math.floor(left / 1_000), reserved_msat: 0 });
  }
  const streamed = await (await ask(hearth.url, { ...hello, stream: true }, credential)).text();
  expect(streamed).toContain(`: hearth cost_msat=${helloMsat} balance_msat=${left - helloMsat}\n`);
});

describe("a price that changes", () => {
  const cheap = steepPrices;
  const dear = "[prices]\ndefault = { input_sats_per_mtok = 10000000, output_sats_per_mtok = 30000000 }\n";
  const other: ChatBody = { ...hello, max_tokens: 10, messages: [{ role: "user", content: "Other." }] };

  test("does not raise what the quoted request costs its own invoice, paid before or after; other requests pay the new price", async () => {
    const before = await serve(cheap + limits);
    const paid = await buyCredential(before.url);
    const unpaid = await askForBill(before.url);
    await before.stop();
    const after = await serve(dear + limits, before.dataDir);
    const paidLater = `L402 ${unpaid.macaroon}:${await pay(after.url, unpaid.invoice)}`;
    for (const credential of [paid, paidLater]) {
      const quoted = await ask(after.url, hello, credential);
      expect([quoted.status, quoted.headers.get("x-hearth-cost-msat"), quoted.headers.get("x-hearth-max-tokens")]).toEqual([200, String(helloMsat), null]);
      const another = await ask(after.url, other, credential);
      expect([another.status, another.headers.get("x-hearth-cost-msat")]).toEqual([200, String(10 * (6 * inMsat + 10 * outMsat))]);
    }
    expect((await askForBill(after.url)).amount_msat).toBe(10 * ceilingMsat(1_024));
    await endHearth(after);
  });

  test("to a lower one never refuses the quoted request for want of what the new price does not ask", async () => {
    const before = await serve(dear + limits);
    const body = { ...hello, max_tokens: 1_000 };
    const credential = await buyCredential(before.url, body);
    await expectServed(await ask(before.url, body, credential));
    await before.stop();
    const after = await serve(cheap + limits, before.dataDir);
    const { balance_msat } = await balanceOf(after.url, credential);
    expect(balance_msat).toBeGreaterThan(ceilingMsat(1_000));
    const again = await ask(after.url, body, credential);
    const text = await again.text();
    await endHearth(after);
    expect([again.status, text]).toEqual([200, expect.stringContaining("chat.completion")]);
  });
});

describe("too little left", () => {
  test("lowers the cap of a client that named none to what is left, and says so, down to the least useful answer", async () => {
    const credential = await credentialWorth(300);
    const lowered = await ask(hearth.url, hello, credential);
    expect([lowered.status, lowered.headers.get("x-hearth-max-tokens")]).toEqual([200, "300"]);
    expect(model.calls.at(-1)!.body).toMatchObject({ max_tokens: 300 });
    const atTheEdge = await credentialWorth(leastCap);
    const least = await ask(hearth.url, { ...hello, stream: true }, atTheEdge);
    expect([least.status, least.headers.get("x-hearth-max-tokens")]).toEqual([200, String(leastCap)]);
    await least.text();
    const bill = await refusal(await ask(hearth.url, hello, atTheEdge), "insufficient_balance");
    expect(bill).toMatchObject({ available_sats: (ceilingMsat(leastCap) - helloMsat) / 1_000, required_sats: ceilingMsat(leastCap) / 1_000, amount_msat: ceilingMsat(1_024) });
  });

  test("says nothing of a cap that was not lowered", async () => {
    const answer = await ask(hearth.url, hello, await buyCredential(hearth.url));
    expect([answer.status, answer.headers.get("x-hearth-max-tokens")]).toEqual([200, null]);
  });

  test("never lowers a cap the client named: 402 with what there is, what it takes and a new invoice; nothing is taken", async () => {
    const credential = await credentialWorth(300);
    const asked = model.calls.length;
    const bill = await refusal(await ask(hearth.url, { ...hello, max_tokens: 301 }, credential), "insufficient_balance");
    expect(bill).toMatchObject({ available_sats: ceilingMsat(300) / 1_000, required_sats: ceilingMsat(301) / 1_000, amount_msat: ceilingMsat(301) });
    expect(bill.macaroon).not.toBe(credential.slice(5).split(":")[0]!);
    expect(model.calls.length).toBe(asked);
    expect(await balance(credential)).toBe(ceilingMsat(300));
    await expectServed(await ask(hearth.url, { ...hello, max_tokens: 300 }, credential));
  });

  test("moves to the new credential, once, when the new invoice of that 402 is paid", async () => {
    const old = await credentialWorth(100);
    const bills = [await refusal(await ask(hearth.url, hello, old), "insufficient_balance"), await refusal(await ask(hearth.url, hello, old), "insufficient_balance")] as const;
    expect(bills[0].invoice).not.toBe(bills[1].invoice);
    expect(await balance(old)).toBe(ceilingMsat(100));
    const first = await payFor(bills[0]);
    expect(await balance(first)).toBe(ceilingMsat(1_024) + ceilingMsat(100));
    expect(await balance(old)).toBe(0);
    expect(await balance(await payFor(bills[1]))).toBe(ceilingMsat(1_024));
    expect(await refusal(await ask(hearth.url, hello, old), "insufficient_balance")).toMatchObject({ available_sats: 0 });
    await expectServed(await ask(hearth.url, hello, first));
  });

  test("keeps what a call in flight has reserved; its change stays where it was", async () => {
    const old = await credentialWorth(300);
    model.misbehave({ tokenDelayMs: 5 });
    const running = await ask(hearth.url, { ...hello, max_tokens: 200, stream: true }, old);
    const bill = await refusal(await ask(hearth.url, { ...hello, max_tokens: 300 }, old), "insufficient_balance");
    const fresh = await payFor(bill);
    expect(await balance(fresh)).toBe(ceilingMsat(300) + 100 * outMsat);
    expect(await balanceOf(hearth.url, old)).toMatchObject({ balance_msat: 0, reserved_msat: ceilingMsat(200) });
    expect(await running.text()).toContain("[DONE]");
    expect(await balance(old)).toBe(ceilingMsat(200) - helloMsat);
  });

  test.each(["macaroon alone", "narrowed"] as const)("never moves for somebody who does not fully own it (%s)", async (holder) => {
    const full = await credentialWorth(100);
    const partial = holder === "narrowed" ? narrow(full, "llm_models=sandbox") : full.split(":")[0]!;
    const bill = await refusal(await ask(hearth.url, hello, partial), "insufficient_balance");
    expect(await balance(await payFor(bill))).toBe(ceilingMsat(1_024));
    expect(await balance(full)).toBe(ceilingMsat(100));
  });
});

/** A caveat appended as any holder can: no secret but the macaroon's own signature is needed. */
function narrow(credential: string, ...caveats: string[]): string {
  const [, macaroon, preimage] = /^L402 ([^:]+):(.*)$/.exec(credential)!;
  let bytes = Buffer.from(macaroon!, "base64");
  for (const caveat of caveats) {
    const condition = Buffer.from(caveat);
    const signature = hmacSha256(bytes.subarray(-32), condition);
    // V2: each caveat is an identifier (2, length) and an end (0); an end closes the list; then the signature (6, 32).
    bytes = Buffer.concat([bytes.subarray(0, -35), Buffer.from([2, condition.length]), condition, Buffer.from([0, 0, 6, 32]), signature]);
  }
  return `L402 ${bytes.toString("base64")}:${preimage}`;
}

describe("a narrowed credential", () => {
  const soon = () => Math.floor(Date.now() / 1_000) + 3_600;

  test("opens the models it names and no other, and shows nobody the balance", async () => {
    const full = await buyCredential(hearth.url);
    const narrowed = narrow(full, "llm_models=sandbox,sandbox-loop", "llm_models=sandbox,sandbox-think");
    await expectServed(await ask(hearth.url, hello, narrowed));
    for (const name of ["sandbox-loop", "sandbox-think"]) {
      const answer = await ask(hearth.url, { ...hello, model: name }, narrowed);
      expect([answer.status, await answer.json()]).toEqual([403, { error: expect.objectContaining({ code: "narrowed_credential" }) }]);
    }
    const shown = await fetch(`${hearth.url}/api/v1/balance`, { headers: { authorization: narrowed } });
    expect([shown.status, await shown.json()]).toEqual([403, { error: expect.objectContaining({ code: "narrowed_credential" }) }]);
    expect(await balance(full)).toBe(ceilingMsat(1_024) - helloMsat);
  });

  test("reserves at most llm_max_msat a call: the cap is lowered to it, or the call refused with 403; a later larger one changes nothing", async () => {
    const full = await buyCredential(hearth.url);
    const roomy = narrow(full, `llm_max_msat=${ceilingMsat(400)}`, "llm_max_msat=999999999");
    const lowered = await ask(hearth.url, hello, roomy);
    expect([lowered.status, lowered.headers.get("x-hearth-max-tokens")]).toEqual([200, "400"]);
    expect((await ask(hearth.url, { ...hello, max_tokens: 401 }, roomy)).status).toBe(403);
    const tight = narrow(full, `llm_max_msat=${ceilingMsat(leastCap) - 1}`);
    expect((await ask(hearth.url, hello, tight)).status).toBe(403);
    await expectServed(await ask(hearth.url, { ...hello, max_tokens: 100 }, tight));
  });

  test("ends at its llm_valid_until, and cannot be made to last longer", async () => {
    const full = await buyCredential(hearth.url);
    await expectServed(await ask(hearth.url, hello, narrow(full, `llm_valid_until=${soon()}`)));
    await refusal(await ask(hearth.url, hello, narrow(full, "llm_valid_until=1700000000")), "payment_required");
    await refusal(await ask(hearth.url, hello, narrow(full, "llm_valid_until=1700000000", `llm_valid_until=${soon()}`)), "payment_required");
  });

  test.each(["ip=127.0.0.1", "llm_max_msat=-1", "llm_models=", "services=llm:1", "nonsense", "preimage=" + "00".repeat(32)])("with a caveat we cannot enforce (%s) is refused by a fresh 402", async (caveat) => {
    const full = await buyCredential(hearth.url);
    const bill = await refusal(await ask(hearth.url, hello, narrow(full, caveat)), "payment_required");
    expect(bill.macaroon).not.toBe(full.slice(5).split(":")[0]!);
    await expectServed(await ask(hearth.url, hello, full));
  });

  test("with lnget's preimage caveat is the full credential still", async () => {
    const full = await buyCredential(hearth.url);
    const fromLnget = narrow(full, `preimage=${full.split(":")[1]}`);
    await expectServed(await ask(hearth.url, hello, fromLnget));
    expect(await balance(fromLnget)).toBe(ceilingMsat(1_024) - helloMsat);
  });

  test("whose caveat was taken off again or changed is refused by a fresh 402", async () => {
    const narrowed = narrow(await buyCredential(hearth.url), "llm_max_msat=1000");
    const [macaroon, preimage] = narrowed.slice(5).split(":") as [string, string];
    const bytes = Buffer.from(macaroon, "base64");
    const widened = Buffer.from(bytes.toString("latin1").replace("llm_max_msat=1000", "llm_max_msat=9999"), "latin1");
    const cut = Buffer.concat([bytes.subarray(0, -35 - 20), bytes.subarray(-35)]);
    for (const forged of [widened, cut]) await refusal(await ask(hearth.url, hello, `L402 ${forged.toString("base64")}:${preimage}`), "payment_required");
  });
});
