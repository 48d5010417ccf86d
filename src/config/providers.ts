/** Clouds whose prices are public. Pure. An owner's key works with their API, and no contract changes what they ask. */

/** Our names by the public table's. */
export const knownProviders: Readonly<Record<string, string>> = {
  openai: "openai", anthropic: "anthropic", xai: "xai", groq: "groq", mistral: "mistral", gemini: "gemini", deepseek: "deepseek",
  together_ai: "together", fireworks_ai: "fireworks", deepinfra: "deepinfra", cerebras: "cerebras", perplexity: "perplexity", moonshot: "moonshot",
  dashscope: "dashscope", zai: "zai", nebius: "nebius", novita: "novita",
};

const providerOfHost: readonly [host: RegExp, provider: string][] = [
  [/(^|\.)openai\.com$/, "openai"], [/(^|\.)anthropic\.com$/, "anthropic"], [/(^|\.)x\.ai$/, "xai"], [/(^|\.)groq\.com$/, "groq"], [/(^|\.)mistral\.ai$/, "mistral"],
  [/^generativelanguage\.googleapis\.com$/, "gemini"], [/(^|\.)deepseek\.com$/, "deepseek"], [/(^|\.)together\.(xyz|ai)$/, "together"],
  [/(^|\.)fireworks\.ai$/, "fireworks"], [/(^|\.)deepinfra\.com$/, "deepinfra"], [/(^|\.)cerebras\.ai$/, "cerebras"], [/(^|\.)perplexity\.ai$/, "perplexity"],
  [/(^|\.)moonshot\.(ai|cn)$/, "moonshot"], [/(^|\.)aliyuncs\.com$/, "dashscope"], [/(^|\.)z\.ai$/, "zai"], [/(^|\.)nebius\.(ai|com)$/, "nebius"], [/(^|\.)novita\.ai$/, "novita"],
];

/** Undefined for an address nobody here knows. */
export function providerOf(url: string): string | undefined {
  const { hostname } = new URL(url);
  return providerOfHost.find(([host]) => host.test(hostname))?.[1];
}

/** Kinds of OpenAI-compatible servers whose ways are known (`upstream/profiles.ts`), and `generic` for every other. */
export const serverKinds = ["ollama", "llama.cpp", "vllm", "lmstudio", "openai", "openrouter", "xai", "groq", "mistral", "gemini", "generic"] as const;
export type ServerKind = (typeof serverKinds)[number];
