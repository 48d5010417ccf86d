/** `hearth secret ...`: keys of model servers, macaroons and passwords, kept sealed. They come by the keyboard or a pipe, never as an argument. */
import type { SealedSecrets } from "../config/sealed-secrets.ts";

const usage = `hearth secret set NAME      keeps a secret; type it or pipe it in. Settings name it as "secret:NAME"
hearth secret list          the names
hearth secret remove NAME   forgets one`;

export type SecretCommand = {
  args: readonly string[];
  secrets: SealedSecrets;
  /** The whole input; asked for with nothing shown where somebody types. */
  readInput(): Promise<string>;
};

/** The process's exit code. @throws AppError with what to do. */
export async function secretCommand({ args, secrets, readInput }: SecretCommand, print: (line: string) => void): Promise<number> {
  const [verb = "", name, ...rest] = args;
  if (verb === "list" && name === undefined) {
    const names = secrets.names();
    for (const one of names) print(one);
    if (names.length === 0) print("No secret is kept yet.");
    return 0;
  }
  if (!["set", "remove"].includes(verb) || name === undefined || rest.length > 0) {
    print(usage);
    return 2;
  }
  if (verb === "remove") {
    const removed = secrets.remove(name);
    print(removed ? `${name} is forgotten.` : `There is no secret "${name}".`);
    return removed ? 0 : 1;
  }
  // A line break at the end is the shell's.
  secrets.set(name, (await readInput()).replace(/\r?\n$/, ""));
  print(`${name} is kept. Name it in hearth.toml as "secret:${name}".`);
  return 0;
}
