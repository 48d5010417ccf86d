/**
 * What a disk may hold after the power went: reads the shim's record and makes such disks. Knows no SQL and no money.
 * Certain is what was written before a sync of its file began that has also ended. Of everything later any subset may
 * be there: whole writes or pieces of them, torn at a byte, file sizes and truncations kept or not. Pieces are
 * independent of each other, which is harsher than a page cache.
 */

export type DiskFileName = "database" | "wal";
export type DiskEvent =
  | { kind: "write"; seq: number; file: DiskFileName; offset: number; bytes: Buffer }
  | { kind: "truncate"; seq: number; file: DiskFileName; size: number }
  | { kind: "syncBegan"; seq: number; file: DiskFileName }
  | { kind: "syncEnded"; seq: number; file: DiskFileName; beganSeq: number }
  | { kind: "unlink"; seq: number; file: DiskFileName }
  | { kind: "mark"; seq: number; text: string }
  /** Done to a file without a name: it reaches no disk anybody will read. */
  | { kind: "lost"; seq: number };

const headBytes = 32;

/** Reads a record file; see `struct record` in shim.c. */
export function decodeRecord(raw: Buffer): DiskEvent[] {
  const events: DiskEvent[] = [];
  for (let at = 0; at < raw.length; ) {
    const type = String.fromCharCode(raw[at + 8]!);
    const length = Number(raw.readBigUInt64LE(at + 24));
    events.push(decodeEvent(type, raw, at, raw.subarray(at + headBytes, at + headBytes + length)));
    at += headBytes + length;
  }
  return events;
}

function decodeEvent(type: string, raw: Buffer, at: number, bytes: Buffer): DiskEvent {
  const seq = Number(raw.readBigUInt64LE(at));
  const file = raw[at + 9] === 0 ? "database" : "wal";
  const offset = Number(raw.readBigUInt64LE(at + 16));
  if (type === "M") return { kind: "mark", seq, text: bytes.toString() };
  if (raw.readUInt16LE(at + 10) !== 0) return { kind: "lost", seq };
  switch (type) {
    case "W":
      return { kind: "write", seq, file, offset, bytes };
    case "T":
      return { kind: "truncate", seq, file, size: offset };
    case "B":
      return { kind: "syncBegan", seq, file };
    case "E":
      return { kind: "syncEnded", seq, file, beganSeq: offset };
    case "U":
      return { kind: "unlink", seq, file };
    default:
      throw new Error(`the shim's record has an unknown type ${type} at byte ${at}`);
  }
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Change = Extract<DiskEvent, { kind: "write" | "truncate" }>;

/** How likely a later piece is there, and how large pieces are (the last: whole writes). One of each for a whole image. */
const chances = [0, 0.02, 0.1, 0.5, 0.9, 1];
const pieceSizes = [512, 4096, 4096, 2 ** 30];

/** One file: what is certain, and what was done to it since. */
export class DiskFile {
  #certain = Buffer.alloc(1 << 22);
  #size = 0;
  #later: Change[] = [];
  #unlinked = false;

  take(event: DiskEvent): void {
    if (event.kind === "write" || event.kind === "truncate") this.#later.push(event);
    else if (event.kind === "syncEnded") this.#sync(event.beganSeq);
    else if (event.kind === "unlink") this.#unlinked = true;
  }

  #sync(beganSeq: number): void {
    const open: Change[] = [];
    for (const change of this.#later) {
      if (change.seq < beganSeq) this.#make(change);
      else open.push(change);
    }
    this.#later = open;
  }

  #make(change: Change): void {
    if (change.kind === "truncate") {
      if (change.size < this.#size) this.#certain.fill(0, change.size, this.#size);
      this.#size = change.size;
      return;
    }
    const end = change.offset + change.bytes.length;
    while (end > this.#certain.length) this.#certain = Buffer.concat([this.#certain, Buffer.alloc(this.#certain.length)]);
    change.bytes.copy(this.#certain, change.offset);
    this.#size = Math.max(this.#size, end);
  }

  /** Only what is certain. For what was promised before, this must be enough. */
  certain(): Buffer {
    return Buffer.from(this.#certain.subarray(0, this.#size));
  }

  /** One of the contents it may have after a power cut now; undefined: its name is gone. */
  image(random: () => number): Buffer | undefined {
    if (this.#unlinked && random() < 0.5) return undefined; // the directory was not synced since: either may be
    const chance = pick(chances, random);
    const pieceBytes = pick(pieceSizes, random);
    const largest = this.#later.reduce((end, one) => (one.kind === "write" ? Math.max(end, one.offset + one.bytes.length) : end), this.#size);
    const content = Buffer.alloc(largest);
    this.#certain.copy(content, 0, 0, this.#size);
    // A file that grew without its data: zeros, sometimes whatever lay on the disk before.
    if (random() < 0.1) for (let i = this.#size; i < largest; i++) content[i] = random() * 256;
    let size = this.#size;
    for (const change of this.#later) {
      if (change.kind === "write") size = Math.max(size, writePieces(content, change, { chance, pieceBytes, random }));
      else if (random() < chance) {
        content.fill(0, Math.min(change.size, largest));
        size = change.size;
      }
    }
    return content.subarray(0, random() < 0.3 ? largest : size);
  }
}

/** Copies some pieces of a write and answers where the last of them ends. */
function writePieces(
  content: Buffer,
  write: Extract<Change, { kind: "write" }>,
  how: { chance: number; pieceBytes: number; random: () => number },
): number {
  const writeEnd = write.offset + write.bytes.length;
  let last = 0;
  for (let from = write.offset; from < writeEnd; ) {
    const next = Math.min(writeEnd, (Math.floor(from / how.pieceBytes) + 1) * how.pieceBytes);
    const [start, end] = tear(from, next, how.random);
    if (how.random() < how.chance) {
      write.bytes.copy(content, start, start - write.offset, end - write.offset);
      last = Math.max(last, end);
    }
    from = next;
  }
  return last;
}

/** 3 % of the pieces lose their end or their beginning. */
function tear(from: number, to: number, random: () => number): [number, number] {
  if (random() >= 0.03) return [from, to];
  const cut = from + Math.floor(random() * (to - from));
  return random() < 0.5 ? [from, cut] : [cut, to];
}

export function pick<Item>(items: readonly Item[], random: () => number): Item {
  return items[Math.floor(random() * items.length)]!;
}
