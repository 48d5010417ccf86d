/** The owner's node over Lightning Node Connect: its pairing, its connection and the adapter, put together. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Random } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { sessionWarnMs } from "../base/limits.ts";
import { describeError, log } from "../base/log.ts";
import type { SealedSecrets } from "../config/sealed-secrets.ts";
import { takeLease } from "../store/lease.ts";
import { LncRpc, toError } from "./lnc.ts";
import { LncLink } from "./lnc-link.ts";
import { Pairings, readPhrase } from "./lnc-pairing.ts";
import { judgeSession } from "./lnc-rights.ts";
import { findLncWasm } from "./lnc-wasm.ts";
import { lndNode } from "./lnd.ts";
import { lndPayer } from "./lnd-payer.ts";
import type { Payable } from "./node.ts";

export type LncSettings = { mailbox: string; pairing_phrase?: string | undefined; payouts: boolean; private_hints: boolean };

export type LncParts = {
  settings: LncSettings;
  secrets: SealedSecrets;
  clock: Clock;
  random: Random;
  openWorker(): Worker;
};

export { sessionCommand } from "./lnc-rights.ts";

export type SessionJudgement = ReturnType<typeof judgeSession> & { endsAtMs: number | undefined };

export type LncNode = {
  node: ReturnType<typeof lndNode> & { payer?: Payable };
  /** Of the session, once there was a connection. */
  judgement(): SessionJudgement | undefined;
  /** Resolves with the first connection. @throws AppError with why the first try came to nothing. */
  connected(): Promise<void>;
  /** Says goodbye: who just ends keeps the next connection waiting. */
  stop(): Promise<void>;
};

/** With the phrase of the settings where it is a new one, else with what was paired before. @throws AppError `invalid_config`. */
export function openLnc({ settings, secrets, clock, random, openWorker, onJudged = warn }: LncParts & { onJudged?(judgement: SessionJudgement): void }): LncNode {
  const wasm = findLncWasm();
  const pairings = new Pairings(secrets, random);
  const pairing = settings.pairing_phrase === undefined ? pairings.kept : pairings.begin(readPhrase(settings.pairing_phrase));
  if (pairing === undefined) throw new AppError("invalid_config", 'Settings: node = "lnc" needs a pairing: run hearth lnc pair once, or give HEARTH_LNC_PAIRING_PHRASE.');
  let judged: SessionJudgement | undefined;
  const link = new LncLink({
    openWorker, wasm, pairing,
    mailbox: settings.mailbox,
    onRemoteKey: (key) => pairings.keepRemoteKey(key),
    onConnected: ({ rights, endsAtMs }, working) => {
      pairings.adopt(working);
      if (judged === undefined) onJudged((judged = { ...judgeSession(rights, settings.payouts), endsAtMs }));
    },
  });
  link.start();
  const rpc = new LncRpc(link);
  return {
    node: { ...lndNode({ rpc, private: settings.private_hints, clock }), ...(settings.payouts && { payer: lndPayer(rpc) }) },
    judgement: () => judged,
    connected: () => link.connected().catch((error: unknown) => Promise.reject(toError(error))),
    stop: () => link.stop(),
  };
}

/**
 * Pairs once and leaves. What worked before stays where this does not. The data directory must be nobody else's meanwhile: two connections
 * of one session push each other out. @throws AppError with what to do.
 */
export async function pairLnc(phraseText: string, { leasePath, ...parts }: LncParts & { leasePath: string }): Promise<{ alias: string; publicKey: string; network: string; judgement: SessionJudgement }> {
  const phrase = readPhrase(phraseText);
  const given = parts.settings.pairing_phrase;
  if (given !== undefined && readPhrase(given) !== phrase) throw new AppError("invalid_config", "The settings name another phrase, which would count at the next start; take pairing_phrase and HEARTH_LNC_PAIRING_PHRASE out of them.");
  mkdirSync(dirname(leasePath), { recursive: true, mode: 0o700 });
  const lease = takeLease(leasePath);
  const lnc = openLnc({ ...parts, settings: { ...parts.settings, pairing_phrase: phrase }, onJudged: () => undefined });
  try {
    await lnc.connected();
    const { alias, publicKey, network } = await lnc.node.status();
    return { alias, publicKey, network, judgement: lnc.judgement()! };
  } catch (error) {
    new Pairings(parts.secrets, parts.random).forgetUnused(phrase);
    throw new AppError("node_unavailable", `${error instanceof AppError ? error.message : describeError(error)} A phrase works once, and only while its session lives; nothing that worked before has changed.`, { cause: error });
  } finally {
    await lnc.stop();
    lease.release();
  }
}

function warn({ missing, dangerous, endsAtMs }: SessionJudgement): void {
  if (missing.length > 0) log.warn("lnc.session_lacks", { uris: missing.join(" ") });
  if (dangerous.length > 0) log.warn("lnc.session_allows_too_much", { rights: dangerous.length, see: "hearth doctor" });
  if (endsAtMs !== undefined && endsAtMs < Date.now() + sessionWarnMs) log.warn("lnc.session_ends", { at: new Date(endsAtMs).toISOString() });
}
