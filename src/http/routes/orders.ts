/** Pictures, speech, the text of sound, web search and single prompts: bytes to an order, one call of the desk, its answer to bytes. */
import { Elysia } from "elysia";
import { AppError } from "../../base/errors.ts";
import { maxUploadBytes } from "../../base/limits.ts";
import type { Order } from "../../gateway/order.ts";
import type { OrderDesk } from "../../gateway/order-desk.ts";
import type { OrderPlanner } from "../../gateway/order-planner.ts";
import type { ChallengeSetting } from "../challenge-body.ts";
import { measureSound, type TranscriptionEndpoint } from "../../gateway/transcription-order.ts";
import {
  dvmRequestSchema, imageRequestSchema, searchRequestSchema, soundQuoteSchema, speechRequestSchema, transcriptionRequestSchema, translationRequestSchema,
} from "../contract/orders.ts";
import { UploadRoom, uploadTooLarge, withForm } from "../multipart-body.ts";
import { answerPaid, type PaidRoute } from "../paid-route.ts";
import { apiPrefixes, type PublicContext } from "../public-context.ts";

export type OrderParts = { orders: OrderDesk; planner: OrderPlanner; setting: ChallengeSetting };

export type OrderReader = (planner: OrderPlanner, body: Record<string, unknown>) => Order | Promise<Order>;

/** How the JSON of a quote becomes an order, by the path under a prefix (or the whole path, for the one that has none). */
export const orderReaders: Readonly<Record<string, OrderReader>> = {
  "/images/generations": (planner, body) => {
    const { prompt, n } = imageRequestSchema.parse(body);
    return planner.image({ prompt, n: n ?? 1, body });
  },
  "/audio/speech": (planner, body) => {
    const { input, response_format } = speechRequestSchema.parse(body);
    return planner.speech({ input, format: response_format ?? "mp3", body });
  },
  "/audio/transcriptions": (planner, body) => readSeconds(planner, body, "audio/transcriptions"),
  "/audio/translations": (planner, body) => readSeconds(planner, body, "audio/translations"),
  "/data/web/search": readSearch,
  "/api/dvm": (planner, body) => planner.dvm(dvmRequestSchema.parse(body).prompt),
};

/** Where the request itself is a form with a file. */
const formReaders: Readonly<Record<string, OrderReader>> = {
  "/audio/transcriptions": (planner, form) => readSound(planner, form, "audio/transcriptions"),
  "/audio/translations": (planner, form) => readSound(planner, form, "audio/translations"),
};

/** The least that is sold by each, for those who only look. */
const leastBodies: Readonly<Record<string, Record<string, unknown>>> = {
  "/images/generations": { prompt: "?" }, "/audio/speech": { input: "?" }, "/audio/transcriptions": { seconds: 1 }, "/audio/translations": { seconds: 1 },
  "/data/web/search": { query: "?" }, "/api/dvm": { prompt: "?" },
};

export function orderRoutes({ orders, planner, setting }: OrderParts, context: PublicContext) {
  const app = new Elysia(), room = new UploadRoom();
  for (const [path, readJson] of Object.entries(orderReaders)) {
    const readForm = formReaders[path], read = readForm ?? readJson;
    const route: PaidRoute = {
      ...(readForm && { withBody: (request, use) => withForm(request, room, use) }),
      probe: async (asker) => orders.probe(await readJson(planner, leastBodies[path]!), asker),
      take: async (id, body, asker, clientGone) => orders.take(id, await read(planner, body), asker, clientGone),
    };
    for (const at of path.startsWith("/api/") ? [path] : apiPrefixes.map((prefix) => prefix + path)) app.all(at, ({ request }) => answerPaid(route, request, setting, context));
  }
  return app;
}

/** A price before there is a file. */
function readSeconds(planner: OrderPlanner, body: Record<string, unknown>, endpoint: TranscriptionEndpoint): Order {
  const { seconds } = soundQuoteSchema.parse(body);
  return planner.transcription({ endpoint, seconds: Math.ceil(seconds), sound: undefined, format: "json", body });
}

async function readSound(planner: OrderPlanner, form: Record<string, unknown>, endpoint: TranscriptionEndpoint): Promise<Order> {
  const { file, response_format } = (endpoint === "audio/transcriptions" ? transcriptionRequestSchema : translationRequestSchema).parse(form);
  if (file.size > maxUploadBytes) throw uploadTooLarge();
  const sound = measureSound(await file.bytes());
  return planner.transcription({ endpoint, seconds: sound.seconds, sound, format: response_format ?? "json", body: form });
}

const searchFields = new Set(["query", "max_results", "maxResults", "includeDomains", "excludeDomains", "outputType", "depth", "payment_hash"]);
/** What NanoGPT's search has besides and no engine here does. */
const searchOnly: Readonly<Record<string, string>> = { outputType: "searchResults", depth: "standard" };
const notSearched = ["fromDate", "toDate", "includeImages", "structuredOutputSchema"];

function readSearch(planner: OrderPlanner, body: Record<string, unknown>): Order {
  const { query, max_results, maxResults, includeDomains, excludeDomains } = searchRequestSchema.parse(body);
  const named = Object.keys(body).filter((name) => body[name] !== null && body[name] !== undefined);
  const wrong = named.find((name) => notSearched.includes(name) || (Object.hasOwn(searchOnly, name) && body[name] !== searchOnly[name]));
  if (wrong !== undefined) throw new AppError("unsupported_field", `${wrong}${Object.hasOwn(searchOnly, wrong) ? ` is only for sale as ${searchOnly[wrong]}` : " is not for sale here"}; leave it out.`, { param: wrong });
  const asked = { query, maxResults: max_results ?? maxResults ?? defaultResults, includeDomains: includeDomains ?? [], excludeDomains: excludeDomains ?? [] };
  return planner.search(asked, named.filter((name) => !searchFields.has(name)));
}

const defaultResults = 10;
