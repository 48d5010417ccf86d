/** Entry point of the writer thread: collects every room's commands and runs them. */
import { claimPayment } from "./accounts/claim.ts";
import { takePayout } from "./accounts/take-payout.ts";
import { revokeKey, rotateKey } from "./accounts/keys.ts";
import { takeRequestKey } from "./accounts/request-keys.ts";
import { postCall, reserveCall, reserveSingleUse, reserveTrial, voidCall } from "./charge/commands.ts";
import { startBoot } from "./ledger/boot.ts";
import { setPasswordHash } from "./owner/password.ts";
import { creditInvoice, forgetInvoice, openInvoice } from "./payments/commands.ts";
import { bookPayout, endPayout, knowPayout, sendPayout, startPayouts } from "./payments/payout-commands.ts";
import { confirmRestore, switchPayouts } from "./payments/payout-switch.ts";
import { replaceNode } from "./payments/replace-node.ts";
import { bindNode } from "./payments/node-identity.ts";
import { runWriterThread } from "./store/writer-thread.ts";

const commands = [
  startBoot, bindNode, replaceNode, setPasswordHash,
  openInvoice, creditInvoice, forgetInvoice,
  takePayout, sendPayout, endPayout, knowPayout, bookPayout, startPayouts, switchPayouts, confirmRestore,
  claimPayment, rotateKey, revokeKey, takeRequestKey,
  reserveCall, reserveSingleUse, reserveTrial, voidCall, postCall,
];

runWriterThread(commands, {
  startSyncer: () => new Worker(new URL("./store/sync-worker.ts", import.meta.url).href),
  startCheckpointer: () => new Worker(new URL("./store/checkpoint-worker.ts", import.meta.url).href),
});
