/**
 * Whose address a request has, as the key limits are counted by. An address is real when the TCP peer has it or a trusted
 * proxy names it. Loopback, container gateways and what cannot be read are one unknown client, which has no key.
 */
import { type Address, type Block, isIn, parseAddress, parseBlock } from "../base/ip-address.ts";
import { maxForwardedCharacters, maxForwardedEntries } from "../base/limits.ts";

/** From `parseTrustedProxies`. */
export type TrustedProxies = readonly Block[];

export type AddressClues = {
  /** The socket's own word. */
  peer: string | undefined;
  /** `X-Forwarded-For` as it came. */
  forwardedFor: string | undefined;
  trusted: TrustedProxies;
  /** Addresses that container engines put in place of every client's. What is no address is passed over. */
  gateways: readonly string[];
};

/** `::/96` holds `::`, `::1` and a form of IPv4 that is no longer used. Link-local is one /64 for everybody, and container engines use it for gateways. */
const nobodysBlocks = parseTrustedProxies(["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/96", "fe80::/10"]);

/**
 * Addresses and CIDR blocks, IPv4 and IPv6.
 * @throws Error that names the first bad entry.
 */
export function parseTrustedProxies(list: readonly string[]): TrustedProxies {
  return list.map((entry) => {
    const block = parseBlock(entry.trim());
    if (!block) throw new Error(`${JSON.stringify(entry)} is neither an IP address nor a CIDR block such as 10.0.0.0/8 or fd00::/8.`);
    return block;
  });
}

/** `1.2.3.4`, or for IPv6 the /64 a client has to itself, `2001:db8:1:2::/64`; undefined for the unknown client, to whom no limit by address may apply. */
export function clientAddress({ peer, forwardedFor, trusted, gateways }: AddressClues): string | undefined {
  const peerAddress = peer === undefined ? undefined : parseAddress(peer);
  const client = peerAddress && isIn(trusted, peerAddress) ? namedByProxies(forwardedFor, trusted) : peerAddress;
  return client === undefined || isIn(nobodysBlocks, client) || isGateway(client, gateways) ? undefined : keyOf(client);
}

/** The first untrusted one from the right: left of it stands what a client may have written. */
function namedByProxies(forwardedFor: string | undefined, trusted: TrustedProxies): Address | undefined {
  for (const entry of lastEntries(forwardedFor ?? "").reverse()) {
    const address = parseForwarded(entry);
    // Nothing left of an entry that cannot be read is believed, or a proxy's "unknown" would let the client name itself.
    if (!address || !isIn(trusted, address)) return address;
  }
  return undefined;
}

function lastEntries(header: string): string[] {
  const entries = header.slice(-maxForwardedCharacters).split(",");
  // What is left of a cut entry can be another address: 12.3.4.5 of 112.3.4.5.
  if (header.length > maxForwardedCharacters) entries.shift();
  return entries.slice(-maxForwardedEntries);
}

/** `1.2.3.4`, `1.2.3.4:5678`, `::1`, `[::1]`, `[::1]:80`, each also in quotes. */
function parseForwarded(entry: string): Address | undefined {
  const text = entry.trim().replace(/^"(.*)"$/, "$1");
  const bracketed = /^\[([^\]]*:[^\]]*)\](?::\d{1,5})?$/.exec(text);
  return parseAddress(bracketed ? bracketed[1]! : text.replace(/^([\d.]+):\d{1,5}$/, "$1"));
}

function isGateway(address: Address, gateways: readonly string[]): boolean {
  return gateways.some((text) => {
    const gateway = parseAddress(text.trim());
    return gateway?.version === address.version && gateway.bits === address.bits;
  });
}

function keyOf({ version, bits }: Address): string {
  if (version === 4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join(".");
  const groups = [112n, 96n, 80n, 64n].map((shift) => ((bits >> shift) & 0xffffn).toString(16));
  // The four zero groups behind the prefix are always the longest run, so `::` stands there and takes the zeros before it along.
  return `${groups.join(":").replace(/(^|:)0(:0)*$/, "")}::/64`;
}
