/** Tells a page when its topup is paid: one event now, one when it changes, then the end. State and amount, never a secret. */
import type { Topups, TopupState } from "../accounts/topups.ts";
import { AppError } from "../base/errors.ts";
import { keepAliveMs, maxPaymentStreams } from "../base/limits.ts";
import type { PublicContext } from "./public-context.ts";
import { toJsonNumber } from "../money/msat.ts";

/** Where payments are heard of. */
export type PaymentStreams = { onCredited(paymentHash: string, listener: () => void): () => void; open: number };

const encoder = new TextEncoder();

/** @throws AppError `too_many_streams`. */
export function topupStream({ topups, streams }: { topups: Topups; streams: PaymentStreams }, topup: TopupState, clientGone: AbortSignal, context: PublicContext, headers: Record<string, string>): Response {
  if (streams.open >= maxPaymentStreams)
    throw new AppError("too_many_streams", "Too many pages wait for payments; ask for the state again in a few seconds.", { retryable: true });
  let end = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => controller.enqueue(encoder.encode(text));
      const tell = (state: TopupState) => send(`event: state\ndata: ${JSON.stringify(stateToWire(state, context.nowMs()))}\n\n`);
      tell(topup);
      if (topup.state !== "open") return controller.close();
      streams.open++;
      const changed = () => {
        const now = topups.state(topup.paymentHash);
        if (now?.state === "open") return send(": keep-alive\n\n");
        end();
        tell(now ?? { ...topup, state: "expired" });
        controller.close();
      };
      const stopListening = streams.onCredited(topup.paymentHash, changed);
      const pulse = setInterval(changed, keepAliveMs / 2);
      end = () => {
        end = () => {};
        streams.open--;
        clearInterval(pulse);
        stopListening();
      };
      clientGone.addEventListener("abort", () => end(), { once: true });
    },
    cancel: () => end(),
  });
  return new Response(body, { headers: { ...headers, "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no" } });
}

export function stateToWire(topup: TopupState, nowMs: number) {
  const { paymentHash, state, amountSats, expiresAtMs } = topup;
  return { payment_hash: paymentHash, state, amount_sats: toJsonNumber(amountSats), expires_in: Math.max(0, Math.floor((expiresAtMs - nowMs) / 1000)) };
}
