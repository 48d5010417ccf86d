/**
 * The sandbox node's memory: an append-only file of JSON lines, each whole or not there. Kept by kill -9, not by a
 * power cut: it never waits for the disk. Refuses to skip a damaged line, since a forgotten payment is worse than none.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { AppError } from "../base/errors.ts";

export type Entry =
  | { kind: "key"; privateKey: string }
  | {
      kind: "invoice";
      paymentHash: string;
      preimage: string;
      reference: string;
      bolt11: string;
      amountMsat: string;
      expiresAtMs: number;
    }
  | { kind: "payment"; paymentHash: string; settleAtMs: number }
  | { kind: "settlement"; paymentHash: string; settleIndex: string }
  | PayeeEntry;

/** Of somebody else, whom this node can pay. `held`: they decide later whether they take the money. */
export type PayeeEntry =
  | { kind: "payee"; privateKey: string }
  | { kind: "payable"; paymentHash: string; preimage: string; bolt11: string; amountMsat: string; expiresAtMs: number; held: boolean }
  | { kind: "sending"; paymentHash: string; feeMsat: string; atMs: number }
  | { kind: "ended"; paymentHash: string; taken: boolean };

export type SandboxFile = {
  /** What was written before, in order. */
  past: Entry[];
  /** Returns once the entry would survive the process. @throws AppError `node_unavailable`, with nothing written. */
  append(entry: Entry): void;
  close(): void;
};

/** Opens the file or makes an empty one, readable by its owner only. @throws AppError `node_unavailable`. */
export function openSandboxFile(path: string): SandboxFile {
  let file: number;
  try {
    file = openSync(path, "a+", 0o600);
  } catch (cause) {
    throw new AppError("node_unavailable", `The sandbox node cannot open ${path}`, { retryable: true, cause });
  }
  try {
    const past = readEntries(file, path);
    return { past, append: (entry) => append(file, path, entry), close: () => closeSync(file) };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** All whole lines. A torn last one was never answered, so it is cut off before anything is written after it. */
function readEntries(file: number, path: string): Entry[] {
  const bytes = readFileSync(file);
  const end = bytes.lastIndexOf("\n") + 1;
  if (end < bytes.length) ftruncateSync(file, end);
  const lines = bytes.toString("utf8", 0, end).split("\n").slice(0, -1);
  return lines.map((line, index) => {
    try {
      return JSON.parse(line) as Entry;
    } catch (cause) {
      const message = `Line ${index + 1} of ${path} is damaged; move the file away to begin with a new sandbox node.`;
      throw new AppError("node_unavailable", message, { cause });
    }
  });
}

/** What a full disk cuts short is taken back. */
function append(file: number, path: string, entry: Entry): void {
  const line = Buffer.from(JSON.stringify(entry) + "\n");
  const { size } = fstatSync(file);
  let cause: unknown;
  try {
    if (writeSync(file, line) === line.length) return;
  } catch (error) {
    cause = error;
  }
  ftruncateSync(file, size);
  throw new AppError("node_unavailable", `The sandbox node cannot write ${path}`, { retryable: true, cause });
}
