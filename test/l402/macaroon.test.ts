import { describe, expect, test } from "bun:test";
import { decodeBase64, hmacSha256, toBase64, toHex } from "../../src/base/bytes.ts";
import { maxCaveats, maxCredentialBytes } from "../../src/base/limits.ts";
import { mintMacaroon, rollTokenId, verifyMacaroon } from "../../src/l402/macaroon.ts";
import { fixture, fixtures, seededRandom } from "./fixtures.ts";

const lnget = fixture("lnget appends the preimage");
const plain = fixture("the two we mint");

/** Appends a caveat as a holder does: without the root key, from the signature alone. */
function append(macaroon: Uint8Array, caveat: string): Uint8Array {
  const body = macaroon.subarray(0, macaroon.length - 35);
  const signature = macaroon.subarray(macaroon.length - 32);
  const condition = new TextEncoder().encode(caveat);
  const length = condition.length < 128 ? [condition.length] : [(condition.length & 127) | 128, condition.length >> 7];
  return Uint8Array.from([
    ...body, 2, ...length, ...condition, 0, 0, 6, 32, ...hmacSha256(signature, condition),
  ]);
}

function changed(bytes: Uint8Array, at: number, by: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = copy[at]! ^ by;
  return copy;
}

describe("minting", () => {
  test.each(fixtures.map((one) => [one.name, one] as const))("gives the bytes Go gives: %s", (_name, one) => {
    expect(toHex(mintMacaroon(one))).toBe(toHex(one.macaroon));
  });

  test("refuses a payment hash or token id of another length", () => {
    expect(() => mintMacaroon({ ...plain, paymentHash: "ab" })).toThrow("payment hash");
    expect(() => mintMacaroon({ ...plain, tokenId: new Uint8Array(31) })).toThrow("token id");
  });
});

describe("the token id", () => {
  /** The token id whose base64, at its place in the macaroon, begins with `letters`. */
  function spelling(letters: string): Uint8Array {
    const text = toBase64(mintMacaroon({ ...plain, tokenId: new Uint8Array(32) }));
    const at = 60; // a multiple of four, inside the token id: it starts at byte 43
    return decodeBase64(text.slice(0, at) + letters + text.slice(at + 4))!.slice(43, 75);
  }

  test.each(["LSAT", "L402"])("is rolled again while the macaroon spells %s", (scheme) => {
    const bad = spelling(scheme);
    expect(toBase64(mintMacaroon({ ...plain, tokenId: bad }))).toContain(scheme);
    const good = plain.tokenId;
    const rolls = [bad, bad, good];
    expect(rollTokenId({ ...plain, random: { bytes: () => rolls.shift()! } })).toEqual(good);
  });

  test("a payment hash that spells a scheme by itself still gives a macaroon that does not", () => {
    for (const [offset, scheme] of [[16, "LSAT"], [20, "L402"], [44, "LSAT"]] as const) {
      const text = toBase64(plain.macaroon);
      const bytes = decodeBase64(text.slice(0, offset) + scheme + text.slice(offset + 4))!;
      const paymentHash = toHex(bytes.subarray(11, 43));
      const fields = { ...plain, paymentHash };
      const tokenId = rollTokenId({ ...fields, random: seededRandom(offset) });
      const macaroon = mintMacaroon({ ...fields, tokenId });
      expect(toBase64(macaroon)).not.toMatch(/LSAT|L402/);
      expect(verifyMacaroon(macaroon, plain.master)?.paymentHash).toBe(paymentHash);
    }
  });
});

describe("verifying", () => {
  test.each(fixtures.map((one) => [one.name, one] as const))("accepts what Go minted: %s", (_name, one) => {
    const { paymentHash, tokenId, caveats } = one;
    expect(verifyMacaroon(one.macaroon, one.master)).toEqual({ paymentHash, tokenId, caveats });
  });

  test("a caveat the holder appended comes last and changes nothing else", () => {
    const narrowed = append(plain.macaroon, "llm_max_msat=9000");
    expect(verifyMacaroon(narrowed, plain.master)?.caveats).toEqual([...plain.caveats, "llm_max_msat=9000"]);
    expect(toHex(append(plain.macaroon, "x".repeat(200)))).toBe(
      toHex(mintMacaroon({ ...plain, caveats: [...plain.caveats, "x".repeat(200)] })),
    );
  });

  test("a caveat can not be taken away again", () => {
    const narrowed = append(plain.macaroon, "llm_max_msat=9000");
    const stripped = Uint8Array.from([...plain.macaroon.slice(0, -32), ...narrowed.slice(-32)]);
    expect(verifyMacaroon(stripped, plain.master)).toBeUndefined();
  });

  test("whichever byte is changed, what was signed can not be changed", () => {
    const { paymentHash, tokenId, caveats } = lnget;
    const location = 3; // its four letters are not signed
    for (let at = 0; at < lnget.macaroon.length; at++) {
      for (const by of [1, 0x80, 0xff]) {
        const seen = verifyMacaroon(changed(lnget.macaroon, at, by), lnget.master);
        if (at >= location && at < location + 4 && by === 1) expect(seen).toEqual({ paymentHash, tokenId, caveats });
        else if (at < location || at >= location + 4) expect([at, seen]).toEqual([at, undefined]);
      }
    }
  });

  test("a macaroon of another house is refused", () => {
    expect(verifyMacaroon(plain.macaroon, lnget.master)).toBeUndefined();
    expect(verifyMacaroon(plain.macaroon, new Uint8Array(32))).toBeUndefined();
  });

  test("a cut or lengthened macaroon is refused", () => {
    for (let length = 0; length < lnget.macaroon.length; length++) {
      expect(verifyMacaroon(lnget.macaroon.subarray(0, length), lnget.master)).toBeUndefined();
    }
    expect(verifyMacaroon(Uint8Array.from([...lnget.macaroon, 0]), lnget.master)).toBeUndefined();
  });

  test("a version of the identifier that we never minted is refused", () => {
    expect(verifyMacaroon(rightlySigned(changed(identifier(), 1, 1)), plain.master)).toBeUndefined();
    expect(verifyMacaroon(rightlySigned(identifier().subarray(0, 65)), plain.master)).toBeUndefined();
    expect(verifyMacaroon(rightlySigned(identifier()), plain.master)).toBeDefined();
  });

  test("a third party's caveat is refused even when it is rightly signed", () => {
    const bare = fixture("no caveats");
    const signature = bare.macaroon.subarray(-32);
    const [vid, cid] = [new Uint8Array(72), new TextEncoder().encode("elsewhere")];
    const parts = Uint8Array.from([...hmacSha256(signature, vid), ...hmacSha256(signature, cid)]);
    const macaroon = Uint8Array.from([
      ...bare.macaroon.slice(0, -35),
      1, 1, 120, 2, cid.length, ...cid, 4, vid.length, ...vid, 0,
      0, 6, 32, ...hmacSha256(signature, parts),
    ]);
    expect(verifyMacaroon(macaroon, bare.master)).toBeUndefined();
  });

  test("a caveat that is not UTF-8 is refused", () => {
    const bare = fixture("no caveats");
    const condition = Uint8Array.from([0xff, 0xfe]);
    const macaroon = Uint8Array.from([
      ...bare.macaroon.slice(0, -35), 2, 2, ...condition, 0,
      0, 6, 32, ...hmacSha256(bare.macaroon.subarray(-32), condition),
    ]);
    expect(verifyMacaroon(macaroon, bare.master)).toBeUndefined();
  });

  test(`${maxCaveats} caveats are accepted, one more is not`, () => {
    const caveats = Array.from({ length: maxCaveats }, (_, index) => `llm_max_msat=${index}`);
    expect(verifyMacaroon(mintMacaroon({ ...plain, caveats }), plain.master)?.caveats).toEqual(caveats);
    const flood = mintMacaroon({ ...plain, caveats: [...caveats, "a=b"] });
    expect(verifyMacaroon(flood, plain.master)).toBeUndefined();
  });

  test(`a macaroon over ${maxCredentialBytes} bytes is refused though it is rightly signed`, () => {
    const room = maxCredentialBytes - mintMacaroon({ ...plain, caveats: ["c=" + "x".repeat(200)] }).length;
    const fitting = mintMacaroon({ ...plain, caveats: ["c=" + "x".repeat(200 + room)] });
    expect(fitting.length).toBe(maxCredentialBytes);
    expect(verifyMacaroon(fitting, plain.master)).toBeDefined();
    const over = mintMacaroon({ ...plain, caveats: ["c=" + "x".repeat(201 + room)] });
    expect(verifyMacaroon(over, plain.master)).toBeUndefined();
  });

  test("no bytes whatever make it throw", () => {
    const random = seededRandom(7);
    for (let round = 0; round < 20_000; round++) {
      const bytes = random.bytes(1 + (round % 150));
      if (round % 2) bytes[0] = 2;
      expect(verifyMacaroon(bytes, plain.master)).toBeUndefined();
    }
  });
});

function identifier(): Uint8Array {
  return plain.macaroon.slice(9, 75);
}

/** A macaroon without caveats over any identifier, signed as only we can. */
function rightlySigned(bytes: Uint8Array): Uint8Array {
  const rootKey = hmacSha256(plain.master, new Bun.CryptoHasher("sha256").update(bytes).digest());
  const signature = hmacSha256(hmacSha256("macaroons-key-generator", rootKey), bytes);
  return Uint8Array.from([2, 2, bytes.length, ...bytes, 0, 0, 6, 32, ...signature]);
}
