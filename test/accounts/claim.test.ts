/** Claims as the writer runs them, with the clock in the test's hand: who gets a token, what moves, what a repetition gets (money 4 and 5). */
import { afterEach, describe, expect, test } from "bun:test";
import { auditAccounts } from "../../src/accounts/audit.ts";
import { type ClaimOutcome, claimPayment, type ClaimProof } from "../../src/accounts/claim.ts";
import { revokeKey, rotateKey } from "../../src/accounts/keys.ts";
import { deriveToken, hashToken } from "../../src/accounts/token.ts";
import { claimRepeatMs } from "../../src/base/limits.ts";
import { auditCalls } from "../../src/charge/audit.ts";
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { getAccount } from "../../src/ledger/transfers.ts";
import { msat } from "../../src/money/msat.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import type { CreditedInvoice, Purpose } from "../../src/payments/invoice.ts";
import { DirectWriter } from "../support/direct-writer.ts";
import { atMs, hashOf, sampleInvoice, samplePost } from "../support/payments-sample.ts";
import { SeededRandom } from "../support/random.ts";

const topup: Purpose = { kind: "topup", claimNeedsSecret: false };
const secretTopup: Purpose = { kind: "topup", claimNeedsSecret: true };
const call: Purpose = { kind: "call", rollsOverFrom: undefined };
const refillOf = (accountId: string, claimNeedsSecret = false): Purpose => ({ kind: "refill", claimNeedsSecret, accountId, keyHash: undefined });
const tokenKey = new Uint8Array(32).fill(7);
const thousand = msat(1_000_000n);

/** Money in, claims and calls over one ledger. Proved sound at the end of every test. */
class Books {
  readonly writer = new DirectWriter();
  #invoices = 0;
  #calls = 0;

  constructor() {
    all.push(this);
    this.writer.run(startBoot, { atMs });
  }

  /** A paid invoice. */
  paid(purpose: Purpose = topup, amountMsat: bigint = thousand): CreditedInvoice {
    const n = ++this.#invoices;
    const claimSecretHash = purpose.kind === "call" ? undefined : hashOf(1_000_000 + n);
    this.writer.run(openInvoice, { ...sampleInvoice(n, { amountMsat }), purpose, claimSecretHash });
    const outcome = this.writer.run(creditInvoice, { paymentHash: hashOf(n), paidMsat: msat(amountMsat), accountId: `a_${n}`, cursor: undefined, boot: 1n, atMs });
    if (outcome.credited !== "now") throw new Error("an invoice is credited once");
    return outcome.invoice;
  }

  claim({ paymentHash }: CreditedInvoice, proof: ClaimProof, into?: string, afterMs = 0): ClaimOutcome {
    const firstKeyHash = hashToken(deriveToken(tokenKey, paymentHash, 1));
    return this.writer.run(claimPayment, { paymentHash, proof, intoAccount: into, firstKeyHash, boot: 1n, atMs: atMs + afterMs });
  }

  /** The account of a fresh token that holds so much. */
  token(amountMsat: bigint = thousand): string {
    const invoice = this.paid(topup, amountMsat);
    expect(this.claim(invoice, "secret")).toMatchObject({ kind: "token" });
    return invoice.accountId;
  }

  /** What a call has reserved, until it is posted or voided. */
  reserve(accountId: string, amountMsat: bigint): string {
    const id = `c_${++this.#calls}`;
    const amount = msat(amountMsat);
    expect(this.writer.run(reserveCall, { id, accountId, atMostMsat: amount, atLeastMsat: amount, boot: 1n, atMs })).toMatchObject({ ok: true });
    return id;
  }

  post(id: string, accountId: string, costMsat: bigint, reservedMsat: bigint): void {
    this.writer.run(postCall, samplePost({ id, accountId, costMsat, reservedMsat: msat(reservedMsat), boot: 1n }));
  }

  void(id: string): void {
    this.writer.run(voidCall, { id, reason: "test", boot: 1n, atMs });
  }

  rotate({ paymentHash }: CreditedInvoice, fromGeneration = 1): void {
    const hash = hashToken(deriveToken(tokenKey, paymentHash, fromGeneration + 1));
    expect(this.writer.run(rotateKey, { paymentHash, fromGeneration, hash, atMs })).toEqual({ ok: true });
  }

  revoke({ paymentHash }: CreditedInvoice): void {
    expect(this.writer.run(revokeKey, { paymentHash, atMs })).toEqual({ ok: true, revoked: true });
  }

  has(accountId: string): bigint {
    return spendable(getAccount(this.writer.tx, accountId));
  }

  count(table: "transfer" | "key" | "claim"): number {
    return Number(this.writer.tx.get<{ n: bigint }>(`SELECT count(*) AS n FROM ${table}`)!.n);
  }

  findings(): object[] {
    const { tx } = this.writer;
    return [...auditLedger(tx), ...auditPayments(tx), ...auditCalls(tx), ...auditAccounts(tx)];
  }
}

const all: Books[] = [];
afterEach(() => {
  for (const books of all.splice(0)) {
    const findings = books.findings();
    books.writer.close();
    expect(findings).toEqual([]);
  }
});

const proofs: ClaimProof[] = ["credential", "secret", "preimage"];
const refused = (reason: string) => ({ ok: false, reason }) as ClaimOutcome;
const firstToken = (balanceMsat: bigint = thousand) => ({ ok: true, kind: "token", generation: 1, balanceMsat }) as ClaimOutcome;
const moved = (creditedMsat: bigint, balanceMsat: bigint) => ({ ok: true, kind: "moved", creditedMsat, balanceMsat }) as ClaimOutcome;

describe("the first claim of a topup", () => {
  test.each(proofs)("gives its own token and moves nothing, by %s", (proof) => {
    const books = new Books();
    const invoice = books.paid();
    const transfers = books.count("transfer");
    expect(books.claim(invoice, proof)).toEqual(firstToken());
    expect([books.has(invoice.accountId), books.count("transfer"), books.count("key")]).toEqual([thousand, transfers, 1]);
  });

  test.each(proofs)("with a token that exists moves all of it there and makes no token, by %s", (proof) => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid(topup, 500_000n);
    expect(books.claim(invoice, proof, into)).toEqual(moved(500_000n, 1_500_000n));
    expect([books.has(invoice.accountId), books.has(into), books.count("key")]).toEqual([0n, 1_500_000n, 1]);
  });

  test("by preimage is refused where the secret is needed; the secret and the credential open it", () => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid(secretTopup);
    for (const target of [undefined, into]) expect(books.claim(invoice, "preimage", target)).toEqual(refused("claim_secret_required"));
    expect(books.count("claim")).toBe(1);
    expect(books.claim(invoice, "secret")).toEqual(firstToken());
    expect(books.claim(invoice, "credential")).toEqual(firstToken());
  });

  test("of a payment for a call takes its credential; a preimage alone claims none", () => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid(call);
    for (const target of [undefined, into]) expect(books.claim(invoice, "preimage", target)).toEqual(refused("not_a_topup"));
    expect(books.claim(invoice, "credential")).toEqual(firstToken());
    expect(books.claim(books.paid(call), "secret", into)).toEqual(moved(thousand, 2_000_000n));
  });
});

describe("a claim again", () => {
  const rows: [first: ClaimProof, second: ClaimProof, afterMs: number, same: boolean][] = [
    ["preimage", "preimage", 0, true], ["preimage", "preimage", claimRepeatMs - 1, true], ["preimage", "preimage", claimRepeatMs, false],
    ["secret", "preimage", 0, false], ["credential", "preimage", 0, false], ["secret", "preimage", claimRepeatMs, false],
    ["preimage", "secret", claimRepeatMs, true], ["preimage", "credential", claimRepeatMs, true], ["secret", "secret", 365 * claimRepeatMs, true],
    ["credential", "secret", 365 * claimRepeatMs, true], ["secret", "credential", 365 * claimRepeatMs, true], ["credential", "credential", 365 * claimRepeatMs, true],
  ];
  test.each(rows)("after one by %s, by %s %i ms later, gets the same token: %p", (first, second, afterMs, same) => {
    const books = new Books();
    const invoice = books.paid();
    books.claim(invoice, first);
    expect(books.claim(invoice, second, undefined, afterMs)).toEqual(same ? firstToken() : refused("already_claimed"));
    expect([books.count("key"), books.has(invoice.accountId)]).toEqual([1, thousand]);
  });

  test.each(rows)("after one into a token by %s, by %s %i ms later, gets the same answer: %p; money moves once", (first, second, afterMs, same) => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid();
    books.claim(invoice, first, into);
    expect(books.claim(invoice, second, into, afterMs)).toEqual(same ? moved(thousand, 2_000_000n) : refused("already_claimed"));
    expect([books.has(into), books.count("key")]).toEqual([2_000_000n, 1]);
  });

  test("by preimage does not make the ten minutes longer", () => {
    const books = new Books();
    const invoice = books.paid();
    for (const afterMs of [0, claimRepeatMs / 2, claimRepeatMs - 1]) expect(books.claim(invoice, "preimage", undefined, afterMs)).toEqual(firstToken());
    expect(books.claim(invoice, "preimage", undefined, claimRepeatMs + 1)).toEqual(refused("already_claimed"));
  });

  test("by a hop's preimage never gets it elsewhere than the holder's went", () => {
    const books = new Books();
    const [holders, hops] = [books.token(), books.token()];
    const [toToken, toOwn] = [books.paid(), books.paid()];
    books.claim(toToken, "preimage", holders);
    books.claim(toOwn, "preimage");
    for (const into of [hops, undefined]) expect(books.claim(toToken, "preimage", into, 1)).toEqual(refused("already_claimed"));
    expect(books.claim(toOwn, "preimage", hops, 1)).toEqual(refused("already_claimed"));
    expect([books.has(hops), books.has(holders), books.has(toOwn.accountId)]).toEqual([thousand, 2_000_000n, thousand]);
  });

  test("after the hop has been quicker gives the holder of the secret the same token, and lets him move the money away from it", () => {
    const books = new Books();
    const holders = books.token();
    const invoice = books.paid();
    expect(books.claim(invoice, "preimage")).toEqual(firstToken());
    expect(books.claim(invoice, "secret", undefined, 1)).toEqual(firstToken());
    expect(books.claim(invoice, "credential", holders, 2)).toEqual(moved(thousand, 2_000_000n));
    expect(books.claim(invoice, "preimage", undefined, 3)).toEqual(refused("already_claimed"));
    expect(books.has(invoice.accountId)).toBe(0n);
  });

  test("with this payment's own token moves nothing", () => {
    const books = new Books();
    const invoice = books.paid();
    books.claim(invoice, "secret");
    for (const proof of ["secret", "credential"] as const) expect(books.claim(invoice, proof, invoice.accountId)).toEqual(moved(0n, thousand));
    expect(books.has(invoice.accountId)).toBe(thousand);
  });

  test("tells the balance as it is by then", () => {
    const books = new Books();
    const invoice = books.paid();
    books.claim(invoice, "secret");
    const id = books.reserve(invoice.accountId, 400_000n);
    expect(books.claim(invoice, "secret")).toEqual(firstToken(600_000n));
    books.post(id, invoice.accountId, 150_000n, 400_000n);
    expect(books.claim(invoice, "secret")).toEqual(firstToken(850_000n));
  });
});

describe("a claim into a token of an account", () => {
  test("that calls hold a part of moves the rest; what they leave over follows when it is claimed again, once", () => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid(call);
    const [posted, voided] = [books.reserve(invoice.accountId, 300_000n), books.reserve(invoice.accountId, 200_000n)];
    expect(books.claim(invoice, "credential", into)).toEqual(moved(500_000n, 1_500_000n));
    expect(books.claim(invoice, "credential", into)).toEqual(moved(500_000n, 1_500_000n));
    books.post(posted, invoice.accountId, 120_000n, 300_000n);
    expect(books.claim(invoice, "credential", into)).toEqual(moved(180_000n, 1_680_000n));
    books.void(voided);
    expect(books.claim(invoice, "credential", into)).toEqual(moved(200_000n, 1_880_000n));
    expect(books.claim(invoice, "credential", into)).toEqual(moved(880_000n, 1_880_000n));
    expect([books.has(invoice.accountId), books.has(into), books.has("revenue")]).toEqual([0n, 1_880_000n, 120_000n]);
  });

  test("that is reserved to its last millisatoshi moves nothing yet, and the change later", () => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid();
    const id = books.reserve(invoice.accountId, thousand);
    expect(books.claim(invoice, "secret", into)).toEqual(moved(0n, thousand));
    books.void(id);
    expect(books.claim(invoice, "secret", into)).toEqual(moved(thousand, 2_000_000n));
  });

  test("lets the change follow into another token too, and each keeps what it got", () => {
    const books = new Books();
    const [first, second] = [books.token(), books.token()];
    const invoice = books.paid();
    const id = books.reserve(invoice.accountId, 300_000n);
    expect(books.claim(invoice, "secret", first)).toEqual(moved(700_000n, 1_700_000n));
    books.void(id);
    expect(books.claim(invoice, "secret", second)).toEqual(moved(300_000n, 1_300_000n));
    expect(books.claim(invoice, "secret", first)).toEqual(moved(700_000n, 1_700_000n));
    expect([books.has(first), books.has(second), books.has(invoice.accountId)]).toEqual([1_700_000n, 1_300_000n, 0n]);
  });

  test("that was rolled over moves nothing, and its change when there is some; the new account moves all it has", () => {
    const books = new Books();
    const into = books.token();
    const old = books.paid(call);
    const id = books.reserve(old.accountId, 100_000n);
    const next = books.paid({ kind: "call", rollsOverFrom: old.accountId });
    expect(books.has(next.accountId)).toBe(1_900_000n);
    expect(books.claim(old, "credential", into)).toEqual(moved(0n, thousand));
    books.void(id);
    expect(books.claim(old, "credential", into)).toEqual(moved(100_000n, 1_100_000n));
    expect(books.claim(next, "credential", into)).toEqual(moved(1_900_000n, 3_000_000n));
  });

  test("leaves a roll-over that comes later only what is left", () => {
    const books = new Books();
    const into = books.token();
    const old = books.paid(call);
    const id = books.reserve(old.accountId, 100_000n);
    books.claim(old, "credential", into);
    books.void(id);
    const next = books.paid({ kind: "call", rollsOverFrom: old.accountId });
    expect([books.has(next.accountId), books.has(old.accountId), books.has(into)]).toEqual([1_100_000n, 0n, 1_900_000n]);
  });
});

describe("a refill", () => {
  test("is on the token's account before anybody claims, and no claim moves or makes anything", () => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid(refillOf(into), 500_000n);
    expect(books.has(into)).toBe(1_500_000n);
    const [transfers, keys] = [books.count("transfer"), books.count("key")];
    for (const proof of proofs)
      for (const target of [into, undefined])
        for (const afterMs of [0, claimRepeatMs, 365 * claimRepeatMs]) expect(books.claim(invoice, proof, target, afterMs)).toMatchObject({ ok: true, kind: "refilled", creditedMsat: 500_000n });
    expect([books.count("transfer"), books.count("key"), books.has(into)]).toEqual([transfers, keys, 1_500_000n]);
  });

  const rows: [proof: ClaimProof, withToken: boolean, needsSecret: boolean, answer: "balance" | "no balance" | "claim_secret_required"][] = [
    ["preimage", true, false, "balance"], ["preimage", false, false, "no balance"], ["preimage", true, true, "balance"], ["preimage", false, true, "claim_secret_required"],
    ["secret", true, true, "balance"], ["secret", false, true, "balance"], ["credential", true, false, "balance"], ["credential", false, true, "balance"],
  ];
  test.each(rows)("claimed by %s, its token with it: %p, opened with a secret: %p, answers: %s", (proof, withToken, needsSecret, answer) => {
    const books = new Books();
    const into = books.token();
    const outcome = books.claim(books.paid(refillOf(into, needsSecret), 500_000n), proof, withToken ? into : undefined);
    const told = { ok: true, kind: "refilled", creditedMsat: 500_000n, balanceMsat: answer === "balance" ? 1_500_000n : undefined } as ClaimOutcome;
    expect(outcome).toEqual(answer === "claim_secret_required" ? refused(answer) : told);
  });

  test.each(proofs)("is never for another token, by %s", (proof) => {
    const books = new Books();
    const [into, other] = [books.token(), books.token()];
    expect(books.claim(books.paid(refillOf(into)), proof, other)).toEqual(refused("wrong_token"));
    expect([books.has(into), books.has(other)]).toEqual([2_000_000n, thousand]);
  });
});

describe("after the owner has ended the token", () => {
  const rows: [how: string, end: (books: Books, invoice: CreditedInvoice) => void, credential: ClaimOutcome][] = [
    ["replaced", (books, invoice) => books.rotate(invoice), { ok: true, kind: "token", generation: 2, balanceMsat: thousand }],
    ["revoked", (books, invoice) => books.revoke(invoice), refused("already_claimed")],
    ["replaced and then revoked", (books, invoice) => (books.rotate(invoice), books.revoke(invoice)), refused("already_claimed")],
    ["revoked and then replaced", (books, invoice) => (books.revoke(invoice), books.rotate(invoice)), { ok: true, kind: "token", generation: 2, balanceMsat: thousand }],
  ];
  test.each(rows)("%s: only macaroon and preimage together get a token that works, if there is one; nobody brings the old one back", (_how, end, byCredential) => {
    const books = new Books();
    const invoice = books.paid();
    books.claim(invoice, "preimage");
    end(books, invoice);
    for (const proof of ["secret", "preimage"] as const) expect(books.claim(invoice, proof)).toEqual(refused("already_claimed"));
    expect(books.claim(invoice, "credential")).toEqual(byCredential);
    expect(books.has(invoice.accountId)).toBe(thousand);
  });

  test.each(rows)("%s: what may have leaked with it moves no money to another token either", (_how, end) => {
    const books = new Books();
    const thiefs = books.token(1n);
    const invoice = books.paid();
    books.claim(invoice, "secret");
    end(books, invoice);
    for (const proof of ["secret", "preimage"] as const) expect(books.claim(invoice, proof, thiefs)).toEqual(refused("already_claimed"));
    expect([books.has(thiefs), books.has(invoice.accountId)]).toEqual([1n, thousand]);
  });

  test.each(rows)("%s: the full credential still moves the money to another token", (_how, end) => {
    const books = new Books();
    const into = books.token();
    const invoice = books.paid();
    books.claim(invoice, "secret");
    end(books, invoice);
    expect(books.claim(invoice, "credential", into)).toEqual(moved(thousand, 2_000_000n));
  });
});

test("whatever is claimed, called, replaced and ended in whatever order, every millisatoshi paid is in one place", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const books = new Books();
    const invoices = [books.paid(), books.paid(), books.paid(secretTopup), books.paid(call), books.paid(call)];
    let paid = 5n * thousand;
    const calls: { id: string; accountId: string; reserved: bigint }[] = [];
    for (let turn = 0; turn < 150; turn++) {
      const invoice = random.pick(invoices), { accountId } = random.pick(invoices);
      const half = books.has(accountId) / 2n;
      const step = random.pickWeighted({ claim: 10, reserve: 6, end: 6, refill: 1, rollOver: 1, rotate: 1, revoke: 1 });
      if (step === "claim") books.claim(invoice, random.pick(proofs), random.chance(60) ? accountId : undefined, random.below(2 * claimRepeatMs));
      if (step === "reserve" && half > 0n) calls.push({ id: books.reserve(accountId, half), accountId, reserved: half });
      const ending = step === "end" ? calls.pop() : undefined;
      if (ending) random.chance(50) ? books.void(ending.id) : books.post(ending.id, ending.accountId, BigInt(random.between(1, 10_000)), ending.reserved);
      if (step === "refill") invoices.push(books.paid(refillOf(accountId), 7_001n));
      if (step === "rollOver") invoices.push(books.paid({ kind: "call", rollsOverFrom: accountId }, 7_001n));
      if (step === "refill" || step === "rollOver") paid += 7_001n;
      if (step === "rotate") books.writer.run(rotateKey, { paymentHash: invoice.paymentHash, fromGeneration: 1, hash: `rotated ${invoice.paymentHash}`, atMs });
      if (step === "revoke") books.writer.run(revokeKey, { paymentHash: invoice.paymentHash, atMs });
    }
    for (const { id } of calls) books.void(id);
    const accounts = new Set(invoices.map((invoice) => invoice.accountId));
    const held = [...accounts].reduce((sum, id) => sum + books.has(id), books.has("revenue"));
    expect({ seed, held, findings: books.findings() }).toEqual({ seed, held: paid, findings: [] });
  }
});
