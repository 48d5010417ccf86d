/** Which addresses count as this machine or its own network: nothing there is ever asked of a resolver. */
import { expect, test } from "bun:test";
import { isLocalUrl } from "../../src/upstream/local-address.ts";

const local = [
  "localhost:11434", "LOCALHOST", "ollama", "gpu-box:8000", "api.localhost", "nas.local", "box.lan", "svc.internal", "pi.home.arpa",
  "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "192.168.0.1", "192.168.255.255", "172.16.0.1", "172.31.255.255",
  "169.254.1.1", "100.64.0.1", "100.127.255.255", "127.1", "2130706433", "0x7f000001", "017700000001",
  "[::1]", "[0:0:0:0:0:0:0:1]", "[fd12:3456::1]", "[fc00::1]", "[fe80::1]", "[febf::1]",
];
test.each(local)("%s is at home", (host) => {
  expect(isLocalUrl(`http://${host}/v1`)).toBe(true);
});

const elsewhere = [
  "api.openai.com", "localhost.example.com", "local.example", "example.local.com", "internal.example.org", "10.0.0.1.example.com",
  "9.255.255.255", "11.0.0.1", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.1.1", "192.169.1.1", "169.253.1.1", "100.63.255.255",
  "100.128.0.0", "8.8.8.8", "[2001:db8::1]", "[fec0::1]", "[::2]", "[2606:4700::fd]",
];
test.each(elsewhere)("%s is elsewhere", (host) => {
  expect(isLocalUrl(`https://${host}/v1`)).toBe(false);
});

test("user, path and query of a URL say nothing about where it is", () => {
  expect(isLocalUrl("https://localhost@api.example.com/127.0.0.1?host=nas.local")).toBe(false);
});

test("what is no URL is refused", () => {
  expect(() => isLocalUrl("not a url")).toThrow();
});
