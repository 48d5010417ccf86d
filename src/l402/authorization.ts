/**
 * Recognises the proof in an `Authorization` value by its shape. Pure. It checks no signature, preimage or balance.
 * Every step is one pass over a value of bounded length.
 */
import { decodeBase64, decodeHex32 } from "../base/bytes.ts";
import { maxCredentialBytes } from "../base/limits.ts";
import { decodePaymentCredential, isChallengeId, type EchoedOffer } from "./payment-scheme.ts";

export type AuthorizationProof =
  /** L402, LSAT, or both halves as a Bearer key. No preimage: counts only if the node calls the invoice settled. */
  | { kind: "credential"; macaroon: Uint8Array; preimage: string | undefined }
  /** An MPP charge, or NanoGPT's `L402 <challenge id>:<preimage>`, which echoes nothing. */
  | { kind: "payment"; challengeId: string | undefined; preimage: string; echoed: EchoedOffer }
  /** Lightning Enable's `Payment method="lightning", preimage="..."`: opens the quoted request once. */
  | { kind: "preimage"; preimage: string }
  /** `Bearer abl_...`: known or not, never a stranger's. */
  | { kind: "token"; token: string }
  /** MaximumSats' bare payment hash: opens the quoted request once. */
  | { kind: "hash"; paymentHash: string }
  /** A credential scheme whose content does not parse: answered by a fresh challenge, so that clients drop it. */
  | { kind: "malformed" }
  /** A key of another house: a stranger. */
  | { kind: "foreign" }
  | { kind: "none" };

/** The best proof in a value that may hold several. */
export function parseAuthorization(value: string | undefined): AuthorizationProof {
  return listProofs(value)[0] ?? { kind: "none" };
}

/** All proofs in a value that may hold several, joined by commas; the best first. Preimages and hashes come in lowercase. */
export function listProofs(value: string | undefined): AuthorizationProof[] {
  if (value === undefined) return [];
  if (value.length > maxCredentialBytes) return [{ kind: "malformed" }];
  return splitSchemes(value).map(readProof).sort((a, b) => rank(a) - rank(b));
}

type Credentials = { scheme: string; pieces: string[] };

/**
 * `L402 a,b:c, Bearer d` are two schemes: a piece with a blank inside names a new scheme, any other goes on with the
 * last one. A first piece without a blank has the scheme "".
 */
function splitSchemes(value: string): Credentials[] {
  const found: Credentials[] = [];
  for (const raw of value.split(",")) {
    const piece = raw.trim();
    const blank = piece.search(/\s/);
    const last = found.at(-1);
    if (blank >= 0) found.push({ scheme: piece.slice(0, blank).toLowerCase(), pieces: [piece.slice(blank).trim()] });
    else if (last) last.pieces.push(piece);
    else found.push({ scheme: "", pieces: [piece] });
  }
  return found;
}

/** The order of the accepted proofs, wire.md 3; between equals the first one counts. */
function rank(proof: AuthorizationProof): number {
  if (proof.kind === "credential") return proof.preimage === undefined ? 1 : 0;
  return 2 + ["payment", "preimage", "token", "hash", "malformed", "foreign", "none"].indexOf(proof.kind);
}

function readProof({ scheme, pieces }: Credentials): AuthorizationProof {
  if (pieces.every((piece) => piece === "" || piece === ":")) return { kind: "none" };
  switch (scheme) {
    case "l402":
    case "lsat":
      return readHash(pieces) ?? readPair(pieces) ?? { kind: "malformed" };
    case "bearer":
      return readBearer(pieces);
    case "payment":
      return readPayment(pieces);
    case "":
      return readHash(pieces) ?? { kind: "foreign" };
    default:
      return { kind: "foreign" };
  }
}

function readHash(pieces: string[]): AuthorizationProof | undefined {
  const paymentHash = pieces.length === 1 ? toHex32(pieces[0]) : undefined;
  return paymentHash === undefined ? undefined : { kind: "hash", paymentHash };
}

function readBearer(pieces: string[]): AuthorizationProof {
  const [key = ""] = pieces;
  if (key.startsWith("abl_")) return { kind: "token", token: key };
  // Keys of other houses may well be base64: without both halves it is not taken for a credential.
  if (!pieces.some((piece) => piece.includes(":"))) return { kind: "foreign" };
  return readPair(pieces) ?? { kind: "foreign" };
}

function readPayment(pieces: string[]): AuthorizationProof {
  const credential = pieces.length === 1 ? decodePaymentCredential(pieces[0]!) : undefined;
  if (credential) return { kind: "payment", ...credential };
  const preimage = readNamed(pieces, "method") === "lightning" ? toHex32(readNamed(pieces, "preimage")) : undefined;
  return preimage === undefined ? { kind: "malformed" } : { kind: "preimage", preimage };
}

/** The value of `name=value` or `name="value"` among the pieces. */
function readNamed(pieces: string[], name: string): string | undefined {
  const piece = pieces.find((one) => one.slice(0, name.length + 1).toLowerCase() === `${name}=`);
  return piece?.slice(name.length + 1).replace(/^"([^"]*)"$/, "$1");
}

/**
 * `<macaroon>[,<macaroon>...][:<preimage>]`, or a challenge id in the macaroon's place. Of several macaroons the
 * first counts. Undefined when the first half is nothing of ours.
 */
function readPair(pieces: string[]): AuthorizationProof | undefined {
  const [first] = halves(pieces[0] ?? "");
  const proofText = pieces.map((piece) => halves(piece)[1]).find((half) => half !== "") ?? "";
  const preimage = toHex32(proofText);
  if (isChallengeId(first)) {
    return preimage === undefined
      ? { kind: "malformed" }
      : { kind: "payment", challengeId: first, preimage, echoed: {} };
  }
  const macaroon = decodeMacaroonShape(first);
  if (!macaroon) return undefined;
  // A wallet that hides preimages leaves the second half out, or empty; a wrong one is a mistake to be told.
  if (preimage === undefined && proofText !== "") return { kind: "malformed" };
  return { kind: "credential", macaroon, preimage };
}

function halves(piece: string): [string, string] {
  const colon = piece.indexOf(":");
  return colon < 0 ? [piece, ""] : [piece.slice(0, colon), piece.slice(colon + 1)];
}

/** Base64 of bytes that begin as the V2 format does. */
function decodeMacaroonShape(text: string): Uint8Array | undefined {
  const bytes = decodeBase64(text);
  return bytes?.[0] === 2 ? bytes : undefined;
}

function toHex32(text: string | undefined): string | undefined {
  return text !== undefined && decodeHex32(text) ? text.toLowerCase() : undefined;
}
