/** The sandbox node: the contract every node obeys, its memory, and each way it can be told to fail. */
import { afterAll, describe, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom, type Clock } from "../../src/base/clock.ts";
import { openSandboxNode, noFaults, type SandboxNode } from "../../src/lightning/sandbox.ts";
import type { Settlement } from "../../src/lightning/node.ts";
import { msat } from "../../src/money/msat.ts";
import { nodeContract } from "../contract/node.ts";

const directory = mkdtempSync(join(tmpdir(), "hearth-sandbox-"));
afterAll(() => rmSync(directory, { recursive: true }));
let files = 0;
const newPath = () => join(directory, `node-${++files}.jsonl`);

nodeContract("sandbox", async () => {
  const path = newPath();
  const node = openSandboxNode({ path, clock: systemClock, random: systemRandom });
  return {
    node,
    payInvoice: (bolt11) => preimageOf(node, bolt11),
    referenceOf: async (paymentHash) => lines(path).find((line) => line.paymentHash === paymentHash)?.reference,
    stop: () => node.close(),
  };
});

describe("sandbox payments", () => {
  test("paying twice answers the same preimage and settles once", async () => {
    const { node } = start();
    const invoice = await create(node);
    const first = await preimageOf(node, invoice.bolt11);
    expect(await preimageOf(node, invoice.bolt11.toUpperCase())).toBe(first);
    expect(await node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "settled", paidMsat: msat(21_000n) });
    expect(await told(node, 1)).toEqual([{ paymentHash: invoice.paymentHash, paidMsat: msat(21_000n), cursor: 1n }]);
    expect(await toldNow(node)).toHaveLength(1);
  });

  test("a hundred payments of one invoice at once settle it once", async () => {
    const { node } = start();
    const { bolt11 } = await create(node);
    const paid = await Promise.all(Array.from({ length: 100 }, () => preimageOf(node, bolt11)));
    expect(new Set(paid).size).toBe(1);
    expect(await toldNow(node)).toHaveLength(1);
  });

  test("an expired invoice is dead and takes no money", async () => {
    const { node, clock } = start();
    const invoice = await create(node);
    clock.advance(invoice.expiresAtMs - clock.nowMs() - 1);
    expect(await node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "open" });
    clock.advance(1);
    expect(await node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "dead" });
    expect(await node.pay(invoice.bolt11)).toEqual({ error: expect.stringContaining("expired") });
    expect(await node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "dead" });
  });

  test("a paid invoice stays settled after its expiry, and paying it again is still no error", async () => {
    const { node, clock } = start();
    const invoice = await create(node);
    const preimage = await preimageOf(node, invoice.bolt11);
    clock.advance(3_600_000);
    expect(await node.lookupInvoice(invoice.paymentHash)).toMatchObject({ state: "settled" });
    expect(await preimageOf(node, invoice.bolt11)).toBe(preimage);
  });

  test("an invoice of another node, or no invoice at all, is refused", async () => {
    const { node } = start();
    const foreign = await create(start().node);
    for (const text of [foreign.bolt11, "lnbcrt1", ""]) {
      expect(await node.pay(text)).toEqual({ error: expect.stringContaining("not an invoice of this sandbox node") });
    }
  });
});

describe("sandbox memory", () => {
  test("after a crash the key, open and settled invoices and the counting are as they were", async () => {
    const { node, reopen } = start();
    const [paid, open] = [await create(node), await create(node)];
    const preimage = await preimageOf(node, paid.bolt11);
    const { publicKey } = await node.status();
    const again = reopen();
    expect((await again.status()).publicKey).toBe(publicKey);
    expect(await again.lookupInvoice(paid.paymentHash)).toEqual({ state: "settled", paidMsat: msat(21_000n) });
    expect(await again.lookupInvoice(open.paymentHash)).toEqual({ state: "open" });
    expect(await preimageOf(again, paid.bolt11)).toBe(preimage);
    await preimageOf(again, open.bolt11);
    expect((await toldNow(again)).map(({ paymentHash, cursor }) => [paymentHash, cursor])).toEqual([
      [paid.paymentHash, 1n],
      [open.paymentHash, 2n],
    ]);
  });

  test("a process killed with -9 right after a payment has kept it", async () => {
    const path = newPath();
    const source = new URL("../../src/", import.meta.url).pathname;
    const script = `
      import { openSandboxNode } from "${source}lightning/sandbox.ts";
      import { systemClock as clock, systemRandom as random } from "${source}base/clock.ts";
      const node = openSandboxNode({ path: ${JSON.stringify(path)}, clock, random });
      const invoice = await node.createInvoice({ amountMsat: 21000n, reference: "r", memo: "m", expirySeconds: 600 });
      const paid = await node.pay(invoice.bolt11);
      process.stdout.write(JSON.stringify({ ...invoice, ...paid }), () => process.kill(process.pid, "SIGKILL"));`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
    const answered = JSON.parse(await new Response(child.stdout).text());
    await child.exited;
    expect(child.signalCode).toBe("SIGKILL");
    const node = openSandboxNode({ path, clock: systemClock, random: systemRandom });
    expect(await node.lookupInvoice(answered.paymentHash)).toMatchObject({ state: "settled" });
    expect(await preimageOf(node, answered.bolt11)).toBe(answered.preimage);
    node.close();
  });

  test("a torn last line is forgotten, and what is written after it is not lost", async () => {
    const { node, path, reopen } = start();
    const first = await create(node);
    appendFileSync(path, `{"kind":"payment","paymentHash":"${first.paymentHash}","settleAtMs":1`);
    const second = await create(reopen());
    const third = reopen();
    expect(await third.lookupInvoice(first.paymentHash)).toEqual({ state: "open" });
    expect(await third.lookupInvoice(second.paymentHash)).toEqual({ state: "open" });
  });

  test("cut off after any byte, the file opens, and a payment written whole is settled once", async () => {
    const { node, path, clock } = start();
    const invoice = await create(node);
    await preimageOf(node, invoice.bolt11);
    const whole = readFileSync(path);
    const paidFrom = whole.indexOf('{"kind":"settlement"'); // where the payment's own line has ended
    for (let end = 0; end <= whole.length; end++) {
      const cut = newPath();
      writeFileSync(cut, whole.subarray(0, end));
      const again = openSandboxNode({ path: cut, clock, random: systemRandom });
      const settled = await toldNow(again);
      expect(settled.map(({ cursor }) => cursor)).toEqual(end >= paidFrom ? [1n] : []);
      again.close();
    }
  });

  test("a file damaged in the middle is refused with the line that is damaged", async () => {
    const { node, path, reopen } = start();
    await create(node);
    writeFileSync(path, readFileSync(path, "utf8").replace('{"kind":"invoice"', '{"kind:"invoice"'));
    expect(reopen).toThrow("Line 2");
  });

  test("an invoice that died more than a day ago is forgotten at the next start", async () => {
    const { node, clock, reopen } = start();
    const [unpaid, paid] = [await create(node), await create(node)];
    await preimageOf(node, paid.bolt11);
    clock.advance(24 * 3_600_000);
    expect(await reopen().lookupInvoice(unpaid.paymentHash)).toEqual({ state: "dead" });
    clock.advance(600_000);
    expect(await reopen().lookupInvoice(unpaid.paymentHash)).toEqual({ state: "unknown" });
    expect(await reopen().lookupInvoice(paid.paymentHash)).toMatchObject({ state: "settled" });
  });

  test("the file is readable by its owner only", async () => {
    const { path } = start();
    expect((await Bun.file(path).stat()).mode & 0o777).toBe(0o600);
  });

  test("a closed node breaks its streams and fails every call", async () => {
    const { node } = start();
    const { bolt11 } = await create(node);
    const next = listen(node).next();
    node.close();
    await expect(next).rejects.toMatchObject({ code: "node_unavailable" });
    await expect(node.status()).rejects.toMatchObject({ code: "node_unavailable", retryable: true });
    expect(await node.pay(bolt11)).toEqual({ error: expect.stringContaining("closed") });
  });
});

describe("sandbox faults", () => {
  test("all are off at first, each is set alone, and noFaults ends them", () => {
    const { node } = start();
    expect(node.faults()).toEqual(noFaults);
    node.misbehave({ down: true });
    node.misbehave({ delayMs: 5 });
    expect(node.faults()).toEqual({ ...noFaults, down: true, delayMs: 5 });
    node.misbehave(noFaults);
    expect(node.faults()).toEqual(noFaults);
    expect(() => node.misbehave({ delayMs: -1 })).toThrow("must hold");
  });

  test("delayMs: every call answers so much later, and a payment does not wait", async () => {
    const { node, clock } = start();
    const { bolt11, paymentHash } = await create(node);
    node.misbehave({ delayMs: 1_000 });
    await preimageOf(node, bolt11);
    const calls = [create(node), node.lookupInvoice(paymentHash), node.status(), listen(node).next()].map((call) => watch<unknown>(call));
    clock.advance(999);
    await settle();
    expect(calls.map((call) => call.done)).toEqual([false, false, false, false]);
    clock.advance(1);
    await Promise.all(calls.map((call) => call.promise));
  });

  test("down: every call fails, streams break, payers still pay, and all is told when it is up again", async () => {
    const { node } = start();
    const { bolt11, paymentHash } = await create(node);
    const next = listen(node).next();
    node.misbehave({ down: true });
    const unavailable = { code: "node_unavailable", retryable: true };
    await expect(next).rejects.toMatchObject(unavailable);
    await expect(create(node)).rejects.toMatchObject(unavailable);
    await expect(node.lookupInvoice(paymentHash)).rejects.toMatchObject(unavailable);
    await expect(node.status()).rejects.toMatchObject(unavailable);
    await expect(listen(node).next()).rejects.toMatchObject(unavailable);
    await preimageOf(node, bolt11);
    node.misbehave({ down: false });
    expect(await node.lookupInvoice(paymentHash)).toMatchObject({ state: "settled" });
    expect((await told(node, 1))[0]?.paymentHash).toBe(paymentHash);
  });

  test("dropSettlements: so many are told on no stream, though a look-up knows them; a new start tells them", async () => {
    const { node, reopen } = start();
    const stream = listen(node);
    node.misbehave({ dropSettlements: 2 });
    const hashes = await payMany(node, 3);
    expect((await stream.next()).value?.paymentHash).toBe(hashes[2]);
    expect((await toldNow(node)).map((settlement) => settlement.paymentHash)).toEqual([hashes[2]!]);
    expect(node.faults().dropSettlements).toBe(0);
    expect(await node.lookupInvoice(hashes[0]!)).toMatchObject({ state: "settled" });
    expect((await toldNow(reopen())).map((settlement) => settlement.paymentHash)).toEqual(hashes);
  });

  test("duplicateSettlements: each is told twice with the same cursor", async () => {
    const { node } = start();
    node.misbehave({ duplicateSettlements: true });
    await payMany(node, 2);
    expect((await toldNow(node)).map((settlement) => settlement.cursor)).toEqual([1n, 1n, 2n, 2n]);
  });

  test("reorderSettlements: told in swapped pairs, and a lone one after 200 ms", async () => {
    const { node, clock } = start();
    const stream = listen(node);
    node.misbehave({ reorderSettlements: true });
    await payMany(node, 3);
    expect((await stream.next()).value?.cursor).toBe(2n);
    expect((await stream.next()).value?.cursor).toBe(1n);
    const lone = watch(stream.next());
    clock.advance(199);
    await settle();
    expect(lone.done).toBe(false);
    clock.advance(1);
    expect((await lone.promise).value?.cursor).toBe(3n);
  });

  test("reorderSettlements: ended, it keeps nothing back", async () => {
    const { node } = start();
    node.misbehave({ reorderSettlements: true });
    await payMany(node, 1);
    expect(await toldNow(node)).toEqual([]);
    node.misbehave({ reorderSettlements: false });
    expect(await toldNow(node)).toHaveLength(1);
  });

  test("settleLateMs: the payer has the preimage while the node calls the invoice open, past its expiry too", async () => {
    const { node, clock } = start();
    const invoice = await create(node);
    node.misbehave({ settleLateMs: 900_000 });
    const preimage = await preimageOf(node, invoice.bolt11);
    clock.advance(899_999);
    await settle();
    expect(await node.lookupInvoice(invoice.paymentHash)).toEqual({ state: "open" });
    expect(await toldNow(node)).toEqual([]);
    expect(await preimageOf(node, invoice.bolt11)).toBe(preimage);
    const stream = listen(node);
    clock.advance(1);
    expect((await stream.next()).value).toMatchObject({ paymentHash: invoice.paymentHash, cursor: 1n });
    expect(await node.lookupInvoice(invoice.paymentHash)).toMatchObject({ state: "settled" });
  });

  test("settleLateMs: a crash meanwhile loses no payment", async () => {
    const { node, clock, reopen } = start();
    const invoice = await create(node);
    node.misbehave({ settleLateMs: 10_000 });
    await preimageOf(node, invoice.bolt11);
    node.close();
    const again = reopen();
    expect(await again.lookupInvoice(invoice.paymentHash)).toEqual({ state: "open" });
    const stream = listen(again);
    clock.advance(10_000);
    expect((await stream.next()).value).toMatchObject({ paymentHash: invoice.paymentHash, cursor: 1n });
    expect(await reopen().lookupInvoice(invoice.paymentHash)).toMatchObject({ state: "settled" });
  });

  test("openAfterPreimage: so many look-ups of each paid invoice still call it open", async () => {
    const { node } = start();
    node.misbehave({ openAfterPreimage: 2 });
    for (const hash of await payMany(node, 2)) {
      expect(await node.lookupInvoice(hash)).toEqual({ state: "open" });
      expect(await node.lookupInvoice(hash)).toEqual({ state: "open" });
      expect(await node.lookupInvoice(hash)).toMatchObject({ state: "settled" });
    }
  });

  test("loseReplies: the invoice is made though the answer was lost", async () => {
    const { node, path } = start();
    node.misbehave({ loseReplies: 2 });
    await expect(create(node)).rejects.toMatchObject({ code: "node_unavailable", retryable: true });
    const paymentHash = lines(path).find((line) => line.kind === "invoice")!.paymentHash!;
    await expect(node.lookupInvoice(paymentHash)).rejects.toMatchObject({ code: "node_unavailable" });
    expect(await node.lookupInvoice(paymentHash)).toEqual({ state: "open" });
    expect(node.faults().loseReplies).toBe(0);
  });
});

type ManualClock = Clock & { advance(ms: number): void };

function manualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  const sleepers = new Set<{ dueMs: number; wake: () => void }>();
  return {
    nowMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const sleeper = { dueMs: nowMs + ms, wake };
        function wake() {
          sleepers.delete(sleeper);
          resolve();
        }
        if (signal?.aborted) return resolve();
        sleepers.add(sleeper);
        signal?.addEventListener("abort", wake);
      }),
    advance(ms) {
      nowMs += ms;
      for (const sleeper of [...sleepers]) if (sleeper.dueMs <= nowMs) sleeper.wake();
    },
  };
}

function start() {
  const path = newPath();
  const clock = manualClock(1_763_722_855_250);
  const reopen = () => openSandboxNode({ path, clock, random: systemRandom });
  return { node: reopen(), path, clock, reopen };
}

function create(node: SandboxNode) {
  return node.createInvoice({ amountMsat: msat(21_000n), reference: "ref", memo: "memo", expirySeconds: 600 });
}

async function preimageOf(node: SandboxNode, bolt11: string): Promise<string> {
  const outcome = await node.pay(bolt11);
  if ("error" in outcome) throw new Error(outcome.error);
  return outcome.preimage;
}

async function payMany(node: SandboxNode, count: number): Promise<string[]> {
  const hashes: string[] = [];
  for (let i = 0; i < count; i++) {
    const invoice = await create(node);
    await preimageOf(node, invoice.bolt11);
    hashes.push(invoice.paymentHash);
  }
  return hashes;
}

function listen(node: SandboxNode, signal = new AbortController().signal): AsyncIterator<Settlement> {
  return node.settlements(0n, signal)[Symbol.asyncIterator]();
}

async function told(node: SandboxNode, count: number): Promise<Settlement[]> {
  const stream = listen(node);
  return Promise.all(Array.from({ length: count }, async () => (await stream.next()).value));
}

/** What a new stream tells without waiting for anything. */
async function toldNow(node: SandboxNode): Promise<Settlement[]> {
  const stopping = new AbortController();
  const all: Settlement[] = [];
  const reading = (async () => {
    for await (const settlement of node.settlements(0n, stopping.signal)) all.push(settlement);
  })();
  await settle();
  stopping.abort();
  await reading;
  return all;
}

/** Lets everything run that waits for nothing. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function watch<T>(promise: Promise<T>): { promise: Promise<T>; done: boolean } {
  const watched = { promise, done: false };
  promise.then(
    () => (watched.done = true),
    () => (watched.done = true),
  );
  return watched;
}

function lines(path: string): Record<string, string>[] {
  return readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line));
}
