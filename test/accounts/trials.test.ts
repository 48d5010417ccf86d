/** Free calls: so many for an address in 24 hours, so much for all in a day, and never a millisatoshi of it is money (money 2, surface 5). */
import { afterEach, describe, expect, test } from "bun:test";
import { auditAccounts } from "../../src/accounts/audit.ts";
import { hashAddress, hasTrial } from "../../src/accounts/trials.ts";
import { auditCalls } from "../../src/charge/audit.ts";
import { postCall, reserveCall, reserveTrial, totalSince, voidCall } from "../../src/charge/commands.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { findAccount } from "../../src/ledger/transfers.ts";
import { msat } from "../../src/money/msat.ts";
import { DirectWriter, step } from "../support/direct-writer.ts";
import { atMs, samplePost } from "../support/payments-sample.ts";

const hour = 3_600_000;
const day = 24 * hour;
const alice = "alice's", bob = "bob's";

/** A house that gives calls away. Proved sound at the end of every test. */
class GivingHouse {
  readonly writer = new DirectWriter();
  #calls = 0;
  #boot = 1n;

  constructor(public callsPerDay = 1, public dailyBudgetMsat = 1_000n) {
    all.push(this);
    this.writer.run(startBoot, { atMs });
  }

  input(addressHash: string, afterMs: number, amountMsat = 100n) {
    const rules = { callsPerDay: this.callsPerDay, dailyBudgetMsat: msat(this.dailyBudgetMsat) };
    return { id: `c_${++this.#calls}`, addressHash, rules, atMostMsat: msat(amountMsat), atLeastMsat: msat(amountMsat), boot: this.#boot, atMs: atMs + afterMs };
  }

  /** The id of the call, or why there is none. */
  begin(addressHash: string, afterMs = 0, amountMsat = 100n): string {
    const input = this.input(addressHash, afterMs, amountMsat);
    const outcome = this.writer.run(reserveTrial, input);
    return outcome.ok ? input.id : outcome.reason;
  }

  post(id: string, costMsat = 100n, afterMs = 0): void {
    this.writer.run(postCall, { ...samplePost({ id, accountId: "trial", costMsat, reservedMsat: msat(costMsat), boot: this.#boot }), free: true, atMs: atMs + afterMs });
  }

  void(id: string): void {
    expect(this.writer.run(voidCall, { id, reason: "test", free: true, boot: this.#boot, atMs })).toEqual({ ok: true, voided: true });
  }

  restart(afterMs: number): void {
    const outcome = this.writer.run(startBoot, { atMs: atMs + afterMs });
    if (!outcome.ok) throw new Error("the ledger does not add up");
    this.#boot = outcome.boot;
  }

  /** Calls begun and posted one after the other, each for another address, until there is no more: what they cost. */
  giveAwayAll(afterMs: number, amountMsat = 100n): bigint {
    for (let given = 0n; ; given += amountMsat) {
      const id = this.begin(`somebody else's ${afterMs} ${given}`, afterMs, amountMsat);
      if (id === "insufficient_balance") return given;
      this.post(id, amountMsat, afterMs);
    }
  }

  left(): bigint {
    const account = findAccount(this.writer.tx, "trial");
    return account === undefined ? 0n : spendable(account);
  }
}

const all: GivingHouse[] = [];
afterEach(() => {
  for (const { writer } of all.splice(0)) {
    const findings = [...auditLedger(writer.tx), ...auditCalls(writer.tx), ...auditAccounts(writer.tx)];
    writer.close();
    expect(findings).toEqual([]);
  }
});

describe("an address", () => {
  test.each([1, 3])("gets %i free calls in 24 hours and not one more; others are not touched by that", (callsPerDay) => {
    const house = new GivingHouse(callsPerDay);
    for (let call = 0; call < callsPerDay; call++) expect(house.begin(alice, call)).toMatch(/^c_/);
    expect(house.begin(alice, 10)).toBe("used_up");
    expect(house.begin(bob, 10)).toMatch(/^c_/);
  });

  test("gets the next one 24 hours after the last, whatever the date says", () => {
    const house = new GivingHouse();
    const late = 23 * hour;
    house.post(house.begin(alice, late));
    for (const afterMs of [late + 1, late + 2 * hour, late + day - 1]) expect([house.begin(alice, afterMs), hasTrial(house.writer.tx, alice, 1, atMs + afterMs)]).toEqual(["used_up", false]);
    expect(hasTrial(house.writer.tx, alice, 1, atMs + late + day)).toBe(true);
    expect(house.begin(alice, late + day)).toMatch(/^c_/);
  });

  test("gets a call back that came to nothing, and only that one", () => {
    const house = new GivingHouse(2);
    const [first, second] = [house.begin(alice), house.begin(alice)];
    house.post(first);
    expect(house.begin(alice)).toBe("used_up");
    house.void(second);
    expect(house.begin(alice)).toMatch(/^c_/);
    expect(house.begin(alice)).toBe("used_up");
  });

  test("that comes a hundred times at once gets its one call", () => {
    const house = new GivingHouse();
    const outcomes = house.writer.runTogether(Array.from({ length: 100 }, () => step(reserveTrial, house.input(alice, 0))));
    expect(outcomes.filter((one) => "outcome" in one && one.outcome.ok)).toHaveLength(1);
    expect(house.left()).toBe(900n);
  });

  test("is not charged a free call that the day's budget refused", () => {
    const house = new GivingHouse(1, 100n);
    house.post(house.begin(bob));
    expect(house.begin(alice, hour)).toBe("insufficient_balance");
    expect(hasTrial(house.writer.tx, alice, 1, atMs + hour)).toBe(true);
    expect(house.begin(alice, day)).toMatch(/^c_/);
  });

  test("is stored as a hash that nobody without the house's key can make", () => {
    const key = new Uint8Array(32).fill(1);
    const hash = hashAddress(key, "203.0.113.5");
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(hashAddress(key, "203.0.113.5")).toBe(hash);
    expect(new Set([hash, hashAddress(key, "203.0.113.6"), hashAddress(new Uint8Array(32).fill(2), "203.0.113.5")]).size).toBe(3);
  });

  test("leaves no row for ever: the table is as large as a day's calls", () => {
    const house = new GivingHouse(1, 10_000n);
    for (let i = 0; i < 80; i++) house.post(house.begin(`visitor ${i}`));
    for (let i = 0; i < 10; i++) house.post(house.begin(`later visitor ${i}`, day));
    expect(house.writer.tx.get<{ n: bigint }>("SELECT count(*) AS n FROM trial_call")!.n).toBe(10n);
  });
});

describe("the budget of a day", () => {
  test("is all that free calls of that day cost together, and is full again the next day", () => {
    const house = new GivingHouse();
    for (let days = 0; days < 4; days++) expect(house.giveAwayAll(days * day)).toBe(1_000n);
  });

  test("does not grow by what was left of the day before", () => {
    const house = new GivingHouse();
    house.post(house.begin(alice, 0, 300n), 300n);
    expect(house.giveAwayAll(day)).toBe(1_000n);
    expect(house.giveAwayAll(9 * day)).toBe(1_000n);
  });

  test("does not grow after a day on which nothing was given away: free calls that failed left it full", () => {
    const house = new GivingHouse();
    house.void(house.begin(alice));
    expect(house.giveAwayAll(day)).toBe(1_000n);
  });

  test("is the smaller one from the day on that the owner lowered it", () => {
    const house = new GivingHouse();
    house.post(house.begin(alice));
    house.dailyBudgetMsat = 400n;
    expect(house.giveAwayAll(day)).toBe(400n);
  });

  test("is the larger one from the day on that the owner raised it", () => {
    const house = new GivingHouse();
    house.post(house.begin(alice));
    house.dailyBudgetMsat = 1_500n;
    expect(house.giveAwayAll(day)).toBe(1_500n);
  });

  test("holds what calls in flight may cost, and gets back what they did not", () => {
    const house = new GivingHouse();
    const id = house.begin(alice, 0, 1_000n);
    expect(house.begin(bob, 0, 1n)).toBe("insufficient_balance");
    house.post(id, 250n);
    expect(house.left()).toBe(750n);
    expect(house.giveAwayAll(1, 250n)).toBe(750n);
  });

  test("is never lent to somebody who pays, and never becomes income or what is owed", () => {
    const house = new GivingHouse();
    house.post(house.begin(alice));
    expect(totalSince(house.writer.tx, "2000-01-01")).toEqual({ calls: 1, earnedMsat: msat(0n) });
    expect(house.writer.tx.all("SELECT id, kind FROM account WHERE kind = 'buyer'")).toEqual([]);
    expect(findAccount(house.writer.tx, "revenue")).toMatchObject({ creditsPostedMsat: 0n });
    expect(findAccount(house.writer.tx, "node")).toMatchObject({ debitsPostedMsat: 0n, creditsPostedMsat: 0n });
    expect([findAccount(house.writer.tx, "given"), findAccount(house.writer.tx, "house")]).toMatchObject([{ creditsPostedMsat: 100n }, { debitsPostedMsat: 1_000n }]);
  });
});

test("a restart in the middle of a free call gives its cost back to the day, and calls go on", () => {
  const house = new GivingHouse(1, 100n);
  house.begin(alice);
  house.restart(1);
  expect(house.left()).toBe(100n);
  expect(house.begin(bob, 2)).toMatch(/^c_/);
});

test("a restart in the middle of a free call gives it back to its address: it came to nothing", () => {
  const house = new GivingHouse();
  house.begin(alice);
  house.restart(1);
  expect(hasTrial(house.writer.tx, alice, 1, atMs + 2)).toBe(true);
  expect(house.begin(alice, 2)).toMatch(/^c_/);
});

test("permission that turns into money is found by the audit", () => {
  const house = new GivingHouse();
  house.begin(alice);
  const amount = msat(10n);
  house.writer.run(reserveCall, { id: "stolen", accountId: "trial", atMostMsat: amount, atLeastMsat: amount, boot: 1n, atMs });
  const findings = auditAccounts(house.writer.tx);
  expect(findings).toEqual([{ rule: "I12", what: "transfer stolen turns permission into money" }]);
  all.pop()!.writer.close();
});
