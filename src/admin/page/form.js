// The form of a rule: it offers the fields that fit, says what the rule will do, and shows each way to write it.
import { html } from "./html.js";
import { useEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
import { ask } from "./api.js";
import { Copy, Dialog, Trouble } from "./dialogs.js";
import { Fields, kindOf, label } from "./fields.js";
import { formats } from "./formats.js";
import { clock, counted, list, percent, span } from "./words.js";

/** When a rule ends by itself, unless the user chooses otherwise. */
const TTL = "15m";

const Field = ({ fields, path, text, change, error }) => {
  const input = fields.input(path);
  const id = `field-${path}`;
  const about = `${id}-about`;
  const common = { id, name: path, "aria-describedby": about, "aria-invalid": error ? "true" : undefined };
  const onInput = (event) => change(path, event.target.value);
  const hint = html`<span id=${about} class=${error ? "error" : "sub"}>${error || input.hint}</span>`;
  if (input.check) return html`<label class="check"><input type="checkbox" ...${common} checked=${text === "true"} onChange=${(event) => change(path, String(event.target.checked))} /> ${label(path)}<br />${hint}</label>`;
  const control = input.choice
    ? html`<select ...${common} value=${text || ""} onChange=${onInput}><option value="">default</option>${input.choice.map((word) => html`<option>${word}</option>`)}</select>`
    : input.long
      ? html`<textarea rows="3" ...${common} value=${text || ""} onInput=${onInput}></textarea>`
      : html`<input ...${common} value=${text || ""} onInput=${onInput} placeholder=${input.example} inputmode=${input.number ? "numeric" : undefined} autocomplete="off" spellcheck=${false} />`;
  return html`<div class="field"><label for=${id}>${label(path)}</label>${control}${hint}</div>`;
};

/** What the rule will do in the next hour. */
const Forecast = ({ preview, of, error, now, noun }) => {
  if (error) return html`<p class="sub">The service refuses this rule; the fields show why.</p>`;
  if (!of) return html`<p class="sub">Asking the service…</p>`;
  const { windows, more, open_s: open, share, expected, by_requests: byRequests, ends_s: ends } = of;
  const first = windows[0];
  const words = !of.selected
    ? "The rule does not select this Pod: it has no effect here."
    : windows.length === 0
      ? "No window opens in the next hour."
      : [
          windows.length === 1 && first[0] <= 0 ? `Begins at once${first[1] === undefined ? ", without an end" : `, for ${span(first[1])}`}` : `${windows.length}${more ? " or more" : ""} ${windows.length === 1 ? "window" : "windows"}, ${span(open)} in all, the first at ${clock(now + first[0] * 1000)}`,
          of.targets.length ? `acts on ${percent(share)} of the ${noun} in a window${expected < share ? `, which is ${percent(expected)} of those of the hour` : ""}` : share < 100 && `with a probability of ${percent(share)}`,
          byRequests && `also limited by its window in ${noun}`,
          ends !== undefined && `removed in ${span(ends)}`,
        ].filter(Boolean).join("; ") + ".";
  return html`<p>${words}</p>${preview.stopped && html`<p class="warning">Stopped: the rule has no effect until Resume.</p>`}
    <svg class="forecast" viewBox="0 0 600 18" preserveAspectRatio="none" role="img" aria-label="Windows in the next hour">
      <rect class="line" x="0" y="8" width="600" height="2" />${windows.map(([opens, closes = 3600]) => html`<rect class="band" x=${opens / 6} y="2" width=${Math.max(1, (closes - opens) / 6)} height="14" />`)}</svg>
    <p class="sub ends"><span>now</span><span>in 30 min</span><span>in 1 h</span></p>`;
};

export const Form = ({ store, state, rule: edited, close }) => {
  const fields = useMemo(() => new Fields(store.schema), []);
  const original = edited?.rule;
  const [targets, setTargets] = useState(original ? list(original.target) : ["readiness"]);
  const [mode, setMode] = useState(original ? original.mode || "" : "status");
  const [name, setName] = useState(edited?.name || "");
  const [texts, setTexts] = useState(original ? fields.texts(original) : {});
  const [keep, setKeep] = useState(false);
  const [ttl, setTtl] = useState(edited?.expires_in || TTL);
  const [preview, setPreview] = useState(null);
  const [refused, setRefused] = useState(null);
  const [failed, setFailed] = useState(null);
  const [busy, setBusy] = useState(false);
  const [shown, setShown] = useState("YAML");
  const turn = useRef(0);
  // The plan that was seen when the form opened.
  const [generation] = useState(state.generation);

  const proxies = store.protocols();
  const kind = kindOf(targets, proxies);
  const noun = counted({ target: targets, mode }, proxies);
  const modes = fields.modes(kind);
  const mayOnlyDelay = !["listener", "process"].includes(kind);
  const chosen = mode in modes || (mode === "" && mayOnlyDelay) ? mode : Object.keys(modes)[0];
  const proposed = [targets[0], chosen || "delay"].join("-").slice(0, 63);
  const rule = fields.build({ name: name || proposed, targets, kind, mode: chosen, ttl: keep ? null : ttl, texts });
  const key = JSON.stringify(rule);

  useEffect(() => {
    const mine = (turn.current += 1);
    const timer = setTimeout(async () => {
      try {
        const answer = await ask("POST", "v1/preview", { body: { fault: rule, ahead: "1h" } });
        if (mine === turn.current) [setPreview(answer), setRefused(null)];
      } catch (error) {
        if (mine === turn.current) [setPreview(null), setRefused(error)];
      }
    }, 300);
    return () => clearTimeout(timer);
  }, [key]);

  const errors = {};
  for (const error of refused?.errors || []) {
    const at = error.field.replace(/^(match\.(headers|query)|headers|delay)\..*/, (_, whole, part) => (part ? `match.${part}` : whole));
    errors[at] ??= error.reason;
  }
  const all = [...fields.paths(kind, chosen, texts), "name", "ttl", "target", "mode"];
  const others = refused && { ...refused, message: refused.message, errors: (refused.errors || []).filter((error) => !all.some((path) => error.field === path || error.field.startsWith(`${path}.`))) };

  const toggle = (target) => {
    // Targets that cannot share a rule replace one another.
    const group = (of) => (["listener", "process"].includes(of) ? of : proxies[of] === "tcp" ? "tcp" : "requests");
    const next = targets.includes(target) ? targets.filter((known) => known !== target) : [...targets.filter((known) => group(known) === group(target)), target];
    setTargets(next.length ? next : targets);
  };
  const change = (path, text) => setTexts((before) => ({ ...before, [path]: text }));
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setFailed(null);
    try {
      // The preview knows every error, with its field; the address of a rule with a wrong name does not.
      await ask("POST", "v1/preview", { body: { fault: rule } });
      const { name: of, ...body } = rule;
      // The service refuses the change if somebody else has changed the plan.
      const headers = edited ? { "If-Match": `"${generation}"` } : {};
      await store.act("PUT", `v1/faults/${encodeURIComponent(of)}`, { body, headers });
      close();
    } catch (error) {
      if (error.status === 422) setRefused(error);
      setFailed(error.status === 412 ? { message: "The plan has changed in the meantime. Look at the rules, then edit again." } : error);
      setBusy(false);
      setTimeout(() => document.querySelector('dialog [aria-invalid="true"]')?.focus());
    }
  };
  const choices = [...(store.targets?.targets || []).map((target) => target.name), "listener", "process"];
  const ways = formats(rule, state.identity);
  const [, text, note] = ways.find(([way]) => way === shown);
  const isTaken = !edited && state.rules.some((known) => known.name === rule.name);
  return html`<${Dialog} wide title=${edited ? `Edit ${edited.name}` : "Add a rule"} state=${state} close=${close}><form class="rule" onSubmit=${submit} novalidate>
    <div class="parts"><div class="inputs">
      <fieldset class="targets"><legend>Target</legend>${choices.map((target) => html`<label class="check" key=${target}><input type="checkbox" name="target" value=${target} checked=${targets.includes(target)} onChange=${() => toggle(target)} /> ${target}${proxies[target] && html` <span class="tag">${proxies[target].toUpperCase()}</span>`}</label>`)}${errors.target && html`<p class="error">${errors.target}</p>`}</fieldset>
      <div class="row"><div class="field"><label for="field-mode">Mode</label><select id="field-mode" value=${chosen} aria-describedby="mode-about" onChange=${(event) => setMode(event.target.value)}>
          ${mayOnlyDelay && html`<option value="">none: a delay alone</option>`}${Object.keys(modes).map((of) => html`<option key=${of}>${of}</option>`)}</select>
          <span id="mode-about" class=${errors.mode ? "error" : "sub"}>${errors.mode || (modes[chosen] ? `${["tcp", "process"].includes(kind) ? "What happens" : "The client gets"}: ${modes[chosen].description.replaceAll("`", "")}` : kind === "tcp" ? "The bytes are late." : "The answer is late.")}</span></div>
        <div class="field"><label for="field-name">Name</label><input id="field-name" value=${name} disabled=${Boolean(edited)} placeholder=${proposed} onInput=${(event) => setName(event.target.value)} aria-invalid=${errors.name ? "true" : undefined} aria-describedby="name-about" autocomplete="off" spellcheck=${false} />
          <span id="name-about" class=${errors.name ? "error" : "sub"}>${errors.name || (isTaken ? "Replaces the rule of this name." : "Lower case, digits and hyphens.")}</span></div>
        <div class="field"><label for="field-ttl">Ends by itself after</label><input id="field-ttl" value=${ttl} disabled=${keep} onInput=${(event) => setTtl(event.target.value)} aria-invalid=${errors.ttl ? "true" : undefined} aria-describedby="ttl-about" />
          <span id="ttl-about" class=${errors.ttl ? "error" : "sub"}>${errors.ttl || "So that the drill ends even if nobody returns."}</span>
          <label class="check"><input type="checkbox" checked=${keep} onChange=${(event) => setKeep(event.target.checked)} /> Keep until somebody ends it</label></div></div>
      ${fields.groups(kind, chosen, texts).map(([group, paths]) => {
        const isOpen = group === "Of the mode" || group === "How often" || group === "Delay" || paths.some((path) => texts[path] || errors[path]);
        return html`<details key=${group + kind} open=${isOpen}><summary>${group === "Of the mode" ? `Fields of ${chosen}` : group}</summary><div class="row">${paths.map((path) => html`<${Field} key=${path} ...${{ fields, path, text: texts[path], change, error: errors[path] }} />`)}</div></details>`;
      })}
    </div><aside aria-label="Preview">
      <h3>In the next hour</h3><div aria-live="polite"><${Forecast} preview=${preview} of=${preview?.rules[0]} error=${refused} now=${store.now()} noun=${noun} /></div>
      ${others && (others.errors.length > 0 || !refused.errors?.length) && html`<${Trouble} error=${others} />`}
      <h3>This rule as</h3><div class="choice" role="group" aria-label="Ways to write it">${ways.map(([way, of]) => html`<button type="button" key=${way} aria-pressed=${way === shown ? "true" : "false"} disabled=${!of} onClick=${() => setShown(way)}>${way}</button>`)}</div>
      <${Copy} text=${text} label=${shown} /><p class="sub">${note}</p>
    </aside></div>
    <${Trouble} error=${failed} />
    <footer><button type="button" onClick=${close}>Cancel</button><button class="primary" disabled=${busy}>Apply</button></footer></form></${Dialog}>`;
};
