/**
 * A phoenixd of our own, as strict as the real one: its passwords, forms, answers and errors as its source has them (Api.kt and
 * JsonSerializers.kt of 0.8.0), its liquidity as lightning-kmp does it (IncomingPaymentHandler.kt). It has payers, and faults to order.
 */
import { createHash } from "node:crypto";
import type { Server, ServerWebSocket } from "bun";
import { readInvoice, signInvoice } from "../../src/lightning/bolt11.ts";
import { msat } from "../../src/money/msat.ts";
import { FakePayees } from "./fake-phoenixd-payees.ts";

export type PhoenixdFaults = {
  /** Takes requests and answers none; tells nothing on its websockets, which stay open. */
  silent: boolean;
  /** The next so many events are told to nobody. */
  dropEvents: number;
  /** Each event is told so many times. */
  eventCopies: number;
  /** Answers everything 200 with this reason. */
  reason: string | undefined;
  /** Answers everything with this and a 200. */
  garbage: string | undefined;
};

/** All in sats. A new one has no channel. */
export type Liquidity = {
  balance: number;
  inbound: number;
  feeCredit: number;
  /** Payments go into fee credit up to here. */
  maxFeeCredit: number;
  /** What a purchase of room costs, and how much it brings. */
  cost: number;
  purchase: number;
};

type Payment = {
  paymentHash: string; preimage: string; externalId: string | undefined; description: string; bolt11: string; requestedSat: number | undefined;
  createdAt: number; expiresAt: number; completedAt: number | undefined; receivedSat: number; feesMsat: number; held: boolean;
};
type Paid = { preimage: string } | { error: string };

const fullOnly = new Set(["/payinvoice", "/payoffer", "/paylnaddress", "/lnurlpay", "/lnurlauth", "/sendtoaddress", "/bumpfee", "/closechannel"]);
const posts = new Set([...fullOnly, "/createinvoice"]);
const maxDescription = 128;

const sha256 = (hex: string) => createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex");
const randomHex = () => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
const text = (status: number, words: string) => new Response(words, { status, headers: { "content-type": "text/plain; charset=UTF-8" } });
/** As kotlinx writes it: over lines, and without what is null. */
const json = (value: unknown) => new Response(JSON.stringify(value, null, 4), { headers: { "content-type": "application/json" } });

export class FakePhoenixd {
  readonly password = randomHex();
  readonly limitedPassword = randomHex();
  readonly #privateKey = crypto.getRandomValues(new Uint8Array(32));
  readonly nodeId = this.#ownKey();
  readonly #payments = new Map<string, Payment>();
  readonly #listeners = new Set<ServerWebSocket<undefined>>();
  readonly #nowMs: () => number;
  #server: Server<undefined> | undefined;
  #port = 0;
  liquidity: Liquidity = { balance: 1_000_000, inbound: 1_000_000, feeCredit: 0, maxFeeCredit: 50_000, cost: 21_219, purchase: 2_000_000 };
  version = "0.8.0";
  chain = "regtest";
  /** Whether it is connected to its peer. */
  connected = true;
  faults: PhoenixdFaults = { silent: false, dropEvents: 0, eventCopies: 1, reason: undefined, garbage: undefined };
  readonly payees: FakePayees;
  /** `POST /createinvoice` and the like, in the order they came. */
  readonly asked: string[] = [];

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.payees = new FakePayees(nowMs);
    this.start();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Open websockets. */
  get listening(): number {
    return this.#listeners.size;
  }

  /** At the same address as before, with all that it knew. */
  start(): void {
    this.#server = Bun.serve({
      hostname: "127.0.0.1", port: this.#port, idleTimeout: 0,
      fetch: (request, server) => this.#answer(request, server),
      websocket: { open: (socket) => void this.#listeners.add(socket), close: (socket) => void this.#listeners.delete(socket), message: () => undefined },
    });
    this.#port = this.#server.port!;
  }

  async stop(): Promise<void> {
    this.cutStreams();
    await this.#server?.stop(true);
  }

  cutStreams(): void {
    for (const socket of this.#listeners) socket.terminate();
    this.#listeners.clear();
  }

  /** Somebody pays, with `extraSat` more than was asked. */
  pay(bolt11: string, extraSat = 0): Paid {
    const payment = this.#payable(bolt11);
    return "error" in payment ? payment : this.#receive(payment, payment.requestedSat! + extraSat);
  }

  /** Somebody pays, and room for it is being bought: it arrives with `release`, whatever the time is then. */
  hold(bolt11: string): { error: string } | undefined {
    const payment = this.#payable(bolt11);
    if ("error" in payment) return payment;
    payment.held = true;
    return undefined;
  }

  release(paymentHash: string): Paid {
    const payment = this.#payments.get(paymentHash);
    return payment?.held ? this.#receive(payment, payment.requestedSat!) : { error: "nothing is held" };
  }

  /** Another version's word on it. */
  amend(paymentHash: string, change: Partial<Pick<Payment, "receivedSat" | "feesMsat">>): void {
    Object.assign(this.#payments.get(paymentHash)!, change);
  }

  preimageOf(paymentHash: string): string | undefined {
    return this.#payments.get(paymentHash)?.preimage;
  }

  #payable(bolt11: string): Payment | { error: string } {
    const payment = this.#payments.get(readInvoice(bolt11)?.paymentHash ?? "");
    if (payment?.requestedSat === undefined || payment.bolt11 !== bolt11) return { error: "IncorrectOrUnknownPaymentDetails" };
    if (payment.completedAt !== undefined || payment.held || this.#nowMs() > payment.expiresAt) return { error: "IncorrectOrUnknownPaymentDetails" };
    return payment;
  }

  /** Through the channel where it fits; else into fee credit while that cannot buy room; else room is bought, out of credit, payment and balance. */
  #receive(payment: Payment, sats: number): Paid {
    const { liquidity } = this;
    let receivedSat = sats, feesMsat = 0;
    if (sats <= liquidity.inbound) liquidity.balance += sats;
    else if (liquidity.feeCredit + sats <= Math.min(liquidity.maxFeeCredit, liquidity.cost)) liquidity.feeCredit += sats;
    else {
      const fromCredit = Math.min(liquidity.feeCredit, liquidity.cost);
      if (liquidity.cost - fromCredit > sats + liquidity.balance) return { error: "TemporaryNodeFailure" };
      receivedSat = sats - (liquidity.cost - fromCredit);
      feesMsat = liquidity.cost * 1_000;
      liquidity.feeCredit -= fromCredit;
      liquidity.balance += receivedSat;
      liquidity.inbound += liquidity.purchase;
    }
    liquidity.inbound = Math.max(0, liquidity.inbound - sats);
    Object.assign(payment, { completedAt: this.#nowMs(), receivedSat, feesMsat, held: false });
    this.tell(payment.paymentHash);
    return { preimage: payment.preimage };
  }

  /** Also of a payment told before. */
  tell(paymentHash: string): void {
    if (this.faults.silent) return;
    if (this.faults.dropEvents > 0) return void this.faults.dropEvents--;
    const { externalId, receivedSat: amountSat } = this.#payments.get(paymentHash)!;
    for (let copy = 0; copy < this.faults.eventCopies; copy++) this.tellAnything({ type: "payment_received", timestamp: this.#nowMs(), amountSat, paymentHash, externalId });
  }

  tellAnything(event: object): void {
    for (const socket of this.#listeners) socket.send(JSON.stringify(event, null, 4));
  }

  /** Undefined for a websocket. */
  async #answer(request: Request, server: Server<undefined>): Promise<Response | undefined> {
    const { pathname, searchParams } = new URL(request.url);
    this.asked.push(`${request.method} ${pathname}`);
    if (this.faults.silent) await new Promise<never>(() => undefined);
    if (!this.#mayEnter(request, pathname)) return text(401, "Invalid authentication (use basic auth with the http password set in phoenix.conf)");
    if (pathname === "/websocket") return server.upgrade(request) ? undefined : text(400, "");
    if (this.faults.reason !== undefined) return json({ type: "payment_failed", reason: this.faults.reason });
    if (this.faults.garbage !== undefined) return text(200, this.faults.garbage);
    if ((request.method === "POST") !== posts.has(pathname)) return text(405, "Invalid http method (use the correct GET/POST)");
    return posts.has(pathname) ? this.#post(request, pathname) : this.#get(pathname, searchParams);
  }

  /** Whatever the user's name is. */
  #mayEnter(request: Request, pathname: string): boolean {
    const [, encoded] = /^Basic (.+)$/.exec(request.headers.get("authorization") ?? "") ?? [];
    const given = Buffer.from(encoded ?? "", "base64").toString("utf8").replace(/^[^:]*:/, "");
    return given === this.password || (given === this.limitedPassword && !fullOnly.has(pathname));
  }

  #get(pathname: string, query: URLSearchParams): Response {
    const hash = /^\/payments\/incoming\/([^/]+)$/.exec(pathname)?.[1];
    if (hash !== undefined) return this.#lookUp(hash);
    const paidOut = /^\/payments\/outgoingbyhash\/([0-9a-f]{64})$/.exec(pathname)?.[1];
    if (paidOut !== undefined) {
      const found = this.payees.find(paidOut);
      return found ? json(found) : text(404, "Not found");
    }
    const [from, limit, offset] = [["from", 0], ["limit", 20], ["offset", 0]].map(([name, usual]) => Number(query.get(name as string) ?? usual)) as [number, number, number];
    switch (pathname) {
      case "/getinfo":
        return json({ nodeId: this.nodeId, channels: this.#channels(), chain: this.chain, blockHeight: 800_000, version: this.version });
      case "/getbalance":
        return json({ balanceSat: this.#balanceSat, feeCreditSat: this.liquidity.feeCredit });
      case "/payments/incoming":
        return json([...this.#payments.values()].reverse().filter((one) => (one.completedAt ?? one.createdAt) >= from && (query.get("all") === "true" || one.completedAt !== undefined) && (query.get("externalId") ?? one.externalId) === one.externalId).slice(offset, offset + limit).map((one) => this.#toWire(one)));
      case "/payments/outgoing":
        return json(this.payees.list(query.get("all") === "true", from, limit, offset));
      default:
        return text(404, "Unknown endpoint (check api doc)");
    }
  }

  get #balanceSat(): number {
    return Math.floor(this.liquidity.balance - this.payees.spentMsat / 1_000);
  }

  #channels(): object[] {
    const { balance: balanceSat, inbound: inboundLiquiditySat } = this.liquidity;
    if (balanceSat + inboundLiquiditySat === 0) return [];
    return this.connected ? [{ state: "Normal", channelId: sha256("01"), balanceSat, inboundLiquiditySat, capacitySat: balanceSat + inboundLiquiditySat, fundingTxId: sha256("02") }] : [{ state: "Offline(Normal)" }];
  }

  #lookUp(hash: string): Response {
    if (!/^[0-9a-fA-F]{64}$/.test(hash)) return text(400, "Request parameter paymentHash couldn't be parsed/converted to hex32");
    const payment = this.#payments.get(hash.toLowerCase());
    return payment ? json(this.#toWire(payment)) : text(404, "Not found");
  }

  #toWire(payment: Payment): object {
    const { paymentHash, preimage, externalId, description, bolt11: invoice, requestedSat, receivedSat, feesMsat: fees, expiresAt, completedAt, createdAt } = payment;
    return {
      type: "incoming_payment", subType: "lightning", paymentHash, preimage, externalId, description, invoice,
      isPaid: completedAt !== undefined, isExpired: this.#nowMs() > expiresAt, requestedSat, receivedSat, fees, expiresAt, completedAt, createdAt,
    };
  }

  async #post(request: Request, pathname: string): Promise<Response> {
    if (!/^application\/x-www-form-urlencoded\b/.test(request.headers.get("content-type") ?? "")) return text(415, "");
    const form = new URLSearchParams(await request.text());
    if (pathname === "/payinvoice") return readInvoice(form.get("invoice") ?? "") ? json(await this.payees.pay(form.get("invoice")!, this.#balanceSat)) : text(400, "Required request parameter invoice is missing or invalid");
    if (pathname !== "/createinvoice") return json({ type: "payment_failed", reason: "NoRouteToRecipient" });
    for (const name of ["amountSat", "expirySeconds"]) if (form.has(name) && !/^-?\d+$/.test(form.get(name)!)) return text(400, `Request parameter ${name} couldn't be parsed/converted to integer`);
    const description = form.get("description");
    if (description === null) return text(400, "Must provide either a description or descriptionHash");
    if (description.length > maxDescription) return text(400, `Request parameter description is too long (max ${maxDescription} characters)`);
    return json(this.#create(description, form.has("amountSat") ? Number(form.get("amountSat")) : undefined, form.get("externalId") ?? undefined, Number(form.get("expirySeconds") ?? 3_600)));
  }

  /** An invoice without an amount, which none of ours is, keeps a text that asks for one sat: our signer makes no other. */
  #create(description: string, requestedSat: number | undefined, externalId: string | undefined, expirySeconds: number): object {
    const preimage = randomHex(), createdAt = this.#nowMs(), timestampS = Math.floor(createdAt / 1_000);
    const paymentHash = sha256(preimage);
    const bolt11 = signInvoice({ privateKey: this.#privateKey, amountMsat: msat(BigInt(requestedSat ?? 1) * 1_000n), paymentHash, paymentSecret: randomHex(), memo: description, timestampS, expirySeconds });
    this.#payments.set(paymentHash, {
      paymentHash, preimage, externalId, description, bolt11, requestedSat, createdAt, expiresAt: createdAt + expirySeconds * 1_000,
      completedAt: undefined, receivedSat: 0, feesMsat: 0, held: false,
    });
    return { amountSat: requestedSat, paymentHash, serialized: bolt11 };
  }

  #ownKey(): string {
    const hash = sha256("00");
    return readInvoice(signInvoice({ privateKey: this.#privateKey, amountMsat: msat(1_000n), paymentHash: hash, paymentSecret: hash, memo: "", timestampS: 1, expirySeconds: 1 }))!.payee;
  }
}
