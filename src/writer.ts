/** Entry point of the writer thread: collects every room's commands and runs them. */
import { postCall, reserveCall, voidCall } from "./charge/commands.ts";
import { startBoot } from "./ledger/boot.ts";
import { setPasswordHash } from "./owner/password.ts";
import { creditInvoice, forgetInvoice, openInvoice } from "./payments/commands.ts";
import { bindNode } from "./payments/node-identity.ts";
import { runWriterThread } from "./store/writer-thread.ts";

runWriterThread([startBoot, bindNode, setPasswordHash, openInvoice, creditInvoice, forgetInvoice, reserveCall, voidCall, postCall], {
  startSyncer: () => new Worker(new URL("./store/sync-worker.ts", import.meta.url).href),
  startCheckpointer: () => new Worker(new URL("./store/checkpoint-worker.ts", import.meta.url).href),
});
