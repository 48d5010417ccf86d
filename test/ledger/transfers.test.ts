/** The verbs that move money, one by one, with every refusal; the restart; and what an audit notices. */
import { afterEach, describe, expect, test } from "bun:test";
import { getAccount, move, openAccount, post, reserve, voidReservation } from "../../src/ledger/transfers.ts";
import { spendable } from "../../src/ledger/account.ts";
import { auditLedger, auditSinceLast } from "../../src/ledger/audit.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { command, type Tx } from "../../src/store/command.ts";
import { DirectWriter, step } from "../support/direct-writer.ts";

const atMs = Date.UTC(2026, 0, 1);
const writers: DirectWriter[] = [];
afterEach(() => writers.splice(0).forEach((writer) => writer.close()));

/** Any verb as a command, so that it runs as it does in the house. */
const inTransaction = command("test.inTransaction", (tx, _input: null) => ({ ok: true, ...pending?.(tx) }) as { ok: boolean } & Record<string, unknown>);
let pending: ((tx: Tx) => object | void) | undefined;

function run(writer: DirectWriter, body: (tx: Tx) => object | void): Record<string, unknown> {
  pending = body;
  return writer.run(inTransaction, null);
}

/** A started ledger whose buyer `a` has paid `paid` msat; `b` has paid nothing. */
function ledgerWith(paid: bigint) {
  const writer = new DirectWriter();
  writers.push(writer);
  boot(writer);
  run(writer, (tx) => {
    for (const id of ["a", "b"]) openAccount(tx, { id, kind: "buyer", atMs });
    if (paid > 0n) move(tx, transfer("paid", "node", "a", paid));
  });
  return writer;
}

const boot = (writer: DirectWriter) => writer.run(startBoot, { atMs });
const transfer = (id: string, debit: string, credit: string, amount: bigint) =>
  ({ id, debit, credit, amountMsat: msat(amount), code: "test", boot: 1n, atMs });
const holding = (id: string, atMost: bigint, atLeast = atMost) =>
  ({ id, debit: "a", credit: "revenue", atMostMsat: msat(atMost), atLeastMsat: msat(atLeast), code: "call", boot: 1n, atMs });
const ending = (pendingId: string) => ({ pendingId, code: "call", boot: 1n, atMs });
const paying = (pendingId: string, amount: bigint) => ({ ...ending(pendingId), amountMsat: msat(amount) });
const left = (writer: DirectWriter, id = "a") => spendable(getAccount(writer.tx, id));
const balance = (writer: DirectWriter, id: string) => {
  const account = getAccount(writer.tx, id);
  return account.creditsPostedMsat - account.debitsPostedMsat;
};
const rowsOf = (writer: DirectWriter, table: string) => writer.tx.get<{ n: bigint }>(`SELECT count(*) AS n FROM ${table}`)!.n;

describe("moving money", () => {
  test("what one account gives, the other has", () => {
    const writer = ledgerWith(100n);
    expect([balance(writer, "node"), balance(writer, "a")]).toEqual([-100n, 100n]);
  });

  test("the same transfer twice moves money once", () => {
    const writer = ledgerWith(100n);
    expect(run(writer, (tx) => move(tx, transfer("t", "a", "b", 30n)))).toMatchObject({ moved: true });
    expect(run(writer, (tx) => move(tx, transfer("t", "a", "b", 30n)))).toMatchObject({ moved: false });
    expect([balance(writer, "a"), balance(writer, "b")]).toEqual([70n, 30n]);
  });

  test("amounts above 2^53 are kept to the millisatoshi", () => {
    const most = 2_100_000_000_000_000_000n;
    for (const amount of [2n ** 53n + 1n, 2n ** 60n + 7n, most]) {
      const writer = ledgerWith(amount);
      expect(left(writer)).toBe(msat(amount));
      expect(run(writer, (tx) => reserve(tx, holding("r", amount)))).toMatchObject({ ok: true, amountMsat: amount, spendableMsat: 0n });
      expect(run(writer, (tx) => post(tx, paying("r", amount - 1n)))).toMatchObject({ postedMsat: amount - 1n });
      expect([left(writer), auditLedger(writer.tx)]).toEqual([msat(1n), []]);
    }
  });

  const refused: [what: string, body: (tx: Tx) => object | void][] = [
    ["more than the payer has", (tx) => move(tx, transfer("t", "a", "b", 101n))],
    ["money that is reserved", (tx) => (reserve(tx, holding("r", 60n)), move(tx, transfer("t", "a", "b", 41n)))],
    ["nothing", (tx) => move(tx, transfer("t", "a", "b", 0n))],
    ["money from an account to itself", (tx) => move(tx, transfer("t", "a", "a", 5n))],
    ["money to an account nobody opened", (tx) => move(tx, transfer("t", "a", "nobody", 5n))],
    ["money in a boot that never was", (tx) => move(tx, { ...transfer("t", "a", "b", 5n), boot: 99n })],
  ];
  test.each(refused)("%s is never moved, and nothing of the attempt stays", (_what, body) => {
    const writer = ledgerWith(100n);
    expect(() => run(writer, body)).toThrow();
    expect([balance(writer, "a"), left(writer), balance(writer, "b"), rowsOf(writer, "transfer")]).toEqual([100n, 100n, 0n, 1n]);
  });

  test("an account that is opened twice keeps its money", () => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => openAccount(tx, { id: "a", kind: "buyer", atMs: atMs + 1 }));
    expect(balance(writer, "a")).toBe(100n);
  });
});

describe("reserving", () => {
  const cases: [what: string, paid: bigint, atMost: bigint, atLeast: bigint, outcome: object][] = [
    ["all that is asked for", 100n, 40n, 10n, { ok: true, amountMsat: 40n, spendableMsat: 60n }],
    ["as much as there is, when that is enough", 100n, 150n, 90n, { ok: true, amountMsat: 100n, spendableMsat: 0n }],
    ["the last millisatoshi", 1n, 1n, 1n, { ok: true, amountMsat: 1n, spendableMsat: 0n }],
    ["nothing, when one is missing", 99n, 150n, 100n, { ok: false, reason: "insufficient_balance", spendableMsat: 99n }],
    ["nothing of an empty account", 0n, 1n, 1n, { ok: false, reason: "insufficient_balance", spendableMsat: 0n }],
  ];
  test.each(cases)("takes %s", (_what, paid, atMost, atLeast, outcome) => {
    const writer = ledgerWith(paid);
    const answered = run(writer, (tx) => reserve(tx, holding("r", atMost, atLeast)));
    expect(answered).toEqual(outcome as Record<string, unknown>);
    expect(left(writer)).toBe(answered.spendableMsat as never);
  });

  test("two reservations of the same last sat: the second is refused", () => {
    const writer = ledgerWith(1_000n);
    expect(run(writer, (tx) => reserve(tx, holding("first", 1_000n)))).toMatchObject({ ok: true });
    expect(run(writer, (tx) => reserve(tx, holding("second", 1_000n)))).toMatchObject({ ok: false, spendableMsat: 0n });
  });

  test("a hundred calls at once are admitted exactly as far as the balance goes", () => {
    const writer = ledgerWith(1_050n);
    const outcomes = Array.from({ length: 100 }, (_, i) => run(writer, (tx) => reserve(tx, holding(`r${i}`, 100n))).ok);
    expect([outcomes.filter(Boolean).length, left(writer)]).toEqual([10, msat(50n)]);
  });

  test("the same reservation twice holds money once", () => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => reserve(tx, holding("r", 60n)));
    expect(run(writer, (tx) => reserve(tx, holding("r", 60n)))).toEqual({ ok: true, amountMsat: msat(60n), spendableMsat: msat(40n) });
    expect([left(writer), rowsOf(writer, "open_reservation")]).toEqual([40n, 1n]);
  });

  const senseless: [what: string, body: (tx: Tx) => object][] = [
    ["asks for nothing", (tx) => reserve(tx, holding("r", 5n, 0n))],
    ["needs more than it may take", (tx) => reserve(tx, holding("r", 5n, 6n))],
    ["is on an account nobody opened", (tx) => reserve(tx, { ...holding("r", 5n), debit: "nobody" })],
  ];
  test.each(senseless)("a reservation that %s is our mistake, not the payer's", (_what, body) => {
    const writer = ledgerWith(100n);
    expect(() => run(writer, body)).toThrow("must hold");
    expect(left(writer)).toBe(msat(100n));
  });
});

describe("ending a reservation", () => {
  const cases: [what: string, cost: bigint, posted: bigint, left: bigint][] = [
    ["less than was reserved returns the rest to the payer", 25n, 25n, 75n],
    ["all that was reserved leaves nothing of it", 60n, 60n, 40n],
    ["more than was reserved takes the reservation and not one more", 61n, 60n, 40n],
    ["far more than the account holds takes the reservation and not one more", 10n ** 15n, 60n, 40n],
    ["nothing still takes one millisatoshi: no posted call is free", 0n, 1n, 99n],
  ];
  test.each(cases)("posting %s", (_what, cost, posted, rest) => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => reserve(tx, holding("r", 60n)));
    expect(run(writer, (tx) => post(tx, paying("r", cost)))).toMatchObject({ resolved: true, postedMsat: posted });
    expect([left(writer), balance(writer, "revenue"), rowsOf(writer, "open_reservation")]).toEqual([rest, posted, 0n]);
  });

  test("a void gives everything back", () => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => reserve(tx, holding("r", 60n)));
    expect(run(writer, (tx) => voidReservation(tx, ending("r")))).toMatchObject({ resolved: true });
    expect([left(writer), balance(writer, "revenue")]).toEqual([100n, 0n]);
  });

  type End = (tx: Tx) => object;
  const postIt: End = (tx) => post(tx, paying("r", 30n));
  const voidIt: End = (tx) => voidReservation(tx, ending("r"));
  const twice: [what: string, first: End, second: End, left: bigint][] = [
    ["a second post after a post", postIt, (tx) => post(tx, paying("r", 60n)), 70n],
    ["a void after a post", postIt, voidIt, 70n],
    ["a post after a void", voidIt, postIt, 100n],
    ["a second void", voidIt, voidIt, 100n],
    ["reserving it again", postIt, (tx) => (reserve(tx, holding("r", 60n)), { resolved: false }), 70n],
  ];
  test.each(twice)("%s changes nothing", (_what, first, second, rest) => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => reserve(tx, holding("r", 60n)));
    run(writer, first);
    expect(run(writer, second)).toMatchObject({ resolved: false });
    expect([left(writer), rowsOf(writer, "transfer"), auditLedger(writer.tx)]).toEqual([rest, 3n, []]);
  });

  test("what was never reserved cannot be posted or voided", () => {
    const writer = ledgerWith(100n);
    expect(run(writer, (tx) => post(tx, paying("never", 5n)))).toMatchObject({ resolved: false, postedMsat: 0n });
    expect(run(writer, (tx) => voidReservation(tx, ending("never")))).toMatchObject({ resolved: false });
    expect(left(writer)).toBe(msat(100n));
  });
});

describe("the journal", () => {
  const columns = "seq, id, kind, debit_account, credit_account, amount_msat, code, pending_id, boot, at_ms";
  const edits: [what: string, sql: string][] = [
    ["deleted", "DELETE FROM transfer WHERE id = 'paid'"],
    ["edited", "UPDATE transfer SET amount_msat = 1 WHERE id = 'paid'"],
    ["replaced by id", "INSERT OR REPLACE INTO transfer (id, kind, debit_account, credit_account, amount_msat, code, boot, at_ms) VALUES ('paid', 'plain', 'node', 'b', 9, 'x', 1, 0)"],
    ["replaced by place", `REPLACE INTO transfer (${columns}) VALUES (1, 'other', 'plain', 'node', 'b', 9, 'x', NULL, 1, 0)`],
    ["edited on conflict", "INSERT INTO transfer (id, kind, debit_account, credit_account, amount_msat, code, boot, at_ms) VALUES ('paid', 'plain', 'node', 'b', 9, 'x', 1, 0) ON CONFLICT (id) DO UPDATE SET amount_msat = 9"],
  ];
  test.each(edits)("a transfer is never %s", (_what, sql) => {
    const writer = ledgerWith(100n);
    expect(() => run(writer, (tx) => void tx.run(sql))).toThrow("append-only");
    expect(writer.tx.all("SELECT id, amount_msat FROM transfer")).toEqual([{ id: "paid", amount_msat: 100n }]);
  });

  const figures = ["debits_pending_msat", "debits_posted_msat", "credits_pending_msat", "credits_posted_msat"];
  test.each(figures)("no account's %s goes below zero", (figure) => {
    const writer = ledgerWith(100n);
    for (const id of ["a", "node", "revenue"])
      expect(() => run(writer, (tx) => void tx.run(`UPDATE account SET ${figure} = -1 WHERE id = ?`, id))).toThrow("CHECK");
  });

  test("no payer owes, by debt or by reservation; the node owes by design", () => {
    const writer = ledgerWith(100n);
    for (const figure of ["debits_posted_msat", "debits_pending_msat"])
      expect(() => run(writer, (tx) => void tx.run(`UPDATE account SET ${figure} = 101 WHERE id = 'a'`))).toThrow("CHECK");
    expect(balance(writer, "node")).toBe(-100n);
  });

  test("a refused command leaves nothing behind, and its neighbours in the transaction stay", () => {
    const writer = ledgerWith(100n);
    const give = command("test.give", (tx, input: { id: string; ok: boolean }) => {
      move(tx, transfer(input.id, "a", "b", 10n));
      return { ok: input.ok };
    });
    const outcomes = writer.runTogether([step(give, { id: "1", ok: true }), step(give, { id: "2", ok: false }), step(give, { id: "3", ok: true })]);
    expect(outcomes.map((one) => "outcome" in one && one.outcome.ok)).toEqual([true, false, true]);
    expect([balance(writer, "b"), auditLedger(writer.tx)]).toEqual([20n, []]);
  });
});

describe("a restart", () => {
  test("calls in flight cost nothing, ended ones stay ended", () => {
    const writer = ledgerWith(100n);
    for (const id of ["posted", "voided", "flying", "flying too"]) run(writer, (tx) => reserve(tx, holding(id, 20n)));
    run(writer, (tx) => post(tx, paying("posted", 15n)));
    run(writer, (tx) => voidReservation(tx, ending("voided")));
    expect(boot(writer)).toEqual({ ok: true, boot: 2n, voided: 2 });
    expect([left(writer), balance(writer, "revenue"), rowsOf(writer, "open_reservation")]).toEqual([85n, 15n, 0n]);
    expect(run(writer, (tx) => post(tx, paying("flying", 20n)))).toMatchObject({ resolved: false });
    expect(auditLedger(writer.tx)).toEqual([]);
  });

  test("a second restart finds nothing to do", () => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => reserve(tx, holding("flying", 20n)));
    boot(writer);
    expect(boot(writer)).toEqual({ ok: true, boot: 3n, voided: 0 });
  });

  const tampered: [what: string, sql: string][] = [
    ["a balance was raised", "UPDATE account SET credits_posted_msat = credits_posted_msat + 1 WHERE id = 'a'"],
    ["a charge was raised", "UPDATE account SET debits_posted_msat = debits_posted_msat + 1 WHERE id = 'a'"],
    ["a reservation is held that nobody made", "UPDATE account SET debits_pending_msat = 5 WHERE id = 'a'"],
  ];
  test.each(tampered)("nothing is sold when %s since the last start", (_what, sql) => {
    const writer = ledgerWith(100n);
    run(writer, (tx) => void tx.run(sql));
    expect(boot(writer)).toEqual({ ok: false, findings: [{ rule: "I3", what: "account a does not equal its transfers" }] });
    expect(rowsOf(writer, "boot")).toBe(1n);
  });

  test("an audit begins where the last good one ended", () => {
    const writer = ledgerWith(100n);
    expect(auditSinceLast(writer.tx)).toEqual([]);
    run(writer, (tx) => move(tx, transfer("later", "a", "b", 10n)));
    expect(auditSinceLast(writer.tx)).toEqual([]);
    expect(writer.tx.get("SELECT value FROM setting WHERE name = 'audited_seq'")).toEqual({ value: "2" });
    // The balance is wrong only since the last audit, and only the accounts written since are looked at.
    run(writer, (tx) => move(tx, transfer("latest", "b", "a", 1n)));
    writer.tx.run("UPDATE account SET credits_posted_msat = credits_posted_msat + 1 WHERE id = 'b'");
    expect(auditSinceLast(writer.tx)).toEqual([{ rule: "I3", what: "account b does not equal its transfers" }]);
    expect(writer.tx.get("SELECT value FROM setting WHERE name = 'audited_seq'")).toEqual({ value: "2" });
  });
});
