/** What a session of Lightning Node Connect must allow for selling and for paying out, and what it had better not. Pure. */

type Wanted = Readonly<Record<string, string>>;

/** By what LND calls them, and the right of a macaroon that does as well. */
const selling: Wanted = {
  "/lnrpc.Lightning/GetInfo": "info:read", "/lnrpc.Lightning/AddInvoice": "invoices:write", "/lnrpc.Lightning/LookupInvoice": "invoices:read",
  "/lnrpc.Lightning/ListInvoices": "invoices:read", "/lnrpc.Lightning/SubscribeInvoices": "invoices:read", "/lnrpc.Lightning/ChannelBalance": "offchain:read",
  "/lnrpc.Lightning/ListChannels": "offchain:read", "/lnrpc.Lightning/GetChanInfo": "info:read",
};
const paying: Wanted = { "/routerrpc.Router/SendPaymentV2": "offchain:write", "/routerrpc.Router/TrackPaymentV2": "offchain:read", "/lnrpc.Lightning/ListPayments": "offchain:read" };
/**
 * Good to have: they take expired invoices off the node and tell how it is. Not asked for, since a litd whose LND does not know one of them
 * would refuse the whole session.
 */
const welcome = ["/lnrpc.Lightning/DeleteCanceledInvoice", "/lnrpc.State/GetState"];
/** With these nothing leaves the node. */
const harmless = new Set(["invoices:write", "address:write", ...[...Object.keys(selling), ...welcome, "/lnrpc.Lightning/ListPayments", "/routerrpc.Router/TrackPaymentV2"].map((uri) => `uri:${uri}`)]);
const secondsOfAYear = 31_536_000;

const wantedFor = (payouts: boolean): Wanted => (payouts ? { ...selling, ...paying } : selling);

/** How an owner makes a session that can do this and no more. Without a word on it, it would end after 90 days. */
export function sessionCommand(payouts: boolean): string {
  return `litcli sessions add --label=hearth --type=custom --expiry=${secondsOfAYear} ${Object.keys(wantedFor(payouts)).map((uri) => `--uri=${uri}`).join(" ")}`;
}

/** `rights`: entity:action, or uri:/package.Service/Name. */
export function judgeSession(rights: readonly string[], payouts: boolean): { missing: string[]; dangerous: string[] } {
  const wanted = wantedFor(payouts);
  const missing = Object.entries(wanted).filter(([uri, right]) => !rights.includes(`uri:${uri}`) && !rights.includes(right)).map(([uri]) => uri);
  const isWanted = (right: string) => Object.entries(wanted).some(([uri, broad]) => right === `uri:${uri}` || right === broad);
  return { missing, dangerous: rights.filter((right) => !harmless.has(right) && !right.endsWith(":read") && !isWanted(right)) };
}
