/** What the main thread and the writer thread say to each other. Pure types. */
import type { Outcome } from "./command.ts";

export type Want = "executed" | "durable";
export type CommandRequest = { seq: number; name: string; input: unknown; want: Want };
export type Failure = { code: string; message: string };

export type ToWriter =
  | { kind: "open"; path: string }
  | { kind: "commands"; requests: CommandRequest[] }
  | { kind: "close" };

export type FromWriter =
  | { kind: "ready" }
  | {
      kind: "answers";
      outcomes: [seq: number, outcome: Outcome][];
      failures: [seq: number, failure: Failure][];
      /** Every command up to this one is executed. */
      through: number;
    }
  | { kind: "space"; full: boolean }
  | { kind: "fatal"; reason: string }
  | { kind: "closed" };

export type ToCheckpointer = { kind: "open"; path: string } | { kind: "checkpoint" } | { kind: "close" };
export type FromCheckpointer = { kind: "done" } | { kind: "closed" } | { kind: "failed"; reason: string };
