/**
 * Cuts a byte stream into server-sent events without changing a byte. Pure. The pieces joined are the stream; each
 * event ends with its blank line. Lines end with LF or CRLF.
 */

const lf = 10;
const cr = 13;

export class SseFramer {
  #held: Uint8Array = new Uint8Array(0);
  /** Up to here the held bytes were searched and hold no blank line. */
  #searched = 0;

  /** Bytes of an event that is not complete yet. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** The events that `bytes` completes, in order. */
  push(bytes: Uint8Array): Uint8Array[] {
    const all = this.#held.length === 0 ? bytes : join(this.#held, bytes);
    const events: Uint8Array[] = [];
    let start = 0;
    // A blank line is LF LF or LF CR LF; step back far enough to see one that was cut.
    for (let at = all.indexOf(lf, Math.max(0, this.#searched - 2)); at !== -1; at = all.indexOf(lf, at + 1)) {
      const blankEnd = all[at + 1] === lf ? at + 2 : all[at + 1] === cr && all[at + 2] === lf ? at + 3 : 0;
      if (blankEnd === 0 || at < start) continue;
      events.push(all.subarray(start, blankEnd));
      start = blankEnd;
      at = blankEnd - 1;
    }
    this.#held = all.subarray(start);
    this.#searched = this.#held.length;
    return events;
  }

  /** What is left when the stream ends: an event without its blank line, or nothing. */
  rest(): Uint8Array {
    const rest = this.#held;
    this.#held = new Uint8Array(0);
    this.#searched = 0;
    return rest;
  }
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** The `data` of one event, its lines joined; undefined for comments and events without data. */
export function eventData(event: Uint8Array): string | undefined {
  const text = new TextDecoder().decode(event);
  if (text.startsWith("data: ") && text.indexOf("\n") >= text.trimEnd().length) return text.slice(6).trimEnd();
  const lines = text.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.length === 0 ? undefined : lines.map((line) => line.slice(line[5] === " " ? 6 : 5)).join("\n");
}
