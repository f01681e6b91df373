// Quantities and conditions as a person would say them.

const UNITS = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400 };

/** Seconds of a duration such as 1m30s; a bare number is in seconds. */
export const seconds = (text) => {
  if (typeof text === "number") return text;
  let sum = 0;
  for (const [, number, unit] of String(text ?? "").matchAll(/([\d.]+)(ns|us|ms|s|m|h|d)?/g)) sum += Number(number) * UNITS[unit || "s"];
  return sum;
};

/** A span of time in at most two units: "1 min 30 s". */
export const span = (value) => {
  const total = typeof value === "number" ? value : seconds(value);
  if (total === 0) return "0 s";
  if (total < 1) return `${+(total * 1000).toPrecision(3)} ms`;
  if (total < 60) return `${+total.toFixed(total < 10 ? 1 : 0)} s`;
  const whole = Math.round(total);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([size, unit], at, all) => [
    Math.floor((at ? whole % all[at - 1][0] : whole) / size),
    unit,
  ]);
  const first = parts.findIndex(([count]) => count);
  return parts.slice(first, first + 2).filter(([count]) => count).map(([count, unit]) => `${count} ${unit}`).join(" ");
};

/** Time left, as a clock shows it: 0:42, 1:05:00. */
export const countdown = (left) => {
  const whole = Math.max(0, Math.ceil(left));
  const two = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
};

export const percent = (value) => `${+value.toPrecision(3)} %`;

export const perSecond = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** A duration in seconds for a tile. */
export const latency = (value) => (value === null ? "–" : value < 0.9995 ? `${+(value * 1000).toPrecision(2)} ms` : `${+value.toPrecision(2)} s`);

export const bytes = (value) => {
  const at = value >= 1 << 30 ? 3 : value >= 1 << 20 ? 2 : value >= 1024 ? 1 : 0;
  return `${+(value / 1024 ** at).toPrecision(3)} ${["B", "KiB", "MiB", "GiB"][at]}`;
};

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** The day as well, where it is not today. */
export const instant = (at) => {
  const day = new Date(at).toDateString();
  return day === new Date().toDateString() ? clock(at) : `${new Date(at).toLocaleDateString([], { month: "short", day: "numeric" })}, ${clock(at)}`;
};

export const list = (value) => (Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]);

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Fields of modes that an effect names. */
const OF_MODES = [
  "status", "grpc_status", "location", "body", "drip", "speed", "share", "alert", "piece", "piece_jitter", "pause", "stream", "after", "close_after",
  "size", "cores", "code", "path",
];

/** What a rule counts. `proxies` has the protocol of each proxy by its name. */
export const counted = (rule, proxies = {}) => {
  if (list(rule.target).includes("process")) return "starts";
  const isOfConnections = String(rule.mode).startsWith("tls-") || list(rule.target).some((target) => proxies[target] === "tcp");
  return isOfConnections ? "connections" : "requests";
};

/** The value of a field; sizes without a unit are in bytes. */
const amount = (field, value) => {
  if (["drip", "pause", "after", "close_after", "delay"].includes(field)) return late(value);
  return typeof value === "number" && ["body", "size", "piece", "piece_jitter", "speed"].includes(field) ? bytes(value) + (field === "speed" ? "/s" : "") : value;
};

/** A time of a mode or a delay; without a unit, it is in milliseconds. */
const late = (value) => span(typeof value === "number" ? value / 1000 : value);

/** What a rule does, in a few words. */
export const effect = (rule) => {
  const parts = [];
  if (rule.delay !== undefined && rule.mode !== "slow-term") {
    const { delay } = rule;
    const fields = typeof delay === "object" ? Object.entries(delay).map(([name, value]) => `${name} ${name === "distribution" ? value : late(value)}`) : [late(delay)];
    const where = { both: " in both directions", upstream: " to the upstream", downstream: " to the client" }[rule.stream] || "";
    parts.push(`delay ${fields.join(", ")}${rule.mode ? "" : where}`);
  }
  if (rule.mode) {
    const of = [...OF_MODES, ...(rule.mode === "slow-term" ? ["delay"] : [])].filter((field) => rule[field] !== undefined);
    if (rule.mode === "status" && rule.status === undefined) parts.push("status 500");
    else {
      const plain = of.filter((field) => ["status", "grpc_status", "alert"].includes(field)).map((field) => rule[field]);
      const named = of.filter((field) => !["status", "grpc_status", "alert"].includes(field)).map((field) => `${field.replace("_", " ")} ${amount(field, rule[field])}`);
      parts.push([rule.mode, ...plain, named.length ? `(${named.join(", ")})` : ""].filter(Boolean).join(" "));
    }
  }
  if (rule.forward) parts.push("after forwarding");
  if (rule.connection) parts.push("ending the connection");
  return parts.join(", then ") || "nothing";
};

/** Which requests, if not all. */
export const selection = (rule) => {
  const parts = [];
  const { path, method, host, headers, query } = rule.match || {};
  if (path) parts.push(`path ${path}`);
  if (method) parts.push(list(method).join(" or "));
  if (host) parts.push(`host ${host}`);
  for (const [name, value] of Object.entries(headers || {})) parts.push(value === "*" ? `header ${name}` : `header ${name}: ${value}`);
  for (const [name, value] of Object.entries(query || {})) parts.push(value === "*" ? `query ${name}` : `query ${name}=${value}`);
  if (rule.client && rule.client !== "any") parts.push(rule.client === "kubelet" ? "of the kubelet" : "not of the kubelet");
  if (rule.from) parts.push(`from ${list(rule.from).join(", ")}`);
  return parts.join(", ");
};

/** The conditions of a rule that counts requests, connections or starts: "from 1 min on for 20 s, every 5 min; 20 % of the requests". */
export const conditions = (rule, noun = "requests") => {
  const when = rule.when || {};
  const parts = [];
  const window = ({ after, for: length, every }, first, time) => {
    const of = [after && seconds(after) ? first(after) : "", length ? `for ${time(length)}` : "", every ? `every ${time(every)}` : ""];
    return of.filter(Boolean).join(", ").replace(", for", " for");
  };
  parts.push(window(when, (after) => `from ${span(after)} on`, span));
  if (when.requests) {
    const number = (count) => plural(count, noun.slice(0, -1));
    parts.push(window(when.requests, (after) => `after ${number(after)}`, number));
  }
  if (when.starts) {
    const number = (count) => plural(count, "start");
    parts.push(window(when.starts, (after) => `after ${number(after)}`, number));
  }
  if (rule.start) parts.push(`from ${instant(rule.start)}`);
  if (rule.until) parts.push(`until ${instant(rule.until)}`);
  if (rule.rate !== undefined) parts.push(`${String(rule.rate).replace(/%?$/, " %")} of the ${noun}`);
  if (rule.burst) parts.push(`in runs of ${rule.burst}`);
  if (rule.ramp) parts.push(`rising over ${span(rule.ramp)}`);
  if (rule.pods) parts.push(`in ${Array.isArray(rule.pods) ? `Pods ${rule.pods.join(", ")}` : `${String(rule.pods).replace(/ ?%$/, " %")} of the Pods`}`);
  if (rule.stagger) parts.push(`up to ${span(rule.stagger)} later per Pod`);
  return parts.filter(Boolean).join("; ") || "always";
};

/** An event in words. */
export const eventText = (event) => {
  switch (event.kind) {
    case "plan":
      return [event.change, event.change !== "stop" && `${plural(event.rules, "rule")} in force`, `generation ${event.generation}`].filter(Boolean).join("; ");
    case "refused":
      return `refused: ${event.errors.join("; ")}`;
    case "stop":
      return event.stopped ? "stopped: no rule is in force" : "resumed: rules are in force again";
    case "window":
      return `${event.fault}: window ${event.open ? "opened" : "closed"} (${event.mode})`;
    case "partition":
      return event.open ? `the listener is cut by ${event.fault}` : "the listener is open again";
    case "process":
      return `${event.fault}: ${event.what}`;
    case "omitted":
      return `${plural(event.count, "more change")} of windows, not listed`;
    case "injection": {
      // Only requests have a client class.
      const noun = event.client ? "request" : "connection";
      const late = event.delay_ms ? `delayed by ${span(event.delay_ms / 1000)}` : "";
      const what = [event.mode === "delay" && late ? "" : event.mode, late].filter(Boolean).join(", ");
      return `${event.fault}: ${noun} ${event.number} to ${event.target}${event.client === "kubelet" ? " from the kubelet" : ""}: ${what}`;
    }
    case "restart":
      return event.text;
    default:
      return JSON.stringify(event);
  }
};

/** Who caused an event, if anybody did. */
export const author = (event) => event.by || "";
