/** What completed calls have taught about each model: how long its answers are, how fast they come, how many tokens a word is. */
import { maxLearntCalls } from "../base/limits.ts";
import type { Reader } from "../store/reader.ts";
import { learnableOf } from "./chat-sale.ts";
import { FactorBook } from "./factor-book.ts";
import { OutputBook } from "./output-book.ts";
import { SpeedBook } from "./speed-book.ts";

/** One completed call with usage that its upstream reported. */
export type LearntCall = { model: string; /** `n` of the request. */ choices: number; /** As the call was quoted. */ terms: string; elapsedMs: number; inputTokens: number; outputTokens: number };

type Row = { model: string; terms: string; input_tokens: bigint; output_tokens: bigint; duration_ms: bigint };

export class Learnt {
  readonly speeds = new SpeedBook();
  readonly outputs = new OutputBook();
  readonly factors = new FactorBook();

  /** From the log of calls, so that a restart forgets nothing. */
  static from(reader: Pick<Reader, "all">): Learnt {
    const learnt = new Learnt();
    const rows = reader.all<Row>(
      "SELECT model, terms, input_tokens, output_tokens, duration_ms FROM call WHERE endpoint = 'chat/completions' AND ending = 'completed' AND estimated = 0 ORDER BY id DESC LIMIT ?",
      maxLearntCalls,
    );
    for (const row of rows.reverse())
      // How many choices were asked for is not in the log: nearly always one.
      learnt.learn({ model: row.model, choices: 1, terms: row.terms, elapsedMs: Number(row.duration_ms), inputTokens: Number(row.input_tokens), outputTokens: Number(row.output_tokens) });
    return learnt;
  }

  learn({ model, choices, terms, elapsedMs, inputTokens, outputTokens }: LearntCall): void {
    this.speeds.learn(model, outputTokens, elapsedMs);
    this.outputs.learn(model, outputTokens / choices);
    const learnable = learnableOf(terms);
    if (learnable) this.factors.learn(model, learnable, inputTokens);
  }
}
