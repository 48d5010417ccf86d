/** A balance bought ahead: one challenge, one credential, many calls. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ask, balanceOf, type Bill, hello, pay, removeDataDir, runHearth, type RunningHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
afterAll(async () => {
  await hearth.stop();
  expect((await runHearth(["audit"], { HEARTH_DATA_DIR: hearth.dataDir })).code).toBe(0);
  removeDataDir(hearth.dataDir);
});

function topup(body: unknown, authorization?: string): Promise<Response> {
  return fetch(`${hearth.url}/api/v1/topup`, { method: "POST", body: JSON.stringify(body), headers: authorization ? { authorization } : {} });
}

test("a topup is an L402 purchase: paid, the same request shows the whole amount, and it pays for calls", async () => {
  const answer = await topup({ amount_sats: 1500 });
  expect(answer.status).toBe(402);
  expect(answer.headers.get("www-authenticate")).toStartWith('L402 macaroon="');
  const bill = (await answer.json()) as Bill;
  expect(bill.amount_sats).toBe(1500);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  const again = await topup({ amount_sats: 1500 }, credential);
  expect(again.status).toBe(200);
  expect(await again.json()).toMatchObject({ balance_sats: 1500, balance_msat: 1_500_000 });
  const call = await ask(hearth.url, hello, credential);
  expect(call.status).toBe(200);
  const cost = Number(call.headers.get("x-hearth-cost-msat"));
  expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(1_500_000 - cost);
});

test("a wallet that polls an unpaid topup is shown its own invoice again", async () => {
  const bill = (await (await topup({ amount_sats: 200 })).json()) as Bill;
  const again = await topup({ amount_sats: 200 }, `L402 ${bill.macaroon}`);
  expect(again.status).toBe(402);
  expect(((await again.json()) as Bill).invoice).toBe(bill.invoice);
});

test.each([{}, { amount_sats: 0 }, { amount_sats: -5 }, { amount_sats: 1.5 }, { amount_sats: "200" }, { amount_sats: 1e15 }, { amount_sats: null }])(
  "an amount that is not one is a 400 and makes no invoice: %p",
  async (body) => {
    const answer = await topup(body);
    expect(answer.status).toBe(400);
    expect(answer.headers.get("www-authenticate")).toBeNull();
    expect(await answer.json()).toMatchObject({ error: { code: "invalid_amount", param: "amount_sats" } });
  },
);
