/** MaximumSats' flow on the chat path: one free call for an address, then an invoice, then the same request with the payment hash. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { endHearth, pay, type RunningHearth, startHearth } from "../support/hearth.ts";
import { SeedShell } from "../support/seed-shell.ts";
import { seedConfig, seedText, type SeedUpstream, startSeedUpstream } from "../support/seed-upstream.ts";

let upstream: SeedUpstream;
let hearth: RunningHearth;
let shell: SeedShell;
/** The owner's proxy in front of the door: it names each client's address, which loopback is not. */
let proxy: ReturnType<typeof Bun.serve>;
let address = "203.0.113.7";
beforeAll(async () => {
  upstream = startSeedUpstream();
  const trial = '[trial]\nmodels = ["gpt-4o-mini"]\n';
  hearth = await startHearth({ config: seedConfig(upstream, 'trusted_proxies = ["127.0.0.0/8", "::1"]', trial) });
  proxy = Bun.serve({
    hostname: "127.0.0.1", port: 0,
    fetch: async (request) => {
      const headers = new Headers(request.headers);
      headers.set("x-forwarded-for", address);
      return fetch(hearth.url + new URL(request.url).pathname, { method: request.method, headers, body: await request.text() });
    },
  });
  shell = new SeedShell({ "https://maximumsats.com": proxy.url.origin });
});
let next = 10;
beforeEach(() => {
  upstream.bodies.length = 0;
  address = `203.0.113.${next++}`;
});
afterAll(async () => {
  await proxy.stop(true);
  await endHearth(hearth);
  shell.remove();
  await upstream.stop();
});

/** @param hash Where the hash of a payment goes, as text of the JSON body and of curl's options. */
function call(hash: { body?: string; options?: string } = {}): string {
  return String.raw`
curl -sS https://maximumsats.com/v1/chat/completions \
-H 'content-type: application/json' ${hash.options ?? ""} \
-d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Name five prices."}]${hash.body ?? ""}}'
`;
}

type Printed = Record<string, unknown> & { invoice: string; payment_hash: string; message: string; retry: { instructions: string; payment_hash_header: string } };
const print = async (snippet: string) => (await shell.runJson(snippet))[0] as Printed;
const answered = { object: "chat.completion", choices: [{ message: { content: seedText } }] };

/** Uses the free call up and is billed for the next one. */
async function billed(): Promise<Printed> {
  await print(call());
  const bill = await print(call());
  upstream.bodies.length = 0;
  return bill;
}

test("the first call of an address is free; the second answers an invoice, its payment hash and how to retry", async () => {
  expect(await print(call())).toMatchObject(answered);
  const bill = await print(call());
  expect(bill).toMatchObject({
    status: 402, invoice: expect.stringMatching(/^lnbcrt/), payment_hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    amount_sats: expect.any(Number), message: expect.stringContaining("Pay"),
  });
  expect(bill.retry).toMatchObject({ payment_hash_header: "X-Payment-Hash", instructions: expect.stringContaining("payment_hash") });
  expect(upstream.bodies).toHaveLength(1);
});

test("what one address has used up is still free for another", async () => {
  await billed();
  address = "198.51.100.9";
  expect(await print(call())).toMatchObject(answered);
});

describe("paid, the same request is answered once with its payment hash", () => {
  const places: [where: string, of: (hash: string) => { body?: string; options?: string }][] = [
    ["in the body", (hash) => ({ body: `,"payment_hash":"${hash}"` })],
    ["in the header the answer names", (hash) => ({ options: `-H 'X-Payment-Hash: ${hash}'` })],
    ["in the body and as Authorization: L402 <hash>, as its tools send it", (hash) => ({ body: `,"payment_hash":"${hash}"`, options: `-H 'Authorization: L402 ${hash}'` })],
    ["as the whole Authorization header", (hash) => ({ options: `-H 'Authorization: ${hash}'` })],
  ];
  for (const [where, of] of places)
    test(where, async () => {
      const bill = await billed();
      await pay(hearth.url, bill.invoice);
      expect(await print(call(of(bill.payment_hash)))).toMatchObject(answered);
      expect(upstream.bodies.map((body) => "payment_hash" in body)).toEqual([false]);
      const again = await print(call(of(bill.payment_hash)));
      expect({ code: (again.error as { code: string }).code, asked: upstream.bodies.length }).toEqual({ code: "payment_required", asked: 1 });
      expect(again.invoice).not.toBe(bill.invoice);
    });
});

test("before it is paid the hash gets the same invoice again, so that nobody pays two", async () => {
  const bill = await billed();
  const again = await print(call({ body: `,"payment_hash":"${bill.payment_hash}"` }));
  expect(again).toMatchObject({ invoice: bill.invoice, payment_hash: bill.payment_hash });
  expect(upstream.bodies).toEqual([]);
});

test("the hash opens the request it was paid for and no other", async () => {
  const bill = await billed();
  await pay(hearth.url, bill.invoice);
  const hash = { body: `,"payment_hash":"${bill.payment_hash}"` };
  const other = await print(call(hash).replace("five", "six"));
  expect({ code: (other.error as { code: string }).code, asked: upstream.bodies.length }).toEqual({ code: "payment_required", asked: 0 });
  expect(await print(call(hash))).toMatchObject(answered);
});
