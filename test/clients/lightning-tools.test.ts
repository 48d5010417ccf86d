/** Alby's `@getalby/lightning-tools` as it comes, with a wallet of play money: what it buys, and that it never pays twice. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { fetch402, Fetch402InterruptedError, fetchWithL402, fetchWithMpp, fetchWithX402 } from "@getalby/lightning-tools/402";
import { balanceOf, type Bill, buyCredential, buyToken, endHearth, hello, misbehave, pay, type RunningHearth, startHearth } from "../support/hearth.ts";

let hearth: RunningHearth;
beforeAll(async () => void (hearth = await startHearth()));
beforeEach(() => misbehave(hearth.url, "model", {}));
afterAll(() => endHearth(hearth));

/** Keeps what it paid. */
function makeWallet() {
  const paid: string[] = [];
  const payInvoice = async ({ invoice }: { invoice: string }) => {
    paid.push(invoice);
    return { preimage: await pay(hearth.url, invoice), fees_paid: 0 };
  };
  return { paid, payInvoice };
}

/** Fresh for each use: the library changes what it is given. */
function post(path: string, body: unknown, headers: Record<string, string> = {}): [url: string, init: RequestInit] {
  return [`${hearth.url}${path}`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) }];
}

const chat = (fields: object = {}) => post("/v1/chat/completions", { ...hello, ...fields });
const contentOf = (stream: string) => [...stream.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word).join("");

for (const [name, buy] of [["fetch402", fetch402], ["fetchWithL402", fetchWithL402]] as const)
  describe(name, () => {
    test("buys a chat: one invoice, one answer, and the change stays on the credential", async () => {
      const wallet = makeWallet();
      const answer = await buy(...chat(), { wallet });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ object: "chat.completion", choices: [{ message: { content: expect.stringContaining("Hello from") } }] });
      const { payment } = answer;
      expect({ invoices: wallet.paid.length, paid: payment?.paid, header: payment?.credentials.header }).toEqual({ invoices: 1, paid: true, header: "Authorization" });
      expect(payment!.credentials.value).toStartWith("L402 ");
      const left = payment!.amountSat * 1_000 - Number(answer.headers.get("x-hearth-cost-msat"));
      expect((await balanceOf(hearth.url, payment!.credentials.value)).balance_msat).toBe(left);
    });

    test("buys a streamed chat, piece by piece to its end", async () => {
      const wallet = makeWallet();
      const answer = await buy(...chat({ stream: true }), { wallet });
      expect({ status: answer.status, type: answer.headers.get("content-type"), invoices: wallet.paid.length })
        .toEqual({ status: 200, type: "text/event-stream; charset=utf-8", invoices: 1 });
      const text = await answer.text();
      expect(contentOf(text)).toContain("Hello from");
      expect(text).toContain("data: [DONE]\n\n");
    });

    test("pays further calls from its credential, without the wallet", async () => {
      const wallet = makeWallet();
      const { payment } = await buy(...chat(), { wallet });
      const again = await buy(...chat({ messages: [{ role: "user", content: "Another question." }], stream: true }), { wallet, credentials: payment!.credentials });
      await again.text();
      expect({ status: again.status, paid: again.payment?.paid, invoices: wallet.paid.length }).toEqual({ status: 200, paid: false, invoices: 1 });
    });

    test("buys a token: what comes back from a topup pays for calls", async () => {
      const wallet = makeWallet();
      const answer = await buy(...post("/api/v1/topup", { amount_sats: 1_500 }), { wallet });
      expect({ status: answer.status, amount: answer.payment?.amountSat, invoices: wallet.paid.length }).toEqual({ status: 200, amount: 1_500, invoices: 1 });
      const bought = (await answer.json()) as { token: string; balance_sats: number; balance_msat: number };
      expect(bought).toEqual({ token: expect.stringMatching(/^abl_/), balance_sats: 1_500, balance_msat: 1_500_000 });
      const call = await buy(...post("/v1/chat/completions", hello, { authorization: `Bearer ${bought.token}` }), { wallet });
      expect({ status: call.status, invoices: wallet.paid.length }).toEqual({ status: 200, invoices: 1 });
      expect((await balanceOf(hearth.url, `Bearer ${bought.token}`)).balance_msat).toBe(1_500_000 - Number(call.headers.get("x-hearth-cost-msat")));
    });

    for (const header of ["Authorization", "X-Token"])
      test(`refills the token it sends as ${header}: one invoice, and the answer says what the token holds now`, async () => {
        const wallet = makeWallet();
        const token = await buyToken(hearth.url, 500);
        const answer = await buy(...post("/api/v1/topup", { amount_sats: 1_000 }, { [header]: header === "X-Token" ? token : `Bearer ${token}` }), { wallet });
        expect({ balance: (await balanceOf(hearth.url, `Bearer ${token}`)).balance_msat, invoices: wallet.paid.length }).toEqual({ balance: 1_500_000, invoices: 1 });
        expect({ status: answer.status, billedAgain: answer.headers.has("www-authenticate") }).toEqual({ status: 200, billedAgain: false });
        expect(await answer.json()).toEqual({ balance_sats: 1_500, balance_msat: 1_500_000, credited_sats: 1_000 });
      });

    test("a token that is too poor is answered without an invoice to pay by mistake", async () => {
      const wallet = makeWallet();
      const token = await buyToken(hearth.url, 100);
      const answer = await buy(...post("/v1/chat/completions", { ...hello, max_tokens: 16_000, n: 8 }, { authorization: `Bearer ${token}` }), { wallet });
      expect({ status: answer.status, invoices: wallet.paid.length }).toEqual({ status: 402, invoices: 0 });
      expect(await answer.json()).toMatchObject({ error: { code: "insufficient_balance" } });
    });

    test("a credential that opens nothing is answered by a bill, which is not paid behind the caller's back", async () => {
      const wallet = makeWallet();
      const [macaroon] = (await buyCredential(hearth.url)).split(":");
      const answer = await buy(...chat(), { wallet, credentials: { header: "Authorization", value: `${macaroon}:${"00".repeat(32)}` } });
      expect({ status: answer.status, invoices: wallet.paid.length, invoice: ((await answer.json()) as Bill).invoice })
        .toEqual({ status: 402, invoices: 0, invoice: expect.stringMatching(/^lnbcrt/) });
    });

    test("what cannot be bought costs nothing: an unknown model and a bad request are answered without an invoice", async () => {
      const wallet = makeWallet();
      const answers = [await buy(...chat({ model: "gpt-9" }), { wallet }), await buy(...chat({ n: 0 }), { wallet })];
      expect({ statuses: answers.map(({ status }) => status), invoices: wallet.paid.length }).toEqual({ statuses: [404, 400], invoices: 0 });
    });

    test("a model server that fails after the payment keeps the money on the credential, and the same credential tries again", async () => {
      const wallet = makeWallet();
      await misbehave(hearth.url, "model", { status: 500, times: 1 });
      const failed = await buy(...chat(), { wallet });
      expect({ status: failed.status, challenge: failed.headers.get("www-authenticate"), paid: failed.payment?.paid }).toEqual({ status: 503, challenge: null, paid: true });
      const { credentials, amountSat } = failed.payment!;
      expect((await balanceOf(hearth.url, credentials.value)).balance_msat).toBe(amountSat * 1_000);
      const again = await buy(...chat(), { wallet, credentials });
      expect({ status: again.status, invoices: wallet.paid.length }).toEqual({ status: 200, invoices: 1 });
    });

    test("a wallet that pays and then times out is resumed with the preimage, without a second payment", async () => {
      const wallet = makeWallet();
      let preimage = "";
      const losing = async ({ invoice }: { invoice: string }) => {
        ({ preimage } = await wallet.payInvoice({ invoice }));
        throw new Error("timed out");
      };
      const error: unknown = await buy(...chat(), { wallet: { payInvoice: losing } }).then(() => undefined, (thrown: unknown) => thrown);
      if (!(error instanceof Fetch402InterruptedError)) throw new Error(`expected an interrupted payment, got ${String(error)}`);
      const answer = await buy(...chat(), { wallet, resume: { pendingPayment: error.pendingPayment, preimage } });
      expect({ status: answer.status, invoices: wallet.paid.length }).toEqual({ status: 200, invoices: 1 });
    });
  });

describe("a buyer's own limit", () => {
  test("fetch402 reads the price from the invoice and pays nothing above its maxAmount", async () => {
    const wallet = makeWallet();
    const { amountSat } = (await fetch402(...chat(), { wallet })).payment!;
    const tooDear: unknown = await fetch402(...chat(), { wallet, maxAmount: amountSat - 1 }).then(() => undefined, (error: unknown) => error);
    if (!(tooDear instanceof Fetch402InterruptedError)) throw new Error(`expected a refusal, got ${String(tooDear)}`);
    expect({ amount: tooDear.amountSat, cause: String(tooDear.cause), invoices: wallet.paid.length })
      .toEqual({ amount: amountSat, cause: expect.stringContaining("exceeds maxAmount"), invoices: 1 });
    expect((await fetch402(...chat(), { wallet, maxAmount: amountSat })).status).toBe(200);
  });
});

describe("the library's helpers for one other scheme", () => {
  for (const [name, buy] of [["fetchWithMpp", fetchWithMpp], ["fetchWithX402", fetchWithX402]] as const)
    test(`${name} does not find its scheme first, and hands the bill back unpaid`, async () => {
      const wallet = makeWallet();
      const answer = await buy(...chat(), { wallet });
      expect({ status: answer.status, invoices: wallet.paid.length, price: ((await answer.json()) as Bill).amount_sats }).toEqual({ status: 402, invoices: 0, price: expect.any(Number) });
    });
});
