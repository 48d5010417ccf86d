/**
 * LND's REST API (lightning.engineering/api-docs/api/lnd): one request, its answer or what it failed by. TLS is the node's own certificate
 * or nothing: a connection whose other end is not proven carries neither macaroon nor invoice. Retries nothing.
 */
import { X509Certificate } from "node:crypto";
import { z } from "zod";
import { AppError } from "../base/errors.ts";
import { maxNodeAnswerBytes, nodeCallTimeoutMs } from "../base/limits.ts";
import { describeError } from "../base/log.ts";
import { readBounded } from "../base/read-bounded.ts";

/** Read when they are needed: a file may come later than Hearth, and a certificate is renewed. @throws AppError `node_unavailable`. */
export type LndAccess = {
  url: string;
  /** PEM; undefined where the node stands behind a certificate that everybody trusts. */
  certificate: () => string | undefined;
  /** Hex. */
  macaroon: () => string;
};

/** Why the node did not do what was asked. */
export type LndTrouble =
  /** Nobody there, or not who it should be. */
  | "unreachable"
  | "locked"
  | "starting"
  /** The macaroon does not open this. */
  | "forbidden"
  | "not_found"
  /** This version has no such call. */
  | "unknown_call"
  | "refused";

export class LndError extends AppError {
  readonly trouble: LndTrouble;

  constructor(trouble: LndTrouble, message: string, cause?: unknown) {
    super("node_unavailable", message, { retryable: trouble !== "forbidden", retryAfterSeconds: 10, cause });
    this.trouble = trouble;
  }
}

/** gRPC codes that LND's gateway repeats in its errors. */
const grpcNotFound = 5, grpcUnimplemented = 12;

const errorBody = z.object({ code: z.number().optional(), message: z.string().optional(), error: z.union([z.string(), z.object({ message: z.string(), code: z.number().optional() })]).optional() });

export class LndRest {
  readonly #access: LndAccess;

  constructor(access: LndAccess) {
    this.#access = access;
  }

  get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#json("GET", path, undefined, schema);
  }

  post<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T> {
    return this.#json("POST", path, body, schema);
  }

  delete<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#json("DELETE", path, undefined, schema);
  }

  /** Where the wallet stands; the one call that needs no macaroon. */
  state<T>(schema: z.ZodType<T>): Promise<T> {
    return this.#json("GET", "/v1/state", undefined, schema, false);
  }

  async #json<T>(method: string, path: string, body: object | undefined, schema: z.ZodType<T>, withMacaroon = true): Promise<T> {
    const answer = await this.#send(method, path, body, AbortSignal.timeout(nodeCallTimeoutMs), withMacaroon);
    const text = new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxNodeAnswerBytes).catch((error: unknown) => Promise.reject(unreachable(this.#access.url, error))));
    if (!answer.ok) throw toError(answer.status, text);
    return parse(schema, text);
  }

  /**
   * The messages of a streaming call, one JSON value a line, until it ends, `signal` fires (ends) or it breaks (throws). LND sends no head
   * before the first message, so nothing tells that the stream has begun.
   */
  async *stream<T>(method: "GET" | "POST", path: string, body: object | undefined, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T> {
    const line = z.object({ result: schema.optional(), error: z.object({ message: z.string(), code: z.number().optional(), grpc_code: z.number().optional() }).optional() });
    try {
      const answer = await this.#send(method, path, body, signal, true);
      if (!answer.ok) throw toError(answer.status, await answer.text());
      for await (const text of linesOf(answer.body!)) {
        const { result, error } = parse(line, text);
        if (error) throw toError(500, JSON.stringify(error));
        if (result !== undefined) yield result;
      }
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof AppError ? error : unreachable(this.#access.url, error);
    }
  }

  async #send(method: string, path: string, body: object | undefined, signal: AbortSignal | undefined, withMacaroon: boolean): Promise<Response> {
    const { url, certificate, macaroon } = this.#access;
    const headers: Record<string, string> = withMacaroon ? { "Grpc-Metadata-macaroon": macaroon() } : {};
    const pem = certificate();
    try {
      return await fetch(url + path, {
        method, headers, redirect: "error", timeout: false,
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
        ...(pem !== undefined && { tls: { ca: pem, ...serverName(pem, new URL(url).hostname) } }),
      } as RequestInit);
    } catch (error) {
      throw unreachable(url, error);
    }
  }
}

/**
 * The certificate is trusted by itself, so a name that it carries is as good as the address it is reached at: boxes reach their node
 * under container names and addresses that it was never made for.
 */
function serverName(pem: string, host: string): { serverName: string } | undefined {
  const certificate = new X509Certificate(pem);
  const bare = host.replace(/^\[|\]$/g, "");
  if (certificate.checkHost(bare) !== undefined || certificate.checkIP(bare) !== undefined) return undefined;
  const [, name] = /DNS:([^,\s]+)/.exec(certificate.subjectAltName ?? "") ?? [];
  return name === undefined ? undefined : { serverName: name };
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of body) {
    rest += decoder.decode(piece, { stream: true });
    if (rest.length > maxNodeAnswerBytes) throw new Error("a message without end");
    const lines = rest.split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line.trim() !== "") yield line;
  }
}

function parse<T>(schema: z.ZodType<T>, text: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new LndError("refused", "The Lightning node answered something that LND does not.", cause);
  }
}

function unreachable(url: string, cause: unknown): LndError {
  if (cause instanceof LndError) return cause;
  const why = describeError(cause);
  const hint = /certificate|self.signed|issuer|CERT/i.test(why) ? "; is tls_cert the certificate of this node, and not an older one?" : "";
  return new LndError("unreachable", `The Lightning node at ${new URL(url).host} cannot be reached (${why})${hint}.`, cause);
}

function toError(status: number, text: string): LndError {
  const told = errorBody.safeParse(tryJson(text));
  const { code, message, error } = told.success ? told.data : {};
  const words = (typeof error === "object" ? error.message : (message ?? error)) ?? `status ${status}`;
  const number = (typeof error === "object" ? error.code : undefined) ?? code;
  if (/wallet (is )?locked|unlock it/i.test(words)) return new LndError("locked", "The Lightning node's wallet is locked; unlock it.");
  if (/process of starting up|not yet ready|waiting to start/i.test(words)) return new LndError("starting", "The Lightning node is starting.");
  if (/permission denied|verification failed|cannot get macaroon|expected 1 macaroon|cannot determine data format|macaroon/i.test(words) || status === 401 || status === 403)
    return new LndError("forbidden", `The Lightning node refuses the macaroon (${words.slice(0, 200)}).`);
  if (/unable to locate invoice|no existing invoices|payment isn't initiated/i.test(words) || number === grpcNotFound) return new LndError("not_found", words.slice(0, 200));
  if (status === 501 || status === 404 || status === 405 || number === grpcUnimplemented) return new LndError("unknown_call", words.slice(0, 200));
  return new LndError("refused", `The Lightning node refused: ${words.slice(0, 200)}.`);
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
