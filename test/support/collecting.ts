/** Whoever collects from a running Hearth, and the sandbox's payees. */
export type CollectBody = {
  status?: "paid" | "pending" | "failed"; id?: string; amount_sats?: number; max_collectable_sats?: number;
  payment?: { payment_hash: string; payment_preimage: string; fee_msat: number };
  error?: { code: string; message: string; param: string | null };
};
export type Collected = { status: number; body: CollectBody };

/** @param key A token, or a whole Authorization header. */
const proof = (key: string): Record<string, string> => (key.startsWith("abl_") ? { "X-Token": key } : { Authorization: key });

export async function collect(url: string, key: string, body: unknown, headers: Record<string, string> = {}): Promise<Collected> {
  const answer = await fetch(`${url}/api/v1/collect`, { method: "POST", headers: { ...proof(key), ...headers }, body: JSON.stringify(body) });
  return { status: answer.status, body: (await answer.json()) as CollectBody };
}

export async function collected(url: string, key: string, id: string): Promise<Collected> {
  const answer = await fetch(`${url}/api/v1/collect/${id}`, { headers: proof(key) });
  return { status: answer.status, body: (await answer.json()) as CollectBody };
}

/** Of somebody the sandbox node can pay. */
export async function payeesInvoice(url: string, sats: number, options: { held?: boolean; expiry_seconds?: number } = {}): Promise<{ invoice: string; payment_hash: string; amount_sats: number }> {
  const answer = await fetch(`${url}/sandbox/payee/invoice`, { method: "POST", body: JSON.stringify({ amount_sats: sats, ...options }) });
  return (await answer.json()) as { invoice: string; payment_hash: string; amount_sats: number };
}

export async function payeeDecides(url: string, payment_hash: string, take: boolean): Promise<void> {
  const answer = await fetch(`${url}/sandbox/payee/decide`, { method: "POST", body: JSON.stringify({ payment_hash, take }) });
  if (!answer.ok) throw new Error(await answer.text());
}

/** What a collection asks for. */
export const orderOf = ({ invoice, amount_sats }: { invoice: string; amount_sats: number }) => ({ invoice, amount_sats });
