/** Reads a server's list of models, in any of the dialects of its fields. Pure. What a server does not say stays undefined. */
import { z } from "zod";
import { type ListedPrice, openRouterPrice, xaiPrice } from "./listed-price.ts";
import { modalityOf } from "./modality.ts";
import type { Profile } from "./profiles.ts";
import type { UpstreamModel } from "./upstream.ts";

const count = z.number().int().positive().optional().catch(undefined);
const flag = z.boolean().optional().catch(undefined);
const text = z.string().optional().catch(undefined);

const listedModel = z.object({
  id: z.string().min(1).max(256),
  created: z.number().optional().catch(undefined),
  owned_by: text,
  /** Groq and Mistral list what is gone, too. */
  active: flag,
  archived: flag,
  /** OpenRouter and xAI; Groq; vLLM; Mistral and LM Studio, whose model may be loaded with less. */
  context_length: count,
  context_window: count,
  max_model_len: count,
  max_context_length: count,
  loaded_context_length: count,
  /** llama.cpp: what it runs with, which older versions do not say, and what the model was made for. */
  meta: z.object({ n_ctx: count, n_ctx_train: count }).optional().catch(undefined),
  max_completion_tokens: count,
  top_provider: z.object({ context_length: count, max_completion_tokens: count }).optional().catch(undefined),
  type: text,
  capabilities: z.object({ completion_chat: flag }).optional().catch(undefined),
  architecture: z.object({ output_modalities: z.array(z.string()) }).optional().catch(undefined),
  pricing: z.record(z.string(), z.unknown()).optional().catch(undefined),
  prompt_text_token_price: count,
  completion_text_token_price: count,
  prompt_text_token_price_long_context: count,
  completion_text_token_price_long_context: count,
  long_context_threshold: count,
});

export type ListedModel = z.infer<typeof listedModel>;

const modelList = z.object({ data: z.array(listedModel) });

/** @throws when it is no list of models. */
export function parseModelList(body: string): ListedModel[] {
  return modelList.parse(JSON.parse(body)).data;
}

/** @param details More about some of them, by the same ids. */
export function readModels(listed: readonly ListedModel[], details: readonly ListedModel[], profile: Profile): UpstreamModel[] {
  const more = new Map(details.map((model) => [model.id, model]));
  return listed.filter(isActive).map((model) => toModel({ ...model, ...withoutGaps(more.get(model.id)) }, profile));
}

const isActive = ({ active, archived }: ListedModel) => active !== false && archived !== true;

function withoutGaps(model: ListedModel | undefined): Partial<ListedModel> {
  return Object.fromEntries(Object.entries(model ?? {}).filter(([, value]) => value !== undefined));
}

function toModel(model: ListedModel, profile: Profile): UpstreamModel {
  const contextTokens = contextOf(model);
  const maxOutputTokens = model.top_provider?.max_completion_tokens ?? model.max_completion_tokens;
  const listedPrice = priceOf(model, profile);
  const modality = modalityOf({ id: model.id, completionChat: model.capabilities?.completion_chat, type: model.type, outputs: model.architecture?.output_modalities });
  return {
    // Gemini lists `models/gemini-...` and everybody asks for `gemini-...`, which its API takes.
    id: profile.name === "gemini" ? model.id.replace(/^models\//, "") : model.id,
    createdS: model.created,
    ...(contextTokens !== undefined && { contextTokens }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(listedPrice && { listedPrice }),
    ...(modality && { modality }),
  };
}

/** Of several figures the smallest: OpenRouter says what a model can and what its first provider gives. */
function contextOf(model: ListedModel): number | undefined {
  const engine = model.meta?.n_ctx ?? model.meta?.n_ctx_train;
  const figures = [model.context_length, model.context_window, model.max_model_len, model.loaded_context_length ?? model.max_context_length, engine, model.top_provider?.context_length];
  const given = figures.filter((figure) => figure !== undefined);
  return given.length === 0 ? undefined : Math.min(...given);
}

function priceOf(model: ListedModel, { prices }: Profile): ListedPrice | undefined {
  if (prices === "xai") return xaiPrice(model);
  return prices === "openrouter" && model.pricing ? openRouterPrice(model.id, model.pricing) : undefined;
}
