/** `Idempotency-Key`: one request of one account happens once in a day (I11), and what time does to topups and claims, on a clock in the test's hand. */
import { afterEach, describe, expect, test } from "bun:test";
import { Accounts } from "../../src/accounts/accounts.ts";
import type { Asker } from "../../src/accounts/asker.ts";
import { auditAccounts } from "../../src/accounts/audit.ts";
import { findRequest, keepRequest, type RequestKey, takeRequestKey } from "../../src/accounts/request-keys.ts";
import { type ClaimRequest, Topups, type TopupOrder } from "../../src/accounts/topups.ts";
import { credentialDays, invoiceExpirySeconds, requestKeyHours, settlementPatienceMs } from "../../src/base/limits.ts";
import { auditCalls } from "../../src/charge/audit.ts";
import { postCall, reserveCall, voidCall } from "../../src/charge/commands.ts";
import { type Challenge, ChallengeMint } from "../../src/l402/challenge-mint.ts";
import { CredentialDesk, type CredentialProof } from "../../src/l402/credential.ts";
import { auditLedger } from "../../src/ledger/audit.ts";
import { spendable } from "../../src/ledger/account.ts";
import { getAccount, openAccount, move } from "../../src/ledger/transfers.ts";
import { msat, sat } from "../../src/money/msat.ts";
import { auditPayments } from "../../src/payments/audit.ts";
import { command } from "../../src/store/command.ts";
import { step } from "../support/direct-writer.ts";
import { PaymentsHouse, stopHouses } from "../support/payments-house.ts";
import { atMs, samplePost } from "../support/payments-sample.ts";

const dayMs = requestKeyHours * 3_600_000;
let house: PaymentsHouse | undefined;
afterEach(async () => {
  const tx = house?.writer.tx;
  const findings = tx ? [...auditLedger(tx), ...auditCalls(tx), ...auditAccounts(tx)] : [];
  house = undefined;
  await stopHouses();
  expect(findings).toEqual([]);
});

function newHouse(): PaymentsHouse {
  house = new PaymentsHouse();
  return house;
}

const request = (changes: Partial<RequestKey> = {}): RequestKey => ({ accountId: "a", purpose: "topup", key: "k", bodyHash: "body 1", reference: "invoice 1", atMs, ...changes });
const take = ({ writer }: PaymentsHouse, changes: Partial<RequestKey> = {}, replaces?: string) => writer.run(takeRequestKey, { ...request(changes), replaces }).kept;
const rowsOf = ({ writer }: PaymentsHouse) => Number(writer.tx.get<{ n: bigint }>("SELECT count(*) AS n FROM request_key")!.n);

describe("a key", () => {
  test("stands for the first request that took it, whatever comes after it with another body", () => {
    const house = newHouse();
    expect(take(house)).toMatchObject({ bodyHash: "body 1", reference: "invoice 1" });
    for (const later of [{ reference: "invoice 2" }, { reference: "invoice 3", bodyHash: "body 2" }]) expect(take(house, later)).toEqual({ bodyHash: "body 1", reference: "invoice 1" });
    expect(rowsOf(house)).toBe(1);
  });

  test.each([["account", { accountId: "b" }], ["purpose", { purpose: "claim" as const }], ["spelling", { key: "K" }]])("of another %s is another key", (_what, other) => {
    const house = newHouse();
    take(house);
    expect(take(house, { ...other, reference: "invoice 2" })).toMatchObject({ reference: "invoice 2" });
    expect(take(house)).toEqual({ bodyHash: "body 1", reference: "invoice 1" });
  });

  test("is free again after a day, and not before", () => {
    const house = newHouse();
    take(house);
    expect(take(house, { reference: "invoice 2", atMs: atMs + dayMs - 1 })).toMatchObject({ reference: "invoice 1" });
    expect(findRequest(house.writer.tx, request({ atMs: atMs + dayMs }))).toBeUndefined();
    expect(take(house, { reference: "invoice 2", atMs: atMs + dayMs })).toMatchObject({ reference: "invoice 2" });
  });

  test("is given a new reference only by who knows which one it replaces", () => {
    const house = newHouse();
    take(house);
    expect(take(house, { reference: "invoice 2" }, "invoice 0")).toMatchObject({ reference: "invoice 1" });
    expect(take(house, { reference: "invoice 2" }, "invoice 1")).toMatchObject({ reference: "invoice 2" });
    expect(take(house, { reference: "invoice 3" }, "invoice 1")).toMatchObject({ reference: "invoice 2" });
  });

  test("that a hundred take at once has one owner", () => {
    const house = newHouse();
    const outcomes = house.writer.runTogether(Array.from({ length: 100 }, (_, i) => step(takeRequestKey, { ...request({ reference: `invoice ${i}` }), replaces: undefined })));
    const kept = outcomes.map((one) => ("outcome" in one ? (one.outcome as unknown as { kept: { reference: string } }).kept.reference : "failed"));
    expect(new Set(kept)).toEqual(new Set(["invoice 0"]));
  });

  test("leaves no row for ever: the table is as large as a day's requests", () => {
    const house = newHouse();
    for (let i = 0; i < 80; i++) take(house, { key: `old ${i}` });
    for (let i = 0; i < 5; i++) take(house, { key: `young ${i}`, atMs: atMs + dayMs - 1 });
    expect(rowsOf(house)).toBe(85);
    for (let i = 0; i < 10; i++) take(house, { key: `new ${i}`, atMs: atMs + dayMs });
    expect(rowsOf(house)).toBe(15);
    expect(findRequest(house.writer.tx, request({ key: "young 4", atMs: atMs + dayMs }))).toMatchObject({ reference: "invoice 1" });
  });

  test("that is kept again counts from then", () => {
    const house = newHouse();
    const keep = command("test.keep", (tx, input: RequestKey) => (keepRequest(tx, input), { ok: true }));
    house.writer.run(keep, request());
    house.writer.run(keep, request({ reference: "invoice 2", atMs: atMs + 1_000 }));
    expect(findRequest(house.writer.tx, request({ atMs: atMs + dayMs }))).toEqual({ bodyHash: "body 1", reference: "invoice 2" });
  });
});

describe("a call with a key", () => {
  const fund = command("test.fund", (tx, accountId: string) => {
    openAccount(tx, { id: accountId, kind: "buyer", atMs });
    move(tx, { id: `fund ${accountId}`, debit: "node", credit: accountId, amountMsat: msat(1_000n), code: "test", boot: 1n, atMs });
    return { ok: true };
  });
  const begin = ({ writer }: PaymentsHouse, id: string, changes: { accountId?: string; requestKey?: string; atMs?: number; amount?: bigint } = {}) => {
    const { accountId = "a", requestKey = "k", amount = 100n } = changes;
    const outcome = writer.run(reserveCall, { id, accountId, requestKey, atMostMsat: msat(amount), atLeastMsat: msat(amount), boot: 1n, atMs: changes.atMs ?? atMs });
    return outcome.ok ? "reserved" : outcome.reason;
  };
  function started(): PaymentsHouse {
    const house = newHouse();
    for (const accountId of ["a", "b"]) house.writer.run(fund, accountId);
    return house;
  }
  const post = ({ writer }: PaymentsHouse, id: string) => writer.run(postCall, samplePost({ id, accountId: "a", costMsat: 60n, reservedMsat: msat(100n), boot: 1n }));

  test("is not made again while it runs, nor after it was paid, for a day", () => {
    const house = started();
    expect([begin(house, "c1"), begin(house, "c2")]).toEqual(["reserved", "duplicate_request"]);
    post(house, "c1");
    expect([begin(house, "c3"), begin(house, "c4", { atMs: atMs + dayMs - 1 }), begin(house, "c5", { atMs: atMs + dayMs })]).toEqual(["duplicate_request", "duplicate_request", "reserved"]);
    expect(spendable(getAccount(house.writer.tx, "a"))).toBe(msat(840n));
  });

  test("that came to nothing, or found too little money, can be made again with the same key", () => {
    const house = started();
    expect(begin(house, "c1", { amount: 2_000n })).toBe("insufficient_balance");
    expect(begin(house, "c2")).toBe("reserved");
    house.writer.run(voidCall, { id: "c2", reason: "test", boot: 1n, atMs });
    expect([begin(house, "c3"), begin(house, "c4")]).toEqual(["reserved", "duplicate_request"]);
  });

  test("is no hindrance to another account or another key", () => {
    const house = started();
    expect([begin(house, "c1"), begin(house, "c2", { accountId: "b" }), begin(house, "c3", { requestKey: "k2" })]).toEqual(["reserved", "reserved", "reserved"]);
  });
});

/** Topups with everything under them, on the house's clock. */
class Counter {
  readonly house = newHouse();
  readonly master = new Uint8Array(32).fill(1);
  readonly topups: Topups;
  readonly desk: CredentialDesk;

  constructor(alwaysSecret = false) {
    const { payments, writer, clock, random } = this.house;
    const { master } = this;
    this.desk = new CredentialDesk({ master, payments, clock, offer: () => ({ realm: "hearth", network: "regtest" }), isLiveKey: () => true });
    const mint = new ChallengeMint({ master, payments, clock, random });
    const accounts = new Accounts({ reader: writer.reader, writer, clock, desk: this.desk });
    this.topups = new Topups({ accounts, desk: this.desk, mint, payments, writer, reader: writer.reader, clock, tokenKey: new Uint8Array(32).fill(2), boot: 1n, alwaysSecret });
  }

  async order(who: Partial<Asker> = {}, bodyHash = "body", sats = 1_000n): Promise<Challenge> {
    const order: TopupOrder = { amountSats: sat(sats), claimNeedsSecret: false, bodyHash };
    const outcome = await this.topups.open(asker(who), () => order);
    if (outcome.kind !== "challenge") throw new Error(`the topup is ${outcome.kind}`);
    return outcome.challenge;
  }

  /** Pays as somebody else would; answers the preimage. */
  async pay({ invoice }: Challenge): Promise<string> {
    const paid = await this.house.node.pay(invoice.bolt11);
    if ("error" in paid) throw new Error(paid.error);
    return paid.preimage;
  }

  claim(given: Partial<ClaimRequest>, who: Partial<Asker> = {}) {
    return this.topups.claim(asker(who), { preimage: undefined, claimSecret: undefined, token: undefined, bodyHash: JSON.stringify(given), ...given });
  }

  async token(): Promise<string> {
    const challenge = await this.order();
    await this.pay(challenge);
    const claimed = await this.claim({ claimSecret: challenge.claimSecret });
    if (claimed.kind !== "token") throw new Error(`the topup is ${claimed.kind}`);
    return claimed.token;
  }
}

const asker = (who: Partial<Asker>): Asker => ({ token: undefined, credential: undefined, singleUse: undefined, malformed: false, address: () => undefined, idempotencyKey: undefined, ...who });
const credentialOf = ({ macaroon }: Challenge, preimage: string | undefined): CredentialProof => ({ kind: "credential", macaroon: new Uint8Array(Buffer.from(macaroon!, "base64")), preimage });
const code = (failing: Promise<unknown>) => failing.then(() => "served", (error: { code?: string }) => error.code);

describe("a refill with a key", () => {
  test("shows one invoice while it can be paid; a new one when it no longer can; what it brought once it is paid", async () => {
    const counter = new Counter();
    const who = { token: await counter.token(), idempotencyKey: "k" };
    const first = await counter.order(who);
    await counter.house.clock.advance(invoiceExpirySeconds * 1000 - 2_000);
    expect(await counter.order(who)).toEqual(first);
    await counter.house.clock.advance(2_000);
    const second = await counter.order(who);
    expect(second.invoice.paymentHash).not.toBe(first.invoice.paymentHash);
    expect(await counter.order(who)).toEqual(second);
    await counter.house.watch();
    await counter.pay(second);
    await counter.house.clock.settle();
    expect(await counter.topups.open(asker(who), () => ({ amountSats: sat(1_000n), claimNeedsSecret: false, bodyHash: "body" }))).toMatchObject({
      kind: "claimed", claimed: { kind: "refilled", creditedMsat: 1_000_000n, balanceMsat: 2_000_000n },
    });
    expect(auditPayments(counter.house.writer.tx)).toEqual([]);
  });

  test("and another body is refused, and nothing is asked of the node", async () => {
    const counter = new Counter();
    const who = { token: await counter.token(), idempotencyKey: "k" };
    await counter.order(who);
    const invoices = counter.house.payments.openInvoices;
    expect(await code(counter.order(who, "another body"))).toBe("idempotency_mismatch");
    expect(counter.house.payments.openInvoices).toBe(invoices);
    await counter.house.clock.advance(dayMs);
    expect(await code(counter.order(who, "another body"))).toBe("served");
  });

  test("sent fifty times at once shows one invoice", async () => {
    const counter = new Counter();
    const who = { token: await counter.token(), idempotencyKey: "k" };
    const shown = await Promise.all(Array.from({ length: 50 }, () => counter.order(who)));
    expect(new Set(shown.map(({ invoice }) => invoice.paymentHash)).size).toBe(1);
  });

  test("means nothing from a stranger, and nothing to another token", async () => {
    const counter = new Counter();
    const [one, other] = [await counter.token(), await counter.token()];
    const orders = [{}, {}, { token: one }, { token: other }].map((who) => counter.order({ ...who, idempotencyKey: "k" }));
    expect(new Set((await Promise.all(orders)).map(({ invoice }) => invoice.paymentHash)).size).toBe(4);
  });
});

describe("a claim with a key", () => {
  test("is answered again with the same body and refused with another, for a day; nothing moves by the refused one", async () => {
    const counter = new Counter();
    const [token, challenge] = [await counter.token(), await counter.order()];
    await counter.pay(challenge);
    const who = { idempotencyKey: "k" }, { claimSecret } = challenge;
    const claimed = await counter.claim({ claimSecret }, who);
    expect(await counter.claim({ claimSecret }, who)).toEqual(claimed);
    expect(await code(counter.claim({ claimSecret, token }, who))).toBe("idempotency_mismatch");
    expect(await counter.claim({ claimSecret })).toEqual(claimed);
    await counter.house.clock.advance(dayMs);
    expect(await counter.claim({ claimSecret, token }, who)).toMatchObject({ kind: "moved", creditedMsat: 1_000_000n, balanceMsat: 2_000_000n });
  });

  test("that is refused takes no key: a hop cannot spoil the payer's", async () => {
    const counter = new Counter();
    const challenge = await counter.order();
    const preimage = await counter.pay(challenge);
    await counter.claim({ claimSecret: challenge.claimSecret });
    const who = { idempotencyKey: "k" };
    expect(await code(counter.claim({ preimage }, who))).toBe("already_claimed");
    expect(await code(counter.claim({ claimSecret: challenge.claimSecret }, who))).toBe("served");
  });
});

describe("time", () => {
  test("ends what a preimage claims after ten minutes; the secret and the credential claim for ever, also when the credential buys no calls any more", async () => {
    const counter = new Counter();
    const challenge = await counter.order();
    const preimage = await counter.pay(challenge);
    const claimed = await counter.claim({ preimage });
    await counter.house.clock.advance(10 * 60_000 - 1);
    expect(await counter.claim({ preimage })).toEqual(claimed);
    await counter.house.clock.advance(1);
    expect(await code(counter.claim({ preimage }))).toBe("already_claimed");
    await counter.house.clock.advance((credentialDays + 1) * 86_400_000);
    const credential = credentialOf(challenge, preimage);
    expect(await counter.desk.resolve(credential, "call")).toEqual({ kind: "refused" });
    expect(await counter.claim({}, { credential })).toEqual(claimed);
    expect(await counter.claim({ claimSecret: challenge.claimSecret })).toEqual(claimed);
    expect(await counter.claim({}, { credential: credentialOf(challenge, undefined) })).toEqual(claimed);
  });

  test("lets a credential that was never claimed be claimed years later, and pay for calls until its last second", async () => {
    const counter = new Counter();
    const challenge = await counter.order();
    const credential = credentialOf(challenge, await counter.pay(challenge));
    await counter.desk.resolve(credential);
    const lastMs = Math.floor(challenge.invoice.createdAtMs / 1000) * 1000 + credentialDays * 86_400_000 - counter.house.clock.nowMs();
    await counter.house.clock.advance(lastMs - 1);
    expect(await counter.desk.resolve(credential, "call")).toMatchObject({ kind: "account" });
    await counter.house.clock.advance(1);
    expect(await counter.desk.resolve(credential, "call")).toEqual({ kind: "refused" });
    await counter.house.clock.advance(3 * credentialDays * 86_400_000);
    expect(await counter.claim({}, { credential })).toMatchObject({ kind: "token", balanceMsat: 1_000_000n });
  });

  test("makes an unpaid topup expired, never a paid one", async () => {
    const counter = new Counter();
    const [unpaid, paid] = [await counter.order(), await counter.order()];
    const state = ({ invoice }: Challenge) => counter.topups.state(invoice.paymentHash)?.state;
    const preimage = await counter.pay(paid);
    expect([state(unpaid), state(paid)]).toEqual(["open", "open"]);
    await counter.house.payments.confirm(paid.invoice.paymentHash);
    expect(state(paid)).toBe("paid");
    await counter.house.clock.advance(invoiceExpirySeconds * 1000);
    expect([state(unpaid), state(paid)]).toEqual(["expired", "paid"]);
    await counter.claim({ preimage });
    expect([state(paid), counter.topups.state("ab".repeat(32))]).toEqual(["claimed", undefined]);
  });

  test("is given to a node that is late: a right preimage waits 3 s for its word, and is never told it has not paid", async () => {
    const counter = new Counter();
    const [late, tooLate] = [await counter.order(), await counter.order()];
    const { clock } = counter.house;
    counter.house.node.misbehave({ settleLateMs: settlementPatienceMs - 500 });
    expect(await clock.until(counter.claim({ preimage: await counter.pay(late) }))).toMatchObject({ kind: "token", balanceMsat: 1_000_000n });
    counter.house.node.misbehave({ settleLateMs: 10 * settlementPatienceMs });
    const preimage = await counter.pay(tooLate);
    const startMs = clock.nowMs();
    expect(await clock.until(code(counter.claim({ preimage })))).toBe("settlement_unknown");
    expect(clock.nowMs() - startMs).toBe(settlementPatienceMs);
    expect(await code(counter.claim({ claimSecret: tooLate.claimSecret }))).toBe("not_paid");
    await clock.advance(10 * settlementPatienceMs);
    expect(await counter.claim({ preimage })).toMatchObject({ kind: "token" });
  });
});

test("an owner who wants the secret is obeyed by every topup and refill, whatever was ordered", async () => {
  const counter = new Counter(true);
  const token = await counter.token();
  const [topup, refill] = [await counter.order(), await counter.order({ token })];
  for (const challenge of [topup, refill]) {
    const preimage = await counter.pay(challenge);
    expect(await code(counter.claim({ preimage }))).toBe("claim_secret_required");
    expect(await counter.claim({ claimSecret: challenge.claimSecret })).toMatchObject(challenge === topup ? { kind: "token" } : { kind: "refilled", balanceMsat: 2_000_000n });
  }
});
