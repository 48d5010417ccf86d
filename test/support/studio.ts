/** A server that takes orders, and Hearths before it. */
import { afterEach } from "bun:test";
import { endHearth, type RunningHearth, startHearth } from "./hearth.ts";
import { type OrderUpstream, startOrderUpstream } from "./order-upstream.ts";

/** Whatever a test opens by these ends with it, the latest first. Called once by a test file, at its top. */
export function studios() {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return {
    studio(models?: readonly string[]): OrderUpstream {
      const upstream = startOrderUpstream(models);
      ends.push(upstream.stop);
      return upstream;
    },
    async open(config: string, dataDir?: string): Promise<RunningHearth> {
      const hearth = await startHearth({ command: "serve", config, ...(dataDir !== undefined && { dataDir }) });
      ends.push(() => endHearth(hearth));
      return hearth;
    },
    atEnd: (end: () => Promise<unknown>) => void ends.push(end),
  };
}
