/** LND over Lightning Node Connect: names, JSON and refusals of the one way made those of the other. Retries nothing. */
import type { z } from "zod";
import { describeError } from "../base/log.ts";
import type { LncLink } from "./lnc-link.ts";
import { LncEnd } from "./lnc-session.ts";
import { type LndCall, LndError, type LndRequest, type LndRpc, type LndStream, parseAnswer, refusalOf } from "./lnd-rpc.ts";

const services: Readonly<Record<LndCall | LndStream, string>> = {
  GetState: "lnrpc.State", GetInfo: "lnrpc.Lightning", AddInvoice: "lnrpc.Lightning", LookupInvoice: "lnrpc.Lightning", ListInvoices: "lnrpc.Lightning",
  ListChannels: "lnrpc.Lightning", GetChanInfo: "lnrpc.Lightning", DeleteCanceledInvoice: "lnrpc.Lightning", ChannelBalance: "lnrpc.Lightning", ListPayments: "lnrpc.Lightning", SubscribeInvoices: "lnrpc.Lightning",
  SendPaymentV2: "routerrpc.Router", TrackPaymentV2: "routerrpc.Router",
};

export class LncRpc implements LndRpc {
  readonly #link: LncLink;

  constructor(link: LncLink) {
    this.#link = link;
  }

  async call<T>(name: LndCall, request: LndRequest, schema: z.ZodType<T>): Promise<T> {
    try {
      return parseAnswer(schema, withSnakeKeys(await this.#link.call(`${services[name]}.${name}`, request)));
    } catch (caught) {
      const error = toError(caught);
      // A session need not carry it: there is one only while the node behind it runs, with its wallet open. How it is, GetInfo says.
      if (name === "GetState" && (error.trouble === "forbidden" || error.trouble === "unknown_call")) return parseAnswer(schema, { state: "SERVER_ACTIVE" });
      throw error;
    }
  }

  async *stream<T>(name: LndStream, request: LndRequest, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T> {
    try {
      for await (const message of this.#link.stream(`${services[name]}.${name}`, request, signal)) yield parseAnswer(schema, withSnakeKeys(message));
    } catch (error) {
      if (signal.aborted) return;
      throw toError(error);
    }
  }
}

/** lnc-web answers in camel case; its way back, since every name of LND is small letters with a letter after each underscore. */
export function withSnakeKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withSnakeKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), withSnakeKeys(one)]));
}

/** Go's own words for gRPC's codes, of those that say more than the text with them. */
const codes: Readonly<Record<string, number>> = { NotFound: 5, Unimplemented: 12 };
const noAnswer = new Set(["Unavailable", "DeadlineExceeded", "Canceled"]);

export function toError(cause: unknown): LndError {
  if (cause instanceof LndError) return cause;
  const words = describeError(cause);
  const unreachable = (why: string) => new LndError("unreachable", `The Lightning node cannot be reached over Lightning Node Connect (${why.slice(0, 200)}).`, cause);
  if (!(cause instanceof LncEnd)) return unreachable(words);
  const [, code = "", text = words] = /^rpc error: code = (\w+) desc = ([\s\S]*)$/.exec(words) ?? [];
  if (!cause.connected) return unreachable(text);
  const refusal = refusalOf(text, codes[code]);
  if (refusal.trouble !== "refused") return refusal;
  if (code === "PermissionDenied" || code === "Unauthenticated") return new LndError("forbidden", `The Lightning node does not allow this session to do that (${text.slice(0, 200)}).`);
  return noAnswer.has(code) ? unreachable(text) : refusal;
}
