/** The main way, end to end: a stranger asks, pays, asks again and sees the change. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ask, askForBill, balanceOf, hello, pay, removeDataDir, runHearth, type RunningHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
afterAll(async () => {
  await hearth.stop();
  const audit = await runHearth(["audit"], { HEARTH_DATA_DIR: hearth.dataDir });
  expect(audit).toMatchObject({ code: 0, output: expect.stringContaining("ok: ") });
  removeDataDir(hearth.dataDir);
});

test("a stranger is told the price, pays it, gets the answer and keeps the change", async () => {
  const bill = await askForBill(hearth.url);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  const answer = await ask(hearth.url, hello, credential);
  expect(answer.status).toBe(200);
  const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
  const cost = Math.ceil((usage.prompt_tokens * 200_000 + usage.completion_tokens * 800_000) / 1_000_000);
  expect(Number(answer.headers.get("x-hearth-cost-msat"))).toBe(cost);
  expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(bill.amount_msat - cost);
});

test("a streamed answer says in its last comment what it cost, and that is what was taken", async () => {
  const bill = await askForBill(hearth.url);
  const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
  const answer = await ask(hearth.url, { ...hello, stream: true }, credential);
  const text = await answer.text();
  const facts = /: hearth cost_msat=(\d+) balance_msat=(\d+)\n\n$/.exec(text)!;
  expect(text).toContain("data: [DONE]");
  expect(text).not.toContain('"usage"');
  expect(Number(facts[2])).toBe(bill.amount_msat - Number(facts[1]));
  expect((await balanceOf(hearth.url, credential)).balance_msat).toBe(Number(facts[2]));
});
