/**
 * The sandbox model's answer in OpenAI's shapes: the events of a stream, or one body. Pure: it knows which bytes come
 * in which order, and refuses to know about time and connections.
 */
import type { ModelFaults, Piece, SandboxAnswer, SandboxRefusal, SandboxRequest } from "./sandbox-script.ts";

/** What the server does next: hand over `text`, which carries `tokens` tokens, or misbehave. */
export type Step = { kind: "write"; text: string; tokens: number } | { kind: "break" } | { kind: "stall" };

/** One answer to be put on the wire. */
export type Reply = {
  id: string;
  createdSeconds: number;
  request: SandboxRequest;
  answer: SandboxAnswer;
  faults: ModelFaults;
};

type Delta = Record<string, unknown>;

/** Every event of the stream. Choices take turns token by token, as OpenAI's do. */
export function* streamSteps(reply: Reply): Generator<Step> {
  const { answer, faults, request } = reply;
  const choices = Array.from({ length: request.choices }, (_, index) => index);
  let sent = 0;
  let sentOfEach = 0;
  const running = () => usageNow(reply, sent, answer.reasoningIn(sentOfEach) * request.choices);
  const everyChunk = () => (faults.usageEveryChunk ? running() : {});

  for (const index of choices) yield event(reply, chunk(reply, index, { role: "assistant", content: "" }, null, everyChunk()));
  for (let place = 0; place < answer.tokens; place++) {
    for (const index of choices) {
      const fault = faultAfter(faults, sent);
      if (fault) return yield fault;
      sent++;
      sentOfEach = place + 1;
      const delta = deltaOf(answer.pieceAt(place), reply.id, index);
      const size = sent === 1 ? faults.hugeEvent : undefined;
      yield event(reply, chunk(reply, index, delta, null, everyChunk()), 1, size);
    }
  }
  const fault = faultAfter(faults, sent);
  if (fault) return yield fault;
  for (const index of choices) {
    const withUsage = faults.usageInFinishChunk && index === choices.length - 1 ? running() : everyChunk();
    yield event(reply, chunk(reply, index, {}, answer.finish, withUsage));
  }
  if (request.includeUsage && !faults.usageInFinishChunk && !faults.noUsage) {
    yield event(reply, { ...envelope(reply, "chat.completion.chunk"), choices: [], ...running() });
  }
  if (!faults.noDone) yield line(reply, "[DONE]");
}

/** Which fault is due once `sent` tokens are out. */
export function faultAfter(faults: ModelFaults, sent: number): Step | undefined {
  if (faults.breakAfterTokens !== undefined && sent >= faults.breakAfterTokens) return { kind: "break" };
  if (faults.stallAfterTokens !== undefined && sent >= faults.stallAfterTokens) return { kind: "stall" };
  return undefined;
}

/** The answer in one piece. */
export function completionBody(reply: Reply): string {
  const { answer, faults, request } = reply;
  const message = messageOf(reply);
  const choices = Array.from({ length: request.choices }, (_, index) => {
    return { index, message: message(index), logprobs: null, finish_reason: answer.finish };
  });
  const reasoning = answer.reasoningIn(answer.tokens) * request.choices;
  const usage = faults.noUsage ? {} : usageNow(reply, answer.tokens * request.choices, reasoning);
  return JSON.stringify({ ...envelope(reply, "chat.completion"), choices, ...usage });
}

function messageOf({ answer, faults, id }: Reply): (index: number) => Delta {
  const text: Record<Piece["part"], string> = { reasoning: "", content: "", call: "", arguments: "" };
  for (let place = 0; place < answer.tokens; place++) {
    const piece = answer.pieceAt(place);
    text[piece.part] += piece.text;
  }
  const calls = (index: number) => [
    { id: callId(id, index), type: "function", function: { name: text.call, arguments: text.arguments } },
  ];
  const padding = "x".repeat(faults.hugeEvent ?? 0);
  return (index) => ({
    role: "assistant",
    content: text.call ? null : text.content + padding,
    ...(text.reasoning ? { reasoning_content: text.reasoning } : {}),
    ...(text.call ? { tool_calls: calls(index) } : {}),
    refusal: null,
  });
}

function usageNow({ answer, faults }: Reply, completionTokens: number, reasoningTokens: number): { usage?: unknown } {
  if (faults.noUsage) return {};
  if (faults.usage !== undefined) return { usage: faults.usage };
  const usage = {
    prompt_tokens: answer.promptTokens,
    completion_tokens: completionTokens,
    total_tokens: answer.promptTokens + completionTokens,
  };
  if (reasoningTokens === 0) return { usage };
  return { usage: { ...usage, completion_tokens_details: { reasoning_tokens: reasoningTokens } } };
}

function deltaOf(piece: Piece, id: string, index: number): Delta {
  switch (piece.part) {
    case "reasoning":
      return { reasoning_content: piece.text };
    case "content":
      return { content: piece.text };
    case "call": {
      const opened = { name: piece.text, arguments: "" };
      return { tool_calls: [{ index: 0, id: callId(id, index), type: "function", function: opened }] };
    }
    case "arguments":
      return { tool_calls: [{ index: 0, function: { arguments: piece.text } }] };
  }
}

function callId(id: string, index: number): string {
  return `call_${id.replace("chatcmpl-", "")}_${index}`;
}

function envelope({ id, createdSeconds, request }: Reply, object: string) {
  return { id, object, created: createdSeconds, model: request.model };
}

function chunk(reply: Reply, index: number, delta: Delta, finish: string | null, usage: { usage?: unknown }) {
  const choices = [{ index, delta, logprobs: null, finish_reason: finish }];
  return { ...envelope(reply, "chat.completion.chunk"), choices, ...usage };
}

/** `size`: the whole event grows to so many bytes, by an unknown field that every reader has to skip. */
function event(reply: Reply, body: object, tokens = 0, size?: number): Step {
  if (size === undefined) return line(reply, JSON.stringify(body), tokens);
  const bare = line(reply, JSON.stringify({ ...body, obfuscation: "" }), tokens);
  const missing = bare.kind === "write" ? size - Buffer.byteLength(bare.text) : 0;
  return line(reply, JSON.stringify({ ...body, obfuscation: "x".repeat(Math.max(0, missing)) }), tokens);
}

function line({ faults }: Reply, data: string, tokens = 0): Step {
  return { kind: "write", text: `data: ${data}${faults.crlf ? "\r\n\r\n" : "\n\n"}`, tokens };
}

/** OpenAI's error body. Names the field at fault, never its value. */
export function errorBody({ message, status, code, param }: SandboxRefusal): string {
  return JSON.stringify({ error: { message, type: errorType(status), param, code } });
}

function errorType(status: number): string {
  if (status === 429) return "rate_limit_error";
  if (status === 401) return "authentication_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** OpenAI's model list entry. */
export function modelEntry(id: string) {
  return { id, object: "model", created: 1_750_000_000, owned_by: "hearth" };
}
