/** The first signal stops in good order; later ones change nothing. */
import { describeError } from "../base/log.ts";

export function stopOnSignal(stop: () => Promise<void>, fatal: (reason: string) => never): void {
  let stopping = false;
  const begin = () => {
    if (stopping) return;
    stopping = true;
    stop().then(() => process.exit(0), (error: unknown) => fatal(`stopping failed: ${describeError(error)}`));
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, begin);
}
