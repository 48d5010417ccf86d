/** What went wrong with the owner's node is told to the owner; a buyer reads that it did, and when to come back. */
import { expect, test } from "bun:test";
import { AppError } from "../../src/base/errors.ts";
import { errorResponse } from "../../src/http/errors.ts";

const trouble = () => new AppError("node_unavailable", "The node's macaroon at /home/alice/hearth.macaroon does not exist.", { retryable: true, retryAfterSeconds: 10 });

test.each([["buyer" as const, false], ["owner" as const, true]])("a %s", async (reader, reads) => {
  const answer = errorResponse(trouble(), "r_1", {}, reader);
  const text = await answer.text();
  expect({ status: answer.status, wait: answer.headers.get("retry-after"), code: (JSON.parse(text) as { error: { code: string } }).error.code, path: text.includes("/home/alice") })
    .toEqual({ status: 503, wait: "10", code: "node_unavailable", path: reads });
});
