// The fields of a rule as the API describes them: which go together, and how each is written.

/** The general fields, by what a rule acts on. The fields of a mode come from the API's description. */
const WHEN = ["when.after", "when.for", "when.every", "when.starts.after", "when.starts.for", "when.starts.every", "start", "until", "stagger", "pods"];
const COUNTED = [...WHEN.slice(0, 3), "when.requests.after", "when.requests.for", "when.requests.every", ...WHEN.slice(3)];
const OFTEN = ["rate", "burst", "ramp"];
const GENERAL = {
  requests: {
    Delay: ["delay"],
    "How often": OFTEN,
    When: COUNTED,
    "Which requests": ["client", "match.path", "match.method", "match.host", "match.headers", "match.query"],
  },
  tcp: { Delay: ["delay", "stream"], "How often": OFTEN, When: COUNTED },
  handshakes: { "How often": OFTEN, When: WHEN, "Whose connections": ["from"] },
  partitions: { When: WHEN, "Whose connections": ["from", "client"] },
  process: { "How often": ["rate", "burst"], When: WHEN },
};

/** Partitions of a named proxy, whatever its protocol. A reset is one if it names peers. */
const CUTS = ["drop", "refuse", "reset"];

const LABELS = {
  "when.after": "After", "when.for": "For", "when.every": "Every",
  "when.requests.after": "After requests", "when.requests.for": "For requests", "when.requests.every": "Every requests",
  "when.starts.after": "After starts", "when.starts.for": "For starts", "when.starts.every": "Every starts",
  "match.path": "Path", "match.method": "Method", "match.host": "Host", "match.headers": "Headers", "match.query": "Query",
  after: "Wait", grpc_status: "gRPC status", grpc_message: "gRPC message", body_text: "Body text", headers: "Answer headers",
  allow_node_pressure: "Allow node pressure", pods: "Pods", forward: "Forward first", connection: "Whole connection",
};

export const label = (path) => LABELS[path] || path[0].toUpperCase() + path.slice(1).replaceAll("_", " ");

/**
 * What a rule acts on. The process, the listener and TCP proxies stand alone; HTTP proxies go together with the classes of requests.
 * `proxies` has the protocol of each proxy by its name.
 */
export const kindOf = (targets, proxies) => {
  if (targets.includes("process")) return "process";
  if (targets.includes("listener")) return "listener";
  if (targets.some((target) => proxies[target] === "tcp")) return "tcp";
  return targets.every((target) => proxies[target]) ? "http" : "requests";
};

export class Fields {
  constructor(openapi) {
    this.schemas = openapi.components.schemas;
    this.rule = this.schemas.Rule;
  }

  /** The modes of a kind of target, by name. */
  modes(kind) {
    const { listener, handshakes, ...all } = this.rule["x-modes"];
    if (kind === "listener") return { ...listener, ...handshakes };
    if (kind !== "http") return all[kind];
    return { ...all.requests, drop: listener.drop, refuse: listener.refuse };
  }

  /** The general fields that go with the kind and the mode. */
  general(kind, mode) {
    if (kind === "listener") return GENERAL[mode in this.rule["x-modes"].handshakes ? "handshakes" : "partitions"];
    const ofKind = GENERAL[kind === "http" ? "requests" : kind];
    return ["http", "tcp"].includes(kind) && CUTS.includes(mode) ? { ...ofKind, "Whose connections": ["from"] } : ofKind;
  }

  /** Whether the rule cuts off its proxies: then it has only time and peers. */
  isPartition(kind, mode, texts) {
    if (!["http", "tcp"].includes(kind) || !CUTS.includes(mode)) return false;
    return Boolean(texts.from) || (kind === "http" && mode !== "reset");
  }

  /** Groups of fields that go with the kind, the mode and what is written. */
  groups(kind, mode, texts) {
    if (this.isPartition(kind, mode, texts)) return Object.entries({ ...GENERAL.partitions, "Whose connections": ["from"] });
    const own = this.modes(kind)[mode]?.fields || [];
    const fits = (path) => !own.includes(path) && (path !== "stream" || texts.delay);
    const general = Object.entries(this.general(kind, mode)).map(([name, paths]) => [name, paths.filter(fits)]);
    return [["Of the mode", own], ...general].filter(([, paths]) => paths.length);
  }

  /** All fields that go with the kind, the mode and what is written. */
  paths(kind, mode, texts) {
    return this.groups(kind, mode, texts).flatMap(([, paths]) => paths);
  }

  schema(path) {
    let schema = this.rule;
    for (const name of path.split(".")) schema = this.resolved(schema.properties[name]);
    return schema;
  }

  resolved(schema) {
    const { $ref, ...own } = schema || {};
    return $ref ? { ...this.schemas[$ref.split("/").pop()], ...own } : own;
  }

  /** How a field is asked for: a choice, a check, a number or a text; with what it means and an example. */
  input(path) {
    const schema = this.schema(path);
    const any = [schema, ...(schema.oneOf || []), ...(schema.anyOf || [])].map((of) => this.resolved(of));
    const choice = any.find((of) => of.enum)?.enum;
    const example = schema.examples?.[0] ?? any.find((of) => of.examples)?.examples[0];
    return {
      choice,
      check: schema.type === "boolean",
      number: schema.type === "integer" ? { min: schema.minimum, max: schema.maximum } : null,
      long: path === "body_text",
      hint: schema.description,
      example: example === undefined ? (schema.format === "date-time" ? "2030-01-31T12:00:00Z" : "") : typeof example === "object" ? JSON.stringify(example) : String(example),
    };
  }

  /** The value of a field from its text. */
  value(path, text) {
    const { check, number } = this.input(path);
    if (check) return text === "true" || undefined;
    const given = text.trim();
    if (given === "") return undefined;
    if (number && /^\d+$/.test(given)) return Number(given);
    if (/^[[{]/.test(given) && path !== "match.host") {
      try {
        return JSON.parse(given);
      } catch {
        return given;
      }
    }
    if (path === "match.method" || path === "from") return given.split(/[\s,]+/);
    if (path === "pods" && /^[\d\s,]+$/.test(given)) return given.split(/[\s,]+/).filter(Boolean).map(Number);
    if (/^(rate|burst|cores|share|size|body|speed|grpc_status|alert|piece|piece_jitter)$/.test(path) && /^\d+(\.\d+)?$/.test(given)) return Number(given);
    return path === "body_text" || path === "grpc_message" ? text : given;
  }

  /** The rule that the texts make, with the fields that go together alone. */
  build({ name, targets, kind, mode, ttl, texts }) {
    const rule = { name, target: targets.length === 1 ? targets[0] : targets };
    if (mode) rule.mode = mode;
    for (const path of this.paths(kind, mode, texts)) {
      const value = texts[path] === undefined ? undefined : this.value(path, texts[path]);
      if (value === undefined) continue;
      const names = path.split(".");
      const last = names.pop();
      let fields = rule;
      for (const of of names) fields = fields[of] ??= {};
      fields[last] = value;
    }
    if (ttl !== null) rule.ttl = ttl;
    return rule;
  }

  /** The texts of a rule. */
  texts(rule) {
    const texts = {};
    const walk = (value, path) => {
      for (const [name, item] of Object.entries(value)) {
        const at = path ? `${path}.${name}` : name;
        if (item !== null && typeof item === "object" && (at === "when" || at === "match" || at === "when.requests" || at === "when.starts")) walk(item, at);
        else if (Array.isArray(item)) texts[at] = item.join(", ");
        else texts[at] = item !== null && typeof item === "object" ? JSON.stringify(item) : String(item);
      }
    };
    walk(rule, "");
    return texts;
  }
}
