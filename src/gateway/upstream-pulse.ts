/** Which model servers have failed lately, learnt from calls. Pure. Each failure in a row doubles the time one is passed over. */
import type { Clock } from "../base/clock.ts";
import { firstCoolDownMs, lastCoolDownMs } from "../base/limits.ts";

type Trouble = { failures: number; untilMs: number; refusesOwner: boolean };

export class UpstreamPulse {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #troubles = new Map<string, Trouble>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** @param refusesOwner It will not serve the owner's key: not a matter of waiting. */
  failed(name: string, refusesOwner: boolean): void {
    const failures = (this.#troubles.get(name)?.failures ?? 0) + 1;
    const coolDownMs = Math.min(lastCoolDownMs, firstCoolDownMs * 2 ** Math.min(failures - 1, 16));
    this.#troubles.set(name, { failures, untilMs: this.#clock.nowMs() + coolDownMs, refusesOwner });
  }

  answered(name: string): void {
    if (this.#troubles.size > 0) this.#troubles.delete(name);
  }

  isCooling(name: string): boolean {
    const trouble = this.#troubles.get(name);
    return trouble !== undefined && this.#clock.nowMs() < trouble.untilMs;
  }

  /** Whether the last thing it said was that the owner's key or account is refused. */
  refusesOwner(name: string): boolean {
    return this.#troubles.get(name)?.refusesOwner ?? false;
  }
}
