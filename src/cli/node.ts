/** `hearth node`: whose node this data directory belongs to, and how it comes to belong to another. Hearth must not be running for that. */
import { AppError } from "../base/errors.ts";
import type { NodeStatus } from "../lightning/node.ts";
import { boundNode } from "../payments/node-identity.ts";
import { replaceNode, type Unfinished, unfinished } from "../payments/replace-node.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";

const usage = `hearth node                        which node this data directory belongs to
hearth node replace                the node of the settings takes its place; Hearth must be stopped
hearth node replace --write-off    also while invoices and payouts are open: those are given up`;

export type NodeCommand = {
  args: readonly string[];
  /** The node of the settings. @throws AppError `node_unavailable`. */
  status(): Promise<Pick<NodeStatus, "network" | "publicKey">>;
  /** Opened only to replace: another Hearth must not have it. */
  openBooks(): Promise<{ writer: Writer; reader: Reader; boot: bigint; close(): Promise<void> }>;
  /** To look. */
  reader: Pick<Reader, "get">;
  nowMs(): number;
};

/** The process's exit code. @throws AppError with what to do. */
export async function nodeCommand({ args, status, openBooks, reader, nowMs }: NodeCommand, print: (line: string) => void): Promise<number> {
  const [verb, flag, ...rest] = args;
  if (rest.length > 0 || (verb !== undefined && verb !== "replace") || (flag !== undefined && flag !== "--write-off")) {
    print(usage);
    return 2;
  }
  const bound = boundNode(reader);
  if (bound === undefined) throw refused("This data directory belongs to no node yet; it will be that of the settings once it has answered.");
  print(`This data directory belongs to ${bound.publicKey} on ${bound.network}.`);
  if (verb === undefined) return 0;
  const { network, publicKey } = await status();
  if (network !== bound.network) throw refused(`The node of the settings is on ${network}: money of one network is worth nothing on another. Use another HEARTH_DATA_DIR for it.`);
  if (publicKey === bound.publicKey) throw refused("The node of the settings is the same; there is nothing to replace.");
  const books = await openBooks();
  try {
    const left = unfinished(books.reader);
    const outcome = await books.writer.durable(replaceNode, { from: bound.publicKey, to: publicKey, writeOff: flag !== undefined, boot: books.boot, atMs: nowMs() });
    if (!outcome.ok) throw refused(outcome.reason === "unfinished" ? unfinishedText(left) : "It was replaced meanwhile.");
    print(`It belongs to ${publicKey} now. ${outcome.forgotten} open invoices are forgotten, the money of ${outcome.returned} open payouts is back on its accounts.`);
    print("What the old node still held is yours to bring over: your payers' balances are owed by the new one, and payouts stay off until it holds as much.");
    return 0;
  } finally {
    await books.close();
  }
}

function unfinishedText({ invoices, payouts, restored }: Unfinished): string {
  const meanwhile = restored ? " A backup was put back, and only the old node knows what left since it was made (hearth payouts restored)." : "";
  return `The old node has not ended everything: ${invoices} invoices may have been paid to it, ${payouts} payouts are open.${meanwhile} ` +
    "Start Hearth with the old node until it has ended them, about a quarter of an hour; or, where it is lost, give them up: hearth node replace --write-off. Whoever has paid such an invoice has paid for nothing then, and what the old node pays out is your loss.";
}

function refused(message: string): AppError {
  return new AppError("refused", message);
}
