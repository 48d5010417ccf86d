/** What a program that runs under shim.c may ask of it. Loads nothing where the shim is not. */
import { dlopen } from "bun:ffi";

const library = process.env.LD_PRELOAD
  ? dlopen(process.env.LD_PRELOAD, {
      shim_mark: { args: ["cstring"], returns: "void" },
      shim_fill_disk: { args: ["int"], returns: "void" },
    })
  : undefined;

/** Adds a line to the shim's record, in order with the writes and syncs. */
export function mark(text: string): void {
  library?.symbols.shim_mark(Buffer.from(`${text}\0`));
}

/** From now on writes to these files answer ENOSPC, to others they do not. */
export function fillDisk(full: { database: boolean; wal: boolean }): void {
  library?.symbols.shim_fill_disk((full.database ? 1 : 0) + (full.wal ? 2 : 0));
}
