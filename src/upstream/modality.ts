/** What a listed model makes, so that one that cannot chat is not sold as one that can. Pure. By its list's word, else by a name everybody knows. */

export type Modality = "chat" | "embedding" | "image" | "audio" | "other";

export type ModalityHints = {
  id: string;
  /** Mistral's; true means it chats. */
  completionChat?: boolean | undefined;
  /** LM Studio's: llm, vlm or embeddings. */
  type?: string | undefined;
  /** OpenRouter's: text, image, audio, embeddings, ... */
  outputs?: readonly string[] | undefined;
};

const byType: Readonly<Record<string, Modality>> = { llm: "chat", vlm: "chat", embeddings: "embedding" };

/** Whatever it makes besides text has a price of its own, and so has what it does by itself (Groq's compound systems search and run code). */
const byName: readonly [name: RegExp, modality: Modality][] = [
  [/moderation|rerank|\bsora\b|\bveo-|^(groq\/)?compound(-|$)|^(babbage|davinci)-|^gpt-3\.5-turbo-instruct/, "other"],
  [/embed|\bbge-|\bminilm/, "embedding"],
  [/whisper|\btts\b|transcri|-audio|\bspeech|realtime|\borpheus/, "audio"],
  [/dall-e|gpt-image|imagen-|grok-imagine|stable-diffusion|\bsdxl\b|\bflux[.-]|-image(-|$)/, "image"],
];

export function modalityOf({ id, completionChat, type, outputs }: ModalityHints): Modality | undefined {
  const named = byName.find(([name]) => name.test(id.toLowerCase()))?.[1];
  if (type !== undefined && Object.hasOwn(byType, type)) return byType[type];
  if (completionChat !== undefined) return completionChat ? "chat" : (named ?? "other");
  if (outputs !== undefined && outputs.length > 0) return ofOutputs(outputs) ?? named ?? "chat";
  return named;
}

/** Undefined for text alone. */
function ofOutputs(outputs: readonly string[]): Modality | undefined {
  if (outputs.includes("image")) return "image";
  if (outputs.some((output) => /^(audio|speech|transcription)$/.test(output))) return "audio";
  if (outputs.includes("embeddings")) return "embedding";
  return outputs.includes("text") ? undefined : "other";
}
