/** What the console says once Hearth is ready: where the doors are, and in the demo the lines that buy a first answer. Pure. */

import { lowInboundSats } from "../base/limits.ts";

export type Greeting = { publicUrl: string; ownerUrl: string; ownerCode: string | undefined; models: string[]; /** For the lines that buy a first answer. */ chatModel: string | undefined; /** What can still be paid in, in sats; undefined where nobody can tell. */ inboundSats: bigint | undefined; sandbox: boolean };

export function greetingText(greeting: Greeting): string {
  const { publicUrl, ownerUrl, ownerCode, models } = greeting;
  const lines = [
    "",
    `Hearth is ready: ${publicUrl}`,
    `  for sale:      ${models.slice(0, 5).join(", ") || "nothing yet: no model server with a price answers"}${models.length > 5 ? ` and ${models.length - 5} more` : ""}`,
    `  owner's door:  ${ownerUrl}/admin${ownerCode ? `?code=${ownerCode}` : "  (log in with the password)"}`,
  ];
  if (ownerCode) lines.push("                 the code works once, within 15 minutes");
  if (greeting.inboundSats !== undefined && greeting.inboundSats < lowInboundSats)
    lines.push(`  WARNING:       your channels can take only ${greeting.inboundSats} sats; buyers are turned away above that, open a channel towards you`);
  if (greeting.sandbox) lines.push("  play money:    invoices are signed but cost nothing; they are paid at /sandbox/pay");
  if (greeting.sandbox && greeting.chatModel !== undefined) lines.push("", ...firstSale(publicUrl, greeting.chatModel));
  return lines.join("\n") + "\n\n";
}

/** Four lines for a POSIX shell; they need only curl and sed. */
function firstSale(url: string, model: string): string[] {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }] });
  // A name with a quote in it ends no shell word.
  const request = `-H 'Content-Type: application/json' -d '${body.replaceAll("'", "'\\''")}'`;
  const field = (name: string) => `sed 's/.*"${name}":"\\([^"]*\\)".*/\\1/'`;
  return [
    "Buy a first answer. Paste these lines one by one:",
    "",
    `  # 1. ask: a 402 comes back, with an invoice and a macaroon`,
    `  bill=$(curl -s ${url}/v1/chat/completions ${request}); echo "$bill"`,
    `  # 2. pay: the wallet answers the preimage, the proof of payment`,
    `  paid=$(curl -s ${url}/sandbox/pay -d "{\\"invoice\\":\\"$(echo "$bill" | ${field("invoice")})\\"}"); echo "$paid"`,
    `  # 3. ask again with the credential`,
    `  key="$(echo "$bill" | ${field("macaroon")}):$(echo "$paid" | ${field("preimage")})"`,
    `  curl -s ${url}/v1/chat/completions -H "Authorization: L402 $key" ${request}; echo`,
    `  # 4. see the change: it pays for later requests`,
    `  curl -s ${url}/api/v1/balance -H "Authorization: L402 $key"; echo`,
  ];
}
