// The report of a drill: what was asked, what was injected, when it ended.
import { asked, tally } from "./rules.js";
import { author, conditions, effect, eventText, list, selection, span } from "./words.js";

const iso = (at) => (at ? new Date(at).toISOString() : null);

/** The report as data. */
export const report = (store) => {
  const { state, log, known } = store;
  const rules = [...known.values()].map((rule) => {
    const { eligible, injected, rate } = tally(rule);
    return {
      name: rule.name,
      source: rule.source,
      rule: rule.rule,
      counted: rule.counted,
      since: iso(rule.since),
      ended: iso(rule.ended),
      rate_asked_percent: asked(rule.rule),
      eligible,
      injected,
      rate_injected_percent: rate === null ? null : +rate.toFixed(4),
      tallies: rule.tallies,
    };
  });
  const events = log.events.map(({ at, ...event }) => event);
  return {
    report: "kube-probesim drill",
    version: state.version,
    identity: state.identity,
    seed: state.seed,
    generation: state.generation,
    starts: state.starts,
    from: iso(Math.min(store.opened + store.skew, log.events[0]?.at ?? Infinity)),
    to: iso(store.now()),
    stop: state.stop ?? null,
    rules,
    events_left_out: log.dropped,
    events,
  };
};

const escaped = (text) => String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

const table = (head, rows) =>
  `<table><thead><tr>${head.map((cell) => `<th>${escaped(cell)}</th>`).join("")}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell ?? "–")}</td>`).join("")}</tr>`)
    .join("")}</tbody></table>`;

/** The report as a page of its own, without a script. */
export const reportPage = (of) => {
  const { identity } = of;
  const head = [
    ["Pod", [identity.namespace, identity.pod].filter(Boolean).join("/") || "unknown"],
    ["Node", identity.node || "unknown"],
    ["From", of.from],
    ["To", of.to],
    ["Seed", of.seed.effective],
    ["Start of the container", of.starts],
    ["Plan generation", of.generation],
    ["End", of.stop ? `stopped by ${of.stop.by} at ${of.stop.since}` : of.rules.some((rule) => !rule.ended) ? "rules are still in force" : "no rule is in force"],
    ["kube-probesim", of.version],
  ];
  const rules = of.rules.map((rule) => [
    rule.name,
    rule.source,
    list(rule.rule.target).join(", "),
    [effect(rule.rule), selection(rule.rule), conditions(rule.rule, rule.counted)].filter(Boolean).join("; "),
    rule.since,
    rule.ended ? `${rule.ended} (after ${span((Date.parse(rule.ended) - Date.parse(rule.since)) / 1000)})` : "in force",
    rule.eligible,
    rule.injected,
    rule.rate_injected_percent === null ? null : `${rule.rate_injected_percent} % of ${rule.rate_asked_percent} %`,
  ]);
  const changes = of.events.filter((event) => event.kind !== "injection").map((event) => [event.time, event.kind, eventText(event), author(event)]);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>Drill report: ${escaped(head[0][1])}</title>
<style>body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1b2430}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;vertical-align:top;border-bottom:1px solid #d5dbe3;padding:.3rem .6rem;overflow-wrap:anywhere}th{background:#f3f5f8}h1{font-size:1.4rem}h2{font-size:1.1rem}</style></head>
<body><h1>Drill report</h1>${table(["", ""], head)}<h2>Rules: asked and injected</h2>${table(["Rule", "Source", "Target", "What and when", "Since", "Until", "Eligible", "Injected", "Rate"], rules)}
<h2>What happened</h2><p>${of.events.length - changes.length} sampled injections are not listed; the JSON report has them.</p>${table(["Time", "Kind", "What", "By"], changes)}</body></html>
`;
};
