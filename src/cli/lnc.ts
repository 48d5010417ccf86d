/** `hearth lnc pair`: the phrase of a Lightning Node Connect session, typed or piped in once; what comes of it is kept sealed. */
import { type Judgement, sessionAdvice, type SessionWanted } from "./doctor-session.ts";

const usage = `hearth lnc pair      connects to your LND with the ten words of a session, typed or piped in, and keeps what it takes to come back`;

export type LncCommand = {
  args: readonly string[];
  /** The whole input; asked for with nothing shown where somebody types. */
  readInput(): Promise<string>;
  pair(phrase: string): Promise<{ alias: string; publicKey: string; network: string; judgement: Judgement }>;
  /** What the session is wanted for. */
  wanted: SessionWanted;
};

/** The process's exit code: 1 where the session is not as it should be. @throws AppError with what to do. */
export async function lncCommand({ args, readInput, pair, wanted }: LncCommand, print: (line: string) => void): Promise<number> {
  if (args.length !== 1 || args[0] !== "pair") {
    print(usage);
    return 2;
  }
  const phrase = await readInput();
  print("Connecting; this takes some seconds, up to a minute where nobody answers.");
  const { alias, publicKey, network, judgement } = await pair(phrase);
  print(`Paired with ${alias || publicKey.slice(0, 16)} on ${network}. Set node = "lnc" in hearth.toml, or HEARTH_NODE=lnc; the phrase is not needed again.`);
  const advice = sessionAdvice(judgement, wanted);
  if (!advice.ok) print(advice.text);
  return advice.ok ? 0 : 1;
}
