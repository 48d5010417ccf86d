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
import { LndError, type LndCall, type LndRequest, type LndRpc, type LndStream, parseAnswer, refusalOf } from "./lnd-rpc.ts";

/** Read when they are needed: a file may come later than Hearth, and a certificate is renewed. @throws AppError `node_unavailable`. */
export type LndAccess = {
  url: string;
  /** PEM; undefined where the node stands behind a certificate that everybody trusts. */
  certificate: () => string | undefined;
  /** Hex. */
  macaroon: () => string;
};

const errorBody = z.object({ code: z.number().optional(), message: z.string().optional(), error: z.union([z.string(), z.object({ message: z.string(), code: z.number().optional() })]).optional() });

type Route = { method: "GET" | "POST" | "DELETE"; path: string; body?: LndRequest };

const inQuery = (path: string, request: LndRequest) => `${path}?${new URLSearchParams(Object.entries(request).map(([key, value]): [string, string] => [key, String(value)]))}`;

/** The annotations of lnrpc/lightning.yaml and routerrpc/router.yaml. */
const routes: Readonly<Record<LndCall | LndStream, (request: LndRequest) => Route>> = {
  GetState: () => ({ method: "GET", path: "/v1/state" }),
  GetInfo: () => ({ method: "GET", path: "/v1/getinfo" }),
  AddInvoice: (body) => ({ method: "POST", path: "/v1/invoices", body }),
  LookupInvoice: ({ r_hash_str }) => ({ method: "GET", path: `/v1/invoice/${r_hash_str}` }),
  ListInvoices: (request) => ({ method: "GET", path: inQuery("/v1/invoices", request) }),
  DeleteCanceledInvoice: (request) => ({ method: "DELETE", path: inQuery("/v1/invoices", request) }),
  ChannelBalance: () => ({ method: "GET", path: "/v1/balance/channels" }),
  ListChannels: (request) => ({ method: "GET", path: inQuery("/v1/channels", request) }),
  GetChanInfo: ({ chan_id }) => ({ method: "GET", path: `/v1/graph/edge/${chan_id}` }),
  ListPayments: (request) => ({ method: "GET", path: inQuery("/v1/payments", request) }),
  SubscribeInvoices: (request) => ({ method: "GET", path: inQuery("/v1/invoices/subscribe", request) }),
  SendPaymentV2: (body) => ({ method: "POST", path: "/v2/router/send", body }),
  // In a path, base64 needs its other alphabet.
  TrackPaymentV2: ({ payment_hash }) => ({ method: "GET", path: `/v2/router/track/${String(payment_hash).replaceAll("+", "-").replaceAll("/", "_")}` }),
};

export class LndRest implements LndRpc {
  readonly #access: LndAccess;

  constructor(access: LndAccess) {
    this.#access = access;
  }

  async call<T>(name: LndCall, request: LndRequest, schema: z.ZodType<T>): Promise<T> {
    const answer = await this.#send(routes[name](request), AbortSignal.timeout(nodeCallTimeoutMs), name !== "GetState");
    const text = new TextDecoder().decode(await readBounded(answer.body ?? new Blob([]).stream(), maxNodeAnswerBytes).catch((error: unknown) => Promise.reject(unreachable(this.#access.url, error))));
    if (!answer.ok) throw toError(answer.status, text);
    return parse(schema, text);
  }

  /** One JSON value a line. LND sends no head before the first message. */
  async *stream<T>(name: LndStream, request: LndRequest, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T> {
    const line = z.object({ result: schema.optional(), error: z.object({ message: z.string(), code: z.number().optional(), grpc_code: z.number().optional() }).optional() });
    try {
      const answer = await this.#send(routes[name](request), signal, true);
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

  async #send({ method, path, body }: Route, signal: AbortSignal, withMacaroon: boolean): Promise<Response> {
    const { url, certificate, macaroon } = this.#access;
    const headers: Record<string, string> = withMacaroon ? { "Grpc-Metadata-macaroon": macaroon() } : {};
    const pem = certificate();
    try {
      return await fetch(url + path, {
        method, headers, signal, redirect: "error", timeout: false,
        ...(body !== undefined && { body: JSON.stringify(body) }),
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
  return parseAnswer(schema, tryJson(text));
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
  const refusal = refusalOf(words, number);
  if (refusal.trouble !== "refused") return refusal;
  if (status === 401 || status === 403) return new LndError("forbidden", `The Lightning node refuses the macaroon (${words.slice(0, 200)}).`);
  return status === 501 || status === 404 || status === 405 ? new LndError("unknown_call", words.slice(0, 200)) : refusal;
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
