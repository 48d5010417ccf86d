/** Chat completions: bytes to a typed request, one call of the gateway, its answer to bytes. */
import { Elysia } from "elysia";
import type { ChatRequest } from "../../gateway/chat-request.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { ChallengeSetting } from "../challenge-body.ts";
import { chatRequestSchema } from "../contract/chat.ts";
import { answerPaid, type PaidRoute } from "../paid-route.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export function chatRoutes(gateway: Pick<Gateway, "chat" | "probe">, setting: ChallengeSetting, context: PublicContext) {
  const app = new Elysia();
  const route = (model: string | undefined): PaidRoute => ({
    probe: (asker) => gateway.probe(asker),
    take: (id, body, asker, clientGone) => {
      if (model !== undefined && body.model === undefined) body.model = model;
      return gateway.chat(id, toChatRequest(body), asker, clientGone);
    },
  });
  for (const prefix of apiPrefixes) {
    app.all(`${prefix}/chat/completions`, ({ request }) => answerPaid(route(undefined), request, setting, context));
    app.all(`${prefix}/chat/completions/:model`, ({ request, params }) => answerPaid(route(params.model), request, setting, context));
  }
  return app;
}

/** @throws ZodError for a field that is wrong. */
export function toChatRequest(body: Record<string, unknown>): ChatRequest {
  const { model, messages, stream, stream_options, n } = chatRequestSchema.parse(body);
  return { model, messages: messages as ChatRequest["messages"], stream: stream ?? false, includeUsage: stream_options?.include_usage ?? false, n: n ?? 1, body };
}
