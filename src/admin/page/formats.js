// The same rule in each way to write it.
import { list } from "./words.js";

/** A rule without what is not given. */
const pruned = (value) => {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined).map(([name, item]) => [name, pruned(item)]));
};

/** A text that every YAML reader takes for this text. */
const scalar = (value) => {
  if (typeof value !== "string") return JSON.stringify(value);
  const isPlain = /^[A-Za-z][A-Za-z0-9_./-]*$|^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d|%|[KMG]i?B)$|^\/[A-Za-z0-9/._-]*$/.test(value);
  const isWord = /^(true|false|null|yes|no|on|off|y|n)$/i.test(value);
  return isPlain && !isWord ? value : JSON.stringify(value);
};

const lines = (value, indent) => {
  const pad = " ".repeat(indent);
  return Object.entries(value).flatMap(([name, item]) => {
    const key = `${pad}${scalar(name)}:`;
    if (item === null || typeof item !== "object") return [`${key} ${scalar(item)}`];
    if (Array.isArray(item)) return [`${key} [${item.map(scalar).join(", ")}]`];
    return [key, ...lines(item, indent + 2)];
  });
};

const items = (name, objects) => {
  const body = objects.flatMap((object) => {
    const [first, ...more] = lines(pruned(object), 4);
    return first ? [`  - ${first.trim()}`, ...more] : [];
  });
  return body.length ? [`${name}:`, ...body] : [`${name}: []`];
};

/** A plan as YAML, by default without proxies and a seed. Only the API knows a ttl. */
export const yaml = ({ faults, proxies, seed }) => {
  const rules = faults.map(({ ttl, ...rule }) => rule);
  return [...(seed === undefined ? [] : [`seed: ${seed}`]), ...(proxies?.length ? items("proxies", proxies) : []), ...items("faults", rules), ""].join("\n");
};

/** A word of a shell command. */
export const quoted = (text) => (/^[A-Za-z0-9_./:=,%@+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Options of `fault add` by where their value stands in a rule. */
const OPTIONS = {
  name: "name", mode: "mode", status: "status", location: "location", body: "body", drip: "drip", speed: "speed", share: "share",
  grpc_status: "grpc-status", grpc_message: "grpc-message", body_text: "body-text", alert: "alert",
  stream: "stream", after: "wait", close_after: "close-after", piece: "piece", piece_jitter: "piece-jitter", pause: "pause", code: "code", size: "size", cores: "cores",
  rate: "rate", burst: "burst", ramp: "ramp", start: "start", until: "until", client: "client", stagger: "stagger", path: "path",
  "when.after": "after", "when.for": "window", "when.every": "every",
  "when.requests.after": "after-requests", "when.requests.for": "requests", "when.requests.every": "every-requests",
  "when.starts.after": "after-starts", "when.starts.for": "starts", "when.starts.every": "every-starts",
  "match.path": "path", "match.host": "host",
  "delay.fixed": "delay", "delay.jitter": "jitter", "delay.distribution": "distribution", "delay.median": "median",
  "delay.mean": "mean", "delay.p50": "p50", "delay.p90": "p90", "delay.p99": "p99",
};

/** `fault add` for a rule; null where it has no option for a field. */
export const faultAdd = (rule) => {
  const words = ["fault", "add", ...list(rule.target)];
  const add = (option, value) => words.push(`--${option}`, quoted(String(value)));
  let isWhole = true;
  const walk = (value, path) => {
    for (const [name, item] of Object.entries(value)) {
      const at = path ? `${path}.${name}` : name;
      if (item === undefined || at === "target" || at === "ttl") continue;
      if (["forward", "connection", "allow_node_pressure"].includes(at)) { if (item) words.push(`--${at.replaceAll("_", "-")}`); }
      else if (at === "match.method") add("method", list(item).join(","));
      else if (at === "match.headers") for (const [header, text] of Object.entries(item)) add("header", text === "*" ? header : `${header}:${text}`);
      else if (at === "match.query") for (const [key, text] of Object.entries(item)) add("query", text === "*" ? key : `${key}=${text}`);
      else if (at === "headers") for (const [header, texts] of Object.entries(item)) for (const text of list(texts)) add("answer-header", `${header}:${text}`);
      else if (at === "from") for (const network of list(item)) add("from", network);
      else if (at === "pods") add("pods", list(item).join(","));
      else if (at === "delay" && typeof item !== "object") add("delay", item);
      else if (item !== null && typeof item === "object") walk(item, at);
      else if (OPTIONS[at]) add(OPTIONS[at], item);
      else isWhole = false;
    }
  };
  walk(rule, "");
  words.push("--for", rule.ttl === undefined ? "ever" : quoted(String(rule.ttl)));
  return isWhole ? words.join(" ") : null;
};

const inNamespace = ({ namespace }) => (namespace ? ` -n ${quoted(namespace)}` : "");

/** Each way to write a rule, with a name. */
export const formats = (rule, identity) => {
  const pod = quoted(identity.pod || "POD");
  const where = inNamespace(identity);
  const { ttl, ...rest } = pruned(rule);
  const { name, ...body } = pruned(rule);
  const add = faultAdd(rule);
  return [
    ["YAML", yaml({ faults: [rule] }), "For a file or an annotation. There, a rule has no ttl."],
    ["fault", add ? `kubectl exec${where} ${pod} -c probesim -- /kube-probesim ${add}` : "", "In the container's own shell, without kubectl exec."],
    ["annotate", `kubectl annotate pod${where} ${pod} --overwrite probesim.io/faults=${quoted(JSON.stringify({ faults: [rest] }))}`, "Replaces the annotation as a whole; the rule stays until the annotation goes."],
    ["curl", `curl -X PUT http://localhost:8081/v1/faults/${name || "NAME"} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`, "After kubectl port-forward; with a token, also -H \"X-Probesim-Token: $TOKEN\"."],
  ];
};

/** Gives the browser a file to save. */
export const download = (name, type, text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
