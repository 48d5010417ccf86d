/** A body's nesting is known before it is parsed: brackets in texts do not count, however they are escaped. */
import { describe, expect, test } from "bun:test";
import { maxJsonDepth } from "../../src/base/limits.ts";
import { parseJsonObject } from "../../src/http/json-body.ts";
import { SeededRandom } from "../support/random.ts";

const nested = (levels: number, inner = "1") => `{"a":${"[".repeat(levels - 1)}${inner}${"]".repeat(levels - 1)}}`;

const accepted: [what: string, text: string][] = [
  ["as deep as may be", nested(maxJsonDepth)],
  ["brackets in a text", `{"a":"${"[".repeat(1_000)}"}`],
  ["brackets after an escaped quote", `{"a":"\\"${"[{".repeat(500)}"}`],
  ["brackets after many escapes", `{"a":"\\\\\\"${"[".repeat(500)}\\\\"}`],
  ["brackets in a name", `{"${"{".repeat(500)}":1}`],
  ["as deep as may be, after a text that ends in a backslash", `{"b":"\\\\","a":${"[".repeat(maxJsonDepth - 1)}${"]".repeat(maxJsonDepth - 1)}}`],
];
test.each(accepted)("%s is read", (_what, text) => {
  expect(parseJsonObject(text)).toEqual(JSON.parse(text));
});

const refused: [what: string, text: string, code: string][] = [
  ["one level too deep", nested(maxJsonDepth + 1), "invalid_json"],
  ["too deep after a text that ends in a backslash", `{"b":"\\\\","a":${"[".repeat(maxJsonDepth)}${"]".repeat(maxJsonDepth)}}`, "invalid_json"],
  ["a million levels", "[".repeat(1_000_000), "invalid_json"],
  ["a text that never ends", `{"a":"${"x".repeat(100)}`, "invalid_json"],
  ["a text that ends in an escaped quote", '{"a":"x\\"}', "invalid_json"],
  ["a list", "[]", "invalid_request"],
];
test.each(refused)("%s is refused", (_what, text, code) => {
  expect(() => parseJsonObject(text)).toThrow(expect.objectContaining({ code }));
});

describe("of documents made by chance", () => {
  const depthOf = (value: unknown): number => (typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0);

  test("none within the limit is refused, none beyond it accepted", () => {
    const random = new SeededRandom(5);
    const texts = ['"', "\\", "[", "]{", '\\"', "a", "\n", "ü", "😀"];
    const text = () => Array.from({ length: random.below(6) }, () => random.pick(texts)).join("");
    const make = (levels: number): unknown => (levels === 0 ? text() : random.below(2) === 0 ? [text(), make(levels - 1)] : { [text()]: make(levels - 1), [`${text()}x`]: text() });
    for (let round = 0; round < 2_000; round++) {
      const document = { [text()]: make(random.below(maxJsonDepth + 20)) };
      const json = JSON.stringify(document);
      const fits = depthOf(document) <= maxJsonDepth;
      if (fits) expect(parseJsonObject(json)).toEqual(document as Record<string, unknown>);
      else expect(() => parseJsonObject(json)).toThrow("nested deeper");
    }
  });
});
