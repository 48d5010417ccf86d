/** Makes what a 402 shows: an invoice with the credential it pays for, and nothing shared with any other asker. */
import { toBase64, toHex } from "../base/bytes.ts";
import type { Clock, Random } from "../base/clock.ts";
import { newId } from "../base/ids.ts";
import type { Sat } from "../money/msat.ts";
import type { OpenInvoice, Purpose } from "../payments/invoice.ts";
import type { InvoiceRequest } from "../payments/payments.ts";
import { mintedCaveats } from "./caveats.ts";
import { deriveClaimSecret, hashClaimSecret } from "./claim-secret.ts";
import { mintMacaroon, rollTokenId } from "./macaroon.ts";

/** An invoice somebody may pay, with the credential it pays for. */
export type Challenge = {
  invoice: OpenInvoice;
  /** Standard base64 with padding. Undefined for an asker who knows the invoice only, as every hop of its payment does. */
  macaroon: string | undefined;
  /** Of a topup or refill. */
  claimSecret: string | undefined;
};

export type Order = {
  amountSats: Sat;
  /** Short text for the payer's wallet. */
  memo: string;
  /** Which request is quoted, and on which terms; opaque here. */
  fingerprint: string;
  terms: string;
  purpose: Purpose;
  /** Who asks, where addresses mean something. */
  address: string | undefined;
};

export class ChallengeMint {
  readonly #master: Uint8Array;
  readonly #payments: { open(request: InvoiceRequest): Promise<OpenInvoice> };
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(parts: { master: Uint8Array; payments: { open(request: InvoiceRequest): Promise<OpenInvoice> }; clock: Clock; random: Random }) {
    this.#master = parts.master;
    this.#payments = parts.payments;
    this.#clock = parts.clock;
    this.#random = parts.random;
  }

  /** @throws AppError what opening an invoice throws. */
  async mint(order: Order): Promise<Challenge> {
    const { amountSats, memo, fingerprint, terms, purpose, address } = order;
    const invoice = await this.#payments.open({
      amountSats, memo, purpose, address,
      quoteId: newId("q", this.#clock.nowMs(), this.#random),
      quoteFingerprint: fingerprint,
      quoteTerms: terms,
      tokenIdFor: (paymentHash, createdAtMs) =>
        toHex(rollTokenId({ master: this.#master, paymentHash, caveats: mintedCaveats(createdAtMs), random: this.#random })),
      claimSecretHashFor: (paymentHash) => (purpose.kind === "call" ? undefined : hashClaimSecret(deriveClaimSecret(this.#master, paymentHash))),
    });
    return this.again(invoice);
  }

  /** The invoice again, for whoever names it by its payment hash: what is not secret of it. */
  invoiceAgain(invoice: OpenInvoice): Challenge {
    return { invoice, macaroon: undefined, claimSecret: undefined };
  }

  /** The same challenge as before, byte for byte. */
  again(invoice: OpenInvoice): Challenge {
    const macaroon = mintMacaroon({
      master: this.#master,
      paymentHash: invoice.paymentHash,
      tokenId: new Uint8Array(Buffer.from(invoice.tokenId, "hex")),
      caveats: mintedCaveats(invoice.createdAtMs),
    });
    const claimSecret = invoice.claimSecretHash === undefined ? undefined : deriveClaimSecret(this.#master, invoice.paymentHash);
    return { invoice, macaroon: toBase64(macaroon), claimSecret };
  }
}
