/** Tokens: what is stored of them, replacing and ending them, guessing them, and what their holders are told they have used. */
import { afterEach, describe, expect, test } from "bun:test";
import { Accounts } from "../../src/accounts/accounts.ts";
import type { Asker } from "../../src/accounts/asker.ts";
import { auditAccounts } from "../../src/accounts/audit.ts";
import { claimPayment } from "../../src/accounts/claim.ts";
import { findKey, findNewestKey, insertKey, listKeys, revokeKey, rotateKey } from "../../src/accounts/keys.ts";
import { deriveToken, hashToken } from "../../src/accounts/token.ts";
import { AppError } from "../../src/base/errors.ts";
import { maxTokenGuesses, maxTokenGuessesInAll, tokenGuessWindowMs } from "../../src/base/limits.ts";
import { postCall, reserveCall } from "../../src/charge/commands.ts";
import { deriveClaimSecret, hashClaimSecret } from "../../src/l402/claim-secret.ts";
import { CredentialDesk } from "../../src/l402/credential.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { getAccount } from "../../src/ledger/transfers.ts";
import { msat } from "../../src/money/msat.ts";
import { creditInvoice, openInvoice } from "../../src/payments/commands.ts";
import { command } from "../../src/store/command.ts";
import { PaymentsHouse, stopHouses } from "../support/payments-house.ts";
import { atMs, hashOf, sampleInvoice, samplePost } from "../support/payments-sample.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const houses: PaymentsHouse[] = [];
afterEach(async () => {
  const findings = houses.splice(0).flatMap(({ writer: { tx } }) => [...auditLedger(tx), ...auditAccounts(tx)]);
  await stopHouses();
  expect(findings).toEqual([]);
});

const master = new Uint8Array(32).fill(1);
const tokenKey = new Uint8Array(32).fill(2);
const tokenOf = (n: number, generation = 1) => deriveToken(tokenKey, hashOf(n), generation);

function newHouse(): PaymentsHouse {
  const house = new PaymentsHouse();
  houses.push(house);
  return house;
}

/** The n-th topup, paid and claimed into a token of its own. */
function claimed({ writer }: PaymentsHouse, n: number, amountMsat = 1_000_000n): { accountId: string; token: string } {
  const claimSecretHash = hashClaimSecret(deriveClaimSecret(master, hashOf(n)));
  writer.run(openInvoice, { ...sampleInvoice(n, { amountMsat }), purpose: { kind: "topup", claimNeedsSecret: false }, claimSecretHash });
  writer.run(creditInvoice, { paymentHash: hashOf(n), paidMsat: msat(amountMsat), accountId: `a_${n}`, cursor: undefined, boot: 1n, atMs });
  claim(writer, n);
  return { accountId: `a_${n}`, token: tokenOf(n) };
}

function claim(writer: PaymentsHouse["writer"], n: number, intoAccount?: string) {
  return writer.run(claimPayment, { paymentHash: hashOf(n), proof: "secret", intoAccount, firstKeyHash: hashToken(tokenOf(n)), boot: 1n, atMs });
}

const rotate = ({ writer }: PaymentsHouse, n: number, fromGeneration: number) =>
  writer.run(rotateKey, { paymentHash: hashOf(n), fromGeneration, hash: hashToken(tokenOf(n, fromGeneration + 1)), atMs: atMs + fromGeneration });
const revoke = ({ writer }: PaymentsHouse, n: number) => writer.run(revokeKey, { paymentHash: hashOf(n), atMs: atMs + 100 });
const balanceOf = ({ writer }: PaymentsHouse, accountId: string) => spendable(getAccount(writer.tx, accountId));

describe("a token", () => {
  test("is 256 bits that follow from the server's key, the payment and the generation, and from nothing else", () => {
    const token = tokenOf(1);
    expect(token).toMatch(/^abl_[A-Za-z0-9_-]{43}$/);
    expect(tokenOf(1)).toBe(token);
    const others = [tokenOf(2), tokenOf(1, 2), tokenOf(1, 11), deriveToken(master, hashOf(1), 1)];
    expect(new Set([token, ...others]).size).toBe(5);
  });

  test("is nowhere in the database, nor is the secret that claimed it; only their hashes are", () => {
    const house = newHouse();
    const { token } = claimed(house, 1);
    rotate(house, 1, 1);
    const tables = house.writer.tx.all<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table'");
    const rows = tables.flatMap(({ name }) => house.writer.tx.all<object>(`SELECT * FROM ${name}`));
    const everything = JSON.stringify(rows, (_, value) => (typeof value === "bigint" ? String(value) : (value as unknown)));
    for (const secret of [token, token.slice(4), tokenOf(1, 2), deriveClaimSecret(master, hashOf(1))]) expect(everything).not.toContain(secret);
    for (const hash of [hashToken(token), hashToken(tokenOf(1, 2)), hashClaimSecret(deriveClaimSecret(master, hashOf(1)))]) expect(everything).toContain(hash);
  });

  test("opens the account of its payment until it is replaced; then the new one does, and the money has not moved", () => {
    const house = newHouse();
    const { accountId, token } = claimed(house, 1);
    const transfers = house.credits;
    for (const generation of [1, 2, 3]) expect(rotate(house, 1, generation)).toEqual({ ok: true });
    for (const generation of [1, 2, 3]) expect(findKey(house.writer.tx, hashToken(tokenOf(1, generation)))).toMatchObject({ generation, ended: { by: "rotated", atMs: atMs + generation } });
    expect(findKey(house.writer.tx, hashToken(tokenOf(1, 4)))).toMatchObject({ accountId, paymentHash: hashOf(1), generation: 4, ended: undefined });
    expect(findKey(house.writer.tx, hashToken(token))!.ended?.by).toBe("rotated");
    expect([balanceOf(house, accountId), house.credits]).toEqual([msat(1_000_000n), transfers]);
  });

  test("that two replace at once is replaced once, and the other is told", () => {
    const house = newHouse();
    claimed(house, 1);
    expect([rotate(house, 1, 1), rotate(house, 1, 1)]).toEqual([{ ok: true }, { ok: false, reason: "rotated_meanwhile" }]);
    expect(findNewestKey(house.writer.tx, hashOf(1))).toMatchObject({ generation: 2, ended: undefined });
  });

  test("that was never made cannot be replaced or revoked", () => {
    const house = newHouse();
    expect(rotate(house, 9, 1)).toEqual({ ok: false, reason: "not_found" });
    expect(revoke(house, 9)).toEqual({ ok: true, revoked: false });
    expect(listKeys(house.writer.tx, "", 10)).toEqual([]);
  });

  test("that is revoked stays so, once and for all; a new one can take its place", () => {
    const house = newHouse();
    const { accountId, token } = claimed(house, 1);
    expect([revoke(house, 1), revoke(house, 1)]).toEqual([{ ok: true, revoked: true }, { ok: true, revoked: false }]);
    expect(findNewestKey(house.writer.tx, hashOf(1))!.ended).toEqual({ by: "revoked", atMs: atMs + 100 });
    expect(rotate(house, 1, 1)).toEqual({ ok: true });
    expect(findKey(house.writer.tx, hashToken(token))!.ended).toEqual({ by: "revoked", atMs: atMs + 100 });
    expect(findNewestKey(house.writer.tx, hashOf(1))).toMatchObject({ accountId, generation: 2, ended: undefined });
    expect(balanceOf(house, accountId)).toBe(msat(1_000_000n));
  });

  test("is the only one of its payment that lives, whatever a command tries", () => {
    const house = newHouse();
    const { accountId } = claimed(house, 1);
    const second = command("test.secondKey", (tx, generation: number) => {
      insertKey(tx, { hash: hashToken(tokenOf(1, generation)), accountId, paymentHash: hashOf(1), generation, atMs });
      return { ok: true };
    });
    for (const generation of [1, 2]) expect(() => house.writer.run(second, generation)).toThrow("UNIQUE");
    expect(house.writer.tx.all("SELECT hash FROM key")).toEqual([{ hash: hashToken(tokenOf(1)) }]);
  });

  test("is listed once for each payment, the newest, page by page", () => {
    const house = newHouse();
    for (let n = 1; n <= 5; n++) claimed(house, n);
    rotate(house, 2, 1);
    rotate(house, 2, 2);
    revoke(house, 4);
    const page = (after: string) => listKeys(house.writer.tx, after, 2).map((key) => [key.paymentHash, key.generation, key.ended?.by]);
    expect(page("")).toEqual([[hashOf(1), 1, undefined], [hashOf(2), 3, undefined]]);
    expect(page(hashOf(2))).toEqual([[hashOf(3), 1, undefined], [hashOf(4), 1, "revoked"]]);
    expect(page(hashOf(4))).toEqual([[hashOf(5), 1, undefined]]);
    expect(page(hashOf(5))).toEqual([]);
  });
});

/** What looks keys up, at the time of `clock`. */
function openAccounts(house: PaymentsHouse, clock = house.clock): Accounts {
  const { payments, writer } = house;
  const desk = new CredentialDesk({ master, payments, clock, offer: () => ({ realm: "hearth", network: "regtest" }), isLiveKey: () => true });
  return new Accounts({ reader: writer.reader, writer, clock, desk });
}

describe("guessing tokens", () => {
  const here = () => "203.0.113.5";
  const nowhere = () => undefined;
  /** What the holder of this token is told: nothing, when it opens. */
  const tried = (accounts: Accounts, token: string, address: () => string | undefined) => {
    try {
      accounts.token(token, address);
      return "opened";
    } catch (error) {
      return (error as AppError).code;
    }
  };
  const guess = (i: number) => `abl_${String(i).padStart(43, "x")}`;

  test("is ended for a minute after so many tries from one address; others and real tokens are not held up", async () => {
    const house = newHouse();
    const { token } = claimed(house, 1);
    const accounts = openAccounts(house);
    const guesses = Array.from({ length: 3 * maxTokenGuesses }, (_, i) => tried(accounts, guess(i), here));
    expect(guesses).toEqual(guesses.map((_, i) => (i < maxTokenGuesses ? "invalid_token" : "too_many_tries")));
    expect([tried(accounts, token, here), tried(accounts, guess(0), () => "203.0.113.6"), tried(accounts, guess(0), nowhere)]).toEqual(["opened", "invalid_token", "invalid_token"]);
    await house.clock.advance(tokenGuessWindowMs - 1);
    expect(tried(accounts, guess(0), here)).toBe("too_many_tries");
    await house.clock.advance(1);
    expect(tried(accounts, guess(0), here)).toBe("invalid_token");
  });

  test("says when the next try is heard", async () => {
    const house = newHouse();
    const accounts = openAccounts(house);
    for (let i = 0; i < maxTokenGuesses; i++) tried(accounts, guess(i), here);
    await house.clock.advance(20_000);
    const expected = expect.objectContaining({ code: "too_many_tries", retryable: true, retryAfterSeconds: tokenGuessWindowMs / 1000 - 20 }) as Error;
    expect(() => accounts.token(guess(0), here)).toThrow(expected);
  });

  test("by clients that cannot be told apart is bounded for all of them together", () => {
    const house = newHouse();
    const { token } = claimed(house, 1);
    const accounts = openAccounts(house);
    const guesses = Array.from({ length: maxTokenGuessesInAll + 1 }, (_, i) => tried(accounts, guess(i), nowhere));
    expect(guesses.lastIndexOf("invalid_token")).toBe(maxTokenGuessesInAll - 1);
    expect([guesses.at(-1), tried(accounts, guess(0), here), tried(accounts, token, nowhere)]).toEqual(["too_many_tries", "invalid_token", "opened"]);
  });

  const ends = [["rotated", (house: PaymentsHouse) => void rotate(house, 1, 1)], ["revoked", (house: PaymentsHouse) => void revoke(house, 1)]] as const;
  test.each(ends)("does not begin by a token that was %s: its holder is told so", (by, end) => {
    const house = newHouse();
    const { token } = claimed(house, 1);
    end(house);
    expect(() => openAccounts(house).token(token, here)).toThrow(expect.objectContaining({ code: "invalid_token", message: expect.stringContaining(by) }) as Error);
  });
});

describe("what a token has used", () => {
  const asker = (token: string): Asker => ({ token, credential: undefined, singleUse: undefined, malformed: false, address: () => undefined, idempotencyKey: undefined });

  let calls = 0;
  function call({ writer }: PaymentsHouse, accountId: string, chargedMsat: bigint, at: number): void {
    const id = `c_${++calls}`, amount = msat(chargedMsat);
    expect(writer.run(reserveCall, { id, accountId, atMostMsat: amount, atLeastMsat: amount, boot: 1n, atMs: at })).toMatchObject({ ok: true });
    writer.run(postCall, { ...samplePost({ id, accountId, costMsat: chargedMsat, reservedMsat: amount, boot: 1n }), atMs: at });
  }

  async function usage(house: PaymentsHouse, token: string, now: string) {
    const opened = await openAccounts(house, new VirtualClock(Date.parse(now))).usage(asker(token));
    if (opened.kind !== "opened") throw new Error(`the token is ${opened.kind}`);
    const { usedMsat, todayMsat, weekMsat, monthMsat } = opened.content;
    return [todayMsat, weekMsat, monthMsat, usedMsat].map(Number);
  }

  const rows: [what: string, now: string, calls: [at: string, msat: bigint][], used: [today: number, week: number, month: number, all: number]][] = [
    ["in the middle of a week", "2026-03-04T12:00:00Z",
      [["2026-03-04T00:00:00.000Z", 1n], ["2026-03-03T23:59:59.999Z", 2n], ["2026-03-02T00:00:00Z", 4n], ["2026-03-01T23:59:59.999Z", 8n], ["2026-02-28T12:00:00Z", 16n]], [1, 7, 15, 31]],
    ["on a Monday's first moment", "2026-03-02T00:00:00Z", [["2026-03-02T00:00:00Z", 1n], ["2026-03-01T23:59:59.999Z", 2n], ["2026-02-28T23:59:59Z", 4n]], [1, 1, 3, 7]],
    ["on a Sunday's last moment, which is also the first of a month", "2026-03-01T23:59:59.999Z", [["2026-03-01T00:00:00Z", 1n], ["2026-02-23T00:00:00Z", 2n], ["2026-02-22T23:59:59Z", 4n]], [1, 3, 1, 7]],
    ["in a week that began last year", "2026-01-01T09:00:00Z", [["2026-01-01T08:00:00Z", 1n], ["2025-12-29T00:00:00Z", 2n], ["2025-12-28T23:00:00Z", 4n]], [1, 3, 1, 7]],
    ["on the 29th of February", "2028-02-29T18:00:00Z", [["2028-02-29T17:00:00Z", 1n], ["2028-02-28T00:00:00Z", 2n], ["2028-02-01T00:00:00Z", 4n], ["2028-01-31T23:59:59Z", 8n]], [1, 3, 7, 15]],
    ["when nothing was", "2026-03-04T12:00:00Z", [], [0, 0, 0, 0]],
  ];
  test.each(rows)("is added up by UTC day, week from Monday and month: %s", async (_what, now, made, used) => {
    const house = newHouse();
    const { accountId, token } = claimed(house, 1);
    const other = claimed(house, 2);
    for (const [at, charged] of made) {
      call(house, accountId, charged, Date.parse(at));
      call(house, other.accountId, 999n, Date.parse(at));
    }
    expect(await usage(house, token, now)).toEqual(used);
  });

  test("stays when the token is replaced", async () => {
    const house = newHouse();
    const { accountId } = claimed(house, 1);
    call(house, accountId, 5n, atMs);
    rotate(house, 1, 1);
    expect(await usage(house, tokenOf(1, 2), "2026-01-01T12:00:00Z")).toEqual([5, 5, 5, 5]);
  });

  test("is what calls have charged, not what its holder has moved to another token", async () => {
    const house = newHouse();
    const { accountId, token } = claimed(house, 1);
    const other = claimed(house, 2);
    call(house, accountId, 5n, atMs);
    expect(claim(house.writer, 1, other.accountId)).toMatchObject({ kind: "moved", creditedMsat: 999_995n });
    expect(await usage(house, token, "2026-01-01T12:00:00Z")).toEqual([5, 5, 5, 5]);
  });
});
