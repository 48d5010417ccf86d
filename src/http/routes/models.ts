/** What can be asked, in OpenAI's list. Never a 402: clients read it before they have a key. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import type { ModelDirectory, ModelForSale } from "../../gateway/model-directory.ts";
import type { ModelKind } from "../../pricing/public-prices.ts";
import { type BtcRate, rateUnknown } from "../../pricing/rate.ts";
import { modelPricing } from "../discovery/catalog.ts";
import { errorResponse } from "../errors.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export function modelRoutes(directory: Pick<ModelDirectory, "list" | "find">, rate: () => BtcRate | undefined, context: PublicContext) {
  const toWire = (model: ModelForSale) => modelToWire(model, rate());
  const app = new Elysia();
  for (const prefix of apiPrefixes) {
    app.get(`${prefix}/models`, () => json({ object: "list", data: directory.list().map(toWire) }, context));
    // Ids may hold slashes, written as they are or escaped.
    app.get(`${prefix}/models/*`, ({ params }) => {
      const model = directory.find(decodeId(params["*"]));
      if (model?.price !== undefined) return json(toWire({ ...model, price: model.price }), context);
      if (model) return errorResponse(rateUnknown(), context.newCallId(), context.headers);
      return errorResponse(new AppError("model_not_found", "This model is not for sale here; GET /v1/models lists what is."), context.newCallId(), context.headers);
    });
  }
  return app;
}

function decodeId(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function json(body: unknown, context: PublicContext): Response {
  return Response.json(body, { headers: { ...context.headers, "x-request-id": context.newCallId() } });
}

/** In OpenRouter's words. */
const madeBy: Record<ModelKind, string> = { chat: "text", image: "image", transcription: "transcription", speech: "audio", other: "other" };

function modelToWire(model: ModelForSale, rate: BtcRate | undefined) {
  return {
    id: model.id,
    object: "model",
    created: model.createdS,
    owned_by: model.upstream.local ? "local" : model.upstream.name,
    source: model.upstream.local ? "local" : "resold",
    ...(model.maxInputTokens !== undefined && { context_length: model.maxInputTokens }),
    ...(model.maxOutputTokens !== undefined && { max_output_tokens: model.maxOutputTokens }),
    architecture: { output_modalities: [madeBy[model.kind]] },
    pricing: modelPricing(model, rate),
  };
}
