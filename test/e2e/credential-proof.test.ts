/** Every way to prove a payment, and what the node's word, its silence and its mistakes do to a credential (money 3, wire 1 and 3). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock, systemRandom } from "../../src/base/clock.ts";
import { noFaults, openSandboxNode } from "../../src/lightning/sandbox.ts";
import { type SandboxModel, startSandboxModel } from "../../src/upstream/sandbox-model.ts";
import { ask, askForBill, balanceOf, type Bill, buyCredential, endHearth, hello, misbehave, pay, readLedger, type RunningHearth, startHearth, until } from "../support/hearth.ts";

const wrong = "ab".repeat(32);
let hearth: RunningHearth;
let model: SandboxModel;
const serve = (dataDir?: string) => startHearth({ command: "serve", env: { HEARTH_UPSTREAM_URL: model.url }, dataDir });
beforeAll(async () => {
  model = startSandboxModel();
  hearth = await serve();
});
afterEach(() => misbehave(hearth.url, "node", { ...noFaults }));
afterAll(async () => {
  await endHearth(hearth);
  await model.stop();
});

async function expectServed(answer: Response): Promise<void> {
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("chat.completion")]);
}

/** An answer that makes a client wait and ask again: never a 402, which some would pay. */
async function expectLater(answer: Response, code: string): Promise<void> {
  expect([answer.status, await answer.json()]).toEqual([503, { error: expect.objectContaining({ code }) }]);
  expect(answer.headers.has("www-authenticate")).toBe(false);
}

/** The same challenge again, so that a polling wallet never sees a second invoice. */
async function expectOwnBill(answer: Response, bill: Bill): Promise<void> {
  expect([answer.status, await answer.json()]).toEqual([402, expect.objectContaining({ invoice: bill.invoice, macaroon: bill.macaroon, quote_id: bill.quote_id })]);
}

async function expectFreshBill(answer: Response, bill: Bill): Promise<void> {
  expect(answer.status).toBe(402);
  const { invoice, macaroon, payment_hash, error } = (await answer.json()) as Bill;
  expect(error.code).toBe("payment_required");
  for (const [fresh, old] of [[invoice, bill.invoice], [macaroon, bill.macaroon], [payment_hash, bill.payment_hash]]) expect(fresh).not.toBe(old);
}

/** How often the payment became money, and how much. */
function credits(bill: Bill, where = hearth) {
  return readLedger<{ amount_msat: bigint }>(where.dataDir, "SELECT amount_msat FROM transfer WHERE id LIKE 'credit:' || ? || '%'", bill.payment_hash).map((row) => Number(row.amount_msat));
}

async function paidBill(): Promise<{ bill: Bill; preimage: string }> {
  const bill = await askForBill(hearth.url);
  const preimage = await pay(hearth.url, bill.invoice);
  await until("the payment is credited", () => credits(bill).length > 0);
  return { bill, preimage };
}

describe("a paid credential is taken as", () => {
  const urlSafe = (macaroon: string) => macaroon.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const forms: [string, (macaroon: string, preimage: string) => string][] = [
    ["L402 macaroon:preimage", (m, p) => `L402 ${m}:${p}`],
    ["lower case l402 with an upper case preimage", (m, p) => `l402 ${m}:${p.toUpperCase()}`],
    ["url-safe base64", (m, p) => `L402 ${urlSafe(m)}:${p}`],
    ["LSAT macaroon:preimage", (m, p) => `LSAT ${m}:${p}`],
    ["Bearer macaroon:preimage, an api_key", (m, p) => `Bearer ${m}:${p}`],
    ["the macaroon alone", (m) => `L402 ${m}`],
    ["the macaroon and an empty preimage", (m) => `L402 ${m}:`],
    ["one of several, after a key of another house", (m, p) => `Bearer sk-of-another-house, L402 ${m}:${p}`],
    ["the first of comma-joined macaroons", (m, p) => `L402 ${m},AgEEbHNhdA:${p}`],
  ];
  test.each(forms)("%s", async (_, write) => {
    const { bill, preimage } = await paidBill();
    const authorization = write(bill.macaroon, preimage);
    await expectServed(await ask(hearth.url, hello, authorization));
    expect((await balanceOf(hearth.url, authorization)).balance_msat).toBeLessThan(bill.amount_msat);
    expect(credits(bill)).toEqual([bill.amount_msat]);
  });
});

describe("the Payment scheme", () => {
  type Offer = Record<"id" | "realm" | "method" | "intent" | "request" | "expires", string>;
  const base64Url = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const payment = (challenge: object, preimage: string) => `Payment ${base64Url({ challenge, payload: { preimage } })}`;

  async function offered(): Promise<{ offer: Offer; bill: Bill }> {
    const answer = await ask(hearth.url, hello);
    const header = /Payment (.*)$/.exec(answer.headers.get("www-authenticate")!)![1]!;
    const offer = Object.fromEntries([...header.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])) as Offer;
    return { offer, bill: (await answer.json()) as Bill };
  }

  test.each([["echoed whole", (offer: Offer): object => offer], ["with only its id", ({ id }: Offer): object => ({ id })]])("opens the same balance as the L402 offer, %s, and gets a receipt", async (_, echo) => {
    const { offer, bill } = await offered();
    const preimage = await pay(hearth.url, bill.invoice);
    const answer = await ask(hearth.url, hello, payment(echo(offer), preimage));
    const receipt = JSON.parse(Buffer.from(answer.headers.get("payment-receipt")!, "base64url").toString()) as object;
    expect(receipt).toMatchObject({ challengeId: offer.id, method: "lightning", reference: bill.payment_hash, status: "success" });
    expect(JSON.stringify(receipt)).not.toContain(preimage);
    await expectServed(answer);
    const byL402 = await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`);
    expect(byL402.headers.has("payment-receipt")).toBe(false);
    expect((await balanceOf(hearth.url, payment(offer, preimage))).balance_msat).toBe(Number(byL402.headers.get("x-hearth-balance-msat")));
    expect(credits(bill)).toEqual([bill.amount_msat]);
  });

  test("with another price, another id or a wrong preimage opens nothing and is told to pay anew", async () => {
    const { offer, bill } = await offered();
    const preimage = await pay(hearth.url, bill.invoice);
    await until("the payment is credited", () => credits(bill).length > 0);
    const request = base64Url({ amount: "1", currency: "sat" });
    for (const challenge of [{ ...offer, request }, { ...offer, realm: "elsewhere" }, { ...offer, id: `q_${"0".repeat(26)}` }])
      await expectFreshBill(await ask(hearth.url, hello, payment(challenge, preimage)), bill);
    await expectFreshBill(await ask(hearth.url, hello, payment(offer, wrong)), bill);
  });

  test("before the payment gets its own challenge again", async () => {
    const { offer, bill } = await offered();
    await expectOwnBill(await ask(hearth.url, hello, payment(offer, wrong)), bill);
  });
});

describe("not paid", () => {
  test.each([["alone", ""], ["with a wrong preimage", `:${wrong}`]])("a macaroon %s gets its own challenge again, for any request, and no second invoice is made", async (_, proof) => {
    const bill = await askForBill(hearth.url);
    const invoices = () => readLedger(hearth.dataDir, "SELECT 1 FROM invoice").length;
    const before = invoices();
    for (const body of [hello, { ...hello, max_tokens: 5 }]) await expectOwnBill(await ask(hearth.url, body, `L402 ${bill.macaroon}${proof}`), bill);
    const shown = await fetch(`${hearth.url}/api/v1/balance`, { headers: { authorization: `L402 ${bill.macaroon}${proof}` } });
    await expectOwnBill(shown, bill);
    expect(invoices()).toBe(before);
    const preimage = await pay(hearth.url, bill.invoice);
    await until("the payment is credited", () => credits(bill).length > 0);
    const later = await ask(hearth.url, hello, `L402 ${bill.macaroon}${proof}`);
    if (proof === "") await expectServed(later);
    else await expectFreshBill(later, bill);
    await expectServed(await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`));
  });

  test("a credential of another Hearth, paid there, gets a fresh challenge here", async () => {
    const other = await serve();
    const foreign = await buyCredential(other.url);
    await expectServed(await ask(other.url, hello, foreign));
    const macaroon = foreign.slice(5).split(":")[0]!;
    await expectFreshBill(await ask(hearth.url, hello, foreign), { invoice: "", payment_hash: "", macaroon } as Bill);
    await endHearth(other);
  });
});

describe("a right preimage", () => {
  test.each([["for a second after the payment", { settleLateMs: 1_000 }], ["in its next three answers", { openAfterPreimage: 3, dropSettlements: 1 }]])("is served though the node calls the invoice open %s", async (_, faults) => {
    const bill = await askForBill(hearth.url);
    await misbehave(hearth.url, "node", faults);
    await expectServed(await ask(hearth.url, hello, `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`));
    expect(credits(bill)).toEqual([bill.amount_msat]);
  });

  test("of a payment that settles ten seconds late is answered 503 with Retry-After until then, never 402, and then served", async () => {
    const bill = await askForBill(hearth.url);
    await misbehave(hearth.url, "node", { settleLateMs: 10_000 });
    const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    let refused = 0;
    await until("the payment is served", async () => {
      const answer = await ask(hearth.url, hello, credential);
      if (answer.status === 200) return true;
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/);
      await expectLater(answer, "settlement_unknown");
      refused++;
      return false;
    }, 20_000);
    expect(refused).toBeGreaterThanOrEqual(2);
    expect(credits(bill)).toEqual([bill.amount_msat]);
  }, 30_000);

  test("is answered 503 while the node is down, and served when it is back; what was credited before is served all the time", async () => {
    const known = await buyCredential(hearth.url);
    await expectServed(await ask(hearth.url, hello, known));
    const bill = await askForBill(hearth.url);
    await misbehave(hearth.url, "node", { down: true });
    const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    const answer = await ask(hearth.url, hello, credential);
    expect(answer.headers.has("retry-after")).toBe(true);
    await expectLater(answer, "settlement_unknown");
    await expectLater(await fetch(`${hearth.url}/api/v1/balance`, { headers: { authorization: credential } }), "settlement_unknown");
    await expectServed(await ask(hearth.url, hello, known));
    await misbehave(hearth.url, "node", { down: false });
    await expectServed(await ask(hearth.url, hello, credential));
    expect(credits(bill)).toEqual([bill.amount_msat]);
  });

  test("is served when the reply that said settled was lost, at the next try at the latest", async () => {
    const bill = await askForBill(hearth.url);
    await misbehave(hearth.url, "node", { dropSettlements: 1, loseReplies: 1 });
    const credential = `L402 ${bill.macaroon}:${await pay(hearth.url, bill.invoice)}`;
    await expectLater(await ask(hearth.url, hello, credential), "settlement_unknown");
    await expectServed(await ask(hearth.url, hello, credential));
    expect(credits(bill)).toEqual([bill.amount_msat]);
  });
});

describe("the node", () => {
  test.each([["is down", { down: true }], ["loses its reply", { loseReplies: 1 }]])("that %s sells nothing to a stranger: 503 node_unavailable, and a bill as soon as it answers", async (_, faults) => {
    await misbehave(hearth.url, "node", faults);
    await expectLater(await ask(hearth.url, hello), "node_unavailable");
    await misbehave(hearth.url, "node", { ...noFaults });
    await expectServed(await ask(hearth.url, hello, await buyCredential(hearth.url)));
  });

  test.each([
    ["tells each settlement twice", { duplicateSettlements: true }], ["tells them out of order", { reorderSettlements: true }],
    ["tells none", { dropSettlements: 8 }], ["tells them twice and out of order", { duplicateSettlements: true, reorderSettlements: true }],
  ])("that %s changes nothing: every payment is one credit", async (_, faults) => {
    await misbehave(hearth.url, "node", faults);
    const bills = await Promise.all(Array.from({ length: 8 }, () => askForBill(hearth.url)));
    await Promise.all(bills.map(async (bill) => {
      const preimage = await pay(hearth.url, bill.invoice);
      expect(await pay(hearth.url, bill.invoice)).toBe(preimage);
      await expectServed(await ask(hearth.url, hello, `L402 ${bill.macaroon}:${preimage}`));
    }));
    for (const bill of bills) expect(credits(bill)).toEqual([bill.amount_msat]);
  });
});

test("a payment made while Hearth is down, or told to nobody, is credited at the next start, whether or not anybody asks", async () => {
  const first = await serve();
  const bills = [await askForBill(first.url), await askForBill(first.url), await askForBill(first.url)] as const;
  await misbehave(first.url, "node", { dropSettlements: 1 });
  await pay(first.url, bills[0].invoice);
  expect(credits(bills[0], first)).toEqual([]);
  await first.stop();
  const node = openSandboxNode({ path: join(first.dataDir, "sandbox-node.jsonl"), clock: systemClock, random: systemRandom });
  const paid = await node.pay(bills[1].invoice);
  node.close();
  const second = await serve(first.dataDir);
  await until("both payments are credited", () => [bills[0], bills[1]].every((bill) => credits(bill, second).length > 0));
  for (const bill of [bills[0], bills[1]]) expect(credits(bill, second)).toEqual([bill.amount_msat]);
  await expectServed(await ask(second.url, hello, `L402 ${bills[1].macaroon}:${"preimage" in paid ? paid.preimage : ""}`));
  await expectServed(await ask(second.url, hello, `L402 ${bills[0].macaroon}`));
  await expectOwnBill(await ask(second.url, hello, `L402 ${bills[2].macaroon}`), bills[2]);
  expect(credits(bills[2], second)).toEqual([]);
  await endHearth(second);
});
