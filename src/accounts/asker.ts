/** Everything a request says about who asks. Pure. A header may hold any of it; who is right is found out elsewhere. */
import type { CredentialProof } from "../l402/credential.ts";

/** What every hop of a payment can know; it opens the quoted request once. */
export type SingleUseProof = { kind: "preimage"; preimage: string } | { kind: "hash"; paymentHash: string };

export type Asker = {
  /** `abl_...`, known or not. */
  token: string | undefined;
  credential: CredentialProof | undefined;
  singleUse: SingleUseProof | undefined;
  /** A credential was sent that cannot be read: answered by a fresh challenge, so that clients drop it. */
  malformed: boolean;
  /** The key by which its address is counted; undefined where that does not mean one client. Read only when needed. */
  address: () => string | undefined;
  idempotencyKey: string | undefined;
};

/** Nobody whose own account could be asked. */
export function isStranger(asker: Asker): boolean {
  return asker.token === undefined && asker.credential === undefined;
}
