/** Streams are cut into events without changing a byte, wherever the network cut them before. */
import { describe, expect, test } from "bun:test";
import { eventData, SseFramer } from "../../src/upstream/sse.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** As engines send them, and as the format allows. */
const streams: [name: string, text: string, data: (string | undefined)[]][] = [
  ["OpenAI's, with LF", 'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: {"usage":{"prompt_tokens":3}}\n\ndata: [DONE]\n\n',
    ['{"choices":[{"delta":{"content":"Hi"}}]}', '{"usage":{"prompt_tokens":3}}', "[DONE]"]],
  ["a proxy's, with CRLF", 'data: {"a":1}\r\n\r\ndata: [DONE]\r\n\r\n', ['{"a":1}', "[DONE]"]],
  ["one that mixes both line ends", "data: a\r\n\ndata: b\n\r\ndata: c\r\n\r\n", ["a", "b", "c"]],
  ["one with keep-alive comments", ": OPENROUTER PROCESSING\n\n:\n\ndata: a\n\n: keep-alive\r\n\r\n", [undefined, undefined, "a", undefined]],
  ["Anthropic's, with event names", 'event: message_start\ndata: {"type":"message_start"}\n\nevent: ping\ndata: {}\n\n', ['{"type":"message_start"}', "{}"]],
  ["one with data over several lines", "data: one\ndata: two\r\ndata:three\ndata\ndata: \n\nid: 7\nretry: 10\n\n", ["one\ntwo\nthree\n", undefined]],
  ["one with characters of two, three and four bytes", 'data: {"c":"é"}\n\ndata: {"c":"漢字"}\n\ndata: {"c":"🔥🇩🇪"}\n\n', ['{"c":"é"}', '{"c":"漢字"}', '{"c":"🔥🇩🇪"}']],
  ["one with blank lines in a row", "\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [undefined, "a", undefined, "b"]],
  ["one without a space after the colon", "data:a\n\ndata:  b\n\ndata:\n\n", ["a", " b", ""]],
  ["one that breaks off in the middle of an event", 'data: a\n\ndata: {"cut', ["a", '{"cut']],
  ["one that breaks off before the blank line", "data: a\n\ndata: b\r\n", ["a", "b"]],
  ["an empty one", "", []],
];

function frame(pieces: readonly Uint8Array[]): Uint8Array[] {
  const framer = new SseFramer();
  const events = pieces.flatMap((piece) => framer.push(piece).map((event) => event.slice()));
  const rest = framer.rest();
  return rest.length > 0 ? [...events, rest.slice()] : events;
}

describe.each(streams)("a stream like %s", (_name, text, data) => {
  const bytes = bytesOf(text);
  const whole = frame([bytes]).map(textOf);

  test("has these events", () => {
    expect(frame([bytes]).map(eventData)).toEqual(data);
  });

  test("is the same events cut at any one place, and not a byte is changed", () => {
    for (let at = 0; at <= bytes.length; at++) {
      const events = frame([bytes.subarray(0, at), bytes.subarray(at)]);
      expect(events.map(textOf)).toEqual(whole);
      expect(Buffer.concat(events)).toEqual(Buffer.from(bytes));
    }
  });

  test("is the same events cut at any two places", () => {
    for (let first = 0; first <= bytes.length; first++)
      for (let second = first; second <= bytes.length; second++) {
        const events = frame([bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)]);
        if (!Bun.deepEquals(events.map(textOf), whole)) throw new Error(`cut at ${first} and ${second}: ${Bun.inspect(events.map(textOf))}`);
      }
  });

  test("is the same events byte by byte, with empty pieces in between", () => {
    const pieces = [...bytes].flatMap((byte) => [new Uint8Array(0), Uint8Array.of(byte)]);
    expect(frame(pieces).map(textOf)).toEqual(whole);
  });
});

test("an event is handed on with its last byte, not with the next event", () => {
  const framer = new SseFramer();
  expect(framer.push(bytesOf("data: a\r\n\r")).map(textOf)).toEqual([]);
  expect(framer.push(bytesOf("\n")).map(textOf)).toEqual(["data: a\r\n\r\n"]);
  expect(framer.heldBytes).toBe(0);
});

test("what is held back can be bounded by its size", () => {
  const framer = new SseFramer();
  framer.push(bytesOf("data: a\n\ndata: 12345"));
  expect(framer.heldBytes).toBe(11);
  expect(textOf(framer.rest())).toBe("data: 12345");
  expect(framer.heldBytes).toBe(0);
});
