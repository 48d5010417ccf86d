/**
 * A model server on loopback that speaks OpenAI's chat format, streams like a real engine and misbehaves when told to:
 * the demo's model and the tests' upstream. It holds no model, checks no key, and refuses to listen beyond 127.0.0.1.
 */
import { systemClock } from "../base/clock.ts";
import { maxBodyBytes } from "../base/limits.ts";
import { CallList, type OpenCall, type SandboxCall } from "./sandbox-calls.ts";
import { completionBody, errorBody, faultAfter, modelEntry, streamSteps, type Reply, type Step } from "./sandbox-frames.ts";
import { readSandboxRequest, sandboxAnswer, sandboxModels, type ModelFaults } from "./sandbox-script.ts";

export { sandboxLoopTokens, sandboxModels, sandboxPromptTokens, type ModelFaults } from "./sandbox-script.ts";
export type { SandboxCall } from "./sandbox-calls.ts";

export type SandboxModel = {
  /** `http://127.0.0.1:PORT/v1`. */
  readonly url: string;
  /** Replaces all faults, for the chat calls that come from now on; `{}` ends them. The model list never fails. */
  misbehave(faults: ModelFaults): void;
  /** What the next chat call will meet; `times` is what is left of it. */
  faults(): ModelFaults;
  /** The last 1,000 calls, oldest first (fewer when their bodies are large). */
  readonly calls: readonly SandboxCall[];
  /** Resolves with the earliest abort it has not told before, past or to come. */
  whenAborted(): Promise<SandboxCall>;
  /** Resolves as soon as `holds` is true of the calls; looked at again whenever a call changes. */
  until(holds: (calls: readonly SandboxCall[]) => boolean): Promise<void>;
  /** Closes the port and every open connection. */
  stop(): Promise<void>;
};

/** A reset overtakes bytes the other side has not read yet; this lets it read them first. */
const beforeResetMs = 20;
/** A buffered answer without a pace lets others run after so many tokens. */
const tokensPerTurn = 256;

/** Port 0 takes a free one. `tokenDelayMs` is the pace of a well-behaved model; 0 is as fast as the reader reads. */
export function startSandboxModel(options: { port?: number; tokenDelayMs?: number } = {}): SandboxModel {
  const list = new CallList();
  let faults: ModelFaults = {};
  let served = 0;

  function takeFaults(): ModelFaults {
    const taken = faults;
    if (taken.times !== undefined) faults = taken.times > 1 ? { ...taken, times: taken.times - 1 } : {};
    return { tokenDelayMs: options.tokenDelayMs ?? 0, ...taken };
  }

  async function chat(http: Request): Promise<Response> {
    const text = await http.text().catch(() => ""); // the caller left while it was still sending
    const body = decodeJson(text);
    const read = readSandboxRequest(body);
    if ("refusal" in read) return refuse(read.refusal.status, read.refusal.message, read.refusal.code, read.refusal.param);
    const { request } = read;
    const nowMs = systemClock.nowMs();
    const taken = takeFaults();
    const call = list.open({ model: request.model, body, bytes: text.length, nowMs, signal: http.signal });
    const id = `chatcmpl-sandbox-${++served}`;
    const answer = sandboxAnswer(request, taken);
    const reply: Reply = { id, createdSeconds: Math.floor(nowMs / 1000), request, answer, faults: taken };
    return (await faultyAnswer(taken, call)) ?? (request.stream ? streamed(reply, call) : buffered(reply, call));
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: options.port ?? 0,
    idleTimeout: 0, // a stall must last as long as the reader's patience
    development: false, // or Bun prints every stream that is broken on purpose
    maxRequestBodySize: 2 * maxBodyBytes, // the gateway's own fields come on top of the largest body it accepts
    routes: {
      "/v1/models": { GET: () => json(JSON.stringify({ object: "list", data: sandboxModels.map(modelEntry) })) },
      "/v1/models/:id": { GET: (http) => oneModel(http.params.id) },
      "/v1/chat/completions": { POST: chat },
    },
    fetch: () => refuse(404, "There is no such route here.", "not_found"),
  });

  return {
    url: `http://127.0.0.1:${server.port}/v1`,
    misbehave: (wanted) => void (faults = wanted.times !== undefined && wanted.times < 1 ? {} : { ...wanted }),
    faults: () => ({ ...faults }),
    calls: list.calls,
    whenAborted: () => list.whenAborted(),
    until: (holds) => list.until(holds),
    stop: () => server.stop(true),
  };
}

/** The faults that come before, or instead of, an answer. */
async function faultyAnswer(faults: ModelFaults, call: OpenCall): Promise<Response | undefined> {
  if (faults.firstByteDelayMs) await systemClock.sleep(faults.firstByteDelayMs, call.gone);
  if (faults.hang) await untilGone(call.gone);
  if (call.gone.aborted) return unread();
  if (faults.drop) return dropped(call);
  if (faults.status !== undefined) {
    call.finish();
    return refuse(faults.status, `The sandbox was told to answer ${faults.status}.`, "sandbox_fault");
  }
  if (faults.notJson) {
    call.finish();
    return new Response("<!doctype html><title>Not an answer</title>", { headers: { "content-type": "text/html" } });
  }
  return undefined;
}

/**
 * Bun resets the connection when a body fails before its first byte: nothing of the response is sent. It has to fail
 * a turn later, or Bun prints the error.
 */
function dropped(call: OpenCall): Response {
  call.giveUp();
  return new Response(new ReadableStream({ pull: (controller) => nextTurn().then(() => controller.error(new ConnectionCut())) }));
}

class ConnectionCut extends Error {
  override name = "ConnectionCut";
}

function streamed(reply: Reply, call: OpenCall): Response {
  const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" };
  return new Response(bodyOf(writes(streamSteps(reply), call, reply.faults), call), { headers });
}

async function buffered(reply: Reply, call: OpenCall): Promise<Response> {
  const { answer, faults, request } = reply;
  const total = answer.tokens * request.choices;
  let fault: Step | undefined;
  for (let made = 0; made <= total; made++) {
    fault = faultAfter(faults, made);
    if (fault || made === total) break;
    await pace(faults, made % tokensPerTurn === 0);
    if (call.gone.aborted) return unread();
    call.addTokens(1);
  }
  const body = completionBody(reply);
  if (!fault && faults.splitBytes === undefined) {
    call.finish();
    return json(body);
  }
  const text = fault ? body.slice(0, body.length / 2) : body;
  const steps: Step[] = [{ kind: "write", text, tokens: 0 }, ...(fault ? [fault] : [])];
  return new Response(bodyOf(writes(steps, call, faults), call), { headers: { "content-type": "application/json" } });

  async function pace({ tokenDelayMs }: ModelFaults, turnDue: boolean) {
    if (tokenDelayMs) await systemClock.sleep(tokenDelayMs, call.gone);
    else if (turnDue) await nextTurn();
  }
}

/** Plays the steps in time. Each element becomes one write. @throws ConnectionCut where the connection is to break. */
async function* writes(steps: Iterable<Step>, call: OpenCall, faults: ModelFaults): AsyncGenerator<Uint8Array> {
  let held = "";
  for (const step of steps) {
    if (step.kind === "write") {
      if (step.tokens > 0 && faults.tokenDelayMs) await systemClock.sleep(faults.tokenDelayMs, call.gone);
      if (call.gone.aborted) return;
      call.addTokens(step.tokens);
      if (faults.oneWrite) held += step.text;
      else yield* cut(step.text, faults.splitBytes);
      continue;
    }
    if (held) yield* cut(held, faults.splitBytes);
    if (step.kind === "stall") return await untilGone(call.gone);
    await systemClock.sleep(beforeResetMs, call.gone);
    throw new ConnectionCut();
  }
  if (held) yield* cut(held, faults.splitBytes);
}

function* cut(text: string, size: number | undefined): Generator<Uint8Array> {
  const bytes = Buffer.from(text);
  const step = size === undefined ? bytes.length : Math.max(1, size);
  for (let from = 0; from < bytes.length; from += step) yield bytes.subarray(from, from + step);
}

/** One turn of the event loop between two elements, or Bun joins them into one write. */
function bodyOf(source: AsyncGenerator<Uint8Array>, call: OpenCall): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          await nextTurn();
          const next = await source.next();
          if (call.gone.aborted) return;
          if (!next.done) return controller.enqueue(next.value);
          call.finish();
          controller.close();
        } catch (error) {
          call.giveUp();
          controller.error(error);
        }
      },
      cancel: () => call.leave(),
    },
    { highWaterMark: 0 },
  );
}

function oneModel(id: string): Response {
  if (sandboxModels.some((known) => known === id)) return json(JSON.stringify(modelEntry(id)));
  return refuse(404, "The model does not exist.", "model_not_found", "model");
}

function refuse(status: number, message: string, code: string, param: string | null = null): Response {
  return json(errorBody({ status, message, code, param }), status);
}

function json(body: string, status = 200): Response {
  return new Response(body, { status, headers: { "content-type": "application/json" } });
}

/** The answer to a caller that has left; no one reads it. */
function unread(): Response {
  return new Response(null, { status: 499 });
}

function untilGone(gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (gone.aborted) return resolve();
    gone.addEventListener("abort", () => resolve(), { once: true });
  });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
