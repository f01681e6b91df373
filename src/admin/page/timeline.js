// Windows past and to come as bands, and what happened as marks.
import { html } from "./html.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { author, clock, eventText, instant, seconds } from "./words.js";

const RANGES = [["10 min", 600], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400]];

/** How much of the range lies behind the present. */
const BEHIND = 0.4;

/** Rows of rules, at most. */
const ROWS = 40;

const ROW = 22;
const TOP = 34;

/** Steps between labels, in seconds. */
const STEPS = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];

/** The windows of each rule in milliseconds by the service's clock: those foretold, and those that events tell of. */
const bandsOf = (store, from, to) => {
  const { preview, log, known } = store;
  const bands = new Map();
  const put = (name, opens, closes) => {
    if (closes < from || opens > to) return;
    if (!bands.has(name)) bands.set(name, []);
    bands.get(name).push([Math.max(opens, from), Math.min(closes, to)]);
  };
  if (preview) {
    const base = store.previewed;
    for (const rule of preview.rules) {
      if (!rule.selected) continue;
      for (const [opens, closes] of rule.windows) put(rule.name, base + opens * 1000, closes === undefined ? Infinity : base + closes * 1000);
    }
  }
  // Of rules that are gone.
  const present = new Set(preview?.rules.map((rule) => rule.name));
  const opened = new Map();
  for (const event of log.events) {
    if (event.kind !== "window" || present.has(event.fault)) continue;
    if (event.open) opened.set(event.fault, event.at);
    else if (opened.has(event.fault)) {
      put(event.fault, opened.get(event.fault), event.at);
      opened.delete(event.fault);
    }
  }
  for (const [name, rule] of known) {
    if (!rule.ended || present.has(name)) continue;
    if (opened.has(name)) put(name, opened.get(name), rule.ended);
    else if (!rule.rule.when && !bands.has(name)) put(name, rule.since, rule.ended);
  }
  return bands;
};

/** When no rule was in force: beginnings and ends of stops. */
const stopsOf = (events, stop, to) => {
  const stops = [];
  for (const event of events) {
    if (event.kind !== "stop") continue;
    if (event.stopped && !(stops.at(-1)?.[1] === to)) stops.push([event.at, to]);
    else if (!event.stopped && stops.at(-1)?.[1] === to) stops.at(-1)[1] = event.at;
  }
  if (stop && stops.at(-1)?.[1] !== to) stops.push([Date.parse(stop.since), to]);
  return stops;
};

export const Timeline = ({ store, state }) => {
  const [range, setRange] = useState(3600);
  // Where the range begins while one looks back; null while it moves by itself.
  const [held, setHeld] = useState(null);
  const [width, setWidth] = useState(900);
  const box = useRef(null);
  const drag = useRef(null);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(280, entry.contentRect.width)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const now = store.now();
  const live = now - range * 1000 * BEHIND;
  const from = held ?? live;
  const to = from + range * 1000;
  const label = width < 600 ? 90 : 150;
  const x = (at) => label + ((width - label) * (at - from)) / (to - from);
  const reach = Math.max(3600, range) * 1000;
  const clamp = (at) => Math.min(now + reach - range * 1000, Math.max(now - reach, at));
  const move = (share) => setHeld(clamp(from + share * range * 1000));
  const bands = bandsOf(store, from, to);
  const events = store.log.events.filter((event) => event.at >= from && event.at <= to);
  const changes = events.filter((event) => ["plan", "stop", "refused", "restart"].includes(event.kind));
  const marks = new Map();
  for (const event of events) {
    if (event.kind !== "injection" && event.kind !== "process") continue;
    if (!marks.has(event.fault)) marks.set(event.fault, new Set());
    marks.get(event.fault).add(Math.round(x(event.at)));
  }
  const order = [...new Set([...state.rules.map((rule) => rule.name), ...bands.keys(), ...marks.keys()])].filter((name) => bands.has(name) || marks.has(name));
  const rows = order.slice(0, ROWS);
  const stops = stopsOf(store.log.events, state.stop, to);
  const height = TOP + Math.max(1, rows.length) * ROW + 6;
  const step = (STEPS.find((size) => ((width - label) * size) / range >= 70) || 14400) * 1000;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) if (x(at) < width - 18) ticks.push(at);
  const started = state.at - seconds(state.uptime) * 1000;
  const onKey = (event) => {
    const by = { ArrowLeft: -0.1, ArrowRight: 0.1, PageUp: -0.8, PageDown: 0.8 }[event.key];
    if (by) move(by);
    else if (event.key === "Home") setHeld(null);
    else return;
    event.preventDefault();
  };
  const onDown = (event) => {
    if (event.button) return;
    drag.current = { x: event.clientX, from };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const onMove = (event) => {
    if (drag.current && Math.abs(event.clientX - drag.current.x) > 3) setHeld(clamp(drag.current.from - ((event.clientX - drag.current.x) * range * 1000) / (width - label)));
  };
  const onUp = () => { drag.current = null; };
  const summary = `${rows.length} rules with windows between ${instant(from)} and ${instant(to)}; ${changes.length} changes. The events say the same in words.`;
  return html`<section aria-labelledby="timeline"><div class="bar"><h2 id="timeline">Timeline</h2><span class="fill"></span>
      ${held !== null && html`<span class="phase idle" role="status">paused</span><button type="button" onClick=${() => setHeld(null)}>Now</button>`}
      <button type="button" aria-label="Earlier" onClick=${() => move(-0.5)}>‹</button><button type="button" aria-label="Later" onClick=${() => move(0.5)}>›</button>
      <span class="choice" role="group" aria-label="Range">${RANGES.map(([word, size]) => html`<button type="button" aria-pressed=${size === range ? "true" : "false"} onClick=${() => { setRange(size); setHeld(null); store.lookFor(size); }}>${word}</button>`)}</span></div>
    <div class="timeline" ref=${box} tabindex="0" role="group" aria-label="Timeline; the arrow keys move it, Home returns to now" onKeyDown=${onKey} onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerCancel=${onUp}>
    <svg width=${width} height=${height} role="img" aria-label=${summary}>
      ${ticks.map((at) => html`<g><line class="grid" x1=${x(at)} x2=${x(at)} y1="16" y2=${height} /><text class="tick" x=${x(at)} y="11" text-anchor="middle">${clock(at).slice(0, step < 60000 ? 8 : 5)}</text></g>`)}
      ${now < to && now > from && html`<rect class="future" x=${x(now)} y="16" width=${width - x(now)} height=${height - 16} />`}
      ${rows.map((name, at) => {
        const y = TOP + at * ROW;
        return html`<g key=${name}><text class="row" x="0" y=${y + 14}>${name.length * 7 > label - 10 ? `${name.slice(0, label / 7 - 2)}…` : name}<title>${name}</title></text>
          ${(bands.get(name) || []).flatMap(([opens, closes]) => (opens < now && closes > now ? [[opens, now], [now, closes]] : [[opens, closes]])).map(([opens, closes]) => html`<rect class=${opens >= now ? "band coming" : "band"} x=${x(opens)} y=${y + 3} width=${Math.max(1.5, x(closes) - x(opens))} height=${ROW - 8}><title>${name}: ${clock(opens)} to ${closes >= to ? "…" : clock(closes)}</title></rect>`)}
          ${[...(marks.get(name) || [])].map((px) => html`<line class="mark" x1=${px} x2=${px} y1=${y + 1} y2=${y + ROW - 3} />`)}</g>`;
      })}
      ${stops.filter(([begins, ends]) => ends > from && begins < to).map(([begins, ends]) => html`<rect class="stopped" x=${Math.max(label, x(begins))} y=${TOP} width=${Math.max(1, x(Math.min(ends, to)) - Math.max(label, x(begins)))} height=${height - TOP - 4}><title>stopped</title></rect>`)}
      ${changes.map((event) => html`<g class=${`change ${event.kind}`}><line x1=${x(event.at)} x2=${x(event.at)} y1="20" y2=${height} /><path d=${`M${x(event.at) - 5} 20h10l-5 7z`}><title>${clock(event.at)} ${eventText(event)}${author(event) ? `, by ${author(event)}` : ""}</title></path></g>`)}
      ${started > from && started < to && html`<g class="change restart"><line x1=${x(started)} x2=${x(started)} y1="20" y2=${height} />${Math.abs(x(now) - x(started)) > 50 && html`<text class="tick" x=${x(started) + 3} y="30">start ${state.starts}</text>`}</g>`}
      ${now > from && now < to && html`<line class="now" x1=${x(now)} x2=${x(now)} y1="16" y2=${height} />`}
      ${rows.length === 0 && html`<text class="row" x=${label} y=${TOP + 14}>no window in this time</text>`}
    </svg></div>
    <p class="sub legend"><span class="key band"></span> window <span class="key coming"></span> to come <span class="key mark"></span> injection <span class="key change"></span> change of plan, stop, start${stops.length > 0 && html` <span class="key stopped"></span> stopped`}
      ${order.length > ROWS && html` · ${order.length - ROWS} more rules are not shown`}${store.preview?.rules.some((rule) => rule.more) && html` · not all windows of frequent rules are shown`}</p></section>`;
};
