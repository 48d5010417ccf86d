/** What `hearth doctor` says of the owner's secrets: what protects them, and which are written out. */
import { isSealExposed, type SealPlace } from "../config/seal.ts";
import type { Line } from "./doctor-node.ts";

export type SecretsToCheck = { place: SealPlace; names: readonly string[]; /** Settings that hold one in plain text. */ plain: readonly string[] };

export function checkSecrets({ place, names, plain }: SecretsToCheck): Line[] {
  const written = plain.map((setting) => ({ ok: false, text: `secrets: ${setting} is written out in hearth.toml; keep it with hearth secret set NAME and write "secret:NAME" there` }));
  if (names.length === 0) return written.length > 0 ? written : [{ ok: true, text: "secrets: none is kept" }];
  const sealed = `secrets: ${names.length} sealed`;
  if (place.kind === "systemd") return [{ ok: true, text: `${sealed} under a credential of systemd; a copy of the disk does not open them` }, ...written];
  const exposed = isSealExposed(place.path);
  const text = exposed ? `${sealed}, but others can read their key: chmod 600 ${place.path}` : `${sealed} under ${place.path} (only your user reads it); whoever copies the whole directory has both`;
  return [{ ok: !exposed, text }, ...written];
}
