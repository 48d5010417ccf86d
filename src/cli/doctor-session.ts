/** What an owner is told of a session of Lightning Node Connect: whether it is enough, not too much, and when it ends. */
import { sessionWarnMs } from "../base/limits.ts";

export type Judgement = { missing: readonly string[]; dangerous: readonly string[]; /** Where it has an end. */ endsAtMs?: number | undefined };

export type SessionWanted = {
  /** How a better one is made. */
  command: string;
  /** Whether it is to pay out as well. */
  payouts: boolean;
};

export function sessionAdvice({ missing, dangerous, endsAtMs }: Judgement, { command, payouts }: SessionWanted): { ok: boolean; text: string } {
  const better = `make one with ${command}, and hearth lnc pair`;
  if (missing.length > 0) return { ok: false, text: `session: it lacks ${missing.join(", ")}; ${better}` };
  if (dangerous.length > 0)
    return { ok: false, text: `session: it allows more than selling${payouts ? " and paying out" : ""} needs (${dangerous.slice(0, 4).join(", ")}${dangerous.length > 4 ? " ..." : ""}); whoever gets Hearth's keys could take your money; ${better}` };
  const end = endsAtMs === undefined ? "" : new Date(endsAtMs).toISOString().slice(0, 10);
  if (endsAtMs !== undefined && endsAtMs < Date.now() + sessionWarnMs) return { ok: false, text: `session: it ends on ${end}, and selling with it; ${better}` };
  return { ok: true, text: `session: it can sell ${payouts ? "and pay, and no more" : "and cannot spend"}${end === "" ? "" : `, until ${end}`}` };
}
