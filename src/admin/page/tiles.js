// A tile for each target and proxy.
import { html } from "./html.js";
import { CHART, isError } from "./history.js";
import { bytes, latency, perSecond } from "./words.js";

const WIDTH = 240;
const HEIGHT = 44;

/** Requests per second over ten minutes, errors within them, and a mark below while a rule was active. */
const Chart = ({ samples, now, label }) => {
  const top = Math.max(1, ...samples.map((sample) => sample.requests)) * 1.1;
  const x = (at) => WIDTH * (1 - (now - at) / CHART);
  const y = (value) => (HEIGHT - 4) * (1 - value / top);
  const points = samples.filter((sample) => x(sample.at) >= 0);
  const line = (field) => points.map((sample) => `${x(sample.at).toFixed(1)},${y(sample[field]).toFixed(1)}`).join(" ");
  const area = (field) => (points.length ? `${x(points[0].at).toFixed(1)},${HEIGHT - 4} ${line(field)} ${x(points.at(-1).at).toFixed(1)},${HEIGHT - 4}` : "");
  const bands = [];
  for (const sample of points) {
    const kind = sample.up ? (sample.faulted ? "faulted" : "") : "down";
    const last = bands.at(-1);
    if (last?.kind === kind) last.to = sample.at;
    else bands.push({ kind, from: last ? last.to : sample.at, to: sample.at });
  }
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polygon class="requests" points=${area("requests")} /><polygon class="errors" points=${area("errors")} />
    <line class="axis" x1="0" x2=${WIDTH} y1=${HEIGHT - 3.5} y2=${HEIGHT - 3.5} />
    ${bands.filter((band) => band.kind).map((band) => html`<rect class=${band.kind} x=${x(band.from)} y=${HEIGHT - 3} width=${Math.max(1, x(band.to) - x(band.from))} height="3" />`)}
  </svg>`;
};

const CUTS = { drop: "cut: silent", refuse: "cut: refused", reset: "cut: reset", some: "cut for some" };

const stateOf = (target) => {
  if (target.cut !== "none" && target.cut !== "some") return ["down", CUTS[target.cut] || `cut: ${target.cut}`];
  if (!target.up) return ["down", "down by a rule"];
  if (target.cut === "some") return ["faulted", CUTS.some];
  return target.faulted ? ["faulted", target.faulted === 1 ? "1 rule active" : `${target.faulted} rules active`] : ["up", "up"];
};

export const Tiles = ({ targets, samples, now }) => html`<section aria-labelledby="now"><h2 id="now">Targets</h2>
  <div class="tiles">${targets.map((target) => {
    const [kind, word] = stateOf(target);
    const of = samples.summary(target.name, now);
    const { connections } = target;
    const counts = connections ? connections.ended : target.codes;
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const noun = connections ? "connection" : "request";
    const isQuiet = total === 0 && !connections?.open && !target.gone;
    return html`<article key=${target.name} class=${`tile ${kind}`} aria-label=${`${target.name}: ${word}`}>
      <header><h3>${target.name}</h3>${target.proxy && html`<span class="tag">${connections ? "TCP proxy" : "proxy"}</span>`}<span class=${`phase ${kind}`}>${word}</span></header>
      ${isQuiet ? html`<p class="sub">no ${noun} yet</p>` : html`<dl><div><dt>${connections ? "conn/s" : "req/s"}</dt><dd>${of ? perSecond(of.requests) : "–"}</dd></div>
        <div class=${of?.errors > 0 ? "bad" : ""}><dt>errors/s</dt><dd>${of ? perSecond(of.errors) : "–"}</dd></div>
        ${connections
          ? html`<div><dt>open</dt><dd>${connections.open.toLocaleString()}</dd></div><div><dt>bytes/s</dt><dd>${of ? bytes(of.bytes) : "–"}</dd></div>`
          : html`<div><dt>p50</dt><dd>${of ? latency(of.p50) : "–"}</dd></div><div><dt>p99</dt><dd>${of ? latency(of.p99) : "–"}</dd></div>`}</dl>
      <${Chart} samples=${samples.of(target.name)} now=${now} label=${`${connections ? "Connections" : "Requests"} to ${target.name} per second over the last ten minutes; ${total} so far`} />
      <div class="sub codes">${Object.entries(counts).filter(([, count]) => count).sort().slice(0, 6).map(([code, count]) => html`<span class=${isError(code) ? "bad" : ""}>${code === "none" ? "no answer" : code.replace("_", " ")} × ${count.toLocaleString()}</span> `)}
        ${target.gone > 0 && html`<span class="bad">client left × ${target.gone.toLocaleString()}</span>`}</div>`}
    </article>`;
  })}</div></section>`;
