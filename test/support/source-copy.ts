/**
 * Copies src/ and the programs that run it to a directory of its own, with chosen lines replaced: other limits, or a
 * writer broken on purpose. A text that is not found exactly once is an error, so no mutant goes stale unseen.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Replacement = { file: string; from: string; to: string };

/** Limits that make log resets, checkpoints and pauses frequent in a short run. */
export const busyLimits: readonly Replacement[] = [
  { file: "src/base/limits.ts", from: "export const logCheckCommands = 32;", to: "export const logCheckCommands = 8;" },
  { file: "src/base/limits.ts", from: "export const checkpointPages = 1_000;", to: "export const checkpointPages = 60;" },
  { file: "src/base/limits.ts", from: "export const pausePages = 16_000;", to: "export const pausePages = 240;" },
];

const root = join(import.meta.dir, "../..");

export class SourceCopy {
  readonly directory = mkdtempSync(join(tmpdir(), "hearth-copy-"));

  constructor(replacements: readonly Replacement[]) {
    for (const part of ["src", "test/support"]) cpSync(join(root, part), join(this.directory, part), { recursive: true });
    for (const one of replacements) this.#replace(one);
  }

  #replace({ file, from, to }: Replacement): void {
    const path = join(this.directory, file);
    const parts = readFileSync(path, "utf8").split(from);
    if (parts.length !== 2) throw new Error(`${file} must hold this text exactly once, and holds it ${parts.length - 1} times: ${from}`);
    writeFileSync(path, parts.join(to));
  }

  /** The path of a program of test/support in this copy. */
  program(name: string): string {
    return join(this.directory, "test/support", name);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
