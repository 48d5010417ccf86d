/** IP addresses and blocks of them, read from their text so that every spelling of an address is the same one. */
import { isIP } from "node:net";

export type Address = { version: 4 | 6; bits: bigint };
/** `prefix` is what stays of an address's bits when `hostBits` are cut off. */
export type Block = { version: 4 | 6; hostBits: bigint; prefix: bigint };

/** An IPv4 address mapped into IPv6 is the IPv4 address. Undefined for what is none, odd spellings of IPv4 included. */
export function parseAddress(text: string): Address | undefined {
  const version = isIP(text);
  if (version === 0) return undefined;
  if (version === 4) return { version, bits: joinBits(text.split("."), 10, 8n) };
  const bits = joinBits(groupsOf(text.split("%")[0]!), 16, 16n);
  return bits >> 32n === 0xffffn ? { version: 4, bits: bits & 0xffffffffn } : { version: 6, bits };
}

/** The eight groups of an IPv6 address that `isIP` has found to be well-formed. */
function groupsOf(text: string): string[] {
  const inGroups = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (dotted) => {
    const bits = joinBits(dotted.split("."), 10, 8n);
    return `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`;
  });
  const [left, right] = inGroups.split("::").map((side) => (side === "" ? [] : side.split(":")));
  return right === undefined ? left! : [...left!, ...Array<string>(8 - left!.length - right.length).fill("0"), ...right];
}

function joinBits(parts: readonly string[], radix: number, width: bigint): bigint {
  return parts.reduce((bits, part) => (bits << width) | BigInt(Number.parseInt(part, radix)), 0n);
}

/** An address, or a block in CIDR. Bits behind the prefix are passed over: `172.17.0.1/16` is how systems print their own. */
export function parseBlock(text: string): Block | undefined {
  const [, addressText = "", lengthText] = /^([^/%]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const address = parseAddress(addressText);
  if (!address) return undefined;
  const width = address.version === 4 ? 32 : 128;
  // A mapped IPv4 block, `::ffff:10.0.0.0/104`, is written with the length of its IPv6 form.
  const written = addressText.includes(":") ? 128 : 32;
  const hostBits = lengthText === undefined ? 0 : written - Number(lengthText);
  if (hostBits < 0 || hostBits > width) return undefined;
  return { version: address.version, hostBits: BigInt(hostBits), prefix: address.bits >> BigInt(hostBits) };
}

export function isIn(blocks: readonly Block[], address: Address): boolean {
  return blocks.some((block) => block.version === address.version && address.bits >> block.hostBits === block.prefix);
}
