/** Whom a limit by address counts a request against, and that nobody can choose somebody else. */
import { describe, expect, test } from "bun:test";
import { clientAddress, parseTrustedProxies } from "../../src/http/client-address.ts";
import { SeededRandom } from "../support/random.ts";

const gateways = ["172.17.0.1", "fd00:d0c::1", "172.18.0.1"];

/** Straight from the socket, no proxy configured. */
const direct = (peer: string | undefined, forwardedFor?: string) => clientAddress({ peer, forwardedFor, trusted: parseTrustedProxies([]), gateways });
/** Through a proxy on the same machine, with two more in front of it. */
const proxied = (forwardedFor: string | undefined, peer = "127.0.0.1") =>
  clientAddress({ peer, forwardedFor, trusted: parseTrustedProxies(["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"]), gateways });
/** Whether a list of proxies trusts an address: only then is its header read. One of the two named is of the other version than the list. */
const trusts = (list: string[], peer: string) =>
  ["203.0.113.9", "2001:db8:9::/64"].some((key) => clientAddress({ peer, forwardedFor: key.replace("/64", "9"), trusted: parseTrustedProxies(list), gateways: [] }) === key);

describe("without a trusted proxy", () => {
  test.each([
    ["203.0.113.9", "203.0.113.9"], ["192.168.1.20", "192.168.1.20"], ["10.1.2.3", "10.1.2.3"], ["172.17.0.2", "172.17.0.2"], ["100.64.0.7", "100.64.0.7"],
    ["1.0.0.0", "1.0.0.0"], ["126.255.255.255", "126.255.255.255"], ["128.0.0.0", "128.0.0.0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"], ["fd12:3456::1", "fd12:3456::/64"], ["2001:db8::1%eth0", "2001:db8::/64"],
  ])("a public client or one of the LAN is counted by its own address: %s", (peer, key) => expect(direct(peer)).toBe(key));

  test.each([
    ["loopback", "127.0.0.1"], ["loopback", "127.255.255.254"], ["loopback", "::1"], ["loopback", "::ffff:127.0.0.1"], ["loopback", "0:0:0:0:0:0:0:1"],
    ["unspecified", "0.0.0.0"], ["unspecified", "::"], ["unspecified", "::ffff:0.0.0.0"], ["unspecified", "0.1.2.3"],
    ["link-local", "169.254.1.2"], ["link-local", "fe80::1"], ["link-local", "fe80::1%eth0"], ["link-local", "febf:ffff::1"], ["link-local", "::ffff:169.254.1.2"],
    ["old IPv4 in IPv6", "::7f00:1"],
    ["a gateway", "172.17.0.1"], ["a gateway", "::ffff:172.17.0.1"], ["a gateway", "::ffff:ac11:1"],
    ["a gateway", "fd00:d0c::1"], ["a gateway", "FD00:0D0C:0:0::0001"], ["a gateway", "172.18.0.1"],
    ["nothing", undefined], ["nothing", ""], ["a path", "/run/hearth.sock"], ["a name", "localhost"],
  ])("the unknown client is never counted: %s (%s)", (_what, peer) => expect(direct(peer)).toBeUndefined());

  test("only the gateway's own address is the gateway: its neighbours are clients", () => {
    expect([direct("172.17.0.0"), direct("172.17.0.10"), direct("fd00:d0c::2")]).toEqual(["172.17.0.0", "172.17.0.10", "fd00:d0c::/64"]);
  });

  test("a gateway may be written in any way, and one that is no address is passed over", () => {
    const client = (gateway: string) => clientAddress({ peer: "fe00:0::1", forwardedFor: undefined, trusted: [], gateways: ["", "docker0", gateway] });
    expect([client("FE00::0001%eth0"), client(" fe00::1 "), client("fe00::2")]).toEqual([undefined, undefined, "fe00::/64"]);
  });

  test.each(["198.51.100.7", "127.0.0.1", "garbage", "", ",".repeat(100)])("a client's own header changes nothing: %s", (header) => {
    expect([direct("203.0.113.9", header), direct("127.0.0.1", header), direct("172.17.0.1", header), direct(undefined, header), direct("x", header)])
      .toEqual(["203.0.113.9", undefined, undefined, undefined, undefined]);
  });
});

describe("one address is one client, however it is written", () => {
  test.each([
    ["1.2.3.4", ["1.2.3.4", "::ffff:1.2.3.4", "::FFFF:1.2.3.4", "::ffff:102:304", "0:0:0:0:0:ffff:0102:0304", "0:0:0:0:0:ffff:1.2.3.4", "::ffff:1.2.3.4%eth0"]],
    ["2001:db8:1:2::/64", ["2001:db8:1:2::", "2001:0DB8:0001:0002::1", "2001:db8:1:2:0:0:0:1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::1.2.3.4", "2001:db8:1:2:3:4:1.2.3.4"]],
    ["2001:db8::/64", ["2001:db8::1", "2001:db8:0:0::1", "2001:db8::0:0:1", "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::ffff:0:0:0"]],
    ["2001:0:0:1::/64", ["2001::1:0:0:0:0", "2001:0:0:1::"]],
    ["0:0:0:5::/64", ["::5:0:0:0:0", "0:0:0:5::9"]],
    ["2001:10::/64", ["2001:10::1", "2001:0010:0:0::1"]],
    ["2001:0:10::/64", ["2001:0:10::1"]],
    ["64:ff9b::/64", ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"]],
  ] as [string, string[]][])("%s", (key, spellings) => {
    expect(spellings.map((peer) => direct(peer))).toEqual(spellings.map(() => key));
    expect(spellings.map((named) => proxied(named))).toEqual(spellings.map(() => key));
  });

  test("any IPv6 address in short, long and upper case spelling, as the runtime's own URLs shorten it", () => {
    const source = new SeededRandom(7);
    for (let round = 0; round < 2_000; round++) {
      const groups = [source.between(1, 0xfdff), ...Array.from({ length: 7 }, () => (source.chance(40) ? 0 : source.below(0x10000)))];
      const long = groups.map((group) => group.toString(16).padStart(4, "0")).join(":");
      const short = new URL(`http://[${long}]`).hostname.slice(1, -1);
      const prefix = new URL(`http://[${groups.slice(0, 4).map((group) => group.toString(16)).join(":")}::]`).hostname.slice(1, -1);
      expect([direct(long), direct(long.toUpperCase()), direct(short)]).toEqual(Array(3).fill(`${prefix.replace(/::$/, "")}::/64`));
    }
  });

  test("neighbours are not one client", () => {
    expect(new Set(["1.2.3.4", "1.2.3.5", "2001:db8:1:2::", "2001:db8:1:3::", "2001:db8:1::", "2001:db8::2:1"].map((peer) => direct(peer))).size).toBe(6);
  });
});

test.each([
  "01.2.3.4", "1.2.3.010", "0x1.2.3.4", "1.2.3", "16909060", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", "1.2.3.4/32", "1.2.3.4%eth0", "1 .2.3.4", "\u0131.2.3.4",
  "::ffff:01.2.3.4", "::ffff:1.2.3", "1.2.3.4::", "::1.2.3.4:5",
  "1::2::3", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "2001:db8::/64", ":1", "1:",
])("an odd spelling is no address: %s", (text) => expect([direct(text), proxied(text), proxied(`203.0.113.9, ${text}`)]).toEqual([undefined, undefined, undefined]));

describe("through a trusted proxy", () => {
  test.each([
    ["the client it names", "203.0.113.9", "203.0.113.9"],
    ["the rightmost that is no proxy", "203.0.113.9, 10.0.0.5, 2001:db8:ffff::7", "203.0.113.9"],
    ["not what the client wrote itself", "198.51.100.7, 203.0.113.9", "203.0.113.9"],
    ["not a proxy's address the client wrote itself", "198.51.100.7, 10.0.0.5, 203.0.113.9, 10.0.0.6", "203.0.113.9"],
    ["not the loopback the client wrote itself", "127.0.0.1, ::1, 203.0.113.9", "203.0.113.9"],
    ["not hidden by garbage the client wrote itself", "x, \"unterminated, ,,, 203.0.113.9", "203.0.113.9"],
    ["an IPv6 client", "2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["an address of the LAN", "192.168.1.20", "192.168.1.20"],
    ["without its port", "203.0.113.9:5678", "203.0.113.9"],
    ["without its port", "[2001:db8:1:2::9]:80", "2001:db8:1:2::/64"],
    ["without brackets", "[2001:db8:1:2::9]", "2001:db8:1:2::/64"],
    ["without quotes", '"203.0.113.9"', "203.0.113.9"],
    ["without quotes", '"[2001:db8:1:2::9]:80"', "2001:db8:1:2::/64"],
    ["without blanks", "\t 203.0.113.9\t ,10.0.0.5 ", "203.0.113.9"],
    ["past a proxy with a port", "203.0.113.9, 10.0.0.5:443, [2001:db8:ffff::7]:443", "203.0.113.9"],
    ["past a proxy as mapped IPv6", "203.0.113.9, ::ffff:10.0.0.5", "203.0.113.9"],
  ])("counted is %s: %s", (_what, header, key) => expect(proxied(header)).toBe(key));

  test.each([
    ["no header", undefined], ["an empty header", ""], ["only commas", ",,,"], ["only proxies", "10.0.0.5, 10.0.0.6"],
    ["loopback", "203.0.113.9, ::1"], ["unspecified", "203.0.113.9, 0.0.0.0"], ["unspecified", "203.0.113.9, [::]:80"], ["link-local", "203.0.113.9, fe80::1%eth0"],
    ["a gateway", "203.0.113.9, 172.17.0.1"],
    ["a proxy's word for nobody", "203.0.113.9, unknown"], ["a proxy's word for nobody", "203.0.113.9, unix:"],
    ["a hidden name", "203.0.113.9, _hidden"], ["nothing", "203.0.113.9,"],
    ["nobody before a proxy", "203.0.113.9, unknown, 10.0.0.5"],
    ["a bad port", "1.2.3.4:"], ["a bad port", "1.2.3.4:123456"], ["a bad port", "1.2.3.4:80:80"], ["a bad port", "[::2:0:0:0:1]:x"],
    ["brackets around IPv4", "[1.2.3.4]"], ["half a bracket", "[2001:db8::1"], ["half a quote", '"1.2.3.4'], ["another header's grammar", "for=1.2.3.4"],
  ])("who is named by nobody is the unknown client, and nothing further left is believed: %s (%s)", (_what, header) => expect(proxied(header)).toBeUndefined());

  test("a trusted gateway or loopback is a proxy like any other", () => {
    const through = (peer: string) => clientAddress({ peer, forwardedFor: "203.0.113.9", trusted: parseTrustedProxies(["::1", "172.17.0.1"]), gateways });
    expect([through("::1"), through("172.17.0.1"), through("::ffff:172.17.0.1"), through("172.18.0.1"), through("127.0.0.1")])
      .toEqual(["203.0.113.9", "203.0.113.9", "203.0.113.9", undefined, undefined]);
  });

  test("a peer beside the trusted ones names nobody but itself", () => expect(proxied("203.0.113.9", "11.0.0.1")).toBe("11.0.0.1"));
});

describe("a hostile header", () => {
  const megabytes = 10 * 1024 * 1024;
  test.each([
    ["commas", ",".repeat(megabytes)], ["blanks", " ".repeat(megabytes)], ["quotes", '"'.repeat(megabytes)], ["brackets", "[".repeat(megabytes)],
    ["colons", ":".repeat(megabytes)], ["digits", "1".repeat(megabytes)], ["dots", "1.".repeat(megabytes / 2)], ["proxies", "10.0.0.5,".repeat(megabytes / 9)],
  ])("ten megabytes of %s name nobody, and hide nobody from the proxy behind", (_what, flood) => {
    expect([proxied(flood), proxied(`${flood}, 203.0.113.9`), proxied(`203.0.113.9, ${flood}`)]).toEqual([undefined, "203.0.113.9", undefined]);
  });

  test("only the last 32 entries are looked at", () => {
    const behind = (proxies: number) => proxied(["203.0.113.9", ...Array<string>(proxies).fill("10.0.0.5")].join(","));
    expect([behind(31), behind(32), behind(33)]).toEqual(["203.0.113.9", undefined, undefined]);
  });

  test("only the last 2,000 characters are looked at, and an entry they cut through is not read as another address", () => {
    const tail = (length: number) => `112.3.4.5,${"10.0.0.5".padStart(length - 10)}`;
    expect(proxied(tail(2_000))).toBe("112.3.4.5");
    expect(proxied(`x,203.0.113.9,${"10.0.0.5".padStart(1_500)},${"10.0.0.6".padStart(1_500)}`)).toBeUndefined();
    for (let length = 2_001; length <= 2_012; length++) expect(proxied(tail(length))).toBeUndefined();
  });
});

describe("trusted proxies", () => {
  test.each([
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "::a01:203", "a00::1"]],
    ["192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]],
    ["172.17.0.1/16", ["172.17.0.1", "172.17.200.3"], ["172.16.0.1", "172.18.0.1"]],
    ["192.0.2.1/32", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]],
    ["192.0.2.1", ["192.0.2.1", "::ffff:c000:201"], ["192.0.2.0", "192.0.2.11"]],
    ["0.0.0.0/0", ["1.2.3.4", "127.0.0.1", "::ffff:1.2.3.4"], ["::1", "2001:db8::1"]],
    ["2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7:ffff::", "2001:db9::"]],
    ["2001:db8:8000::/33", ["2001:db8:8000::1", "2001:db8:ffff::1"], ["2001:db8:7fff::1"]],
    ["2001:DB8::00F0/124", ["2001:db8::f0", "2001:db8::ff"], ["2001:db8::ef", "2001:db8::100"]],
    ["fe80::1", ["fe80::1", "FE80:0::0001%eth0"], ["fe80::2"]],
    ["::1/128", ["::1"], ["::2", "127.0.0.1"]],
    ["::/0", ["::1", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]],
    ["::ffff:10.0.0.0/104", ["10.255.0.1", "::ffff:10.0.0.1"], ["11.0.0.1"]],
    ["::ffff:192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]],
    [" 10.0.0.0/8 ", ["10.0.0.1"], ["11.0.0.1"]],
  ] as [string, string[], string[]][])("%s trusts exactly what is in it", (entry, inside, outside) => {
    expect(inside.filter((peer) => !trusts([entry], peer))).toEqual([]);
    expect(outside.filter((peer) => trusts([entry], peer))).toEqual([]);
  });

  test("an empty list trusts nobody, a longer one whoever is in any entry", () => {
    expect([trusts([], "127.0.0.1"), trusts(["::1", "10.0.0.0/8"], "10.1.1.1"), trusts(["10.0.0.0/8", "::1"], "::1"), trusts(["10.0.0.0/8", "::1"], "11.0.0.1")])
      .toEqual([false, true, true, false]);
  });

  test.each([
    "", " ", "*", "localhost", "nginx", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/8/8", "10.0.0.0/8.0", "10.0.0.0/255.0.0.0", "10/8", "010.0.0.0/8",
    "0x0a.0.0.0/8", "10.0.0.1:80", "[::1]", "::1/129", "::ffff:10.0.0.0/8", "fe80::1%eth0", "10.0.0.1, 10.0.0.2", "10.0.0.1-10.0.0.9", "/8",
  ])("an entry that is no address and no block is named to the owner: %s", (entry) =>
    expect(() => parseTrustedProxies(["10.0.0.0/8", entry, "::1"])).toThrow(`${JSON.stringify(entry)} is neither`));
});
