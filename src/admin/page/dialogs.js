// Dialogs that ask before something changes.
import { html } from "./html.js";
import { useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import { hasToken, setToken } from "./api.js";
import { bytes, list } from "./words.js";

/** The name of the Pod. */
export const podName = ({ identity }) => [identity.namespace, identity.pod].filter(Boolean).join("/") || "this process";

/** A modal dialog; Escape closes it. */
export const Dialog = ({ title, state, close, wide, children }) => {
  const box = useRef(null);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    box.current.showModal();
    return () => opener?.focus?.();
  }, []);
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${(event) => { event.preventDefault(); close?.(); }}>
    <header><h2 id="dialog-title">${title}</h2>${state && html`<p class="where"><b>${podName(state)}</b> · this Pod only</p>`}</header>${children}</dialog>`;
};

/** Errors of the service. */
export const Trouble = ({ error }) =>
  error && html`<div class="warning" role="alert"><p>${error.message}</p>${error.errors?.length > 0 && html`<ul>${error.errors.slice(0, 20).map((of) => html`<li>${of.message}</li>`)}${(error.more > 0 || error.errors.length > 20) && html`<li>and more</li>`}</ul>`}</div>`;

/** Asks once, acts, and shows errors of the service. */
export const Confirm = ({ title, state, close, word, danger, stays, run, children }) => {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const go = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await run();
      if (!stays) close();
    } catch (wrong) {
      setError(wrong);
    }
    setBusy(false);
  };
  return html`<${Dialog} title=${title} state=${state} close=${close}><form onSubmit=${go}>${children}<${Trouble} error=${error} />
    <footer><button type="button" onClick=${close}>Cancel</button><button class=${danger ? "danger" : "primary"} disabled=${busy} autofocus>${word}</button></footer></form></${Dialog}>`;
};

/** Asks before a stop, then shows what it released. */
export const Stop = ({ state, close, store }) => {
  const [answer, setAnswer] = useState(null);
  if (answer) return html`<${Stopped} ...${{ answer, state, close }} />`;
  const run = async () => setAnswer(await store.act("POST", "v1/stop"));
  return html`<${Confirm} title="Stop the drill?" word="Stop everything" danger stays state=${state} close=${close} run=${run}>
    <p>Puts ${state.rules.length === 1 ? "the rule" : `all ${state.rules.length} rules`} out of force, whatever the source, and any rule that a source adds later. Releases what rules hold, such as memory. Resume puts them back into force.</p></${Confirm}>`;
};

const Stopped = ({ answer, state, close }) => {
  const { released, returning, kept, reason } = answer;
  const held = [
    released && `${released.rules} active ${released.rules === 1 ? "rule" : "rules"}`,
    released?.listener && `the partition of the listener (${released.listener})`,
    released?.memory_bytes > 0 && `${bytes(released.memory_bytes)} of memory`,
    released?.cpu_cores > 0 && `${released.cpu_cores} cores of CPU time`,
    released?.disk_bytes > 0 && `${bytes(released.disk_bytes)} of disk`,
  ].filter(Boolean);
  return html`<${Dialog} title="Stopped" state=${state} close=${close}><div role="status">
    <p>No rule is in force. Delayed requests were answered, and hanging connections were closed.</p>
    <p><b>Released:</b> ${held.join("; ")}.</p>
    ${kept && html`<p>The stop is saved. It outlives a restart of the container, but not the Pod.</p>`}
    ${reason && html`<p class="warning">The stop could not be saved: ${reason}</p>`}
    ${returning?.length > 0 && html`<p><b>At the next start of the container, these sources bring rules back:</b></p><ul>${returning.map((of) => html`<li>${of.source}, ${of.rules} ${of.rules === 1 ? "rule" : "rules"}: <${Ending} text=${of.end} /></li>`)}</ul>`}
    ${!kept && !(returning?.length > 0) && html`<p>Nothing brings rules back at the next start.</p>`}</div>
    <footer><button type="button" class="primary" onClick=${close} autofocus>Done</button></footer></${Dialog}>`;
};

/** What ends the rules of a source: a command to copy, or a step in words. */
const Ending = ({ text }) => {
  const [command, about] = text.split(", where ");
  return command.startsWith("kubectl ") ? html`<${Copy} text=${command} />${about && html`<p class="sub">where ${about}</p>`}` : text;
};

/** A line to copy. */
export const Copy = ({ text, label }) => {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without a secure context there is no clipboard, but there is a selection.
      const area = document.createElement("textarea");
      area.value = text;
      (document.querySelector("dialog[open]") || document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<span class="copy"><code tabindex="0">${text}</code><button type="button" onClick=${copy} aria-label=${`Copy ${label || "the line"}`}>${done ? "Copied" : "Copy"}</button></span>`;
};

export const Token = ({ store }) => {
  const field = useRef(null);
  const save = (event) => {
    event.preventDefault();
    setToken(field.current.value.trim());
    store.link = "connecting";
    store.wake?.();
    store.changed();
  };
  return html`<${Dialog} title="A token is required"><form onSubmit=${save}>
    ${hasToken() && html`<p class="error" role="alert">${store.trouble}</p>`}<label>Token of the service (ADMIN_TOKEN)<input type="password" autocomplete="off" required ref=${field} autofocus /></label>
    <p class="sub">The page keeps it only for this tab.</p><footer><button class="primary">Continue</button></footer></form></${Dialog}>`;
};

/** Takes a plan from a file. */
export const Import = ({ state, close, store }) => {
  const [text, setText] = useState("");
  const isJson = text.trimStart().startsWith("{");
  const type = isJson ? "application/json" : "application/yaml";
  const read = async (event) => setText(await event.target.files[0].text());
  return html`<${Confirm} title="Import a plan" word="Apply" state=${state} close=${close} run=${() => store.act("PUT", "v1/plan", { body: text, type })}>
    <p>The plan replaces the rules of all sources until Reset.</p>
    <label>File, YAML or JSON<input type="file" accept=".yaml,.yml,.json" onChange=${read} /></label>
    <label>Plan<textarea rows="10" spellcheck=${false} required value=${text} onInput=${(event) => setText(event.target.value)} placeholder="faults:&#10;  - {name: down, target: readiness, mode: status}"></textarea></label></${Confirm}>`;
};

export const Reset = ({ state, close, store }) => {
  const [renew, setRenew] = useState(false);
  return html`<${Confirm} title="Discard all changes?" word="Reset" state=${state} close=${close} run=${() => store.act("POST", "v1/reset", { body: { renew } })}>
    <p>Discards changes made through this page, the API and <code>fault</code>. Rules of the environment, files and annotations return as they were. A stop continues.</p>
    <label class="check"><input type="checkbox" checked=${renew} onChange=${(event) => setRenew(event.target.checked)} /> Restart all windows</label></${Confirm}>`;
};

export const End = ({ rule, state, close, store }) => {
  const isApi = rule.source === "api";
  const word = isApi ? "End" : "Switch off";
  return html`<${Confirm} title=${`${word} ${rule.name}?`} word=${word} danger state=${state} close=${close} run=${() => store.act("DELETE", `v1/faults/${encodeURIComponent(rule.name)}`)}>
    <p>${isApi ? "Removes the rule at once, and any rule of this name from a weaker source." : `Hides this rule of the ${rule.source} until Reset or a restart of the container.`} It acts on ${list(rule.rule.target).join(", ")}.</p></${Confirm}>`;
};
