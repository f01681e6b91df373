// The rules in force, and what each did against what it meant to do.
import { html } from "./html.js";
import { useState } from "./vendor/hooks.js";
import { conditions, countdown, effect, instant, list, percent, seconds, selection } from "./words.js";

/** Rows that are shown at once: a plan may have a thousand. */
const ROWS = 100;

/** What a rule came to, over all of its targets. */
export const tally = (rule) => {
  const sum = (field) => rule.tallies.reduce((total, of) => total + of[field], 0);
  const [eligible, injected] = [sum("eligible"), sum("injected")];
  return { eligible, injected, rate: eligible ? (100 * injected) / eligible : null };
};

/** The rate asked for, in percent. */
export const asked = (rule) => (rule.rate === undefined ? 100 : Number(String(rule.rate).replace("%", "")));

/** Whether a rate is further from what was asked than chance explains: four standard deviations. */
export const isOff = (wanted, { eligible, rate }) => {
  if (rate === null || eligible < 20) return false;
  const share = wanted / 100;
  return Math.abs(rate - wanted) > 400 * Math.sqrt((share * (1 - share)) / eligible) + 0.01;
};

const phase = (rule, state) => {
  if (state.stop) return ["stopped", "Stopped"];
  if (!rule.selected) return ["idle", "Not this Pod"];
  return rule.active ? ["active", "Active"] : ["idle", "Waiting"];
};

/** Since when the rule has been acting, and for how long it still will. */
const Next = ({ rule, state, now, since }) => {
  if (state.stop) return null;
  const left = rule.next_change && seconds(rule.next_change) - (now - state.at) / 1000;
  if (!rule.active) return rule.next_change ? html`<span class="next">opens in <b>${countdown(left)}</b></span>` : null;
  const end = rule.next_change ? html`closes in <b>${countdown(left)}</b>` : rule.expires_in || rule.rule.until ? "" : "until somebody ends it";
  return html`<span class="next">${since && `since ${instant(since)}`}${since && end ? ", " : ""}${end}</span>`;
};

const Ends = ({ rule, state, now }) => {
  if (!rule.expires_in) return null;
  const left = seconds(rule.expires_in) - (now - state.at) / 1000;
  return html`<span class=${left < 60 ? "ends soon" : "ends"}>ends in <b>${countdown(left)}</b></span>`;
};

const Row = ({ rule, state, now, at, since, act }) => {
  const [kind, word] = phase(rule, state);
  const { eligible, injected, rate } = tally(rule);
  const wanted = asked(rule.rule);
  const off = !rule.rule.ramp && !rule.rule.burst && isOff(wanted, { eligible, rate });
  const chosen = selection(rule.rule);
  return html`<tr class=${kind}>
    <td class="number">${at + 1}</td>
    <th scope="row"><span class=${`phase ${kind}`}>${word}</span> <span class="name">${rule.name}</span>
      <div class="sub">${list(rule.rule.target).join(", ")} · ${rule.source}</div></th>
    <td><div>${effect(rule.rule)}${chosen && html`<span class="sub">, ${chosen}</span>`}</div>
      <div class="sub">${conditions(rule.rule, rule.counted)}</div>
      <div class="sub"><${Next} ...${{ rule, state, now, since }} /> <${Ends} ...${{ rule, state, now }} /></div></td>
    <td class="figure" data-label="eligible">${eligible.toLocaleString()}</td>
    <td class="figure" data-label="injected">${injected.toLocaleString()}</td>
    <td class=${off ? "figure off" : "figure"} data-label="rate" title=${off ? "Chance does not explain how far this is from the requested rate" : undefined}>
      ${rate === null ? "–" : percent(rate)}<div class="sub">of ${percent(wanted)}${off ? " !" : ""}</div></td>
    <td class="actions">
      <button type="button" onClick=${() => act("edit", rule)} aria-label=${`Edit ${rule.name}`}>Edit</button>
      <button type="button" onClick=${() => act("end", rule)} aria-label=${`${rule.source === "api" ? "End" : "Switch off"} ${rule.name}`}>
        ${rule.source === "api" ? "End" : "Switch off"}</button>
    </td></tr>`;
};

export const Rules = ({ state, now, since, act }) => {
  const [wanted, setWanted] = useState("");
  const [shown, setShown] = useState(ROWS);
  const matches = state.rules.map((rule, at) => [rule, at]).filter(([rule]) => !wanted || JSON.stringify(rule).toLowerCase().includes(wanted.toLowerCase()));
  const count = state.rules.length;
  return html`<section aria-labelledby="rules">
    <div class="bar"><h2 id="rules">${state.stop ? "Stopped rules" : "Rules in force"} <span class="count">${count}</span></h2>
      ${count > 5 && html`<input type="search" placeholder="Filter" aria-label="Filter rules" value=${wanted} onInput=${(event) => setWanted(event.target.value)} />`}
      <span class="fill"></span>
      <button type="button" class="primary" onClick=${() => act("add")}>Add a rule</button>
      <button type="button" onClick=${() => act("import")}>Import</button>
      <button type="button" onClick=${() => act("export")}>Export</button>
      <button type="button" onClick=${() => act("reset")}>Reset</button></div>
    ${count === 0 && html`<p class="empty">No rule is in force: everything answers as it should.</p>`}
    ${count > 0 && html`<table class="rules"><thead><tr><th scope="col">#</th><th scope="col">Rule</th><th scope="col">What and when</th>
      <th scope="col" class="figure">Eligible</th><th scope="col" class="figure">Injected</th><th scope="col" class="figure">Rate</th><th scope="col"><span class="hide">Actions</span></th></tr></thead>
      <tbody>${matches.slice(0, shown).map(([rule, at]) => html`<${Row} key=${rule.name} ...${{ rule, state, now, at, since: since(rule.name), act }} />`)}</tbody></table>`}
    ${matches.length > shown && html`<p><button type="button" onClick=${() => setShown(shown + ROWS)}>Show ${Math.min(ROWS, matches.length - shown)} more of ${matches.length - shown}</button></p>`}
    ${wanted && matches.length === 0 && html`<p class="empty">No rule matches the filter.</p>`}
    ${state.hidden.length > 0 && html`<details class="hidden"><summary>${state.hidden.length} ${state.hidden.length === 1 ? "rule is" : "rules are"} hidden by stronger sources</summary>
      <ul>${state.hidden.slice(0, 200).map((rule) => html`<li><b>${rule.name}</b> (${rule.source}), hidden by ${rule.by}${rule.by === "api" ? "; Reset brings it back" : ""}</li>`)}</ul></details>`}
    ${state.sources.filter((source) => source.errors).map((source) => html`<p class="warning" role="note"><b>${source.source}</b> ${source.path} is broken; its last valid plan stays in force: ${source.errors.join("; ")}</p>`)}
  </section>`;
};
