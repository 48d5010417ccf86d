/** What goes into and comes out of each operation, by its path in the route table: for `/openapi.json`. */
import { z } from "zod";
import type { BtcRate } from "../../pricing/rate.ts";
import { chatRequestSchema } from "../contract/chat.ts";
import { collectSchema } from "../contract/collect.ts";
import { imageRequestSchema, searchRequestSchema, speechRequestSchema, transcriptionRequestSchema, translationRequestSchema } from "../contract/orders.ts";
import type { Route } from "../route-table.ts";
import { exampleBody } from "./catalog.ts";
import type { Service, SoldRoute } from "./service.ts";

const toJson = (schema: z.ZodType): object => z.toJSONSchema(schema, { io: "input", unrepresentable: "any", target: "draft-2020-12" });
const chat = toJson(chatRequestSchema);

/** Made once: it takes longer than all else here. */
const collect = toJson(collectSchema);
const bodies: Readonly<Record<string, object>> = {
  "/collect": collect, "/ai-for-hire/collect": collect,
  "/chat/completions": chat, "/chat/completions/:model": toJson(chatRequestSchema.partial({ model: true })), "/quote": chat,
  "/audio/speech": toJson(speechRequestSchema), "/audio/transcriptions": toJson(transcriptionRequestSchema), "/audio/translations": toJson(translationRequestSchema),
  "/images/generations": toJson(imageRequestSchema), "/data/web/search": toJson(searchRequestSchema),
};

const text = { type: "string" };
const claim = {
  type: "object",
  properties: {
    preimage: { type: "string", pattern: "^[0-9a-fA-F]{64}$", description: "The wallet's proof of payment" },
    claim_secret: { type: "string", pattern: "^cs_[A-Za-z0-9_-]{43}$", description: "From the topup's 402" },
    token: { type: "string", description: "A token to pay into, instead of a new one" },
  },
};

/** Amounts that are surely within the limits; the dollars of today's rate. */
function topup({ minTopupSats, maxTopupSats, rate }: Service): object {
  const sats = { type: "integer", minimum: minTopupSats, maximum: maxTopupSats, description: "Whole sats" };
  const usd = usdAmount(minTopupSats, maxTopupSats, rate);
  const absent = { type: "null" };
  const claimedBy = { enum: ["secret", "preimage", null], description: "secret: only the claim_secret or the credential claims it" };
  return {
    anyOf: [
      { type: "object", properties: { amount_sats: sats, amount_usd: absent, claim: claimedBy }, required: ["amount_sats"] },
      ...(usd ? [{ type: "object", properties: { amount_usd: usd, amount_sats: absent, claim: claimedBy }, required: ["amount_usd"] }] : []),
    ],
  };
}

function usdAmount(minSats: number, maxSats: number, rate: BtcRate | undefined): object | undefined {
  if (rate === undefined) return undefined;
  const usd = (sats: number) => (sats * Number(rate.centsPerBtc)) / 1e10;
  const [least, most] = [Math.ceil(usd(minSats)), Math.floor(usd(maxSats))];
  return least > most ? undefined : { type: "integer", minimum: Math.max(1, least), maximum: most, description: "Dollars; cents as a decimal with two places, as a number or a text" };
}

function schemaOf(path: string, service: Service): object | undefined {
  if (path === "/topup") return topup(service);
  if (path === "/topup/claim") return claim;
  if (path === "/api/dvm") return { type: "object", required: ["prompt"], properties: { prompt: { ...text, minLength: 1, maxLength: service.flat.dvm?.maxPromptCharacters, pattern: "\\S" } } };
  return bodies[path];
}

/** Undefined for an operation without a body. */
export function requestBody(route: Route, sold: SoldRoute | undefined, service: Service): object | undefined {
  const schema = schemaOf(route.path, service);
  if (schema === undefined) return undefined;
  // A credential alone is a claim.
  const required = route.path !== "/topup/claim";
  const example = exampleBody(route.path === "/quote" ? "/chat/completions" : route.path, (sold?.models ?? service.models)[0]?.id);
  // No example has a file in it.
  if (route.form) return { required, content: { "multipart/form-data": { schema } } };
  return { required, content: { "application/json": { schema, ...(example && { example }) } } };
}

const header = (name: string, description: string, pattern: string) => ({ name, in: "header", required: false, schema: { type: "string", pattern }, description });
const proofs = [
  // What is not a token of this house is passed over.
  header("X-Token", "A token, as Authorization: Bearer takes it", ""),
  header("X-Payment-Hash", "The hash of a paid invoice: opens the request it was made for, once; payment_hash in the query or the body does as well", "^[0-9a-fA-F]{64}$"),
  header("Idempotency-Key", "The same request happens once in 24 hours", "^[!-~]{0,255}$"),
];

export function parametersOf(route: Route, path: string): object[] {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: "path", required: true, schema: text }));
  const asked = route.path === "/x402/endpoints" ? [{ name: "supported", in: "query", required: false, schema: text, description: "all: also what is not sold at the moment" }] : [];
  return [...inPath, ...asked, ...(route.kind === "paid" ? proofs : [])];
}

const object = { schema: { type: "object" } };
const plain = { schema: text };
const plainPaths = new Set(["/", "/llms.txt", "/llms-full.txt"]);

/** Of a good answer, by its type. */
export function contentOf(route: Route): object {
  if (plainPaths.has(route.path)) return { "text/plain": plain };
  if (route.sells === "speech") return { "audio/*": {} };
  if (route.sells === "transcription") return { "application/json": object, "text/plain": plain };
  if (route.path.endsWith("/events")) return { "text/event-stream": {} };
  return { "application/json": object, ...(route.streaming && { "text/event-stream": {} }) };
}

/** Every bill has at least this; the whole of it is told in /llms-full.txt. */
export const billSchema = {
  type: "object",
  required: ["error", "message", "status"],
  properties: {
    error: { $ref: "#/components/schemas/ErrorObject" }, message: text, status: { const: 402 }, invoice: { ...text, description: "BOLT 11" }, payment_hash: text, macaroon: text,
    amount_sats: { type: "integer" }, amount_msat: { type: "integer" }, expires_in: { type: "integer" }, claim_secret: text, claim_url: text, topup_url: text,
  },
};
