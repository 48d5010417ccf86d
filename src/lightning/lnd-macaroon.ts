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

/** Each as a right, or as the calls that it stands for: a macaroon may name those instead (`lncli bakemacaroon uri:/lnrpc.Lightning/AddInvoice ...`). */
type Need = { right: string; calls: readonly string[] };
const lightning = (...names: string[]) => names.map((name) => `uri:/lnrpc.Lightning/${name}`);
const router = (...names: string[]) => names.map((name) => `uri:/routerrpc.Router/${name}`);

const selling: readonly Need[] = [
  { right: "invoices:read", calls: lightning("LookupInvoice", "ListInvoices", "SubscribeInvoices") },
  { right: "invoices:write", calls: lightning("AddInvoice") },
];
const paying: readonly Need[] = [
  { right: "offchain:read", calls: [...lightning("ChannelBalance", "ListChannels", "ListPayments"), ...router("TrackPaymentV2")] },
  { right: "offchain:write", calls: router("SendPaymentV2") },
];
/** Good to have, for saying who the node is and how much can still be paid in; and LND's own invoice.macaroon has the last four. */
const harmless = [
  "info:read", "offchain:read", ...lightning("GetInfo", "ChannelBalance", "ListChannels", "GetChanInfo", "DeleteCanceledInvoice"),
  "address:read", "address:write", "onchain:read",
];

export type Rights = { missing: readonly string[]; /** With which more could be done than is needed: money could leave, or the node be changed. */ dangerous: readonly string[] };

function judge(held: readonly string[], needs: readonly Need[]): Rights {
  const missing = needs.filter(({ right, calls }) => !held.includes(right) && !calls.every((call) => held.includes(call))).map(({ right }) => right);
  const known = new Set([...harmless, ...needs.flatMap(({ right, calls }) => [right, ...calls])]);
  return { missing, dangerous: held.filter((right) => !known.has(right)) };
}

export function judgeSellingRights(held: readonly string[]): Rights {
  return judge(held, selling);
}

export function judgePayoutRights(held: readonly string[]): Rights {
  return judge(held, paying);
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
