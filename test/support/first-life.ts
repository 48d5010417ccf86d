/** A Hearth that is to be killed on the way: ends by the kill, or by itself when there was no write left to die at. */
import type { RunningHearth } from "./hearth.ts";

/** How a process ends that was killed, by its exit code. */
const killedCode = 128 + 9;

/** @param ends How it ends by itself: in good order, or at once where its last writes are none of the test's. */
export async function firstLife(start: () => Promise<RunningHearth>, goOn: (url: string) => Promise<unknown>, ends: "in order" | "at once" = "in order"): Promise<{ killed: boolean }> {
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
  if (ends === "in order") return { killed: (await hearth.stop()) === killedCode };
  // Whoever is dead by now was killed by the shim, late.
  const wasKilled = (await Promise.race([hearth.exited, Bun.sleep(50)])) === killedCode;
  hearth.kill("SIGKILL");
  await hearth.exited;
  return { killed: wasKilled };
}
