/**
 * A program, run under shim.c with small limits: the log still has room inside its file, as it has after a reset, but
 * the database file cannot grow, so checkpoints find a full disk. Ends with 0 when selling went on.
 *
 *   bun full-checkpoint.ts PATH-OF-DATABASE
 */
import { startBoot } from "../../src/ledger/boot.ts";
import { openInvoice } from "../../src/payments/commands.ts";
import { ThreadWriter } from "../../src/store/writer.ts";
import { atMs, sampleInvoice } from "./payments-sample.ts";
import { fillDisk } from "./shim-calls.ts";

const thread = new Worker(new URL("../../src/writer.ts", import.meta.url).href);
const writer = await ThreadWriter.open(thread, process.argv[2]!, (reason) => {
  process.stderr.write(`${reason}\n`);
  process.exit(70);
});
const started = await writer.durable(startBoot, { atMs });
if (!started.ok) throw new Error("the boot was refused");
fillDisk({ database: true, wal: false });
for (let n = 1; n <= 300; n++) await writer.durable(openInvoice, sampleInvoice(n, { amountMsat: 1_000n }));
fillDisk({ database: false, wal: false });
await writer.close();
process.exit(0);
