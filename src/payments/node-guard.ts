/**
 * A node that is used only once it is known to be the one this data directory belongs to. A node that cannot be reached yet is no reason
 * not to start: what is asked of it fails until it answers. Another node's money is never mixed with this one's.
 */
import { describeError } from "../base/log.ts";
import type { Liquid, Network, Node, NodeAbilities, NodeCondition, Payable, SettledInvoice } from "../lightning/node.ts";
import type { Writer } from "../store/command.ts";
import type { Reader } from "../store/reader.ts";
import { payoutsOff } from "./payout.ts";
import { bindNode, boundNode } from "./node-identity.ts";

export type NodeIdentity = { network: Network; publicKey: string };

export class NodeGuard implements Node {
  readonly #node: Node & NodeAbilities;
  readonly #writer: Writer;
  readonly #onStranger: (reason: string) => never;
  #identity: NodeIdentity | undefined;
  #checked: Promise<void> | undefined;

  constructor(parts: { node: Node & NodeAbilities; writer: Writer; reader: Reader; /** The node is another one: the process must not go on. */ onStranger(reason: string): never }) {
    this.#node = parts.node;
    this.#writer = parts.writer;
    this.#onStranger = parts.onStranger;
    this.#identity = boundNode(parts.reader);
  }

  /** Known from the data directory, or since the node has answered; undefined where it never has. */
  get identity(): NodeIdentity | undefined {
    return this.#identity;
  }

  async createInvoice(input: Parameters<Node["createInvoice"]>[0]): ReturnType<Node["createInvoice"]> {
    await this.check();
    return this.#node.createInvoice(input);
  }

  async lookupInvoice(paymentHash: string): ReturnType<Node["lookupInvoice"]> {
    await this.check();
    return this.#node.lookupInvoice(paymentHash);
  }

  async *settlements(since: bigint, signal: AbortSignal): ReturnType<Node["settlements"]> & AsyncGenerator {
    await this.check();
    yield* this.#node.settlements(since, signal);
  }

  status(): ReturnType<Node["status"]> {
    return this.#node.status();
  }

  /** Never throws. */
  async condition(): Promise<NodeCondition> {
    if (this.#node.condition) return this.#node.condition();
    return this.#node.status().then(() => ({ kind: "ready" }), (error: unknown) => ({ kind: "unreachable", what: describeError(error) }));
  }

  /** Whether the owner has given the right to pay. */
  get mayPay(): boolean {
    return this.#node.payer !== undefined;
  }

  /** @throws AppError `payouts_off`, `node_unavailable`. */
  async payer(): Promise<Payable> {
    const { payer } = this.#node;
    if (payer === undefined) throw payoutsOff();
    await this.check();
    return payer;
  }

  /** Undefined where the node cannot tell. */
  async receivableMsat(): Promise<Awaited<ReturnType<Liquid["receivableMsat"]>> | undefined> {
    await this.check();
    return this.#node.receivableMsat?.();
  }

  /** Best effort: what stays on the node costs it a little room and nobody any money. */
  async discardInvoice(paymentHash: string): Promise<void> {
    await this.#node.discardInvoice?.(paymentHash).catch(() => undefined);
  }

  /** Undefined where the node cannot list. @throws AppError `node_unavailable`. */
  async listing(): Promise<((sinceMs: number) => AsyncIterable<SettledInvoice>) | undefined> {
    await this.check();
    const { listSettled } = this.#node;
    return listSettled && ((sinceMs) => listSettled.call(this.#node, sinceMs));
  }

  /** Once it has been found right it is not asked again. @throws AppError `node_unavailable`. */
  check(): Promise<void> {
    const checking = this.#checked ?? this.#check();
    this.#checked = checking;
    return checking;
  }

  async #check(): Promise<void> {
    try {
      const { network, publicKey } = await this.#node.status();
      const bound = await this.#writer.durable(bindNode, { network, publicKey });
      if (!bound.ok) this.#onStranger(`this data directory belongs to the ${bound.boundTo} ${bound.bound}; use another HEARTH_DATA_DIR for this one${bound.boundTo === "node" ? ", or, where it takes the old one's place, hearth node replace" : ""}`);
      this.#identity = { network, publicKey };
    } catch (error) {
      this.#checked = undefined;
      throw error;
    }
  }
}
