/** What every public route needs besides its room. */

/** The same API under every prefix that clients of other systems use. */
export const apiPrefixes = ["/v1", "/api/v1", "/openai/v1", "/api/v1/openai/v1"] as const;

export type PublicContext = {
  /** The key by which this client is counted; undefined where its address does not mean one client. */
  addressOf(request: Request): () => string | undefined;
  /** Sent with every answer. */
  headers: Readonly<Record<string, string>>;
  nowMs(): number;
  newCallId(): string;
};

/** A challenge names its own headers instead. */
export const corsHeaders = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers":
    "x-request-id, x-hearth-cost-msat, x-hearth-balance-msat, x-hearth-reserved-msat, x-hearth-max-tokens, x-hearth-dropped, x-hearth-free, Payment-Receipt, Retry-After",
} as const;

export const preflightHeaders = {
  ...corsHeaders,
  "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
  "Access-Control-Allow-Headers":
    "Authorization, Content-Type, Accept-Payment, Accept-Authenticate, X-Token, X-Payment-Hash, Idempotency-Key, x-api-key, anthropic-version",
  "Access-Control-Max-Age": "86400",
} as const;
