/**
 * Signs the sandbox's invoices and reads anybody's. Pure. Off the hot path only; judges no expiry (the clock is the
 * caller's), makes no invoice without an amount, and routes nothing: hints and fallback addresses are ignored.
 */
import { decode, encode, sign, type PaymentRequestObject } from "bolt11";
import { assert } from "../base/assert.ts";
import { decodeHex32, toHex } from "../base/bytes.ts";
import { maxInvoiceCharacters } from "../base/limits.ts";
import { msat, type Msat } from "../money/msat.ts";
import type { Network } from "./node.ts";

export type InvoiceText = {
  paymentHash: string;
  /** Absent when the payer may choose the amount. */
  amountMsat: Msat | undefined;
  expiresAtMs: number;
  network: Exclude<Network, "sandbox">;
  /** Public key of the node that is paid, recovered from the signature. */
  payee: string;
  /** It needs something of its payer that not everybody can, or a payment of another kind (AMP). */
  asksForMore: boolean;
  routeHints: number;
  /** Blocks that its last hop wants to have. */
  finalCltvBlocks: number;
  /** Empty when the invoice carries only the hash of a description. */
  memo: string;
};

export type InvoiceToSign = {
  privateKey: Uint8Array;
  amountMsat: Msat;
  paymentHash: string;
  paymentSecret: string;
  memo: string;
  timestampS: number;
  expirySeconds: number;
};

type FeatureBits = NonNullable<ReturnType<typeof decode>["tagsObject"]["feature_bits"]>;
/** option_amp: paid by other hashes than the invoice's own. */
const ampBits: readonly number[] = [30, 31];

type Chain = NonNullable<PaymentRequestObject["network"]>;

/** BOLT 11 gives a description 1023 words of 5 bits. */
export const maxMemoBytes = 639;
/** BOLT 11: what an invoice that names no expiry means. */
const defaultExpirySeconds = 3600;
/** What CLN and LND of today ask for at least; the sandbox has no blocks, but readers check the field. */
const minFinalCltvBlocks = 18;
/** Bits 8 and 14: no payer of today lacks them, and without the secret a hop could probe the amount. */
const features = { word_length: 3, var_onion_optin: { required: true }, payment_secret: { required: true } };

const regtest: Chain = { bech32: "bcrt", pubKeyHash: 0x6f, scriptHash: 0xc4, validWitnessVersions: [0, 1] };
const chains: Record<string, { network: InvoiceText["network"]; chain: Chain }> = {
  bc: { network: "mainnet", chain: { bech32: "bc", pubKeyHash: 0x00, scriptHash: 0x05, validWitnessVersions: [0, 1] } },
  tb: { network: "testnet", chain: { ...regtest, bech32: "tb" } },
  tbs: { network: "signet", chain: { ...regtest, bech32: "tbs" } },
  bcrt: { network: "regtest", chain: regtest },
  sb: { network: "simnet", chain: { bech32: "sb", pubKeyHash: 0x3f, scriptHash: 0x7b, validWitnessVersions: [0, 1] } },
};
/** Network and amount, then bech32's separator (the last `1`) and data. */
const shape = /^ln(bcrt|bc|tbs|tb|sb)(?:\d+[munp]?)?1[02-9ac-hj-np-z]+$/;

/** An `lnbcrt` invoice with everything a strict payer asks for. Hashes and secrets are 64 hex digits. */
export function signInvoice(input: InvoiceToSign): string {
  assert(input.amountMsat > 0n, "an invoice asks for an amount");
  assert(decodeHex32(input.paymentHash) && decodeHex32(input.paymentSecret), "hash and secret are 32 bytes of hex");
  assert(new TextEncoder().encode(input.memo).length <= maxMemoBytes, "a memo is at most 639 bytes");
  assert(Number.isSafeInteger(input.expirySeconds) && input.expirySeconds > 0, "an invoice expires after whole seconds");
  assert(Number.isSafeInteger(input.timestampS) && input.timestampS < 2 ** 35, "BOLT 11's time is 35 bits of seconds");
  const unsigned = encode(
    {
      network: regtest,
      timestamp: input.timestampS,
      millisatoshis: String(input.amountMsat),
      tags: [
        { tagName: "payment_hash", data: input.paymentHash },
        { tagName: "payment_secret", data: input.paymentSecret },
        { tagName: "description", data: input.memo },
        { tagName: "expire_time", data: input.expirySeconds },
        { tagName: "min_final_cltv_expiry", data: minFinalCltvBlocks },
        { tagName: "feature_bits", data: features },
      ],
    },
    false,
  );
  const text = sign(unsigned, toHex(input.privateKey)).paymentRequest;
  assert(text, "signing makes an invoice");
  return text;
}

/** What an invoice says, its checksum and signature checked; `undefined` for anything else. Never throws. */
export function readInvoice(text: string): InvoiceText | undefined {
  // bech32 refuses mixed case, so the check must see the text as it was written.
  if (text.length > maxInvoiceCharacters) return undefined;
  const lowercase = text.toLowerCase();
  if (text !== lowercase && text !== text.toUpperCase()) return undefined;
  const known = chains[shape.exec(lowercase)?.[1] ?? ""];
  if (!known) return undefined;
  try {
    return meaning(decode(lowercase, known.chain), known.network);
  } catch {
    return undefined; // the library throws for every flaw, and its messages are not for our callers
  }
}

function meaning(decoded: ReturnType<typeof decode>, network: InvoiceText["network"]): InvoiceText | undefined {
  const hashes = decoded.tags.filter((tag) => tag.tagName === "payment_hash");
  const paymentHash = hashes[0]?.data;
  // Two hashes are read differently by different decoders, so neither is believed.
  if (hashes.length !== 1 || typeof paymentHash !== "string" || !decodeHex32(paymentHash)) return undefined;
  const tags = decoded.tagsObject;
  const expiresAtMs = ((decoded.timestamp ?? NaN) + (tags.expire_time ?? defaultExpirySeconds)) * 1000;
  if (!Number.isSafeInteger(expiresAtMs) || !decoded.payeeNodeKey) return undefined;
  const amountMsat = decoded.millisatoshis ? msat(BigInt(decoded.millisatoshis)) : undefined;
  return { paymentHash, amountMsat, expiresAtMs, network, payee: decoded.payeeNodeKey, memo: tags.description ?? "", asksForMore: asksForMore(tags.feature_bits), routeHints: decoded.tags.filter((tag) => tag.tagName === "routing_info").length, finalCltvBlocks: tags.min_final_cltv_expiry ?? minFinalCltvBlocks };
}

/** BOLT 9: an even bit is a must. What the library does not name begins at `start_bit`. */
function asksForMore(features: FeatureBits | undefined): boolean {
  const { start_bit: start = 0, bits = [] } = features?.extra_bits ?? {};
  return bits.some((isSet, at) => isSet && ((start + at) % 2 === 0 || ampBits.includes(start + at)));
}
