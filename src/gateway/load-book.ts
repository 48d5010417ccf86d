/** How busy each model server is with our calls, and how long one waits there. Pure. For what a quote says; nobody is turned away by it. */
import type { Clock } from "../base/clock.ts";
import type { Upstream } from "../upstream/upstream.ts";

/** Weight of the newest call. */
const newest = 0.1;

type Load = { running: number; meanMs: number | undefined };

export class LoadBook {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #loads = new Map<string, Load>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** Answers what to call when the call is over; calling it again changes nothing. */
  begin(upstreamName: string): () => void {
    const load = this.#loads.get(upstreamName) ?? { running: 0, meanMs: undefined };
    this.#loads.set(upstreamName, load);
    load.running++;
    const begunMs = this.#clock.nowMs();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      load.running--;
      const tookMs = Math.max(0, this.#clock.nowMs() - begunMs);
      load.meanMs = load.meanMs === undefined ? tookMs : load.meanMs * (1 - newest) + tookMs * newest;
    };
  }

  /** Seconds until a call that came now would be begun; 0 where the server has places, or nobody knows how long its calls take. */
  waitSeconds({ name, places }: Pick<Upstream, "name" | "places">): number {
    const load = this.#loads.get(name);
    if (load?.meanMs === undefined || places === undefined || load.running < places) return 0;
    return Math.ceil(((load.running - places + 1) * load.meanMs) / places / 1000);
  }
}
