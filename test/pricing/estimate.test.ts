/** Token counts without a vocabulary: bounded by the bytes, never nothing for something, and paid for in one pass. */
import { describe, expect, test } from "bun:test";
import { familyFactorPercent, pieceCharacters, tokensAtLeast, tokensAtMost, tokensLikely } from "../../src/pricing/estimate.ts";
import { SeededRandom } from "../support/random.ts";

const prose = "The node is asked first, with a random id of ours; only then is the invoice sent. ";
const code = 'for (let i = 0; i < rows.length; i++) {\n  if (rows[i]!.id === wanted) return rows[i];\n}\n';
const json = '{"model":"llama3.2:3b","messages":[{"role":"user","content":"Hi"}],"stream":true,"temperature":0.7}';
const base64 = Buffer.from(new SeededRandom(1).bytes(3_000)).toString("base64");
const bytesOf = (text: string) => Buffer.byteLength(text);

/** `real`: what OpenAI's o200k makes of it, counted with gpt-tokenizer 4.0.0. */
const texts: [kind: string, text: string, real: number][] = [
  ["English prose", prose, 21],
  ["code", code, 32],
  ["JSON", json, 34],
  ["base64", base64, 2724],
  ["German", "Die Rechnung läuft nach zehn Minuten ab; danach fragst du nach einer neuen.", 16],
  ["French", "La facture expire après dix minutes ; demandez-en une autre ensuite.", 14],
  ["Chinese", "发票十分钟后过期，请重新申请一张。", 13],
  ["Japanese", "請求書は十分後に失効します。", 11],
  ["Arabic", "تنتهي صلاحية الفاتورة بعد عشر دقائق.", 11],
  ["Hindi", "चालान दस मिनट में समाप्त हो जाता है।", 11],
  ["emoji", "🔥🎉👩‍💻🇩🇪🏳️‍🌈", 18],
  ["digits", "3141592653589793238462643383279", 11],
  ["hex", "deadbeef00112233445566778899aabbccddeeff0123456789", 19],
  ["indented lines", "a\n\tb\n\t\tc\n\n\n    d\n", 10],
];

describe("tokensAtMost", () => {
  test.each(texts)("%s is not more in o200k", (_kind, text, real) => {
    expect(tokensAtMost(text, familyFactorPercent("gpt-4o"))).toBeGreaterThanOrEqual(real);
  });

  const bounded: [kind: string, text: string][] = [
    ...texts.map(([kind, text]): [string, string] => [kind, text]),
    ["newlines", "\n\n\n"], ["control characters", "\u0000\u0001\u007f"], ["lone surrogates", "\ud800 \udc00 x\ud83d"], ["marks", "!?;:--(){}[]"],
    ["one letter", "x"], ["one digit", "7"], ["one emoji", "🔥"],
  ];
  test.each(bounded)("%s is at least one token and at most a token a byte", (_kind, text) => {
    for (const factor of [102, 135, 160]) {
      const tokens = tokensAtMost(text, factor);
      expect([Number.isInteger(tokens), tokens >= 1, tokens <= bytesOf(text)]).toEqual([true, true, true]);
      expect(tokensLikely(text)).toBeGreaterThanOrEqual(1);
    }
  });

  test("nothing is no token", () => {
    expect([tokensAtMost("", 135), tokensLikely("")]).toEqual([0, 0]);
  });

  test.each(["   ", "\t", "\r", " \t".repeat(8_000), "\v".repeat(8_000)].map((text) => [JSON.stringify(text.slice(0, 4)), text]))(
    "blanks are tokens too: %s", (_shown, text) => {
      expect(tokensAtMost(text!, 102)).toBeGreaterThanOrEqual(1);
    });

  test("what is mostly not ASCII, or runs on without a space, is counted by its bytes", () => {
    for (const text of ["漢字かな交じり文", "नमस्ते दुनिया", base64, "a".repeat(41)]) expect(tokensAtMost(text, 102)).toBe(bytesOf(text));
  });

  test("a foreign paragraph does not change how the rest is counted", () => {
    const english = prose.repeat(50).slice(0, 3 * pieceCharacters);
    const foreign = "漢".repeat(pieceCharacters);
    expect(tokensAtMost(english + foreign + english, 135)).toBe(2 * tokensAtMost(english, 135) + bytesOf(foreign));
  });

  test("any text at all stays within its bytes, and more text is never fewer tokens", () => {
    const random = new SeededRandom(3);
    const alphabets = ["etaoin shrdlu ", "{}()[];:=+-*/ ", "0123456789 .,", "éàüß ", "漢字 ", "🔥🇩🇪 ", "\n\r\t ", "\ud83d\udd25x "];
    for (let i = 0; i < 2_000; i++) {
      const text = Array.from({ length: random.between(1, 6) }, () => random.text(random.between(1, 700), random.pick(alphabets))).join("");
      const tokens = tokensAtMost(text, random.pick([102, 135, 160]));
      if (tokens > bytesOf(text)) throw new Error(`${JSON.stringify(text)}: ${tokens} tokens of ${bytesOf(text)} bytes`);
    }
  });

  test("a model that needs more tokens is quoted more", () => {
    const [gpt, llama, claude] = ["gpt-4o", "llama3.2:3b", "claude-sonnet-4"].map((id) => tokensAtMost(prose.repeat(20), familyFactorPercent(id)));
    expect(gpt! < llama! && llama! < claude!).toBe(true);
  });

  test("looks at each character once, however long the text", () => {
    for (const text of [prose.repeat(2_000), base64.repeat(40), "漢字".repeat(20_000)]) {
      const counted = countingText(text);
      tokensAtMost(counted.text, 135);
      expect(counted.looks()).toBe(text.length);
    }
  });
});

/** A string's stand-in that counts how often a character of it is looked at. */
function countingText(text: string): { text: string; looks(): number } {
  let looks = 0;
  const counted = { length: text.length, charCodeAt: (index: number) => (looks++, text.charCodeAt(index)) };
  return { text: counted as unknown as string, looks: () => looks };
}

describe("familyFactorPercent", () => {
  test.each([
    ["gpt-4o-mini", 102], ["openai/gpt-5", 102], ["o3-mini", 102], ["chatgpt-4o-latest", 102], ["anthropic/claude-sonnet-4", 160],
    ["llama3.2:3b", 135], ["qwen2.5-coder", 135], ["deepseek-r1", 135], ["mistral", 135], ["", 135],
  ] as const)("%s: %d percent", (id, percent) => {
    expect(familyFactorPercent(id)).toBe(percent);
  });
});

describe("tokensLikely", () => {
  test.each(texts)("%s is within the bytes and never below a quarter of the real count", (_kind, text, real) => {
    expect(tokensLikely(text)).toBeLessThanOrEqual(bytesOf(text));
    expect(tokensLikely(text)).toBeGreaterThanOrEqual(real / 4);
  });
});

describe("tokensAtLeast", () => {
  test.each([[0, 0, 0], [5, 12, 5], [1, 800, 100], [0, 7, 0], [0, 8, 1]])("%d events with %d bytes are at least %d tokens", (events, bytes, tokens) => {
    expect(tokensAtLeast(events, bytes)).toBe(tokens);
  });

  test("never claims more than o200k made", () => {
    for (const [, text, real] of texts) expect(tokensAtLeast(0, bytesOf(text))).toBeLessThanOrEqual(real);
  });
});
