// What the page knows of the service, and how it learns of it.
import { Refused, ask, follow } from "./api.js";
import { Log, Samples } from "./history.js";
import { counted, seconds } from "./words.js";

const pause = (time) => new Promise((done) => setTimeout(done, time));

class Store {
  constructor() {
    this.link = "connecting";
    this.trouble = "";
    this.targets = null;
    this.state = null;
    this.preview = null;
    this.schema = null;
    this.samples = new Samples();
    this.log = new Log();
    /** The last that was known of each rule, those that are gone included. */
    this.known = new Map();
    /** How far the timeline looks in either direction, in seconds. */
    this.look = 3600;
    /** Milliseconds that the service's clock is ahead of this one. */
    this.skew = 0;
    this.opened = Date.now();
    this.listeners = new Set();
  }

  /** Now, by the service's clock. */
  now() {
    return Date.now() + this.skew;
  }

  /** The protocol of each named proxy: `http` or `tcp`. */
  protocols() {
    const proxies = (this.targets?.targets || []).filter((target) => target.proxy);
    return Object.fromEntries(proxies.map((target) => [target.name, target.connections ? "tcp" : "http"]));
  }

  /** When the current window of each rule opened, as far as the preview knows. */
  since(name) {
    const { preview, previewed } = this;
    const rule = preview?.rules.find((known) => known.name === name);
    const elapsed = (this.now() - previewed) / 1000;
    const window = rule?.windows.find(([opens, closes = Infinity]) => opens <= elapsed && closes > elapsed);
    // It may have opened before the time that the preview covers.
    return window && window[0] > 1 - preview.past_s ? previewed + window[0] * 1000 : null;
  }

  changed() {
    for (const listener of this.listeners) listener();
  }

  start() {
    this.pollTargets();
    this.pollState();
    this.listen();
    setInterval(() => document.hidden || this.changed(), 1000);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.leave?.();
      else {
        this.wake?.();
        this.shown?.();
        this.changed();
      }
    });
  }

  failed(error) {
    const isToken = error instanceof Refused && error.status === 401;
    const link = isToken ? "token" : error instanceof Refused && error.status === 403 ? "refused" : "lost";
    const trouble = error instanceof Refused ? error.message : "The service does not answer.";
    if (link === this.link && trouble === this.trouble) return;
    [this.link, this.trouble] = [link, trouble];
    this.changed();
  }

  async pollTargets() {
    for (let wait = 2000; ; ) {
      try {
        const sent = Date.now();
        const targets = await ask("GET", "v1/targets");
        this.skew = Date.parse(targets.time) - (sent + Date.now()) / 2;
        if (this.link !== "live") this.refresh();
        [this.link, this.trouble, wait] = ["live", "", document.hidden ? 10000 : 2000];
        if (this.targets?.generation !== targets.generation) this.refresh();
        this.targets = targets;
        this.samples.add(targets, this.now());
        this.changed();
      } catch (error) {
        this.failed(error);
        wait = Math.min(wait * 1.5, 8000);
      }
      await Promise.race([pause(wait), new Promise((done) => { this.wake = done; })]);
    }
  }

  /** Asks for the state soon: several reasons within a moment are one question. */
  refresh() {
    this.due?.();
  }

  async pollState() {
    for (;;) {
      const began = Date.now();
      try {
        const state = await ask("GET", "v1/state");
        state.at = this.now();
        const { generation } = state;
        this.take(state);
        const { preview, look } = this;
        const isOld = preview?.generation !== generation || preview.ahead_s !== look || this.now() > this.previewed + look * 100;
        if (isOld) {
          this.preview = await ask("POST", "v1/preview", { body: { past: `${look}s`, ahead: `${look}s` } });
          this.previewed = this.now();
        }
        if (!this.schema) this.schema = await ask("GET", "openapi.json");
        this.changed();
      } catch (error) {
        this.failed(error);
      }
      // A plan of a thousand rules takes long to write: it is asked for less often.
      const rest = Math.max(2000, 20 * (Date.now() - began)) * (document.hidden ? 5 : 1);
      await Promise.race([pause(rest), new Promise((done) => { this.due = done; })]);
      await pause(150);
    }
  }

  /** Asks for windows as far as a range of so many seconds needs. */
  lookFor(range) {
    if (this.look === Math.max(3600, range)) return;
    this.look = Math.max(3600, range);
    this.refresh();
  }

  take(state) {
    if (this.state && seconds(state.uptime) < seconds(this.state.uptime)) this.known.clear();
    this.state = state;
    const proxies = this.protocols();
    for (const rule of state.rules) rule.counted = counted(rule.rule, proxies);
    const names = new Set();
    for (const rule of state.rules) {
      names.add(rule.name);
      const before = this.known.get(rule.name);
      this.known.delete(rule.name);
      this.known.set(rule.name, { ...rule, since: before?.since ?? state.at - seconds(rule.age) * 1000, ended: null });
    }
    for (const [name, rule] of this.known) if (!names.has(name)) rule.ended ??= state.at;
    while (this.known.size > 2000) this.known.delete(this.known.keys().next().value);
  }

  async listen() {
    for (;;) {
      try {
        if (!this.log.last || document.hidden) {
          // A browser has six connections to a service: tabs in the background hold none.
          const after = this.log.last ? `&after=${this.log.last}` : "";
          const page = await ask("GET", `v1/events?limit=512${after}`);
          for (const event of page.events) this.log.add(event);
          if (after) this.log.dropped += page.lost;
          this.log.last ??= page.next;
          this.changed();
          if (document.hidden) await Promise.race([pause(10000), new Promise((done) => { this.shown = done; })]);
          if (document.hidden) continue;
        }
        const controller = new AbortController();
        this.leave = () => controller.abort();
        try {
          await follow(this.log.last, (event) => this.heard(event), controller.signal);
        } finally {
          controller.abort();
        }
      } catch (error) {
        if (error instanceof Refused) this.failed(error);
      }
      await pause(1000);
    }
  }

  heard(event) {
    if (!this.log.add(event)) return;
    if (["plan", "stop", "window", "partition"].includes(event.kind)) this.refresh();
    // A burst of events is one change.
    this.drawn ??= setTimeout(() => {
      this.drawn = null;
      if (!document.hidden) this.changed();
    }, 250);
  }

  /** Makes a change, and shows it at once. */
  async act(method, path, options) {
    try {
      return await ask(method, path, options);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) this.failed(error);
      throw error;
    } finally {
      this.refresh();
      this.wake?.();
    }
  }
}

export const store = new Store();
