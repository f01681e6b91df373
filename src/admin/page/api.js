// Requests to /v1, and its stream of events.

const base = new URL("./", document.baseURI);
const TOKEN = "probesim-token";

// The token belongs to this tab, and goes with it.
export const setToken = (token) => sessionStorage.setItem(TOKEN, token);

export const hasToken = () => Boolean(sessionStorage.getItem(TOKEN));

/** An answer that is no success; `problem` is what the service said of it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.errors = problem.errors || [];
    this.more = problem.more || 0;
  }
}

const send = async (method, path, { body, type, headers = {}, signal } = {}) => {
  const all = { Accept: "application/json", ...headers };
  const token = sessionStorage.getItem(TOKEN);
  if (token) all["X-Probesim-Token"] = token;
  if (body !== undefined) all["Content-Type"] = type || "application/json";
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(new URL(path, base), { method, headers: all, body: text, signal, cache: "no-store" });
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // A proxy on the way answers in its own words.
  }
  throw new Refused(answer.status, problem);
};

// A seed has 64 bits, and a number of JavaScript 53: such a number stays the text that it is.
const exact = (_, value, context) => (Number.isInteger(value) && !Number.isSafeInteger(value) && context?.source ? context.source : value);

/** Asks for JSON; a service that says nothing for so long counts as gone. */
export const ask = async (method, path, options = {}) => {
  const signal = AbortSignal.timeout(options.patience || 15000);
  return JSON.parse(await (await send(method, path, { ...options, signal })).text(), exact);
};

/** The service sends something every 15 seconds; a stream that is silent for so long is dead. */
const SILENCE = 45000;

const read = (reader) => {
  let timer;
  const silence = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error("the stream of events is silent")), SILENCE); });
  return Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
};

/** Gives each event to `take` until the stream ends. */
export const follow = async (last, take, signal) => {
  const headers = { Accept: "text/event-stream" };
  if (last) headers["Last-Event-ID"] = last;
  const answer = await send("GET", "v1/events", { headers, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await read(reader);
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const data = rest.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
      rest = rest.slice(end + 2);
      if (data.length) take(JSON.parse(data.map((line) => line.slice(6)).join("\n")));
    }
  }
};
