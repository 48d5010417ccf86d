/** A Hearth that sells speech and the text of sound, and requests for both. */
import { orderConfig, type OrderUpstream } from "./order-upstream.ts";

export const audioModels = ["painter", "talker", "speaker", "scribe"] as const;

/** 2 sats a second of sound, 0.5 sats a character of speech. */
export function audioConfig(upstream: OrderUpstream, { secondSats = 2, more = "", settings = "" } = {}): string {
  const prices = `[prices.models.speaker]\nsats_per_mchar = 500000\n[prices.models.scribe]\nsats_per_second = ${secondSats}\n`;
  return orderConfig(upstream, { settings, more: prices + more });
}

export type Upload = { file?: Uint8Array<ArrayBuffer> | undefined; name?: string; fields?: readonly (readonly [name: string, value: string])[]; path?: string };

export const transcriptions = "/v1/audio/transcriptions";

/** Each has a boundary of its own. */
export function formOf({ file, name = "hello.wav", fields = [["model", "scribe"]] }: Upload): FormData {
  const form = new FormData();
  for (const [field, value] of fields) form.append(field, value);
  if (file) form.append("file", new File([file], name));
  return form;
}

export function upload(url: string, what: Upload, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(url + (what.path ?? transcriptions), { method: "POST", headers, body: formOf(what), ...(signal && { signal }) });
}
