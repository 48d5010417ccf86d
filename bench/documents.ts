/** W11: what anybody may read before paying, one request after the other: how long it takes with one model and with 300. */
import { processorMs } from "./children.ts";
import type { HearthUnderTest } from "./contestants.ts";
import { type Measures, percentile } from "./measures.ts";
import { modelsOfAllPlaces } from "./workload.ts";

export const documents = { models: "/v1/models", catalog: "/api/v1/catalog", pricing: "/pricing", openapi: "/openapi.json" } as const;
export type DocumentName = keyof typeof documents;
export const documentNames = Object.keys(documents) as DocumentName[];

const readings = 100;

/** @throws when the house does not list what it should: then nothing of 300 models would have been measured. */
export async function checkList({ name, child }: HearthUnderTest): Promise<void> {
  const { data } = (await (await fetch(child.url + documents.models)).json()) as { data: unknown[] };
  const wanted = name === "hearth-300" ? modelsOfAllPlaces : 1;
  if (data.length !== wanted) throw new Error(`${name} lists ${data.length} models, not ${wanted}`);
}

export async function measureDocuments(measures: Measures, { name, child }: HearthUnderTest, round: number): Promise<void> {
  for (const document of documentNames) {
    const beforeMs = await processorMs(child.pid);
    const { times, bytes } = await read(child.url + documents[document]);
    const afterMs = await processorMs(child.pid);
    measures.add({ workload: "W11", contestant: name, parallel: 1, round }, {
      [`${document}_p50_ms`]: percentile(times, 50)!, [`${document}_p99_ms`]: percentile(times, 99)!, [`${document}_bytes`]: bytes,
      ...(beforeMs !== undefined && afterMs !== undefined && { [`${document}_cpu_ms`]: (afterMs - beforeMs) / readings }),
    });
  }
}

async function read(url: string): Promise<{ times: number[]; bytes: number }> {
  const times: number[] = [];
  let bytes = 0;
  while (times.length < readings) {
    const begunMs = performance.now();
    const answer = await fetch(url);
    bytes = (await answer.arrayBuffer()).byteLength;
    times.push(performance.now() - begunMs);
    if (answer.status !== 200) throw new Error(`${url} was answered ${answer.status}`);
  }
  return { times, bytes };
}
