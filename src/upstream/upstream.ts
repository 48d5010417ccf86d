/** What Hearth asks of a model server. Bytes in, bytes out: meaning is read by whoever taps them. */
import type { ListedPrice } from "./listed-price.ts";
import type { Modality } from "./modality.ts";
import type { Profile } from "./profiles.ts";

/** A model as its server lists it; undefined is what the server does not say. */
export type UpstreamModel = {
  id: string;
  createdS: number | undefined;
  /** Prompt and answer together. */
  contextTokens?: number | undefined;
  maxOutputTokens?: number | undefined;
  /** What the owner pays there. */
  listedPrice?: ListedPrice | undefined;
  /** Only `chat`, or undefined, may be sold as chat. */
  modality?: Modality | undefined;
};

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
  /** Calls it works on at one time; undefined for a cloud, where nobody queues that we know of. */
  readonly places: number | undefined;
  /** What it takes and how it reports. A server without a telling address is known after its first model list. */
  readonly profile: Profile;
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
  /** The same for another route of its API, e.g. `images/generations`; a form goes as multipart. */
  post(path: string, body: string | FormData, signal: AbortSignal): Promise<UpstreamAnswer>;
}
