/**
 * phoenixd's HTTP API: one request, its answer or what it failed by, and the websocket on which it tells of payments. Retries nothing. What is
 * known of it is from its source at 0.8.0 (github.com/ACINQ/phoenixd, Api.kt and JsonSerializers.kt) and phoenix.acinq.co/server/api.
 */
import { z } from "zod";
import { AppError } from "../base/errors.ts";
import { maxNodeAnswerBytes, nodeCallTimeoutMs } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";

/** @throws PhoenixdError where the password cannot be read. */
export type PhoenixdAccess = { url: string; password: () => string };

/** Why phoenixd did not do what was asked. */
export type PhoenixdTrouble =
  | "unreachable"
  /** Not with this password. */
  | "forbidden"
  | "not_found"
  /** Answered 200 all the same. */
  | "payment_failed"
  | "refused";

export class PhoenixdError extends AppError {
  readonly trouble: PhoenixdTrouble;

  constructor(trouble: PhoenixdTrouble, message: string, cause?: unknown) {
    super("node_unavailable", message, { retryable: trouble !== "forbidden", retryAfterSeconds: 10, cause });
    this.trouble = trouble;
  }
}

/** A payment that did not work is answered 200 with a reason (PaymentFailed in JsonSerializers.kt). */
const failure = z.object({ reason: z.string() });

export class PhoenixdApi {
  readonly #access: PhoenixdAccess;

  constructor(access: PhoenixdAccess) {
    this.#access = access;
  }

  get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#ask("GET", path, undefined, schema);
  }

  /** Parameters travel as a form. `signal`: in place of the deadline of a call. */
  post<T>(path: string, form: Record<string, string>, schema: z.ZodType<T>, signal?: AbortSignal): Promise<T> {
    return this.#ask("POST", path, new URLSearchParams(form), schema, signal);
  }

  async #ask<T>(method: string, path: string, body: URLSearchParams | undefined, schema: z.ZodType<T>, signal = AbortSignal.timeout(nodeCallTimeoutMs)): Promise<T> {
    const headers = this.#headers();
    try {
      const answer = await fetch(this.#access.url + path, { method, headers, redirect: "error", timeout: false, signal, ...(body && { body }) } as RequestInit);
      const text = new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxNodeAnswerBytes));
      if (!answer.ok) throw this.#toError(answer.status, text);
      return parse(schema, text);
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  /**
   * What phoenixd tells from now on: nothing is repeated for who comes later (a MutableSharedFlow without replay, Phoenixd.kt). Ends when
   * `signal` fires, throws when the connection breaks.
   */
  async *events<T>(schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T> {
    if (signal.aborted) return;
    const socket = new WebSocket(`${this.#access.url.replace(/^http/, "ws")}/websocket`, { headers: this.#headers() });
    let hangUp = () => {};
    const messages = new ReadableStream<string>({
      start: (controller) => {
        const end = () => (hangUp(), controller.close());
        // No goodbye: whoever is silent would not answer it.
        hangUp = () => {
          signal.removeEventListener("abort", end);
          socket.onmessage = socket.onclose = null;
          socket.terminate();
        };
        signal.addEventListener("abort", end);
        socket.onmessage = ({ data }) => controller.enqueue(String(data));
        socket.onclose = () => (hangUp(), controller.error(this.#unreachable(new Error("its websocket is closed"))));
      },
      cancel: () => hangUp(),
    });
    for await (const text of messages) yield parse(schema, text);
  }

  /** Basic authentication; the user's name is not looked at (`validate` in Api.kt). */
  #headers(): Record<string, string> {
    return { Authorization: `Basic ${Buffer.from(`:${this.#access.password()}`).toString("base64")}` };
  }

  #unreachable(cause: unknown): PhoenixdError {
    if (cause instanceof PhoenixdError) return cause;
    return new PhoenixdError("unreachable", `phoenixd at ${new URL(this.#access.url).host} cannot be reached (${describeError(cause)}).`, cause);
  }

  /** Errors are plain text (`StatusPages` in Api.kt). */
  #toError(status: number, text: string): PhoenixdError {
    const words = text.trim().slice(0, 200);
    if (status === 401) return new PhoenixdError("forbidden", "phoenixd refuses the password; in its phoenix.conf, http-password-limited-access is the one to sell with, http-password the one that may pay.");
    // Any other 404 is not phoenixd's word on an invoice: something else may stand at this address.
    if (status === 404 && words === "Not found") return new PhoenixdError("not_found", words);
    if (status === 404) return new PhoenixdError("refused", `There is no API of phoenixd at ${new URL(this.#access.url).host}; check its url.`);
    return new PhoenixdError("refused", `phoenixd refused: ${words || `status ${status}`}.`);
  }
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PhoenixdError("refused", "phoenixd answered something that is no JSON.", cause);
  }
  const failed = failure.safeParse(value);
  if (failed.success) throw new PhoenixdError("payment_failed", `phoenixd refused: ${failed.data.reason.slice(0, 200)}.`);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new PhoenixdError("refused", "phoenixd answered something that phoenixd 0.7 does not.", parsed.error);
  return parsed.data;
}
