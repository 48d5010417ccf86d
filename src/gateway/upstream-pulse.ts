/**
 * Which model servers have failed lately, and at what, learnt from calls. Pure. Each failure in a row doubles the time one is passed over;
 * who refuses pictures may still chat.
 */
import type { Clock } from "../base/clock.ts";
import { firstCoolDownMs, lastCoolDownMs } from "../base/limits.ts";
import type { ModelKind } from "../pricing/public-prices.ts";

type Trouble = { failures: number; untilMs: number; refusesOwner: boolean };

export class UpstreamPulse {
  readonly #clock: Pick<Clock, "nowMs">;
  /** By upstream and kind. */
  readonly #troubles = new Map<string, Map<ModelKind, Trouble>>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** @param refusesOwner It will not serve the owner's key: not a matter of waiting. */
  failed(name: string, kind: ModelKind, refusesOwner: boolean): void {
    const troubles = this.#troubles.get(name) ?? new Map<ModelKind, Trouble>();
    const failures = (troubles.get(kind)?.failures ?? 0) + 1;
    const coolDownMs = Math.min(lastCoolDownMs, firstCoolDownMs * 2 ** Math.min(failures - 1, 16));
    this.#troubles.set(name, troubles.set(kind, { failures, untilMs: this.#clock.nowMs() + coolDownMs, refusesOwner }));
  }

  answered(name: string, kind: ModelKind): void {
    if (this.#troubles.size > 0) this.#troubles.get(name)?.delete(kind);
  }

  isCooling(name: string, kind: ModelKind): boolean {
    const trouble = this.#troubles.get(name)?.get(kind);
    return trouble !== undefined && this.#clock.nowMs() < trouble.untilMs;
  }

  /** Whether the last thing it said of anything was that the owner's key or account is refused. */
  refusesOwner(name: string): boolean {
    return [...(this.#troubles.get(name)?.values() ?? [])].some((trouble) => trouble.refusesOwner);
  }
}
