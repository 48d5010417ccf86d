/** What must be otherwise in a Worker of Bun for `@lightninglabs/lnc-web` and Go to run in it. */

/**
 * Browsers throw at codes that are not an application's to send; Bun closes with any. Go's WebSocket counts on the throw: without it,
 * it waits for ever inside the "error" callback, and the Worker with it at full load.
 */
const close = WebSocket.prototype.close;
WebSocket.prototype.close = function (this: WebSocket, code?: number, reason?: string): void {
  const ours = code === undefined || code === 1000 || (code >= 3000 && code < 5000);
  if (!ours) throw new DOMException(`${code} is not an application's code`, "InvalidAccessError");
  return close.call(this, code, reason);
};

/**
 * Bun's own never settles in a Worker of 1.4.5. It is replaced, not removed: lnc-web is CommonJS and is evaluated before this file where it is
 * imported by name, so its own stand-in would come too early.
 */
const instantiateStreaming = async (source: Response | PromiseLike<Response>, imports?: Parameters<typeof WebAssembly.instantiate>[1]) => WebAssembly.instantiate(await (await source).arrayBuffer(), imports);
Object.assign(WebAssembly, { instantiateStreaming });

/** Nothing here may print: what a Go program says at its end may carry what it was asked. */
for (const level of ["debug", "log", "info", "warn", "error"] as const) console[level] = () => undefined;
export {};
