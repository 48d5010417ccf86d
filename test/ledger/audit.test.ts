/** Whoever edits the files by hand is found out: one test for each check of the full audit, by raw SQL. */
import { expect, test } from "bun:test";
import { getAccount, move, openAccount, post, reserve } from "../../src/ledger/transfers.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { startBoot } from "../../src/ledger/boot.ts";
import { msat } from "../../src/money/msat.ts";
import { DirectWriter } from "../support/direct-writer.ts";

const atMs = Date.UTC(2026, 0, 1);

/** A ledger with a payment, a posted call and an open one, and nothing left that would stop a forger. */
function forgeableLedger(): DirectWriter {
  const writer = new DirectWriter();
  writer.run(startBoot, { atMs });
  const { tx } = writer;
  const common = { code: "call", boot: 1n, atMs };
  openAccount(tx, { id: "a", kind: "buyer", atMs });
  move(tx, { id: "paid", debit: "node", credit: "a", amountMsat: msat(100n), ...common });
  for (const id of ["posted", "open"])
    reserve(tx, { id, debit: "a", credit: "revenue", atMostMsat: msat(20n), atLeastMsat: msat(20n), ...common });
  post(tx, { pendingId: "posted", amountMsat: msat(15n), ...common });
  for (const forbidding of ["foreign_keys = OFF", "ignore_check_constraints = ON"]) tx.all(`PRAGMA ${forbidding}`);
  tx.run("DROP TRIGGER transfer_keeps_rows");
  tx.run("DROP TRIGGER transfer_keeps_values");
  return writer;
}

test("an honest ledger has no findings", () => {
  const writer = forgeableLedger();
  expect(auditLedger(writer.tx)).toEqual([]);
  expect(getAccount(writer.tx, "a").debitsPendingMsat).toBe(msat(20n));
});

const setFigure = (id: string, change: string) => `UPDATE account SET ${change} WHERE id = '${id}'`;
const forgeries: [what: string, rule: string, finding: string, forge: string[]][] = [
  ["money out of nothing", "I1", "debits less credits are -7 msat posted, 0 msat pending", [setFigure("a", "credits_posted_msat = 107")]],
  ["a reservation on one side only", "I1", "debits less credits are 0 msat posted, 20 msat pending", [setFigure("revenue", "credits_pending_msat = 0")]],
  ["a payer who owes", "I2", "account a is below zero", [setFigure("a", "debits_posted_msat = 101"), setFigure("revenue", "credits_posted_msat = 101")]],
  ["a balance that no transfer explains, though the sums agree", "I3", "account a does not equal its transfers",
    [setFigure("a", "credits_posted_msat = 107"), setFigure("node", "debits_posted_msat = 107")]],
  ["an edited amount", "I3", "account node does not equal its transfers", ["UPDATE transfer SET amount_msat = 90 WHERE id = 'paid'"]],
  ["a charge above its reservation, though the balances agree", "I6", "transfer posted:post took more than was reserved",
    ["UPDATE transfer SET amount_msat = 25 WHERE id = 'posted:post'", setFigure("a", "debits_posted_msat = 25"), setFigure("revenue", "credits_posted_msat = 25")]],
  ["a charge to somebody else than it was reserved from", "I6", "transfer posted:post took more than was reserved",
    ["UPDATE transfer SET debit_account = 'node' WHERE id = 'posted:post'"]],
  ["a void of less than was reserved", "I6", "transfer posted:post took more than was reserved", ["UPDATE transfer SET kind = 'void' WHERE id = 'posted:post'"]],
  ["a charge for what nobody reserved", "I6", "transfer posted:post answers no reservation", ["UPDATE transfer SET pending_id = 'gone' WHERE id = 'posted:post'"]],
  ["a reservation that outlived its process", "I7", "reservation open of boot 1 is still open", ["INSERT INTO boot (started_at_ms) VALUES (0)"]],
  ["a reservation that no restart would find", "I7", "reservation open is not in the list of open ones", ["DELETE FROM open_reservation"]],
  ["a reservation listed with another amount", "I7", "reservation open is not in the list of open ones", ["UPDATE open_reservation SET amount_msat = 1"]],
  ["a reservation that would be ended a second time", "I7", "open reservation posted has been answered",
    ["INSERT INTO open_reservation VALUES ('posted', 'a', 'revenue', 20, 1)"]],
  ["an open reservation that was never made", "I7", "open reservation never has been answered",
    ["INSERT INTO open_reservation VALUES ('never', 'a', 'revenue', 20, 1)"]],
  ["a row cut out of the journal", "I12", "the journal has 3 rows and ends at 4", ["DELETE FROM transfer WHERE id = 'paid'"]],
];

test.each(forgeries)("the audit finds %s (%s)", (_what, rule, finding, forge) => {
  const writer = forgeableLedger();
  for (const sql of forge) writer.tx.run(sql);
  expect(auditLedger(writer.tx)).toContainEqual({ rule, what: finding });
  writer.close();
});
