/** The table of routes and the routes that are mounted are one list. */
import { expect, test } from "bun:test";
import { publicApp, type PublicParts } from "../../src/http/doors.ts";
import { apiPrefixes } from "../../src/http/public-context.ts";
import { routeTable } from "../../src/http/route-table.ts";

/** Nothing is asked of the rooms: routes are only mounted. */
const parts = { setting: { rate: () => undefined }, sandbox: undefined } as unknown as PublicParts;

test("what is mounted is what is listed, under every prefix, and nothing else", () => {
  const mounted = publicApp(parts).routes.map(({ method, path }) => `${method === "ALL" ? "POST" : method} ${path}`);
  const listed = routeTable.flatMap(({ method, path, absolute }) => (absolute ? [""] : apiPrefixes).map((prefix) => `${method} ${prefix}${path}`));
  expect(mounted.toSorted()).toEqual(listed.toSorted());
});

test("a route that costs money says how it is quoted, others do not", () => {
  expect(routeTable.filter((route) => (route.kind === "paid") !== (route.quoteType !== undefined))).toEqual([]);
});
