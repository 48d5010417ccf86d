/** W4 and W5: what a buyer waits for around a payment. The payment itself, which play money makes at once, is not counted. */
import { askForBill, claim, orderTopup, pay } from "../test/support/hearth.ts";
import type { HearthUnderTest } from "./contestants.ts";
import { type Measures, percentile } from "./measures.ts";
import { chatBody } from "./workload.ts";

export const paymentParallels = [1, 16] as const;
const purchases = 160;
const topupSats = 1_000;

async function timed<Answer>(times: number[], work: () => Promise<Answer>): Promise<Answer> {
  const begunMs = performance.now();
  const answer = await work();
  times.push(performance.now() - begunMs);
  return answer;
}

/** `purchases` of them by `parallel` buyers. */
async function inParallel(parallel: number, buy: () => Promise<void>): Promise<void> {
  const buyer = async () => {
    for (let i = 0; i < purchases / parallel; i++) await buy();
  };
  await Promise.all(Array.from({ length: parallel }, buyer));
}

async function read(url: string, headers: Record<string, string>): Promise<void> {
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: chatBody });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`a paid call was answered ${answer.status}`);
}

/** W4: bill, payment, and the first call with the credential. */
export async function measureRedeem(measures: Measures, { child, served }: HearthUnderTest, parallel: number, round: number): Promise<void> {
  const billMs: number[] = [], redeemMs: number[] = [];
  await inParallel(parallel, async () => {
    const bill = await timed(billMs, () => askForBill(child.url, chatBody));
    const preimage = await pay(child.url, bill.invoice);
    await timed(redeemMs, () => read(`${child.url}/v1/chat/completions`, { authorization: `L402 ${bill.macaroon}:${preimage}` }));
    served.calls++;
  });
  measures.add({ workload: "W4", contestant: "hearth", parallel, round }, {
    bill_p50_ms: percentile(billMs, 50)!, bill_p99_ms: percentile(billMs, 99)!, redeem_p50_ms: percentile(redeemMs, 50)!, redeem_p99_ms: percentile(redeemMs, 99)!,
  });
}

/** W5: topup, payment, claim by the secret. */
export async function measureTopup(measures: Measures, { child }: HearthUnderTest, parallel: number, round: number): Promise<void> {
  const billMs: number[] = [], redeemMs: number[] = [];
  await inParallel(parallel, async () => {
    const bill = await timed(billMs, () => orderTopup(child.url, { amount_sats: topupSats }));
    await pay(child.url, bill.invoice);
    const answer = await timed(redeemMs, () => claim(child.url, { claim_secret: bill.claim_secret }));
    const { token, balance_sats } = (await answer.json()) as { token?: string; balance_sats?: number };
    if (token === undefined || balance_sats !== topupSats) throw new Error(`a claim was answered ${answer.status} with ${balance_sats} sats`);
  });
  measures.add({ workload: "W5", contestant: "hearth", parallel, round }, {
    bill_p50_ms: percentile(billMs, 50)!, bill_p99_ms: percentile(billMs, 99)!, redeem_p50_ms: percentile(redeemMs, 50)!, redeem_p99_ms: percentile(redeemMs, 99)!,
  });
}
