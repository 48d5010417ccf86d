/** What directories and agents read before they pay: `/.well-known/l402.json`, `/llms.txt`, `/llms-full.txt`. */
import { type Route, routeTable } from "../route-table.ts";
import type { ModelPrice } from "../../pricing/quote.ts";
import { modelPricing } from "./catalog.ts";
import { isPlain, pathUnder, type Service, soldRoutes } from "./service.ts";

const shownModels = 20;

export function l402Document(service: Service) {
  const { publicUrl, minTopupSats, maxTopupSats } = service;
  return {
    version: 1,
    name: "Hearth",
    description: "Language models paid over Lightning, by the request or from a prepaid token.",
    base_url: `${publicUrl}/v1`,
    schemes: ["L402", "Payment"],
    network: "lightning",
    endpoints: soldRoutes(service).filter(isPlain).map(({ route, leastSats }) => ({
      method: route.method, url: publicUrl + pathUnder("/v1", route), price_sats: leastSats, quote: route.quoteType,
    })),
    topup: { url: `${publicUrl}/api/v1/topup`, min_sats: minTopupSats, max_sats: maxTopupSats },
    quote_url: `${publicUrl}/api/v1/quote`,
    catalog_url: `${publicUrl}/api/v1/catalog`,
  };
}

/** In the form of llmstxt.org: a title, a sentence, lists of links. */
export function llmsText(service: Service): string {
  const { publicUrl } = service;
  return `# Hearth

> Language models paid over Lightning. No account: a request without payment answers 402 with an invoice; pay it and repeat the request. OpenAI's API at ${publicUrl}/v1.

${forSale(service)}

## How to pay

- By the request: POST ${publicUrl}/v1/chat/completions, pay \`invoice\`, repeat with \`Authorization: L402 <macaroon>:<preimage>\`. What is left over pays for later requests.
- Prepaid: POST ${publicUrl}/api/v1/topup \`{"amount_sats": 1000}\`, pay, POST ${publicUrl}/api/v1/topup/claim \`{"claim_secret": "..."}\`; the \`abl_...\` token is an ordinary API key.
- Without a preimage: repeat the same request once with \`X-Payment-Hash: <payment_hash>\`.

## Documents

- [Models and prices](${publicUrl}/v1/models)
- [Prices at a glance](${publicUrl}/pricing)
- [What a request would cost](${publicUrl}/api/v1/quote): POST the request, nothing is charged
- [Everything in detail](${publicUrl}/llms-full.txt)
`;
}

function forSale(service: Service): string {
  const { models, flat } = service;
  const names = models.slice(0, shownModels).map((model) => model.id).join(", ");
  const sold = [
    ...(models.length > 0 ? [`Models: ${names}${models.length > shownModels ? `, and ${models.length - shownModels} more` : ""}.`] : []),
    ...(flat.search ? ["Web search: POST /v1/data/web/search."] : []),
    ...(flat.dvm ? ["Single prompts at a flat price: POST /api/dvm."] : []),
  ];
  return sold.join("\n") || "Nothing is for sale at the moment.";
}

export function llmsFullText(service: Service): string {
  const { models, trial } = service;
  const route = ({ method, path, absolute, summary, kind }: Route) => `- \`${method} ${absolute ? "" : "/v1"}${path}\`${kind === "paid" ? " (paid)" : ""}: ${summary}.`;
  const model = (one: (typeof models)[number]) => `- \`${one.id}\` (${one.kind}): ${priceSentence(one.price)}.`;
  return `${llmsText(service)}
## Every route

Paths under \`/v1\` are also served under \`/api/v1\` and \`/openai/v1\`.

${routeTable.map(route).join("\n")}

## Every model

${models.map(model).join("\n") || "None at the moment."}

## What else to know

- A call is charged by the tokens it used, at most what was quoted; \`x-hearth-cost-msat\` and \`x-hearth-balance-msat\` tell, in a stream its last comment.
- An answer that never began costs nothing. 503 with \`Retry-After\` means: try the same request again, the balance is untouched.
- \`Idempotency-Key\` makes a refill, a claim and a call happen once in 24 hours.
${trial.models.length > 0 ? `- Free: ${trial.calls} call${trial.calls === 1 ? "" : "s"} a day and address on ${trial.models.join(", ")}, at most ${trial.maxOutputTokens} tokens each.\n` : ""}`;
}

function priceSentence(price: ModelPrice): string {
  const { input_msat_per_mtok: input, output_msat_per_mtok: output, msat_per_image: image, msat_per_second: second, msat_per_mchar: characters, msat_per_call: call } =
    modelPricing({ price }, undefined) as Record<string, number | undefined>;
  const sats = (msat: number | undefined, of: string) => (msat === undefined ? [] : [`${msat / 1000} sats ${of}`]);
  return [
    ...sats(input, "per million tokens read"), ...sats(output, "per million written"), ...sats(image, "an image"), ...sats(second, "a second"),
    ...sats(characters, "per million characters"), ...sats(call, "a call"),
  ].join(", ");
}
