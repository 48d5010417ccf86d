/** What the main thread and the Worker of Lightning Node Connect say to each other. */

/** What a session is good for: rights as entity:action, those of a custom one as uri:/package.Service/Name, and its end where it has one. */
export type SessionTerms = { rights: readonly string[]; endsAtMs: number | undefined };

export type ToLnc =
  /** Once, first. `wasm` is the path of the packed program, `sum` its SHA-256 unpacked. An empty `remoteKey` means that nothing is paired yet. */
  | { do: "connect"; wasm: string; sum: string; mailbox: string; phrase: string; localKey: string; remoteKey: string }
  /** `method` is a full name such as lnrpc.Lightning.GetInfo. */
  | { do: "call" | "stream"; id: number; method: string; request: object }
  | { do: "cancel"; id: number }
  | { do: "disconnect" };

export type FromLnc =
  /** It hears: what is said to a Worker before that may be lost. */
  | { told: "loaded" }
  /** The program runs. */
  | { told: "started" }
  /** The node's end of the pairing; it comes once, before `connected`. */
  | { told: "remote_key"; key: string }
  /** The mailbox's word on how it stands. */
  | { told: "status"; status: string }
  | ({ told: "connected" } & SessionTerms)
  | { told: "answer" | "message"; id: number; value: unknown }
  /** A call or a stream came to its end with these words. `connected` is false where they are about our own connection. */
  | { told: "ended"; id: number; words: string; connected: boolean }
  /** This Worker is of no use. */
  | { told: "broken"; why: string };
