/** Everything an owner may set, with its default and its limits. The file and the environment both end here. */
import { z } from "zod";
import { parseBlock } from "../base/ip-address.ts";
import { minRateSources } from "../base/limits.ts";
import { knownProviders, serverKinds } from "./providers.ts";

/** A number in the file, digits in the environment. */
const port = z.union([z.number(), z.string().regex(/^\d{1,5}$/).transform(Number)], "must be a port from 0 to 65535").pipe(z.number().int().min(0).max(65535));
const satsPerMtok = z.number().int().min(0).max(1_000_000_000);
const tokens = z.number().int().min(1).max(1_000_000);

const usdPerMtok = z.number().min(0).max(100_000);

const perUnit = z.number().min(0).max(1_000_000);

/**
 * What a model is sold by, in sats or in dollars (to the millionth): tokens, or images, or seconds of sound, or characters spoken;
 * a price for the call itself may stand alone or beside any of them.
 */
export const priceSchema = z
  .strictObject({
    input_sats_per_mtok: satsPerMtok.optional(),
    output_sats_per_mtok: satsPerMtok.optional(),
    sats_per_image: perUnit.optional(),
    sats_per_second: perUnit.optional(),
    /** Of a million characters. */
    sats_per_mchar: satsPerMtok.optional(),
    sats_per_call: perUnit.optional(),
    input_usd_per_mtok: usdPerMtok.optional(),
    output_usd_per_mtok: usdPerMtok.optional(),
    usd_per_image: perUnit.optional(),
    usd_per_second: perUnit.optional(),
    usd_per_mchar: usdPerMtok.optional(),
    usd_per_call: perUnit.optional(),
  })
  .superRefine((price, context) => {
    const given = Object.keys(price).filter((name) => price[name as keyof typeof price] !== undefined);
    const trouble = priceTrouble(given);
    if (trouble) context.addIssue({ code: "custom", message: trouble });
  });

function priceTrouble(given: readonly string[]): string | undefined {
  if (given.length === 0) return "needs a price, such as input_sats_per_mtok and output_sats_per_mtok, or sats_per_image";
  if (given.some((name) => name.includes("sats")) && given.some((name) => name.includes("usd"))) return "mixes sats and dollars; take one of them";
  const tokens = given.filter((name) => name.endsWith("put_sats_per_mtok") || name.endsWith("put_usd_per_mtok"));
  if (tokens.length === 1) return "has half a price of tokens; input and output belong together";
  const measures = given.filter((name) => /_per_(image|second|mchar)$/.test(name));
  return measures.length + tokens.length / 2 > 1 ? "is sold in several measures; take one of tokens, images, seconds and characters" : undefined;
}

export const upstreamSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, "lower-case letters, digits and dashes"),
  url: z.url({ protocol: /^https?$/, error: "an http or https URL such as http://127.0.0.1:11434/v1" }),
  key: z.string().min(1).optional(),
  /** Calls it works on at one time, from which a quote's wait is told: 1 where the server is local and nothing is said. */
  concurrency: z.number().int().min(1).max(10_000).optional(),
  /** Of every model of this upstream that has no price of its own. */
  price: priceSchema.optional(),
  /** Whose public prices count for it, where its address does not tell. */
  provider: z.enum(Object.values(knownProviders) as [string, ...string[]]).optional(),
  /** What kind of server it is, where neither its address nor its model list tells. */
  profile: z.enum(serverKinds).optional(),
  /** The name of the cap it honours, where its profile is wrong. */
  cap_field: z.enum(["max_tokens", "max_completion_tokens"]).optional(),
});

/** LND over REST. Certificate and macaroons as paths, or in hex. */
const lndSchema = z.strictObject({
  rest_url: z.url({ protocol: /^https$/, error: "an https URL such as https://127.0.0.1:8080" }),
  /** The node's own tls.cert; left out where it stands behind a certificate that everybody trusts. */
  tls_cert: z.string().min(1).optional(),
  /** That reads and writes invoices, and no more than it must: invoices:read invoices:write info:read offchain:read. */
  macaroon: z.string().min(1),
  /** A second one, that may pay; without it nothing is paid out. offchain:read offchain:write is enough. */
  payout_macaroon: z.string().min(1).optional(),
  /** Route hints in invoices, for a node that has only private channels. */
  private_hints: z.boolean().default(false),
});

/** LND over Lightning Node Connect: nothing but a mailbox that both ends can reach. */
const lncSchema = z.strictObject({
  mailbox: z.string().regex(/^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}$/, "a host and a port such as mailbox.terminal.lightning.today:443").default("mailbox.terminal.lightning.today:443"),
  /** Used once; what came of it is kept sealed. */
  pairing_phrase: z.string().min(1).optional(),
  /** Whether the session is one to pay out with as well. */
  payouts: z.boolean().default(false),
  /** As of [lnd]. */
  private_hints: z.boolean().default(false),
});

/** phoenixd. */
const phoenixdSchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: "an http or https URL such as http://127.0.0.1:9740" })
    .refine((text) => !/[@?#]/.test(text), "must be an address without a user, a query or a fragment, such as http://127.0.0.1:9740")
    .default("http://127.0.0.1:9740"),
  /** http-password-limited-access, or the path of phoenix.conf or of a file with it. */
  password: z.string().min(1),
  /** http-password, which may pay; without it nothing is paid out. A path is read for that one. */
  payout_password: z.string().min(1).optional(),
});

/** Web search (`POST /api/v1/data/web/search`): whose index, and what a search costs the buyer. */
const searchSchema = z
  .strictObject({
    engine: z.enum(["searxng", "brave", "tavily"]),
    /** Of the engine's API; SearXNG has no public one. */
    url: z.url({ protocol: /^https?$/, error: "an http or https URL such as http://127.0.0.1:8888" }).optional(),
    key: z.string().min(1).optional(),
    price: priceSchema,
  })
  .refine(({ engine, url }) => engine !== "searxng" || url !== undefined, { path: ["url"], error: "searxng needs the url of your instance" })
  .refine(({ engine, key }) => engine === "searxng" || key !== undefined, { path: ["key"], error: "brave and tavily need your key" })
  .refine(({ price }) => Object.keys(price).every((name) => name.endsWith("_per_call")), { path: ["price"], error: "a search is sold by the call: sats_per_call or usd_per_call" });

/** Money out, once the node may pay. Caps are of any 24 hours. */
const payoutsSchema = z.strictObject({
  min_payout_sats: z.number().int().min(1).max(100_000_000).default(100),
  /** The most that a payment's way may cost whoever collects: so much of the amount, and so much besides. */
  max_fee_percent: z.number().min(0).max(20).default(1),
  max_fee_base_sats: z.number().int().min(0).max(10_000).default(10),
  max_daily_sats: z.number().int().min(0).max(2_100_000_000_000_000).default(2_000_000),
  max_daily_sats_per_account: z.number().int().min(0).max(2_100_000_000_000_000).default(500_000),
  /** What the node must hold besides all that is owed; with less nothing is paid out. */
  reserve_sats: z.number().int().min(0).max(2_100_000_000_000_000).default(0),
});

export const configSchema = z.strictObject({
  data_dir: z.string().min(1),
  /** The public door. */
  port: port.default(4402),
  /** The owner's door. */
  owner_port: port.default(4403),
  /** Where buyers reach the public door, if not at its own address; decides what a challenge may offer. */
  public_url: z
    .url({ protocol: /^https?$/ })
    .refine((text) => !/[@?#]/.test(text), "must be an address without a user, a query or a fragment, such as https://ai.example.org")
    .optional(),
  /** The public door's address; the sandbox stays on this machine whatever is said. */
  listen: z.string().min(1).default("0.0.0.0"),
  node: z.enum(["sandbox", "lnd", "lnc", "phoenixd"]).default("sandbox"),
  lnd: lndSchema.optional(),
  lnc: lncSchema.prefault({}),
  phoenixd: phoenixdSchema.optional(),
  payouts: payoutsSchema.prefault({}),
  /** Reverse proxies whose X-Forwarded-For is believed: addresses or blocks. */
  trusted_proxies: z.array(z.string().refine((text) => parseBlock(text) !== undefined, "an IP address or a block such as 10.0.0.0/8")).max(64).default([]),
  /** Dollars of one bitcoin, by the owner's word. Else the median of `rate_sources`; the sandbox has a price of its own. */
  usd_per_btc: z.number().int().min(1).max(1_000_000_000).optional(),
  /** Where the price of a bitcoin is read, at least three; a mempool on the LAN is a good first one. */
  rate_sources: z
    .array(z.strictObject({ name: z.string().min(1).max(32), url: z.url({ protocol: /^https?$/ }), path: z.string().min(1).max(128) }))
    .min(minRateSources, `needs at least ${minRateSources}: a median of fewer tells nothing`)
    .max(16)
    .optional(),
  /** Only a claim secret or a full credential claims a topup: every hop of a payment knows its preimage. */
  claim_needs_secret: z.boolean().default(false),
  /** Free calls for strangers; off while no model is named. */
  trial: z
    .strictObject({
      models: z.array(z.string().min(1)).max(64).default([]),
      /** Of one address, in 24 hours. */
      calls: z.number().int().min(1).max(1_000).default(1),
      max_output_tokens: tokens.default(256),
      /** What all free calls of a day may cost together. */
      daily_budget_sats: z.number().int().min(1).max(10_000_000).default(100),
    })
    .prefault({}),
  /** One prompt at one flat price (`POST /api/dvm`); off while no model is named. */
  dvm: z
    .strictObject({
      model: z.string().min(1).max(256),
      price_sats: z.number().int().min(1).max(1_000_000).default(21),
      max_output_tokens: tokens.default(512),
      max_prompt_characters: z.number().int().min(1).max(1_000_000).default(4_000),
    })
    .optional(),
  search: searchSchema.optional(),
  upstreams: z.array(upstreamSchema).max(64).default([]),
  /** Other names for models, e.g. "gpt-4o-mini" = "qwen3:8b"; a model of that name comes first. */
  aliases: z.record(z.string().min(1).max(256), z.string().min(1).max(256)).default({}),
  prices: z
    .strictObject({
      /** Of local models; pictures and sound have no price in common. */
      default: priceSchema.refine((price) => Object.keys(price).every((name) => /_per_(mtok|call)$/.test(name)), "must be a price of tokens or of the call").optional(),
      models: z.record(z.string(), priceSchema).default({}),
      /** On the public price of a cloud model. */
      margin_percent: z.number().int().min(0).max(1_000).default(20),
      /** Off every price, for paying over Lightning; shown in the 402. */
      lightning_discount_percent: z.number().int().min(0).max(90).default(0),
    })
    .prefault({}),
  limits: z
    .strictObject({
      /** Output tokens of a call whose client names no cap. */
      default_output_tokens: tokens.default(2_048),
      max_output_tokens: tokens.default(16_384),
      /** The least an invoice asks for. */
      min_price_sats: z.number().int().min(1).max(100_000).default(10),
      min_topup_sats: z.number().int().min(1).max(1_000_000).default(100),
      max_topup_sats: z.number().int().min(1).max(100_000_000).default(1_000_000),
      /** What all payers together may have paid in and not spent; above it no invoice is made. */
      max_owed_sats: z.number().int().min(1_000).max(2_100_000_000_000_000).default(10_000_000),
      max_open_invoices_per_address: z.number().int().min(1).max(100_000).default(20),
      max_open_invoices: z.number().int().min(1).max(10_000_000).default(2_000),
    })
    .refine((limits) => limits.min_topup_sats <= limits.max_topup_sats, { path: ["min_topup_sats"], error: "must not be above max_topup_sats" })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
export type UpstreamConfig = z.infer<typeof upstreamSchema>;
export type PriceConfig = z.infer<typeof priceSchema>;
