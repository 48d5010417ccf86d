/**
 * Reads a form with a file within bounds, before anything looks at it (RFC 7578). All uploads share one room: what it does not
 * hold is refused before it is read, and comes again.
 */
import { AppError } from "../base/errors.ts";
import { maxFormBytes, maxFormFields, maxUploadBytes, maxUploadedBytes, uploadTimeoutMs } from "../base/limits.ts";
import { readText } from "./json-body.ts";

/** Bytes of uploads in memory. */
export class UploadRoom {
  #bytes = 0;

  /** False when they do not fit. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > maxUploadedBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  free(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Fields by name, those named `...[]` as lists, files as `File`; empty for an empty body. */
export type Form = Record<string, unknown>;

/** @param use The room is held until it is done. @throws AppError `request_too_large`, `invalid_request`, `busy`, and what `use` throws. */
export async function withForm<Result>(request: Request, room: UploadRoom, use: (form: Form) => Promise<Result>): Promise<Result> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^multipart\/form-data\s*;/i.test(type)) return use(await readNothing(request));
  if (Number(request.headers.get("content-length") ?? "0") > maxFormBytes) throw uploadTooLarge();
  let held = 0;
  try {
    const bytes = await readUpload(request, (size) => {
      if (!room.take(size)) throw new AppError("busy", "Too many uploads are on their way; try again.", { retryable: true, retryAfterSeconds: 10 });
      held += size;
    });
    return await use(toForm(await parseForm(bytes, type)));
  } finally {
    room.free(held);
  }
}

export function uploadTooLarge(): AppError {
  return new AppError("request_too_large", `The file is larger than ${maxUploadBytes} bytes.`, { param: "file" });
}

/** A probe: nothing, or an empty object. */
async function readNothing(request: Request): Promise<Form> {
  const text = (await readText(request)).trim();
  if (text === "" || /^\{\s*\}$/.test(text)) return {};
  throw new AppError("invalid_request", "Send the file as multipart/form-data.", { param: "file" });
}

async function readUpload(request: Request, take: (bytes: number) => void): Promise<Uint8Array> {
  const reader = request.body?.getReader(), pieces: Uint8Array[] = [];
  let late = false, bytes = 0;
  const timer = setTimeout(() => {
    late = true;
    void reader?.cancel().catch(() => undefined);
  }, uploadTimeoutMs);
  try {
    for (let next = await reader?.read(); next && !next.done; next = await reader!.read()) {
      bytes += next.value.length;
      if (bytes > maxFormBytes) throw uploadTooLarge();
      take(next.value.length);
      pieces.push(next.value);
    }
  } catch (error) {
    void reader?.cancel().catch(() => undefined);
    throw error instanceof AppError ? error : new AppError("client_left", "The client left.");
  } finally {
    clearTimeout(timer);
  }
  if (late) throw new AppError("invalid_request", `The upload took more than ${uploadTimeoutMs / 1000} seconds.`, { param: "file" });
  return Buffer.concat(pieces);
}

async function parseForm(bytes: Uint8Array, type: string): Promise<Iterable<[string, string | Blob]>> {
  try {
    return (await new Response(bytes as Uint8Array<ArrayBuffer>, { headers: { "content-type": type } }).formData()) as unknown as Iterable<[string, string | Blob]>;
  } catch {
    throw new AppError("invalid_request", "The body is no multipart/form-data with the boundary that its header names.");
  }
}

function toForm(data: Iterable<[string, string | Blob]>): Form {
  const form = new Map<string, unknown>();
  let fields = 0;
  for (const [name, value] of data) {
    if (++fields > maxFormFields) throw new AppError("invalid_request", `The form has more than ${maxFormFields} fields.`);
    if (name.endsWith("[]")) form.set(name, [...((form.get(name) as unknown[] | undefined) ?? []), value]);
    else if (form.has(name)) throw new AppError("invalid_request", `${name.slice(0, 64)} is there twice; send one.`, { param: name.slice(0, 64) });
    else form.set(name, value);
  }
  return Object.fromEntries(form);
}
