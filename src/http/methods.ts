/** Which methods a path has: for the answer to one it does not have. */
import { apiPrefixes } from "./public-context.ts";
import { type Route, routeTable } from "./route-table.ts";

type Known = { pattern: RegExp; methods: readonly string[] };

/** A paid path tells its price to a bare GET or HEAD. */
function methodsOf({ kind, method }: Route): string[] {
  if (kind === "paid") return ["GET", "HEAD", "POST"];
  return method === "GET" ? ["GET", "HEAD"] : [method];
}

const known: readonly Known[] = routeTable.map((route) => {
  const path = route.path.replaceAll(/[.$]/g, "\\$&").replaceAll(/:\w+/g, "[^/]+").replace("*", ".+");
  const prefix = route.absolute ? "" : `(${apiPrefixes.join("|")})`;
  return { pattern: new RegExp(`^${prefix}${path}$`), methods: methodsOf(route) };
});

/** Of a request whose Host may be no host, which no URL parser reads. */
export function pathOf({ url }: Pick<Request, "url">): string {
  return /^(?:[a-z]+:\/\/[^/]*)?([^?#]*)/i.exec(url)![1]!;
}

/** Empty for a path that is none. OPTIONS is answered everywhere. */
export function allowedMethods(pathname: string): string[] {
  const methods = known.filter(({ pattern }) => pattern.test(pathname)).flatMap((one) => one.methods);
  return methods.length === 0 ? [] : [...new Set([...methods, "OPTIONS"])];
}
