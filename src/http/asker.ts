/** Who asks: reads every place in which a request may carry a proof, a token, a payment hash. Judges none of them. */
import type { Asker } from "../accounts/asker.ts";
import { decodeHex32 } from "../base/bytes.ts";
import { AppError } from "../base/errors.ts";
import { maxCredentialBytes, maxRequestKeyCharacters } from "../base/limits.ts";
import { type AuthorizationProof, listProofs, parseAuthorization } from "../l402/authorization.ts";

type ProofOf<Kind> = Extract<AuthorizationProof, { kind: Kind }>;

/**
 * @param body The JSON body, where there is one: some clients write their payment hash into it.
 * @throws AppError `invalid_request` for a payment hash that is none, for two that differ, for a bad `Idempotency-Key`.
 */
export function readAsker(request: Request, address: () => string | undefined, body: Record<string, unknown> | undefined): Asker {
  const { headers } = request;
  const found = listProofs(headers.get("authorization") ?? undefined);
  const apiKey = headers.get("x-api-key");
  // A key is a key, in whichever header a client's library puts it.
  if (apiKey !== null) found.push(parseAuthorization(`Bearer ${apiKey}`));
  const first = <Kind extends AuthorizationProof["kind"]>(...kinds: Kind[]) => found.find((proof) => (kinds as string[]).includes(proof.kind)) as ProofOf<Kind> | undefined;
  const preimage = first("preimage")?.preimage;
  const paymentHash = readPaymentHash(request, body, first("hash")?.paymentHash);
  return {
    token: readTokenHeader(headers.get("x-token")) ?? first("token")?.token,
    credential: first("credential", "payment"),
    singleUse: preimage !== undefined ? { kind: "preimage", preimage } : paymentHash !== undefined ? { kind: "hash", paymentHash } : undefined,
    malformed: first("malformed") !== undefined,
    address,
    idempotencyKey: readRequestKey(headers.get("idempotency-key")),
  };
}

/** What is not ours in shape is somebody else's key: its bearer is a stranger. */
function readTokenHeader(value: string | null): string | undefined {
  return value?.startsWith("abl_") && value.length <= maxCredentialBytes ? value : undefined;
}

/** Several places are one hash if they agree. */
function readPaymentHash(request: Request, body: Record<string, unknown> | undefined, authorization: string | undefined): string | undefined {
  const query = request.url.includes("payment_hash=") ? new URLSearchParams(request.url.slice(request.url.indexOf("?") + 1)).getAll("payment_hash") : [];
  const places = [request.headers.get("x-payment-hash"), ...query, body?.payment_hash].filter((value) => value !== null && value !== undefined);
  const hashes = new Set(places.map(toPaymentHash));
  if (authorization !== undefined) hashes.add(authorization);
  if (hashes.size > 1) throw new AppError("invalid_request", "The request names two different payment hashes; send one.", { param: "payment_hash" });
  return [...hashes][0];
}

function toPaymentHash(value: unknown): string {
  if (typeof value !== "string" || !decodeHex32(value)) throw new AppError("invalid_request", "payment_hash must be 64 hex digits.", { param: "payment_hash" });
  return value.toLowerCase();
}

function readRequestKey(value: string | null): string | undefined {
  if (value === null || value === "") return undefined;
  if (value.length > maxRequestKeyCharacters || !/^[\x21-\x7e]+$/.test(value))
    throw new AppError("invalid_request", `Idempotency-Key must be 1 to ${maxRequestKeyCharacters} printable characters without blanks.`, { param: "Idempotency-Key" });
  return value;
}
