/** Every field of a chat request is forwarded, written by us, dropped or refused; nothing slips by unread. */
import { describe, expect, test } from "bun:test";
import { splitFields } from "../../src/gateway/chat-fields.ts";

describe("fields", () => {
  test("what is known passes as it came, what is not is dropped by name, null is absent", () => {
    const split = splitFields({ model: "m", messages: [], stream: true, temperature: 0.5, stop: ["x"], pref: "fast", seed: null });
    expect(split).toMatchObject({ ok: true, passed: { temperature: 0.5, stop: ["x"] }, dropped: ["pref"], wantedCap: undefined });
  });

  test("the largest cap by any name counts, and none of them is forwarded", () => {
    const split = splitFields({ max_tokens: 5, max_completion_tokens: 9, num_predict: 7 });
    expect(split).toMatchObject({ ok: true, passed: {}, wantedCap: 9, dropped: [] });
  });

  test.each([[0], [-1], [1.5], ["9"], [true], [[]], [{}], [2 ** 60]])("a cap that is no count is the request's mistake: %p", (cap) => {
    expect(splitFields({ max_tokens: cap })).toMatchObject({ ok: false, code: "invalid_request", param: "max_tokens" });
  });

  test.each([
    "prediction", "web_search_options", "audio", "service_tier", "store", "background", "previous_response_id", "conversation", "models",
    "plugins", "provider", "ignore_eos", "min_tokens", "best_of", "options", "keep_alive", "search_parameters",
  ])("%s changes the price or the model and is refused", (name) => {
    expect(splitFields({ [name]: "anything" })).toMatchObject({ ok: false, code: "unsupported_field", param: name });
  });

  test.each([{ store: false }, { service_tier: "auto" }, { best_of: 1 }, { modalities: ["text"] }, { min_tokens: 0 }])("a field that says nothing is let be: %p", (field) => {
    expect(splitFields(field)).toMatchObject({ ok: true, passed: {}, dropped: [] });
  });

  test("only functions are tools for sale: others run at the upstream's price", () => {
    const call = { type: "function", function: { name: "f" } };
    expect(splitFields({ tools: [call] })).toMatchObject({ ok: true, passed: { tools: [call] }, promptFields: ["tools"] });
    expect(splitFields({ tools: [call, { type: "web_search" }] })).toMatchObject({ ok: false, code: "unsupported_field", param: "tools[1].type" });
    expect(splitFields({ tools: "x" })).toMatchObject({ ok: false, code: "invalid_request", param: "tools" });
  });

  test("a field named like something every object has is a stranger's field", () => {
    expect(splitFields(JSON.parse('{"__proto__": 1, "constructor": 2, "toString": 3}') as Record<string, unknown>)).toMatchObject({ ok: true, passed: {}, dropped: ["__proto__", "constructor", "toString"] });
  });
});
