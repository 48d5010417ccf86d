/** The WASM's pin belongs to the source beside it: who changes one without the other is told here, with no Go needed. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import pinned from "../../src/lightning/lnc-wasm.json";

const source = new URL("../../lnc/", import.meta.url).pathname;

test("src/lightning/lnc-wasm.json names the source that is here; after a change npm run build:lnc -- --accept writes it", () => {
  const names = [...new Bun.Glob("*.{go,binpb,mod,sum}").scanSync({ cwd: source })].sort();
  expect(names).toEqual(["calls.go", "go.mod", "go.sum", "link.go", "lnd.binpb", "main.go", "rights.go", "rpcs.go"]);
  const sum = new Bun.CryptoHasher("sha256").update(Buffer.concat(names.map((name) => readFileSync(join(source, name))))).digest("hex");
  expect(sum).toBe(pinned.sources);
});

test("every RPC that is asked of an LND is among its descriptors", () => {
  const descriptors = readFileSync(join(source, "lnd.binpb"), "latin1");
  const names = ["GetState", "GetInfo", "AddInvoice", "LookupInvoice", "ListInvoices", "DeleteCanceledInvoice", "ChannelBalance", "ListPayments", "ListChannels", "GetChanInfo", "SubscribeInvoices", "SendPaymentV2", "TrackPaymentV2"];
  expect(names.filter((name) => !descriptors.includes(name))).toEqual([]);
});
