/** Looks up what a presented key opens, and tells its holder what is there. Moves no money. */
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { maxCountedAddresses, maxTokenGuesses, maxTokenGuessesInAll, tokenGuessWindowMs } from "../base/limits.ts";
import { RateWindow } from "../base/rate-window.ts";
import type { CredentialDesk, CredentialProof } from "../l402/credential.ts";
import { spendable } from "../ledger/account.ts";
import { getAccount } from "../ledger/transfers.ts";
import { type Msat, msat } from "../money/msat.ts";
import type { OpenInvoice } from "../payments/invoice.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import type { Asker } from "./asker.ts";
import { findKey, type Key } from "./keys.ts";
import { hashToken } from "./token.ts";

export type Balance =
  | { kind: "token"; spendableMsat: Msat; reservedMsat: Msat }
  | { kind: "credential"; spendableMsat: Msat; reservedMsat: Msat; validUntilS: number };

/** `usedMsat`: charged in all; the others in the UTC day, week (from Monday) and month. */
export type Usage = { label: string; balance: Balance; usedMsat: Msat; todayMsat: Msat; weekMsat: Msat; monthMsat: Msat };

/** `unpaid` and `refused` are answered by a challenge, `narrowed` by a 403. */
export type Opened<Content> = { kind: "opened"; content: Content } | { kind: "unpaid"; invoice: OpenInvoice } | { kind: "refused" };

type OpenAccount = { accountId: string; label: string; /** Of a credential only. */ validUntilS: number | undefined };

const dayMs = 86_400_000;
/** Whom nobody can tell apart share one count. */
const everybody = "";

export class Accounts {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #desk: CredentialDesk;
  readonly #guesses: RateWindow;
  readonly #allGuesses: RateWindow;

  constructor(parts: { reader: Reader; writer: Writer; clock: Clock; desk: CredentialDesk }) {
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.#clock = parts.clock;
    this.#desk = parts.desk;
    const { clock } = parts;
    this.#guesses = new RateWindow({ limit: maxTokenGuesses, windowMs: tokenGuessWindowMs, maxKeys: maxCountedAddresses, clock });
    this.#allGuesses = new RateWindow({ limit: maxTokenGuessesInAll, windowMs: tokenGuessWindowMs, maxKeys: 1, clock });
  }

  /** @throws AppError `invalid_token`; `too_many_tries` for who keeps guessing. A token that exists is never held up by others' guesses. */
  token(token: string, addressOf: () => string | undefined): Key {
    const key = findKey(this.#reader, hashToken(token));
    if (key !== undefined && key.ended === undefined) return key;
    const address = addressOf();
    const { allowed, retryAfterSeconds } = address === undefined ? this.#allGuesses.hit(everybody) : this.#guesses.hit(address);
    if (!allowed) throw new AppError("too_many_tries", "Too many unknown tokens; wait a minute.", { retryable: true, retryAfterSeconds });
    throw new AppError("invalid_token", key === undefined ? "This token is not known here." : `This token was ${key.ended!.by}; it opens nothing any more.`);
  }

  /** What the presented key holds. @throws AppError `invalid_token`, `no_account`, `narrowed_credential`, `settlement_unknown`. */
  async balance(asker: Asker): Promise<Opened<Balance>> {
    const opened = await this.#open(asker);
    if (opened.kind !== "opened") return opened;
    return { kind: "opened", content: await this.#read(opened.content) };
  }

  /** The same, with what was used. */
  async usage(asker: Asker): Promise<Opened<Usage>> {
    const opened = await this.#open(asker);
    if (opened.kind !== "opened") return opened;
    const { accountId, label } = opened.content;
    const balance = await this.#read(opened.content);
    const today = Math.floor(this.#clock.nowMs() / dayMs) * dayMs;
    const sinceMonday = (new Date(today).getUTCDay() + 6) % 7;
    const used = (fromMs: number) => this.#usedSince(accountId, new Date(fromMs).toISOString().slice(0, 10));
    const sinceFirst = new Date(today).getUTCDate() - 1;
    return {
      kind: "opened",
      content: {
        label, balance, usedMsat: this.#usedSince(accountId, ""),
        todayMsat: used(today), weekMsat: used(today - sinceMonday * dayMs), monthMsat: used(today - sinceFirst * dayMs),
      },
    };
  }

  /**
   * The account that is the asker's own, by a proof that nobody else can know.
   * @throws AppError `no_account`, `invalid_token`, `narrowed_credential`, `claim_first`, `not_paid`, `settlement_unknown`.
   */
  async own(asker: Asker): Promise<string> {
    if (asker.token !== undefined) return this.token(asker.token, asker.address).accountId;
    if (asker.credential === undefined) throw noAccount();
    const standing = await this.#desk.resolve(asker.credential, "balance");
    switch (standing.kind) {
      case "account":
        if (standing.limits.narrowed) throw new AppError("narrowed_credential", "A narrowed credential pays for calls; only the full one collects.");
        if (!standing.full) throw new AppError("claim_first", "A macaroon without its preimage collects nothing; claim it into a token first: POST /api/v1/topup/claim.");
        return standing.invoice.accountId;
      case "outlived":
        throw outlived();
      case "unsettled":
        throw settlementUnknown();
      case "unpaid":
        throw new AppError("not_paid", "The invoice of this credential is not paid.");
      case "refused":
        throw new AppError("invalid_token", "This credential is not one of ours, or its invoice was never paid.");
    }
  }

  #usedSince(accountId: string, day: string): Msat {
    const row = this.#reader.get<{ used: bigint | null }>("SELECT sum(charged_msat) AS used FROM account_day WHERE account_id = ? AND day >= ?", accountId, day)!;
    return msat(row.used ?? 0n);
  }

  async #open(asker: Asker): Promise<Opened<OpenAccount>> {
    if (asker.token !== undefined) {
      const key = this.token(asker.token, asker.address);
      return { kind: "opened", content: { accountId: key.accountId, label: labelOf(asker.token), validUntilS: undefined } };
    }
    if (asker.credential !== undefined) return this.#openCredential(asker.credential);
    if (asker.malformed) return { kind: "refused" };
    throw noAccount();
  }

  async #openCredential(proof: CredentialProof): Promise<Opened<OpenAccount>> {
    const standing = await this.#desk.resolve(proof, "balance");
    switch (standing.kind) {
      case "account": {
        if (standing.limits.narrowed) throw new AppError("narrowed_credential", "A narrowed credential pays for calls; only the full one shows its balance.");
        const { accountId, paymentHash } = standing.invoice;
        return { kind: "opened", content: { accountId, label: `credential ${paymentHash.slice(0, 8)}...`, validUntilS: standing.limits.validUntilS } };
      }
      case "outlived":
        throw outlived();
      case "unsettled":
        throw settlementUnknown();
      case "unpaid":
      case "refused":
        return standing;
    }
  }

  async #read({ accountId, validUntilS }: OpenAccount): Promise<Balance> {
    await this.#writer.caughtUp();
    const account = getAccount(this.#reader, accountId);
    const amounts = { spendableMsat: spendable(account), reservedMsat: account.debitsPendingMsat };
    return validUntilS === undefined ? { kind: "token", ...amounts } : { kind: "credential", ...amounts, validUntilS };
  }
}

/** As it may be shown: enough to know one's own, too little for anybody else. */
function labelOf(token: string): string {
  return `${token.slice(0, 8)}...${token.slice(-4)}`;
}

function noAccount(): AppError {
  return new AppError("no_account", "Send the token or the credential this is about: Authorization: Bearer abl_..., or Authorization: L402 <macaroon>:<preimage>.");
}

export function settlementUnknown(): AppError {
  return new AppError("settlement_unknown", "The node has not confirmed this payment yet; repeat the same request in a few seconds.", {
    retryable: true, retryAfterSeconds: 3,
  });
}

export function outlived(): AppError {
  return new AppError("invalid_token", "This payment refilled a token that has been replaced since; use the new token.");
}
