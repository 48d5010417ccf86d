/** The curl snippets of 402ai's page as they are printed, run by a real shell; only the base URLs are replaced. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { balanceOf, type Bill, buyToken, endHearth, pay, type RunningHearth, startHearth } from "../support/hearth.ts";
import { payeesInvoice } from "../support/collecting.ts";
import { readPrinted, SeedShell, startPhoenixd } from "../support/seed-shell.ts";
import { printedModels, seedConfig, seedCostMsat, seedText, type SeedUpstream, seedUsage, startSeedUpstream } from "../support/seed-upstream.ts";

let upstream: SeedUpstream;
let hearth: RunningHearth;
let phoenixd: ReturnType<typeof startPhoenixd>;
let shell: SeedShell;
beforeAll(async () => {
  upstream = startSeedUpstream();
  hearth = await startHearth({ config: seedConfig(upstream) });
  phoenixd = startPhoenixd(hearth.url);
  shell = new SeedShell({ "https://402ai.net": hearth.url, "http://localhost:9741": phoenixd.url });
});
beforeEach(() => {
  upstream.bodies.length = 0;
  phoenixd.paid.length = 0;
});
afterAll(async () => {
  await endHearth(hearth);
  shell.remove();
  await Promise.all([phoenixd.stop(), upstream.stop()]);
});

const api = 'API="https://402ai.net"\n';

const listModels = String.raw`
# List models from the unified endpoint
curl -sS "$API/api/v1/models" | jq '.data[:5]'
`;

const chatWithToken = String.raw`
# Call chat completions via a single OpenAI-compatible base URL
curl -sS -X POST "$API/api/v1/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $TOKEN" \
  -d '{
    "model":"gpt-4o-mini",
    "messages":[{"role":"user","content":"hello bitcoin world"}]
  }' | jq .
`;

const topupInFourSteps = String.raw`
# Step 1: Create topup invoice (new token)
TOPUP=$(curl -sS -X POST "$API/api/v1/topup" \
  -H "Content-Type: application/json" \
  -d '{"amount_usd":1.20}')
echo "$TOPUP" | jq .
INVOICE=$(echo "$TOPUP" | jq -r '.invoice')

# Step 2: Pay invoice with your wallet and get preimage (example: phoenixd)
PREIMAGE=$(curl -sS -X POST http://localhost:9741/payinvoice \
  -u ":$PHOENIX_WALLET_PASSWORD" \
  --data-urlencode "invoice=$INVOICE" | jq -r '.paymentPreimage')

# Step 3: Claim token
CLAIM=$(curl -sS -X POST "$API/api/v1/topup/claim" \
  -H "Content-Type: application/json" \
  -d "{\"preimage\":\"$PREIMAGE\"}")
echo "$CLAIM" | jq .
TOKEN=$(echo "$CLAIM" | jq -r '.token')

# Step 4: Spend balance with bearer token
curl -sS -X POST "$API/api/v1/chat/completions" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $TOKEN" \
  -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"say hello in 5 words"}]}' | jq .
`;

/** The three comment lines under "Refill existing token", as commands. */
function refill(header: string, claimedFor = "$TOKEN"): string {
  return String.raw`
TOPUP=$(curl -sS -X POST "$API/api/v1/topup" -H "${header}" -H "Content-Type: application/json" -d '{"amount_usd":1.20}')
PREIMAGE=$(curl -sS -X POST http://localhost:9741/payinvoice -u ":$PHOENIX_WALLET_PASSWORD" \
  --data-urlencode "invoice=$(echo "$TOPUP" | jq -r '.invoice')" | jq -r '.paymentPreimage')
curl -sS -X POST "$API/api/v1/topup/claim" -H "Content-Type: application/json" -d '{"preimage":"'$PREIMAGE'", "token":"'${claimedFor}'"}'
`;
}

const completion = {
  object: "chat.completion", model: "gpt-4o-mini", usage: seedUsage,
  choices: [{ index: 0, message: { role: "assistant", content: seedText }, finish_reason: "stop" }],
};

describe("quick start with a token", () => {
  test("models are listed without a key", async () => {
    const [models] = (await shell.runJson(api + listModels)) as [{ id: string; object: string }[]];
    expect(models.length).toBeLessThanOrEqual(5);
    expect(models.filter(({ object }) => object === "model").map(({ id }) => id)).toEqual(expect.arrayContaining([...printedModels]));
  });

  test("a chat is answered in OpenAI's shape, and its tokens are taken from the balance", async () => {
    const token = await buyToken(hearth.url);
    expect(await shell.runJson(api + chatWithToken, { TOKEN: token })).toEqual([expect.objectContaining(completion)]);
    expect(upstream.bodies).toEqual([expect.objectContaining({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello bitcoin world" }] })]);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000 - seedCostMsat);
  });

  test("X-Token is as good as Authorization: Bearer", async () => {
    const token = await buyToken(hearth.url);
    expect(await shell.runJson(api + chatWithToken.replace("Authorization: Bearer $TOKEN", "X-Token: $TOKEN"), { TOKEN: token })).toEqual([expect.objectContaining(completion)]);
    expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_000_000 - seedCostMsat);
  });
});

describe("topup quick start", () => {
  test("order, pay, claim, spend: the four steps print an invoice over the dollars named, a token with that balance, and an answer", async () => {
    const printed = (await shell.runJson(api + topupInFourSteps)) as Record<string, unknown>[];
    expect(printed).toHaveLength(3);
    const [topup, claimed, answer] = printed as [Bill & Record<string, unknown>, { token: string; balance_sats: number; balance_msat: number }, unknown];
    expect(topup).toMatchObject({
      invoice: expect.stringMatching(/^lnbcrt/), payment_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
      amount_sats: 1200, payment_method: "topup", claim_url: "/api/v1/topup/claim",
    });
    expect(topup.expires_in).toBeWithin(1, 601);
    expect(phoenixd.paid).toEqual([topup.invoice]);
    expect(claimed).toEqual({ token: expect.stringMatching(/^abl_/), balance_sats: 1200, balance_msat: 1_200_000 });
    expect(answer).toMatchObject(completion);
    expect(await balanceOf(hearth.url, `Bearer ${claimed.token}`)).toMatchObject({ kind: "token", balance_msat: 1_200_000 - seedCostMsat, reserved_msat: 0 });
  });

  for (const header of ["Authorization: Bearer $TOKEN", "X-Token: $TOKEN"])
    test(`a refill ordered with ${header} adds to that token and hands out no other`, async () => {
      const token = await buyToken(hearth.url, 500);
      expect(await shell.runJson(api + refill(header), { TOKEN: token })).toEqual([{ balance_sats: 1700, balance_msat: 1_700_000, credited_sats: 1200 }]);
      expect((await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat).toBe(1_700_000);
    });

  test("a refill of one token is not claimed for another, and still reaches the one it was ordered for", async () => {
    const [mine, other] = [await buyToken(hearth.url, 500), await buyToken(hearth.url, 500)];
    const [refused] = await shell.runJson(api + refill("Authorization: Bearer $TOKEN", "$OTHER"), { TOKEN: mine, OTHER: other });
    expect(refused).toMatchObject({ error: { code: "wrong_token" } });
    expect((await balanceOf(hearth.url, `Bearer ${mine}`)).balance_msat).toBe(1_700_000);
    expect((await balanceOf(hearth.url, `Bearer ${other}`)).balance_msat).toBe(500_000);
  });

  test("a token that is too poor is told so without an invoice, and works again after its refill", async () => {
    const token = await buyToken(hearth.url, 100);
    const poor = readPrinted(await shell.run(api + chatWithToken.replace("curl -sS", "curl -isS").replace("| jq .", ""), { TOKEN: token }));
    expect(poor).toMatchObject({ status: 402, json: { error: { code: "insufficient_balance", type: "insufficient_quota" }, available_sats: 100, topup_url: "/api/v1/topup" } });
    expect({ challenge: poor.headers.get("www-authenticate"), invoice: poor.json.invoice, asked: upstream.bodies.length }).toEqual({ challenge: null, invoice: undefined, asked: 0 });
    await shell.run(api + refill("Authorization: Bearer $TOKEN"), { TOKEN: token });
    expect(await shell.runJson(api + chatWithToken, { TOKEN: token })).toEqual([expect.objectContaining(completion)]);
  });

  test("claiming with a preimage that paid for nothing is a 400 that bills nobody", async () => {
    const [, step3] = /(# Step 3[\s\S]*?)\nTOKEN=/.exec(topupInFourSteps)!;
    expect(await shell.runJson(api + step3, { PREIMAGE: "ab".repeat(32) })).toEqual([{ error: expect.objectContaining({ code: "invalid_payment" }) }]);
  });
});

describe("collect earnings", () => {
  const collectEarnings = String.raw`
# Worker withdraws earnings via Lightning invoice
curl -sS -X POST "$API/api/v1/ai-for-hire/collect" \
  -H "Content-Type: application/json" \
  -H "X-Token: $WORKER_TOKEN" \
  -d '{
    "invoice": "lnbc4000n1...",
    "amount_sats": 400
  }' | jq .
`;

  /** The printed prefix says 400 sats; the rest is the worker's own wallet's. */
  const withInvoice = async () => collectEarnings.replace("lnbc4000n1...", (await payeesInvoice(hearth.url, 400)).invoice);

  test("400 sats earned are not enough for the way, and it says how many are; with more they arrive", async () => {
    const token = await buyToken(hearth.url, 400);
    expect(await shell.runJson(api + (await withInvoice()), { WORKER_TOKEN: token })).toEqual([expect.objectContaining({ error: expect.objectContaining({ code: "insufficient_balance" }), max_collectable_sats: 386 })]);
    const richer = await buyToken(hearth.url, 500);
    expect(await shell.runJson(api + (await withInvoice()), { WORKER_TOKEN: richer })).toEqual([{ status: "paid", id: expect.any(String), amount_sats: 400, payment: expect.any(Object) }]);
    expect((await balanceOf(hearth.url, `Bearer ${richer}`)).balance_msat).toBe(99_000);
  });

  test("as it is printed, with its three dots, it is a 400", async () => {
    expect(await shell.runJson(api + collectEarnings, { WORKER_TOKEN: await buyToken(hearth.url, 500) })).toEqual([{ error: expect.objectContaining({ code: "invalid_invoice" }) }]);
  });
});

describe("pay per request", () => {
  const firstCall = String.raw`
curl -sD- -X POST https://402ai.net/api/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}]}'
`;
  const retry = firstCall.replace(" \\\n  -d", ' \\\n  -H "Authorization: L402 $MACAROON:$PREIMAGE" \\\n  -d');

  test("a call without a token answers 402 with invoice and macaroon, and the paid retry the answer", async () => {
    const challenge = readPrinted(await shell.run(firstCall));
    const [, macaroon, invoice] = /^L402 macaroon="([^"]+)", invoice="([^"]+)"/.exec(challenge.headers.get("www-authenticate")!)!;
    expect(challenge).toMatchObject({ status: 402, json: { macaroon, invoice } });
    expect(upstream.bodies).toEqual([]);
    const answer = readPrinted(await shell.run(retry, { MACAROON: macaroon!, PREIMAGE: await pay(hearth.url, invoice!) }));
    expect(answer).toMatchObject({ status: 200, json: completion });
    expect(upstream.bodies).toHaveLength(1);
  });

  test("the estimate follows from the cap that is asked for, under each of its printed names, or from the default", async () => {
    const priceOf = async (caps: string) => Number(readPrinted(await shell.run(firstCall.replace('"messages"', `${caps}"messages"`))).json.amount_sats);
    const [ofDefault, ...ofSmall] = await Promise.all(["", '"max_tokens":48,', '"max_completion_tokens":48,', '"max_output_tokens":48,'].map(priceOf));
    const [first] = ofSmall;
    expect(ofSmall).toEqual([first!, first!, first!]);
    // Output costs 0.3 sat a token, and the default is 2,048 of them.
    expect(ofDefault! - first!).toBe((2_048 - 48) * 0.3);
  });
});
