// The log of events, and the report of the drill.
import { html } from "./html.js";
import { useState } from "./vendor/hooks.js";
import { author, eventText, instant } from "./words.js";

const KINDS = ["plan", "stop", "window", "partition", "process", "injection", "refused", "omitted", "restart"];

/** Rows that are shown at once. */
const ROWS = 100;

export const EventLog = ({ log, act }) => {
  const [off, setOff] = useState(new Set());
  const [text, setText] = useState("");
  const [shown, setShown] = useState(ROWS);
  // The events while one reads; null while it follows.
  const [held, setHeld] = useState(null);
  const events = held ?? log.events;
  const wanted = text.toLowerCase();
  const found = [];
  for (let at = events.length - 1; at >= 0; at -= 1) {
    const event = events[at];
    if (off.has(event.kind)) continue;
    if (wanted && !`${event.kind} ${eventText(event)} ${author(event)}`.toLowerCase().includes(wanted)) continue;
    found.push(event);
  }
  const toggle = (kind) => {
    const next = new Set(off);
    if (!next.delete(kind)) next.add(kind);
    setOff(next);
  };
  const there = KINDS.filter((kind) => log.events.some((event) => event.kind === kind));
  return html`<section aria-labelledby="events"><div class="bar"><h2 id="events">Events <span class="count">${found.length}</span></h2>
      <input type="search" placeholder="Filter" aria-label="Filter events" value=${text} onInput=${(event) => setText(event.target.value)} />
      <span class="choice" role="group" aria-label="Kinds of events">${there.map((kind) => html`<button type="button" aria-pressed=${off.has(kind) ? "false" : "true"} onClick=${() => toggle(kind)}>${kind}</button>`)}</span>
      <span class="fill"></span>
      <button type="button" aria-pressed=${held ? "true" : "false"} onClick=${() => setHeld(held ? null : [...log.events])}>${held ? "Follow" : "Pause"}</button>
      <button type="button" onClick=${() => act("report", "html")}>Report (HTML)</button><button type="button" onClick=${() => act("report", "json")}>Report (JSON)</button></div>
    ${found.length === 0 ? html`<p class="empty">${events.length ? "No event matches the filter." : "Nothing has happened yet."}</p>` : html`<div class="scroll" tabindex="0" role="group" aria-label="Events, the newest first"><table class="events">
      <thead class="hide"><tr><th scope="col">Time</th><th scope="col">Kind</th><th scope="col">What</th><th scope="col">By</th></tr></thead>
      <tbody>${found.slice(0, shown).map((event) => html`<tr key=${event.id}><td class="time">${instant(event.at)}</td><td><span class=${`tag ${event.kind}`}>${event.kind}</span></td><td>${eventText(event)}</td><td class="sub">${author(event)}</td></tr>`)}</tbody></table>
      ${found.length > shown && html`<p><button type="button" onClick=${() => setShown(shown + 400)}>Show more</button></p>`}</div>`}
    <p class="sub">The service keeps 512 events and reports at most ten injections per second. This page keeps 2,000${log.dropped > 0 && html`; ${log.dropped.toLocaleString()} older ones are gone`}.</p></section>`;
};
