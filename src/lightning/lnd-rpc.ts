/**
 * What is asked of an LND, by whatever way it goes there: names and fields of lnrpc and routerrpc, JSON as LND's own gateway writes it
 * (64-bit integers as text, bytes in base64). Retries nothing.
 */
import { z } from "zod";
import { AppError } from "../base/errors.ts";

/** Each has one answer. `GetState` is the one call that needs no macaroon. */
export type LndCall = "GetState" | "GetInfo" | "AddInvoice" | "LookupInvoice" | "ListInvoices" | "DeleteCanceledInvoice" | "ChannelBalance" | "ListPayments" | "ListChannels" | "GetChanInfo";
/** Each has many, the last one at the end of what it tells of. */
export type LndStream = "SubscribeInvoices" | "SendPaymentV2" | "TrackPaymentV2";
export type LndRequest = Readonly<Record<string, unknown>>;

export interface LndRpc {
  /** @throws LndError */
  call<T>(name: LndCall, request: LndRequest, schema: z.ZodType<T>): Promise<T>;
  /** Messages until it ends, `signal` fires (ends) or it breaks (throws LndError). Nothing tells that it has begun. */
  stream<T>(name: LndStream, request: LndRequest, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T>;
}

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

/** gRPC codes. */
const grpcNotFound = 5, grpcUnimplemented = 12;

/** What LND said no with: its words, and its gRPC code where one is known. */
export function refusalOf(words: string, code: number | undefined): LndError {
  const text = words.slice(0, 200);
  if (/wallet (is )?locked|unlock it/i.test(words)) return new LndError("locked", "The Lightning node's wallet is locked; unlock it.");
  if (/process of starting up|not yet ready|waiting to start/i.test(words)) return new LndError("starting", "The Lightning node is starting.");
  if (/permission denied|verification failed|cannot get macaroon|expected 1 macaroon|cannot determine data format|macaroon/i.test(words))
    return new LndError("forbidden", `The Lightning node refuses the macaroon (${text}).`);
  // The gateway's own word on a path that it does not have.
  if (code === grpcNotFound && words === "Not Found") return new LndError("unknown_call", text);
  if (/unable to locate invoice|no existing invoices|payment isn't initiated|edge not found/i.test(words) || code === grpcNotFound) return new LndError("not_found", text);
  if (code === grpcUnimplemented) return new LndError("unknown_call", text);
  return new LndError("refused", `The Lightning node refused: ${text}.`);
}

/** @throws LndError */
export function parseAnswer<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new LndError("refused", "The Lightning node answered something that LND does not.", parsed.error);
  return parsed.data;
}
