/** What we use of the npm package `macaroon` 3.0.4, which has no types of its own. */
declare module "macaroon" {
  export interface ImportedMacaroon {
    readonly identifier: Uint8Array;
    /** `check` must answer an error or throw: a returned `false` counts as a pass. Throws on a wrong signature. */
    verify(rootKey: Uint8Array, check: (caveat: string) => string | null): void;
  }
  /** Throws on bytes that are not exactly one V2 macaroon. */
  export function importMacaroon(bytes: Uint8Array): ImportedMacaroon;
}
