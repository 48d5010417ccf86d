/** Any node with a deadline on each call and a bound on calls at one time. Retries nothing. */
import { AppError } from "../base/errors.ts";
import { maxParallelNodeCalls, nodeCallTimeoutMs } from "../base/limits.ts";
import type { Node, NodeAbilities, Payable } from "./node.ts";

/** First come, first served. */
class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new AppError("node_unavailable", "The Lightning node does not answer.", { retryable: true })),
    nodeCallTimeoutMs,
  );
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

export function boundedNode(node: Node & NodeAbilities): Node & NodeAbilities {
  const gate = new Gate(maxParallelNodeCalls);
  return {
    createInvoice: (input) => gate.run(() => withDeadline(node.createInvoice(input))),
    lookupInvoice: (paymentHash) => gate.run(() => withDeadline(node.lookupInvoice(paymentHash))),
    status: () => gate.run(() => withDeadline(node.status())),
    settlements: (since, signal) => node.settlements(since, signal),
    ...(node.receivableMsat && { receivableMsat: () => gate.run(() => withDeadline(node.receivableMsat!())) }),
    // A page at a time inside: each is a call of its own.
    ...(node.listSettled && { listSettled: (sinceMs) => node.listSettled!(sinceMs) }),
    ...(node.condition && { condition: () => node.condition!() }),
    ...(node.payer && { payer: boundedPayer(node.payer, gate) }),
    ...(node.discardInvoice && { discardInvoice: (paymentHash) => gate.run(() => withDeadline(node.discardInvoice!(paymentHash))) }),
  };
}

/** A payment takes as long as its way takes: whoever asks for it says when to leave. */
function boundedPayer(payer: Payable, gate: Gate): Payable {
  return {
    holdings: () => gate.run(() => withDeadline(payer.holdings())),
    leastFeeLimitMsat: (amountMsat) => payer.leastFeeLimitMsat(amountMsat),
    pay: (payment, signal) => payer.pay(payment, signal),
    lookupPayment: (paymentHash) => gate.run(() => withDeadline(payer.lookupPayment(paymentHash))),
    listPaidOut: (sinceMs) => payer.listPaidOut(sinceMs),
  };
}
