/** Lightning Node Connect without a node: what is made of its names, its words, its rights and its phrases. */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemRandom } from "../../src/base/clock.ts";
import { SealedSecrets } from "../../src/config/sealed-secrets.ts";
import { toError, withSnakeKeys } from "../../src/lightning/lnc.ts";
import { LncLink } from "../../src/lightning/lnc-link.ts";
import { Pairings, readPhrase } from "../../src/lightning/lnc-pairing.ts";
import { judgeSession, sessionCommand } from "../../src/lightning/lnc-rights.ts";
import { LncEnd } from "../../src/lightning/lnc-session.ts";
import { makeDataDir, removeDataDir } from "../support/hearth.ts";

test("names come back as LND has them, at every depth, and values stay", () => {
  const camel = { rHash: "AA==", amtPaidMsat: "9007199254740993", htlcs: [{ chanId: "1", mppTotalAmtMsat: "2" }], features: { "14": { isKnown: true } }, remoteBalance: { msat: "3" }, memo: "aB_cD", none: null };
  expect(withSnakeKeys(camel)).toEqual({ r_hash: "AA==", amt_paid_msat: "9007199254740993", htlcs: [{ chan_id: "1", mpp_total_amt_msat: "2" }], features: { "14": { is_known: true } }, remote_balance: { msat: "3" }, memo: "aB_cD", none: null });
});

test.each([
  ["rpc error: code = Unknown desc = unable to locate invoice", true, "not_found"],
  ["rpc error: code = NotFound desc = there are no existing invoices", true, "not_found"],
  ["rpc error: code = Unimplemented desc = unknown method DeleteCanceledInvoice for service lnrpc.Lightning", true, "unknown_call"],
  ["rpc error: code = Unknown desc = permission denied", true, "forbidden"],
  ["rpc error: code = PermissionDenied desc = not for you", true, "forbidden"],
  ["rpc error: code = Unknown desc = wallet locked, unlock it to enable full RPC access", true, "locked"],
  ["rpc error: code = Unknown desc = the RPC server is in the process of starting up, but not yet ready to accept calls", true, "starting"],
  // lnd is gone behind a session that lives, and the session itself is gone.
  ["rpc error: code = Unavailable desc = connection error", true, "unreachable"],
  ["rpc error: code = Unavailable desc = error reading from server: EOF", false, "unreachable"],
  ["its Worker ended", false, "unreachable"],
  ["rpc error: code = Unknown desc = amount must be positive", true, "refused"],
] as const)("%s (connected: %p) is the trouble %s", (words, connected, trouble) => expect(toError(new LncEnd(words, connected)).trouble).toBe(trouble));

describe("a session", () => {
  const custom = ["GetInfo", "AddInvoice", "LookupInvoice", "ListInvoices", "SubscribeInvoices", "ChannelBalance", "ListChannels", "GetChanInfo"].map((name) => `uri:/lnrpc.Lightning/${name}`);

  test("that is made with the line Hearth shows can sell and cannot spend", () => {
    const made = (payouts: boolean) => [...sessionCommand(payouts).matchAll(/--uri=(\S+)/g)].map(([, uri]) => `uri:${uri}`);
    expect(judgeSession(made(false), false)).toEqual({ missing: [], dangerous: [] });
    expect(judgeSession(made(true), true)).toEqual({ missing: [], dangerous: [] });
    expect(judgeSession(made(true), false).dangerous).toEqual(["uri:/routerrpc.Router/SendPaymentV2"]);
    expect(judgeSession(made(false), true).missing).toEqual(["/routerrpc.Router/SendPaymentV2", "/routerrpc.Router/TrackPaymentV2", "/lnrpc.Lightning/ListPayments"]);
  });

  test("may come with rights of whole kinds instead", () => {
    expect(judgeSession(["info:read", "invoices:read", "invoices:write", "offchain:read", "peers:read"], false)).toEqual({ missing: [], dangerous: [] });
  });

  test("that could pay, or do what nobody here knows, is known for it", () => {
    expect(judgeSession([...custom, "uri:/routerrpc.Router/SendPaymentV2"], false).dangerous).toEqual(["uri:/routerrpc.Router/SendPaymentV2"]);
    expect(judgeSession([...custom, "offchain:write", "macaroon:generate"], false).dangerous).toEqual(["offchain:write", "macaroon:generate"]);
  });

  test("that lacks something is told what", () => expect(judgeSession(custom.slice(1), false).missing).toEqual(["/lnrpc.Lightning/GetInfo"]));

  test("is asked for in hearth.example.toml as in doctor", () => {
    const text = readFileSync(new URL("../../hearth.example.toml", import.meta.url), "utf8").replaceAll(/ \\\n#\s+/g, " ");
    expect(text).toContain(sessionCommand(false));
  });
});

describe("a pairing", () => {
  const words = "abandon ability able about above absent absorb abstract absurd abuse";
  const other = "zoo zone young you yellow year wrong write worth worry";

  test("phrase is read as people write it, and refused without being shown", () => {
    expect(readPhrase(`  ${words.toUpperCase().replaceAll(" ", "\n ")}\n`)).toBe(words);
    for (const wrong of ["", "abandon", `${words} abuse`, words.replace("abuse", "<b>")])
      expect(() => readPhrase(wrong)).toThrow(/^A pairing phrase has (?!.*abandon)/);
  });

  test("has its key on the disk before it is used, and takes the place of the other only once it works", () => {
    const dataDir = makeDataDir();
    try {
      const open = () => new Pairings(new SealedSecrets(dataDir, {}, systemRandom), systemRandom);
      const first = open().begin(words);
      expect(first).toMatchObject({ phrase: words, proven: false });
      expect(existsSync(join(dataDir, "secrets.json"))).toBe(true);
      expect(open().begin(words)).toEqual(first); // begun again after a crash
      expect(open().kept).toBeUndefined();
      open().keepRemoteKey("02aa");
      open().adopt({ ...first, remoteKey: "02aa" });
      expect(open().kept).toEqual({ ...first, remoteKey: "02aa", proven: true });
      const second = open().begin(other);
      expect(second.localKey).not.toBe(first.localKey);
      expect(open().kept?.phrase).toBe(words);
      open().adopt(open().kept!); // the one that works is connected again meanwhile
      open().forgetUnused(other);
      expect(open().begin(other).localKey).not.toBe(second.localKey);
      expect(open().begin(words)).toEqual(open().kept!);
    } finally {
      removeDataDir(dataDir);
    }
  });
});

test("a Worker that cannot be of use is followed by another, and nobody waits meanwhile", async () => {
  let opened = 0;
  const source = URL.createObjectURL(new Blob(['self.onmessage = () => self.postMessage({ told: "broken", why: "no use" }); self.postMessage({ told: "loaded" });'], { type: "application/javascript" }));
  const link = new LncLink({
    openWorker: () => (opened++, new Worker(source)),
    wasm: { path: "/nowhere", sum: "" }, mailbox: "localhost:1", pairing: { phrase: "", localKey: "", proven: false }, onRemoteKey: () => undefined, onConnected: () => undefined,
  });
  link.start();
  await expect(link.connected()).rejects.toThrow("no use");
  const fromMs = performance.now();
  await expect(link.call("lnrpc.Lightning.GetInfo", {})).rejects.toThrow("no use");
  expect(performance.now() - fromMs).toBeLessThan(200);
  await Bun.sleep(1_300);
  expect(opened).toBe(2);
  await link.stop();
  URL.revokeObjectURL(source);
});
