/** What Hearth asks of a model server. Bytes in, bytes out: meaning is read by whoever taps them. */

export type UpstreamModel = { id: string; createdS: number | undefined };

/** The name under which an upstream takes the most output tokens it may make. */
export type CapField = "max_tokens" | "max_completion_tokens";

export type UpstreamAnswer = {
  status: number;
  contentType: string;
  /** Ends, or errors when the connection broke. Cancelling it (or the call's signal) stops the upstream's work. */
  body: ReadableStream<Uint8Array>;
  /** The whole body, instead of `body`. @throws when it breaks off or is longer. */
  read(maxBytes: number): Promise<Uint8Array>;
};

export interface Upstream {
  readonly name: string;
  /** On this machine or its network: no third party is paid for what it makes. */
  readonly local: boolean;
  readonly capField: CapField;
  /** The same text without the owner's key: some servers repeat it in their errors. */
  redact(text: string): string;
  /** What can be asked for. @throws AppError `upstream_unavailable`. */
  models(): Promise<UpstreamModel[]>;
  /**
   * Sends one chat request and resolves with the head of the answer, whatever its status. Never repeated here: the
   * caller knows what a second try would cost. @throws AppError `upstream_unavailable` when there is no answer;
   * the signal's reason when `signal` fired.
   */
  chat(body: string, signal: AbortSignal): Promise<UpstreamAnswer>;
}
