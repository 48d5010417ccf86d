/** What a client may be told, and what it was told so far: the promises that every disk must keep. */

/** As it stands in a mark after "D ". */
export type DurableEffect =
  | ["open", hash: string]
  | ["credit", hash: string, account: string, msat: string, rolledMsat: string]
  | ["post", call: string, account: string, chargedMsat: string]
  | ["forget", hash: string]
  /** At least so much of the payment was moved to this account. */
  | ["claim", hash: string, into: string, movedMsat: string]
  | ["key", keyHash: string, account: string, generation: string]
  | ["ended", keyHash: string]
  /** The call used the payment up, the key, or the address's free call. */
  | ["once", hash: string, call: string]
  | ["request", account: string, purpose: string, key: string, reference: string]
  | ["trial", call: string, address: string]
  | ["payout", id: string, state: "intent" | "sent" | "succeeded" | "failed"];

/** Everything clients were told so far. */
export class Promises {
  readonly opened = new Set<string>();
  readonly forgotten = new Set<string>();
  readonly credited = new Map<string, { account: string; msat: bigint; rolledMsat: bigint }>();
  readonly posted = new Map<string, { account: string; chargedMsat: bigint }>();
  /** By payment and account. */
  readonly claimed = new Map<string, { hash: string; into: string; movedMsat: bigint }>();
  readonly keys = new Map<string, { account: string; generation: bigint }>();
  readonly ended = new Set<string>();
  readonly usedOnce = new Map<string, string>();
  /** By account, purpose and key. */
  readonly requests = new Map<string, string>();
  readonly trials = new Map<string, string>();
  /** How far each was. */
  readonly payouts = new Map<string, string>();

  /** Takes a mark of the load; others mean nothing here. */
  take(mark: string): void {
    // Once its deletion is asked for, either may be on the disk.
    if (mark.startsWith("forgetting ")) this.opened.delete(mark.slice("forgetting ".length));
    if (!mark.startsWith("D ")) return;
    const effect = mark.slice(2).split(" ") as DurableEffect;
    switch (effect[0]) {
      case "open":
        return void this.opened.add(effect[1]);
      case "forget":
        return void this.forgotten.add(effect[1]);
      case "credit":
        return void this.credited.set(effect[1], { account: effect[2], msat: BigInt(effect[3]), rolledMsat: BigInt(effect[4]) });
      case "post":
        return void this.posted.set(effect[1], { account: effect[2], chargedMsat: BigInt(effect[3]) });
      case "claim":
        return void this.claimed.set(`${effect[1]} ${effect[2]}`, { hash: effect[1], into: effect[2], movedMsat: BigInt(effect[3]) });
      case "key":
        return void this.keys.set(effect[1], { account: effect[2], generation: BigInt(effect[3]) });
      case "ended":
        return void this.ended.add(effect[1]);
      case "once":
        return void this.usedOnce.set(effect[1], effect[2]);
      case "request":
        return void this.requests.set(effect.slice(1, 4).join(" "), effect[4]);
      case "trial":
        return void this.trials.set(effect[1], effect[2]);
      case "payout":
        return void this.payouts.set(effect[1], effect[2]);
    }
  }

  get size(): number {
    const { opened, forgotten, credited, posted, claimed, keys, ended, usedOnce, requests, trials, payouts } = this;
    return [opened, forgotten, credited, posted, claimed, keys, ended, usedOnce, requests, trials, payouts].reduce((sum, told) => sum + told.size, 0);
  }
}
