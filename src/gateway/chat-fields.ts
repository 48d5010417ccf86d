/**
 * The fields of a chat request and what each does to the price. Pure. What is not listed is dropped and named in
 * `x-hearth-dropped`: it never reaches an upstream, so it can change neither the price nor the model.
 */

type Rule =
  /** Forwarded as it is; what it can cost is bounded by the output cap. */
  | "pass"
  /** Forwarded, and its text is part of the prompt. */
  | "prompt"
  /** One of the names under which clients say how many tokens they want; the upstream gets one of our own. */
  | "cap"
  /** Read and written by the gateway itself. */
  | "ours"
  /** Changes the price, the model, or shares state between buyers of one upstream key: refused, unless it says nothing. */
  | "refuse";

const rules = new Map<string, Rule>([
  ...list("ours", "model", "messages", "stream", "stream_options", "n", "payment_hash"),
  ...list("cap", "max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "n_predict"),
  ...list("prompt", "tools", "functions", "response_format"),
  ...list(
    "pass",
    "temperature", "top_p", "top_k", "min_p", "stop", "seed", "presence_penalty", "frequency_penalty", "repeat_penalty",
    "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "tool_choice", "parallel_tool_calls", "function_call",
    "reasoning_effort", "reasoning", "think", "verbosity", "chat_template_kwargs",
  ),
  ...list(
    "refuse",
    "best_of", "prediction", "web_search_options", "audio", "modalities", "service_tier", "store", "background",
    "previous_response_id", "conversation", "container", "models", "plugins", "provider", "route", "transforms", "ignore_eos",
    "min_tokens", "use_beam_search", "length_penalty", "options", "keep_alive", "search_parameters", "mcp_servers",
  ),
]);

function list(rule: Rule, ...names: string[]): [string, Rule][] {
  return names.map((name) => [name, rule]);
}

/** Values by which a refused field says nothing at all; SDKs send them. */
const harmless: Record<string, readonly unknown[]> = {
  best_of: [1], store: [false], background: [false], service_tier: ["auto", "default"], ignore_eos: [false], min_tokens: [0], use_beam_search: [false],
};

export type FieldSplit =
  | {
      ok: true;
      /** Forwarded as they came. */
      passed: Record<string, unknown>;
      /** The part of `passed` that is prompt. */
      promptFields: string[];
      /** The largest cap the client named. */
      wantedCap: number | undefined;
      dropped: string[];
    }
  | { ok: false; code: "unsupported_field" | "invalid_request"; param: string; message: string };

/** Sorts the fields of a parsed body; `null` means absent, as OpenAI has it. */
export function splitFields(body: Readonly<Record<string, unknown>>): FieldSplit {
  const passed: Record<string, unknown> = {};
  const promptFields: string[] = [];
  const dropped: string[] = [];
  let wantedCap: number | undefined;
  for (const [name, value] of Object.entries(body)) {
    if (value === null || value === undefined) continue;
    const rule = rules.get(name);
    if (rule === "ours") continue;
    if (rule === "cap") {
      if (!isCap(value)) return invalid(name, `${name} must be a whole number of at least 1.`);
      wantedCap = Math.max(wantedCap ?? 0, value);
    } else if (rule === "refuse") {
      if (!isHarmless(name, value)) return refused(name, `${name} is not for sale here; leave it out.`);
    } else if (rule === undefined) {
      dropped.push(name);
    } else {
      passed[name] = value;
      if (rule === "prompt") promptFields.push(name);
    }
  }
  if (passed.tools !== undefined && !Array.isArray(passed.tools)) return invalid("tools", "tools must be a list.");
  const tool = findServerTool(passed.tools);
  if (tool) return refused(tool, "Only tools of type function are for sale here.");
  return { ok: true, passed, promptFields, wantedCap, dropped };
}

function isCap(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
}

function isHarmless(name: string, value: unknown): boolean {
  if (name === "modalities") return Array.isArray(value) && value.every((one) => one === "text");
  return (harmless[name] ?? []).includes(value);
}

function refused(param: string, message: string): FieldSplit {
  return { ok: false, code: "unsupported_field", param, message };
}

function invalid(param: string, message: string): FieldSplit {
  return { ok: false, code: "invalid_request", param, message };
}

/** A tool the upstream would run itself costs what nobody has quoted. */
function findServerTool(tools: readonly unknown[] = []): string | undefined {
  const index = tools.findIndex((tool) => typeof tool !== "object" || tool === null || (tool as { type?: unknown }).type !== "function");
  return index < 0 ? undefined : `tools[${index}].type`;
}
