/** NanoGPT's accountless flow, its curl lines on the chat path: quote, pay, replay with the token from the JSON body. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { balanceOf, endHearth, pay, type RunningHearth, startHearth } from "../support/hearth.ts";
import { readPrinted, SeedShell } from "../support/seed-shell.ts";
import { seedConfig, seedCostMsat, seedText, type SeedUpstream, startSeedUpstream } from "../support/seed-upstream.ts";

let upstream: SeedUpstream;
let hearth: RunningHearth;
let shell: SeedShell;
beforeAll(async () => {
  upstream = startSeedUpstream();
  hearth = await startHearth({ config: seedConfig(upstream) });
  shell = new SeedShell({ "https://nano-gpt.com": hearth.url });
});
beforeEach(() => void (upstream.bodies.length = 0));
afterAll(async () => {
  await endHearth(hearth);
  shell.remove();
  await upstream.stop();
});

const firstCall = String.raw`
curl -is https://nano-gpt.com/api/v1/chat/completions \
-H "Content-Type: application/json" \
-d '{
"model": "gpt-4o-mini",
"messages": [{"role": "user", "content": "Hello"}]
}'
`;
const replay = firstCall.replace("-d '", '-H "Authorization: L402 $L402_TOKEN:$PAYMENT_PREIMAGE" \\\n-d \'');

type Option = Record<string, unknown> & { invoice: string; l402Token: string; paymentHash: string };

async function quote(call = firstCall) {
  const { status, headers, json } = readPrinted(await shell.run(call));
  const { accepted } = json.payment as { accepted: Option[] };
  const option = accepted.find(({ scheme }) => scheme === "lightning-l402")!;
  const challengeId = /, Payment id="([^"]+)"/.exec(headers.get("www-authenticate")!)![1]!;
  return { status, json, option, challengeId };
}

const redeem = (l402Token: string, preimage: string, call = replay) => shell.run(call, { L402_TOKEN: l402Token, PAYMENT_PREIMAGE: preimage }).then(readPrinted);
const answered = { status: 200, json: { object: "chat.completion", model: "gpt-4o-mini", choices: [{ message: { role: "assistant", content: seedText } }] } };

test("the quote's option names scheme, network, amount, invoice, hash and token as printed, and no discount where none is given", async () => {
  const { status, json, option } = await quote();
  expect(status).toBe(402);
  expect(option).toMatchObject({
    scheme: "lightning-l402", network: "bitcoin-lightning", amountFormatted: `${json.amount_sats} sats`, invoice: json.invoice, paymentHash: json.payment_hash, l402Token: json.macaroon,
  });
  expect(Object.keys(option).filter((name) => name === "discountRate" || name === "undiscountedAmountUsd")).toEqual([]);
});

test("with a discount of 0.1 the option names it and what it was taken off, and the call costs a tenth less", async () => {
  const full = Number((await quote()).json.amount_sats);
  const cheaper = await startHearth({ config: seedConfig(upstream, "", "[prices]\nlightning_discount_percent = 10\n") });
  try {
    const answer = await fetch(`${cheaper.url}/api/v1/chat/completions`, { method: "POST", body: JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hello" }] }) });
    const bill = (await answer.json()) as { amount_sats: number; payment: { accepted: Option[] } };
    const [option] = bill.payment.accepted;
    expect(option).toMatchObject({ discountRate: 0.1, amountUsd: String(bill.amount_sats / 1_000) });
    expect(Number(option!.undiscountedAmountUsd)).toBeCloseTo(bill.amount_sats / 900, 4);
    expect(bill.amount_sats).toBe(Math.ceil(full * 0.9));
  } finally {
    await endHearth(cheaper);
  }
});

test("the quote names its price in dollars too, as text, where the rate is known", async () => {
  const { json, option } = await quote();
  // A dollar is 1,000 sats here.
  const dollars = Number(json.amount_sats) / 1_000;
  const named = [option.amountUsd, (json.payment as { amountUsd?: unknown }).amountUsd];
  expect(named.map((amount) => (typeof amount === "string" ? Number(amount) : amount))).toEqual([dollars, dollars]);
});

const secondHalves: [what: string, of: (quoted: Awaited<ReturnType<typeof quote>>) => string][] = [
  ["l402Token", ({ option }) => option.l402Token],
  ["the challenge's id", ({ challengeId }) => challengeId],
];
for (const [what, tokenOf] of secondHalves)
  test(`paid, the same request with L402 <${what}>:<preimage> is answered`, async () => {
    const quoted = await quote();
    expect(upstream.bodies).toEqual([]);
    expect(await redeem(tokenOf(quoted), await pay(hearth.url, quoted.option.invoice))).toMatchObject(answered);
    expect(upstream.bodies).toHaveLength(1);
  });

test("what the first replay leaves pays for a second, on either spelling of the credential", async () => {
  const quoted = await quote();
  const preimage = await pay(hearth.url, quoted.option.invoice);
  expect(await redeem(quoted.option.l402Token, preimage)).toMatchObject(answered);
  expect(await redeem(quoted.challengeId, preimage)).toMatchObject(answered);
  const left = Number(quoted.json.amount_sats) * 1_000 - 2 * seedCostMsat;
  expect((await balanceOf(hearth.url, `L402 ${quoted.option.l402Token}:${preimage}`)).balance_msat).toBe(left);
});

test("a token or a challenge id with somebody else's preimage opens nothing, and is billed anew", async () => {
  const [mine, other] = [await quote(), await quote()];
  const preimage = await pay(hearth.url, other.option.invoice);
  await pay(hearth.url, mine.option.invoice);
  for (const half of [mine.option.l402Token, mine.challengeId]) {
    const refused = await redeem(half, preimage);
    expect(refused.status).toBe(402);
    expect([mine.option.invoice, other.option.invoice]).not.toContain(refused.json.invoice);
  }
  expect(upstream.bodies).toEqual([]);
});

test("x-x402 on the first call changes nothing", async () => {
  const quoted = await quote(firstCall.replace("-d '", "-H 'x-x402: true' \\\n-d '"));
  expect(quoted.status).toBe(402);
  expect(await redeem(quoted.option.l402Token, await pay(hearth.url, quoted.option.invoice))).toMatchObject(answered);
});
