/** Invoices as text: what we sign is what a strict reader takes, what is not an invoice is nothing. */
import { describe, expect, test } from "bun:test";
import { sign, encode } from "bolt11";
import { readInvoice, signInvoice, type InvoiceToSign } from "../../src/lightning/bolt11.ts";
import { msat } from "../../src/money/msat.ts";

const input: InvoiceToSign = {
  privateKey: new Uint8Array(32).fill(0x11),
  amountMsat: msat(21_000n),
  paymentHash: "aa".repeat(32),
  paymentSecret: "bb".repeat(32),
  memo: "Hearth: 21 sat of tokens, \u26a1",
  timestampS: 1_763_722_855,
  expirySeconds: 600,
};
const publicKey = "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa";

/** The first invoice of BOLT 11's own examples: one that asks for no amount. */
const specDonation =
  "lnbc1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0dfjkxaq9qrsgq357wnc5r2ueh7ck6q93dj32dlqnls087fxdwk8qakdyafkq3yap9us6v52vjjsrvywa6rt52cm9r9zqt8r2t7mlcwspyetp5h2tztugp9lfyql";
/** The example for 2500 micro-bitcoin, "1 cup coffee", one minute. */
const specCoffee =
  "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
const specHash = "0001020304050607080900010203040506070809000102030405060708090102";
const specPayee = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad";

describe("signInvoice", () => {
  test("the same order signs the same regtest invoice, byte for byte", () => {
    expect(signInvoice(input)).toStartWith("lnbcrt210n1");
    expect(signInvoice(input)).toBe(signInvoice({ ...input }));
  });

  test("what was signed is what is read", () => {
    expect(readInvoice(signInvoice(input))).toEqual({
      asksForMore: false,
      routeHints: 0,
      finalCltvBlocks: 18,
      paymentHash: input.paymentHash,
      amountMsat: input.amountMsat,
      expiresAtMs: (1_763_722_855 + 600) * 1000,
      network: "regtest",
      payee: publicKey,
      memo: input.memo,
    });
  });

  test("every amount survives, a single millisatoshi and all the bitcoin there is included", () => {
    for (const amount of [1n, 999n, 1_000n, 12_345n, 100_000n, 100_000_000n, 100_000_000_000n, 2_100_000_000_000_000_000n]) {
      expect(readInvoice(signInvoice({ ...input, amountMsat: msat(amount) }))?.amountMsat).toBe(msat(amount));
    }
  });

  test("an invoice without an amount, a memo too long for the wire or a hash of the wrong size is our mistake", () => {
    expect(() => signInvoice({ ...input, amountMsat: msat(0n) })).toThrow("must hold");
    expect(() => signInvoice({ ...input, memo: "\u26a1".repeat(214) })).toThrow("must hold");
    expect(() => signInvoice({ ...input, paymentHash: "aa" })).toThrow("must hold");
  });

  test("the longest memo, filled with letters of several bytes, is kept whole", () => {
    const memo = "\u26a1".repeat(213);
    expect(readInvoice(signInvoice({ ...input, memo }))?.memo).toBe(memo);
  });
});

describe("what an invoice asks of its payer", () => {
  const withBits = (bits: number[], blocks = 18) => {
    const unsigned = encode({
      network: { bech32: "bcrt", pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0, 1] }, timestamp: 1_800_000_000, millisatoshis: "1000",
      tags: [
        { tagName: "payment_hash", data: input.paymentHash }, { tagName: "payment_secret", data: input.paymentSecret }, { tagName: "description", data: "" }, { tagName: "min_final_cltv_expiry", data: blocks },
        // The library names bits up to 19.
        { tagName: "feature_bits", data: { word_length: 11, var_onion_optin: { required: true }, payment_secret: { required: true }, extra_bits: { start_bit: 20, bits: Array.from({ length: 32 }, (_, at) => bits.includes(at + 20)) } } as never },
      ],
    }, false);
    return readInvoice(sign(unsigned, "11".repeat(32)).paymentRequest!);
  };

  test.each([[[30], true], [[31], true], [[20], true], [[48], true], [[25], false], [[49], false], [[], false]])("feature bits %p: more than a plain payment is %p", (bits, more) => {
    expect(withBits(bits)?.asksForMore).toBe(more);
  });

  test("the blocks of its last hop", () => expect([withBits([], 144)?.finalCltvBlocks, withBits([], 2_000)?.finalCltvBlocks]).toEqual([144, 2_000]));
});

describe("readInvoice", () => {
  test("the examples of BOLT 11 read as BOLT 11 says", () => {
    const common = { paymentHash: specHash, network: "mainnet" as const, payee: specPayee, asksForMore: false, routeHints: 0, finalCltvBlocks: 18 };
    const donation = { amountMsat: undefined, memo: "Please consider supporting this project" };
    expect(readInvoice(specDonation)).toEqual({ ...common, ...donation, expiresAtMs: (1_496_314_658 + 3600) * 1000 });
    const coffee = { amountMsat: msat(250_000_000n), memo: "1 cup coffee" };
    expect(readInvoice(specCoffee)).toEqual({ ...common, ...coffee, expiresAtMs: (1_496_314_658 + 60) * 1000 });
  });

  test("capitals, as in a QR code, read the same; mixed case is not an invoice", () => {
    expect(readInvoice(specCoffee.toUpperCase())).toEqual(readInvoice(specCoffee));
    expect(readInvoice("L" + specCoffee.slice(1))).toBeUndefined();
  });

  test("each network is told apart by its prefix", () => {
    const prefixes = { bc: "mainnet", tb: "testnet", tbs: "signet", bcrt: "regtest", sb: "simnet" } as const;
    for (const [bech32, network] of Object.entries(prefixes)) {
      for (const millisatoshis of ["21000", undefined]) expect(readInvoice(signedOn(bech32, millisatoshis))?.network).toBe(network);
    }
    expect(readInvoice(signedOn("xx", "21000"))).toBeUndefined();
  });

  test("an invoice with two payment hashes is believed by nobody", () => {
    const second = { tagName: "payment_hash", data: "cc".repeat(32) };
    expect(readInvoice(signedOn("bcrt", "21000"))).toBeDefined();
    expect(readInvoice(signedOn("bcrt", "21000", [second]))).toBeUndefined();
  });

  test("a changed letter is not an invoice, wherever it is", () => {
    for (let at = 2; at < specCoffee.length; at++) {
      const changed = specCoffee[at] === "q" ? "p" : "q";
      expect(readInvoice(specCoffee.slice(0, at) + changed + specCoffee.slice(at + 1))).toBeUndefined();
    }
  });

  test("no text makes it throw, and a huge one is refused unread", () => {
    const texts = ["", "ln", "lnbc", "lnbc1", "lnbcrt1qqqq", "lnbc2500u1", specCoffee.slice(0, -1), specCoffee + "q", "\u0000", "lnbc1" + "q".repeat(200)];
    for (const text of texts) expect(readInvoice(text)).toBeUndefined();
    for (let end = 0; end < specCoffee.length; end++) expect(readInvoice(specCoffee.slice(0, end))).toBeUndefined();
    const startedMs = performance.now();
    expect(readInvoice("lnbc1" + "q".repeat(4_000_000))).toBeUndefined();
    expect(performance.now() - startedMs).toBeLessThan(100);
  });
});

function signedOn(bech32: string, millisatoshis: string | undefined, more: { tagName: string; data: string }[] = []): string {
  const network = { bech32, pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0, 1] };
  const tags = [{ tagName: "payment_hash", data: "aa".repeat(32) }, { tagName: "description", data: "" }, ...more];
  return sign(encode({ network, millisatoshis, timestamp: 1_763_722_855, tags }, false), "11".repeat(32)).paymentRequest!;
}
