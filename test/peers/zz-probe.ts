import { startOllama } from "./ollama.ts";
const e = await startOllama();
console.log("engine", e.pid, e.url);
const hello = [{ role: "user", content: "hello" }];
for (let i = 0; i < 60; i++) {
  const c = new AbortController();
  const r = await fetch(`${e.url}/chat/completions`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ model: "tiny-loop", messages: hello, stream: true, max_tokens: 40000 }), signal: c.signal });
  const reader = r.body!.getReader(); let n = 0;
  while (n < 10000) { const x = await reader.read(); if (x.done) break; n += x.value.length; }
  const t0 = await e.runnerCpuTicks();
  c.abort();
  const at = performance.now();
  const q = await fetch(`${e.url}/chat/completions`, { method: "POST", body: JSON.stringify({ model: "tiny", messages: hello }), signal: AbortSignal.timeout(4000) }).then((x) => x.text(), (x) => String(x));
  const ms = performance.now() - at;
  if (ms > 300) {
    console.log(i, "slow", ms, q.slice(0, 60), "ticks", await e.runnerCpuTicks() - t0);
    const t1 = await e.runnerCpuTicks(); await Bun.sleep(500); console.log("ticks in 500ms", await e.runnerCpuTicks() - t1);
    const kids = (await new Response(Bun.spawn(["pgrep", "-P", String(e.pid)]).stdout).text()).trim().split("\n").map(Number);
    console.log("kids", kids, (await Bun.file(`/proc/${kids[0]}/cmdline`).text()).replaceAll("\0"," "));
    const dir = (await Bun.file(`/proc/${e.pid}/environ`).text()).match(/HOME=([^\0]*)\/home/)![1];
    for (const k of kids) process.kill(k, "SIGQUIT");
    await Bun.sleep(500);
    process.kill(e.pid, "SIGQUIT"); await Bun.sleep(700);
    await Bun.write("/tmp/dump.log", await Bun.file(dir + "/log").text());
    break;
  }
}
await e.stop();
