/**
 * What an LND macaroon allows, read from itself. Pure. Its identifier is bakery's version 3: a byte, then a message of operations
 * (lnrpc/lightning.proto, MacaroonId). The rights of nobody are judged by it but the owner's, who is told when they are more than needed.
 */

/** `entity:action`, e.g. `invoices:write`; undefined where it cannot be read. */
export function macaroonRights(macaroonHex: string): string[] | undefined {
  try {
    const identifier = identifierOf(Buffer.from(macaroonHex, "hex"));
    return identifier?.[0] === 3 ? operationsOf(identifier.subarray(1)) : undefined;
  } catch {
    return undefined;
  }
}

/** What selling needs, and what is good to have for saying how much can still be paid in. */
export const sellingRights = ["invoices:read", "invoices:write"] as const;
const knownRights = new Set<string>([...sellingRights, "info:read", "offchain:read", "address:read", "address:write", "onchain:read"]);

/** Those with which money could leave, or the node be changed. */
export function dangerousRights(rights: readonly string[]): string[] {
  return rights.filter((right) => !knownRights.has(right));
}

class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    if (this.atEnd) throw new RangeError("the bytes end");
    return this.#bytes[this.#at++]!;
  }

  /** Base 128, the low bits first. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number too long");
  }

  take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw new RangeError("the bytes end");
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }
}

/** Macaroon version 2: fields of type, length and bytes; 2 is the identifier, 0 ends the head. */
function identifierOf(bytes: Uint8Array): Uint8Array | undefined {
  const cursor = new Cursor(bytes);
  if (cursor.byte() !== 2) return undefined;
  for (;;) {
    const type = cursor.varint();
    if (type === 0) return undefined;
    const value = cursor.take(cursor.varint());
    if (type === 2) return value;
  }
}

/** Length-delimited fields of a protobuf message, by number. */
function fieldsOf(bytes: Uint8Array): [number: number, value: Uint8Array][] {
  const cursor = new Cursor(bytes);
  const fields: [number, Uint8Array][] = [];
  while (!cursor.atEnd) {
    const tag = cursor.varint();
    if ((tag & 7) !== 2) throw new RangeError("a field of another type");
    fields.push([tag >> 3, cursor.take(cursor.varint())]);
  }
  return fields;
}

function operationsOf(message: Uint8Array): string[] {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return fieldsOf(message).filter(([number]) => number === 3).flatMap(([, operation]) => {
    const parts = fieldsOf(operation);
    const entity = parts.find(([number]) => number === 1);
    return parts.filter(([number]) => number === 2).map(([, action]) => `${entity === undefined ? "" : text(entity[1])}:${text(action)}`);
  });
}
