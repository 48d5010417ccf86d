/** What a credential's caveats allow. Pure. Caveats only narrow; who the holder is, is never read from one. */
import { credentialDays } from "../base/limits.ts";
import { minMsat, msat, type Msat } from "../money/msat.ts";

export type CredentialLimits = {
  /** Unix seconds; the credential pays for calls before this moment. */
  validUntilS: number;
  /** The models the holder left open; undefined means all, an empty list none. */
  models: string[] | undefined;
  /** The most that one call may reserve; undefined means the whole balance. */
  maxMsat: Msat | undefined;
  /** Whether a holder appended a limit: such a credential buys calls but moves no money. */
  narrowed: boolean;
};

export type CaveatsOutcome =
  | { ok: true; limits: CredentialLimits }
  | { ok: false; reason: "unknown_caveat" | "malformed_caveat" | "preimage_mismatch" };

type Refusal = Extract<CaveatsOutcome, { ok: false }>["reason"];

const ourService = "llm:0";

/** The two caveats every credential is born with. */
export function mintedCaveats(createdAtMs: number): string[] {
  const validUntilS = Math.floor(createdAtMs / 1000) + credentialDays * 24 * 60 * 60;
  return [`services=${ourService}`, `llm_valid_until=${validUntilS}`];
}

/** Reads the caveats of a macaroon whose signature is already verified; one that we cannot enforce refuses it. */
export function readCaveats(caveats: string[], presentedPreimage: string | undefined): CaveatsOutcome {
  const [services, validUntil, ...appended] = caveats;
  if (!services?.startsWith("services=") || !validUntil?.startsWith("llm_valid_until=")) {
    return refused("malformed_caveat");
  }
  const limits: CredentialLimits = { validUntilS: Infinity, models: undefined, maxMsat: undefined, narrowed: false };
  for (const caveat of [services, validUntil]) {
    const refusal = narrow(limits, caveat);
    if (refusal) return refused(refusal);
  }
  for (const caveat of appended) {
    const isPreimage = caveat.startsWith("preimage=");
    const refusal = isPreimage ? checkPreimage(caveat, presentedPreimage) : narrow(limits, caveat);
    if (refusal) return refused(refusal);
    limits.narrowed ||= !isPreimage;
  }
  return { ok: true, limits };
}

function refused(reason: Refusal): CaveatsOutcome {
  return { ok: false, reason };
}

/** lnget writes the preimage into the macaroon as well; it says nothing new and so limits nothing. */
function checkPreimage(caveat: string, presented: string | undefined): Refusal | undefined {
  return caveat.slice("preimage=".length).toLowerCase() === presented?.toLowerCase() ? undefined : "preimage_mismatch";
}

/** `condition=value` without spaces; takes the stricter of what was and what is asked. */
function narrow(limits: CredentialLimits, caveat: string): Refusal | undefined {
  const equals = caveat.indexOf("=");
  if (equals < 1 || /\s/.test(caveat)) return "malformed_caveat";
  const value = caveat.slice(equals + 1);
  switch (caveat.slice(0, equals)) {
    case "services":
      return value === ourService ? undefined : "unknown_caveat";
    case "llm_valid_until":
      return narrowTime(limits, value);
    case "llm_models":
      return narrowModels(limits, value);
    case "llm_max_msat":
      return narrowAmount(limits, value);
    default:
      return "unknown_caveat";
  }
}

function narrowTime(limits: CredentialLimits, value: string): Refusal | undefined {
  if (!/^[0-9]{1,15}$/.test(value)) return "malformed_caveat";
  limits.validUntilS = Math.min(limits.validUntilS, Number(value));
}

function narrowModels(limits: CredentialLimits, value: string): Refusal | undefined {
  const named = new Set(value.split(","));
  if (named.has("")) return "malformed_caveat";
  limits.models = limits.models ? limits.models.filter((model) => named.has(model)) : [...named];
}

function narrowAmount(limits: CredentialLimits, value: string): Refusal | undefined {
  // 18 digits stay below all the bitcoin there is, so that `msat` cannot object.
  if (!/^[0-9]{1,18}$/.test(value)) return "malformed_caveat";
  const most = msat(BigInt(value));
  limits.maxMsat = limits.maxMsat === undefined ? most : minMsat(limits.maxMsat, most);
}
