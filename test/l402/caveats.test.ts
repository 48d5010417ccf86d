import { describe, expect, test } from "bun:test";
import { mintedCaveats, readCaveats, type CredentialLimits } from "../../src/l402/caveats.ts";
import { msat } from "../../src/money/msat.ts";

const createdAtMs = Date.UTC(2026, 0, 1, 0, 0, 0, 999);
const oneYearLaterS = Date.UTC(2027, 0, 1) / 1000;
const preimage = "5a".repeat(32);

const fresh: CredentialLimits = { validUntilS: oneYearLaterS, models: undefined, maxMsat: undefined, narrowed: false };

function readAppended(appended: string[], presented: string | undefined = preimage) {
  return readCaveats([...mintedCaveats(createdAtMs), ...appended], presented);
}

test("a new credential pays for any model for one year", () => {
  expect(mintedCaveats(createdAtMs)).toEqual(["services=llm:0", `llm_valid_until=${oneYearLaterS}`]);
  expect(readAppended([])).toEqual({ ok: true, limits: fresh });
});

describe("what a holder appends", () => {
  const narrowed = { ...fresh, narrowed: true };
  test.each<[string, string[], CredentialLimits]>([
    ["an earlier end counts", ["llm_valid_until=1800000000", "llm_valid_until=1700000000"], { ...narrowed, validUntilS: 1_700_000_000 }],
    ["a later end gives no more time", ["llm_valid_until=9999999999"], narrowed],
    ["models are the only ones left", ["llm_models=b,a"], { ...narrowed, models: ["b", "a"] }],
    ["of two model lists the common part counts", ["llm_models=a,b,c", "llm_models=c,d,b"], { ...narrowed, models: ["b", "c"] }],
    ["two lists without a common model leave none", ["llm_models=a", "llm_models=b"], { ...narrowed, models: [] }],
    ["a model named twice is one model", ["llm_models=a,a"], { ...narrowed, models: ["a"] }],
    ["a model's name may hold an equals sign", ["llm_models=a=b"], { ...narrowed, models: ["a=b"] }],
    ["of two amounts the smaller counts", ["llm_max_msat=500", "llm_max_msat=21000"], { ...narrowed, maxMsat: msat(500n) }],
    ["an amount of nothing is an amount", ["llm_max_msat=0"], { ...narrowed, maxMsat: msat(0n) }],
    ["our own service named again is a narrowing", ["services=llm:0"], narrowed],
    ["lnget's copy of the preimage narrows nothing", [`preimage=${preimage}`], fresh],
    ["the preimage in capitals is the same preimage", [`preimage=${preimage.toUpperCase()}`], fresh],
    ["a preimage among limits takes none away", ["llm_max_msat=1", `preimage=${preimage}`], { ...narrowed, maxMsat: msat(1n) }],
  ])("%s", (_rule, appended, limits) => {
    expect(readAppended(appended)).toEqual({ ok: true, limits });
  });

  test.each<[string, string[], string]>([
    ["a limit we do not know", ["max_calls=3"], "unknown_caveat"],
    ["one unknown limit among known ones", ["llm_max_msat=5", "time_before=1", "llm_models=a"], "unknown_caveat"],
    ["a condition in other letters", ["LLM_MODELS=a"], "unknown_caveat"],
    ["a property of every object", ["constructor=1"], "unknown_caveat"],
    ["another service", ["services=loop:0"], "unknown_caveat"],
    ["a second service beside ours", ["services=llm:0,loop:0"], "unknown_caveat"],
    ["a caveat without value", ["llm_models"], "malformed_caveat"],
    ["an empty caveat", [""], "malformed_caveat"],
    ["a caveat without condition", ["=llm:0"], "malformed_caveat"],
    ["a space", ["llm_models=a, b"], "malformed_caveat"],
    ["an empty list of models", ["llm_models="], "malformed_caveat"],
    ["a hole in a list of models", ["llm_models=a,,b"], "malformed_caveat"],
    ["an end that is no number", ["llm_valid_until=tomorrow"], "malformed_caveat"],
    ["a negative end", ["llm_valid_until=-1"], "malformed_caveat"],
    ["an end beyond whole numbers", ["llm_valid_until=9999999999999999"], "malformed_caveat"],
    ["an amount with a fraction", ["llm_max_msat=1.5"], "malformed_caveat"],
    ["an amount in hex", ["llm_max_msat=0x10"], "malformed_caveat"],
    ["more than all the bitcoin", ["llm_max_msat=9999999999999999999"], "malformed_caveat"],
    ["another preimage", [`preimage=${"00".repeat(32)}`], "preimage_mismatch"],
    ["a second, wrong preimage", [`preimage=${preimage}`, "preimage="], "preimage_mismatch"],
  ])("%s refuses the credential", (_rule, appended, reason) => {
    expect(readAppended(appended)).toEqual({ ok: false, reason: reason as "unknown_caveat" });
  });

  test("a preimage in the macaroon does not stand in for the one to be presented", () => {
    const caveats = [...mintedCaveats(createdAtMs), `preimage=${preimage}`];
    expect(readCaveats(caveats, undefined)).toEqual({ ok: false, reason: "preimage_mismatch" });
  });
});

test.each<[string, string[]]>([
  ["no caveats", []],
  ["only a service", ["services=llm:0"]],
  ["only an end", ["llm_valid_until=1800000000"]],
  ["the two in the other order", ["llm_valid_until=1800000000", "services=llm:0"]],
  ["no end but a preimage", ["services=llm:0", `preimage=${preimage}`]],
])("a macaroon with %s is none of our credentials", (_what, caveats) => {
  expect(readCaveats(caveats, preimage)).toEqual({ ok: false, reason: "malformed_caveat" });
});

test("a macaroon for another service is none of our credentials", () => {
  expect(readCaveats(["services=loop:0", "llm_valid_until=1800000000"], preimage)).toEqual({
    ok: false,
    reason: "unknown_caveat",
  });
});
