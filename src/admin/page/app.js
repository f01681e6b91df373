// The page: what is broken now, since when and for how long, and a button that ends it.
import { h, render } from "./vendor/preact.js";
import { useEffect, useState } from "./vendor/hooks.js";
import { ask } from "./api.js";
import { End, Import, Reset, Stop, Token, podName } from "./dialogs.js";
import { Form } from "./form.js";
import { download, yaml } from "./formats.js";
import { html } from "./html.js";
import { EventLog } from "./log.js";
import { report, reportPage } from "./report.js";
import { Rules } from "./rules.js";
import { store } from "./store.js";
import { Tiles } from "./tiles.js";
import { Timeline } from "./timeline.js";
import { countdown, instant, seconds, span } from "./words.js";

const Link = () => {
  if (store.link === "live") return html`<span class="phase up" role="status">live</span>`;
  if (store.link === "connecting") return html`<span class="phase idle" role="status">connecting</span>`;
  return html`<span class="phase down" role="status">${store.link === "lost" ? "no answer" : store.link === "token" ? "token needed" : "refused"}</span>`;
};

const Head = ({ state, act }) => {
  const { identity, stop } = state;
  const skew = Math.abs(store.skew) > 5000 && `The clock of the service is ${span(Math.abs(store.skew) / 1000)} ${store.skew > 0 ? "ahead of" : "behind"} that of this browser. The page shows times of the service.`;
  return html`<header class="top"><div><h1>kube-probesim <b>${podName(state)}</b></h1>
      <p class="sub">this Pod only${identity.node && ` · node ${identity.node}`} · seed ${String(state.seed.effective)}${state.seed.source && ` (${state.seed.source})`} · generation ${state.generation} · start ${state.starts}, ${span(seconds(state.uptime))} ago · ${state.version}</p>
      ${skew && html`<p class="sub">${skew}</p>`}</div><span class="fill"></span><${Link} />
    ${stop ? html`<button type="button" class="primary big" onClick=${() => act("resume")}>Resume</button>` : html`<button type="button" class="danger big" onClick=${() => act("stop")}>Stop</button>`}</header>`;
};

/** What is broken now, in a sentence. */
const Verdict = ({ state, targets, now }) => {
  if (state.stop) return html`<p class="verdict stopped" role="status"><b>Stopped</b> by ${state.stop.by}${!state.stop.by.startsWith(state.stop.source) && ` (${state.stop.source})`} at ${instant(state.stop.since)}: no rule of any source is in force.${state.stop.source !== "api" && " Resume does not end this stop: change the source that made it."}</p>`;
  const active = state.rules.filter((rule) => rule.active && rule.selected);
  const broken = (targets?.targets || []).filter((target) => !target.up || target.faulted || target.cut !== "none");
  const left = state.next_change && seconds(state.next_change) - (now - state.at) / 1000;
  const next = left > 0 ? html` Next change in ${countdown(left)}.` : "";
  if (!active.length) return html`<p class="verdict up" role="status"><b>Nothing is broken now.</b> ${state.rules.length ? `${state.rules.length} ${state.rules.length === 1 ? "rule is" : "rules are"} waiting` : "No rule is in force"}.${next}</p>`;
  const names = broken.map((target) => target.name);
  const down = broken.filter((target) => !target.up).map((target) => target.name);
  const since = active.map((rule) => store.since(rule.name)).filter(Boolean);
  return html`<p class=${down.length ? "verdict down" : "verdict faulted"} role="status"><b>${active.length} of ${state.rules.length} ${state.rules.length === 1 ? "rule" : "rules"} active</b>${names.length ? ` on ${names.join(", ")}` : ""}${since.length > 0 && `, ${since.length > 1 ? "the first " : ""}since ${instant(Math.min(...since))}`}.${down.length > 0 && html` <b>Down:</b> ${down.join(", ")}.`}${next}</p>`;
};

const fileName = (state, end) => `probesim-${(state.identity.pod || "drill").replaceAll(/[^a-z0-9.-]/gi, "-")}-${new Date(store.now()).toISOString().slice(0, 19).replaceAll(":", "")}.${end}`;

const App = () => {
  const [, redraw] = useState(0);
  const [dialog, setDialog] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const listener = () => redraw((count) => count + 1);
    store.listeners.add(listener);
    store.start();
    return () => store.listeners.delete(listener);
  }, []);
  const { state, targets } = store;
  useEffect(() => { if (state) document.title = `${podName(state)} · ${state.stop ? "stopped" : `${state.rules.filter((rule) => rule.active).length} active`} · kube-probesim`; });
  const act = async (what, of) => {
    setError(null);
    try {
      if (what === "resume") await store.act("POST", "v1/resume");
      else if (what === "report") {
        const made = report(store);
        if (of === "json") download(fileName(state, "json"), "application/json", `${JSON.stringify(made, null, 2)}\n`);
        else download(fileName(state, "html"), "text/html", reportPage(made));
      } else if (what === "export") {
        download(fileName(state, "yaml"), "application/yaml", yaml(await ask("GET", "v1/plan")));
      } else setDialog({ what, rule: of });
    } catch (wrong) {
      setError(wrong);
    }
  };
  const close = () => setDialog(null);
  const token = store.link === "token" && html`<${Token} store=${store} />`;
  if (!state) return html`<main><h1>kube-probesim</h1><p role="status">${store.trouble || "Asking the service…"}</p>${token}</main>`;
  const now = store.now();
  const of = { state, close, store };
  return html`<${Head} state=${state} act=${act} />
    ${["lost", "refused"].includes(store.link) && html`<p class="verdict down" role="alert"><b>${store.trouble}</b> This is the state at ${instant(state.at)}. The page continues as soon as the service answers.</p>`}
    ${error && html`<p class="verdict down" role="alert"><b>${error.message}</b></p>`}
    <main class=${store.link === "live" ? "" : "stale"}><${Verdict} ...${{ state, targets, now }} />
      ${state.notes?.length > 0 && html`<div class="warning notes">${state.notes.map((note) => html`<p>${note}</p>`)}</div>`}
      ${targets && html`<${Tiles} targets=${targets.targets} samples=${store.samples} now=${now} />`}
      <${Rules} ...${{ state, now, since: (name) => store.since(name), act }} /><${Timeline} store=${store} state=${state} /><${EventLog} log=${store.log} act=${act} /></main>
    <footer class="page"><a href="openapi.json">API</a> <a href="metrics">Metrics</a> <a href="page/vendor/licences.txt">Licences of libraries</a></footer>
    ${token}
    ${!token && dialog?.what === "stop" && html`<${Stop} ...${of} />`}
    ${!token && dialog?.what === "reset" && html`<${Reset} ...${of} />`}
    ${!token && dialog?.what === "import" && html`<${Import} ...${of} />`}
    ${!token && dialog?.what === "end" && html`<${End} ...${of} rule=${dialog.rule} />`}
    ${!token && ["add", "edit"].includes(dialog?.what) && store.schema && html`<${Form} ...${of} rule=${dialog.rule} />`}`;
};

document.getElementById("app").replaceChildren();
render(h(App), document.getElementById("app"));
