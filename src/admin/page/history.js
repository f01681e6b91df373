// What the page remembers while it is open, within fixed bounds.

/** How long charts look back, in milliseconds. */
export const CHART = 10 * 60 * 1000;

/** Events that are kept, at most. */
export const EVENTS = 2000;

/** Injections among them, at most: they come ten a second, and must not push out the others. */
const INJECTIONS = 1200;

/** Samples of one target, at most. */
const SAMPLES = 400;

/** Results of connections that are no errors. */
const ORDERLY = ["completed", "client_reset", "drained"];

/** Whether a status code, or the result of a connection, counts as an error. */
export const isError = (code) => code >= "400" && !ORDERLY.includes(code);

/** The duration below which so many of the answers lie, from counts by upper bound; null without answers. */
export const quantile = (share, bounds, counts) => {
  const total = counts[counts.length - 1];
  if (!total) return null;
  const wanted = share * total;
  const at = bounds.findIndex((_, index) => counts[index] >= wanted);
  if (at < 0) return bounds[bounds.length - 1];
  const [low, below] = at ? [bounds[at - 1], counts[at - 1]] : [0, 0];
  return low + (bounds[at] - low) * ((wanted - below) / (counts[at] - below));
};

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

/** What happened between two reports on a TCP proxy: its requests are connections. */
const betweenConnections = (before, now, took) => {
  const old = before && sum(before.ended) <= sum(now.ended) ? before : { open: 0, ended: {}, bytes: {} };
  const opened = ({ open, ended }) => open + sum(ended);
  const errors = ({ ended }) => sum(Object.entries(ended).filter(([result]) => isError(result)).map(([, count]) => count));
  return {
    requests: Math.max(0, opened(now) - opened(old)) / took,
    errors: (errors(now) - errors(old)) / took,
    bytes: (sum(now.bytes) - sum(old.bytes)) / took,
    counts: [],
  };
};

/** What happened between two reports on a target. Counters that went back belong to another process. */
const between = (before, target, took) => {
  if (target.connections) return betweenConnections(before.connections, target.connections, took);
  const errors = (codes) => Object.entries(codes).reduce((total, [code, count]) => (isError(code) ? total + count : total), 0);
  const old = sum(before.codes) <= sum(target.codes) ? before : { codes: {}, durations: [] };
  const counts = target.durations.map((count, at) => count - (old.durations[at] || 0));
  return {
    requests: (sum(target.codes) - sum(old.codes)) / took,
    errors: (errors(target.codes) - errors(old.codes)) / took,
    counts,
  };
};

/** Samples of each target over the last ten minutes. */
export class Samples {
  constructor() {
    this.byTarget = new Map();
    this.last = null;
  }

  add(report, at) {
    const { last } = this;
    this.last = { report, at };
    const took = last ? (at - last.at) / 1000 : 0;
    const names = new Set(report.targets.map((target) => target.name));
    for (const name of this.byTarget.keys()) if (!names.has(name)) this.byTarget.delete(name);
    if (took <= 0) return;
    for (const target of report.targets) {
      const before = last.report.targets.find((known) => known.name === target.name);
      if (!before) continue;
      const samples = this.byTarget.get(target.name) || [];
      samples.push({ at, up: target.up, faulted: target.faulted > 0, ...between(before, target, took) });
      while (samples.length > SAMPLES || samples[0].at < at - CHART) samples.shift();
      this.byTarget.set(target.name, samples);
    }
  }

  of(name) {
    return this.byTarget.get(name) || [];
  }

  /** Rates and quantiles over the last so many milliseconds. */
  summary(name, now, over = 10000) {
    const recent = this.of(name).filter((sample) => sample.at > now - over);
    if (!recent.length) return null;
    const mean = (field) => recent.reduce((sum, sample) => sum + sample[field], 0) / recent.length;
    const counts = recent[0].counts.map((_, at) => recent.reduce((sum, sample) => sum + sample.counts[at], 0));
    const { bounds } = this.last.report;
    return { requests: mean("requests"), errors: mean("errors"), bytes: mean("bytes"), p50: quantile(0.5, bounds, counts), p99: quantile(0.99, bounds, counts) };
  }
}

/** The last events, the newest last. */
export class Log {
  constructor() {
    this.events = [];
    this.injections = 0;
    this.dropped = 0;
    this.last = null;
    this.process = null;
  }

  /** Takes an event; tells whether it is new. */
  add(event) {
    const [process, number] = event.id.split("-");
    if (process === this.process && Number(number) <= this.number) return false;
    if (this.process && process !== this.process) {
      this.push({ id: `restart-${process}`, time: event.time, kind: "restart", text: "the service has started anew" });
    }
    [this.process, this.number, this.last] = [process, Number(number), event.id];
    this.push(event);
    return true;
  }

  push(event) {
    event.at = Date.parse(event.time);
    this.events.push(event);
    if (event.kind === "injection") this.injections += 1;
    if (this.injections > INJECTIONS) this.drop(this.events.findIndex((known) => known.kind === "injection"));
    if (this.events.length > EVENTS) this.drop(0);
  }

  drop(at) {
    const [event] = this.events.splice(at, 1);
    if (event.kind === "injection") this.injections -= 1;
    this.dropped += 1;
  }
}
