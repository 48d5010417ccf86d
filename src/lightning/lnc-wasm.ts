/** Where the WASM of Lightning Node Connect is: inside the one file that Hearth is, or where `npm run build:lnc` puts it. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pinned from "./lnc-wasm.json";
import { AppError } from "../base/errors.ts";

/** Files that are built in carry a mark of their content in their name. */
const builtInName = /^lnc\.wasm-\w+\.gz$/;

/** Its path, packed, and the SHA-256 it must have unpacked. @throws AppError `invalid_config`. */
export function findLncWasm(): { path: string; sum: string } {
  const builtIn = (Bun.embeddedFiles as readonly (Blob & { name?: string })[]).find(({ name }) => name !== undefined && builtInName.test(name));
  const path = fileURLToPath(new URL(builtIn ? `./${builtIn.name}` : "../../lnc/build/lnc.wasm.gz", import.meta.url));
  if (!builtIn && !existsSync(path)) throw new AppError("invalid_config", "The part of Lightning Node Connect that is written in Go is not built here: install Go and run npm run build:lnc once, or take a release of Hearth, which carries it.");
  return { path, sum: pinned.sha256 };
}
