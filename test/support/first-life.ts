/** A Hearth that is to be killed on the way: ends by the kill, or by itself when there was no write left to die at. */
import type { RunningHearth } from "./hearth.ts";

/** How a process ends that was killed, by its exit code. */
const killedCode = 128 + 9;

export async function firstLife(start: () => Promise<RunningHearth>, goOn: (url: string) => Promise<unknown>): Promise<{ killed: boolean }> {
  let hearth: RunningHearth;
  try {
    hearth = await start();
  } catch (error) {
    if (String(error).includes(`Hearth ended with ${killedCode}`)) return { killed: true };
    throw error;
  }
  try {
    await goOn(hearth.url);
  } catch (error) {
    const died = await Promise.race([hearth.exited, Bun.sleep(2_000)]);
    if (died === killedCode) return { killed: true };
    hearth.kill("SIGKILL");
    throw error;
  }
  return { killed: (await hearth.stop()) === killedCode };
}
