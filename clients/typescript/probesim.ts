/**
 * Faults of kube-probesim for the length of a test. One file, no dependency; Node.js 18 or newer.
 *
 *     import { start } from "./probesim.js";
 *
 *     test("the client tries again", async () => {
 *       const service = await start();
 *       try {
 *         await service.withFault({ target: "traffic", mode: "status", status: 503, rate: "50%" }, async (fault) => {
 *           await callManyTimes(service.url);
 *           await fault.assertInjected();
 *         });
 *       } finally {
 *         await service.close();
 *       }
 *     });
 *
 * `start` runs the program, and `container` runs an image. `Service` is for one that runs elsewhere, such as behind
 * `kubectl port-forward`.
 */

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

// <rule>
/**
 * A rule as the API takes it. Fields that do not fit together, such as a burst that is too short for the rate, are
 * answered with 422.
 */
export interface Rule {
  name?: string;
  /** If true, the rule is off and hides rules of its name from weaker sources; it needs no other fields. */
  disabled?: boolean;
  /** What the rule acts on; listener and process cannot be combined with others. */
  target?: string | string[];
  /** Which requests of the target; all given fields must match. */
  match?: Match;
  /** Whose requests; default any. */
  client?: string;
  /** Networks that the rule acts on, or with ! spares; only for connections. */
  from?: string | string[];
  /** A share of the replicas, or ordinals of a StatefulSet. Needs a seed and POD_NAME. */
  pods?: string | number[];
  /** All given conditions must hold. */
  when?: When;
  /** Windows in time count from this instant. */
  start?: string;
  /** The rule ends for good at this instant, which is after `start`. */
  until?: string;
  /** Each replica starts up to this much later. */
  stagger?: string | number;
  /** Share of the requests in the window, in percent. Values between 0 and 1 need the % sign. */
  rate?: string | number;
  /** Mean number of consecutive injections, at least 1/(1 - rate). */
  burst?: number;
  /** Time over which the rate rises from 0, or over which memory grows. */
  ramp?: string | number;
  /** Waits before the answer or the fault. */
  delay?: string | number | Record<string, unknown>;
  /**
   * What replaces the answer. Target listener has drop, refuse, reset, tls-hang, tls-close, tls-alert, tls-expired,
   * tls-wrong-name, tls-untrusted; target process has exit, abort, memory, cpu, ignore-term, slow-term, fds, disk.
   */
  mode?: string;
  /** Status code; default 500. */
  status?: number;
  /** Target of mode redirect. */
  location?: string;
  /** Bytes of the body before a body fault; at most 64MiB. */
  body?: number | string;
  /** Duration of the body in mode drip; more than 0. */
  drip?: string | number;
  /** Bytes of the body per second in mode throttle; default 1KiB, at most 1GiB. */
  speed?: number | string;
  /** Share of the body's bytes that mode corrupt changes, in percent; more than 0, default 1%. */
  share?: string | number;
  /** Status of mode grpc; default UNAVAILABLE. */
  grpc_status?: string | number;
  /** Message of mode grpc; default: a line that names the rule. */
  grpc_message?: string;
  /** Alert of mode tls-alert, by its name in RFC 8446 or its number; default handshake_failure. */
  alert?: string | number;
  /**
   * Header fields of a faulted answer; they replace fields of the same name. Fields that frame the body or concern the
   * connection are refused.
   */
  headers?: Record<string, unknown>;
  /** Body of a faulted answer. */
  body_text?: string;
  /** For modes that replace the answer: the request still reaches the application, and its answer is lost. */
  forward?: boolean;
  /** The whole connection ends, and every stream of HTTP/2 on it; without it, one stream ends. */
  connection?: boolean;
  /** For TCP proxies: the direction that the rule acts on; default downstream. */
  stream?: string;
  /** For TCP proxies: how long modes hang, close and reset wait, or how late mode slow-close is. */
  after?: string | number;
  /** For TCP proxies: mode hang closes the connection after this time, and when the rule ends. */
  close_after?: string | number;
  /** Bytes of a piece in mode slice; default 64. */
  piece?: number | string;
  /** By how many bytes a piece may be longer or shorter; below `piece`. */
  piece_jitter?: number | string;
  /** Time between two pieces in mode slice; default 1ms. */
  pause?: string | number;
  /** Exit code of mode exit; default 1. */
  code?: number;
  /** For target process: memory in bytes or in percent of the container's limit, or size of a file in bytes. */
  size?: number | string;
  /** CPU time that mode cpu burns. */
  cores?: number | string;
  /** Mount point of the volume that mode disk fills. */
  path?: string;
  /** If true, modes memory and cpu work without a limit of the container, and may affect others on the node. */
  allow_node_pressure?: boolean;
  /** The rule is removed after this time; if absent, it stays. */
  ttl?: string | number;
}

/** The field match of a rule. Which requests of the target; all given fields must match. */
export interface Match {
  /** Compared as sent, without the query; /x/* is everything below /x/. */
  path?: string;
  /** One of these methods. */
  method?: string | string[];
  /** Without a port, every port matches. */
  host?: string;
  /** Exact value for each name; * is any value. A repeated header matches if one of its values does. */
  headers?: Record<string, unknown>;
  /** Exact value for each parameter, after decoding; * is any value. */
  query?: Record<string, unknown>;
}

/** The field when of a rule. All given conditions must hold. */
export interface When {
  /** Counted from when the rule was added, or from `start`. */
  after?: string | number;
  /** Length of the window. */
  for?: string | number;
  /** The window repeats with this period, above `for`. */
  every?: string | number;
  /** In requests of a target and client class. */
  requests?: WhenRequests;
  /** In starts of the container. */
  starts?: WhenStarts;
}

/** The field when.requests of a rule. In requests of a target and client class. */
export interface WhenRequests {
  /** Number before the first window. */
  after?: number;
  /** Number in each window. */
  for?: number;
  /** The period, above `for`. */
  every?: number;
}

/** The field when.starts of a rule. In starts of the container. */
export interface WhenStarts {
  /** Number before the first window. */
  after?: number;
  /** Number in each window. */
  for?: number;
  /** The period, above `for`. */
  every?: number;
}
// </rule>

/** Limits a fault if the test that set it is killed. */
export const TTL = "15m";

/** The service refused a request, or did not start. `status` is the status of its answer, `reasons` has its errors. */
export class ProbesimError extends Error {
  readonly status: number;
  readonly reasons: string[];

  constructor(message: string, status = 0, reasons: string[] = []) {
    super([message, ...reasons].join("\n  "));
    this.name = "ProbesimError";
    this.status = status;
    this.reasons = reasons;
  }
}

/** What a rule did: requests (or connections) that it could have acted on, and those on which it did. */
export interface Counts {
  eligible: number;
  injected: number;
}

/** A part of the answer of `GET /v1/state`. */
export interface State {
  generation: number;
  rules: { name: string; source: string; active: boolean; tallies: (Counts & { target: string })[] }[];
}

/** A rule that is in force. After its end, it still has its counts. */
export class Fault {
  readonly name: string;
  private readonly service: Service;
  private last: Counts = { eligible: 0, injected: 0 };
  private ended = false;

  constructor(service: Service, name: string) {
    this.service = service;
    this.name = name;
  }

  /** Its counts so far. */
  async counts(): Promise<Counts> {
    if (!this.ended) {
      const rule = (await this.service.state()).rules.find((each) => each.name === this.name);
      if (rule) {
        this.last = { eligible: 0, injected: 0 };
        for (const tally of rule.tallies) {
          this.last.eligible += tally.eligible;
          this.last.injected += tally.injected;
        }
      }
    }
    return this.last;
  }

  /** Throws unless the rule acted at least that often. */
  async assertInjected(atLeast = 1): Promise<void> {
    const { eligible, injected } = await this.counts();
    if (injected < atLeast) {
      throw new Error(`fault ${this.name} acted on ${injected} of ${eligible} requests, expected at least ${atLeast}`);
    }
  }

  /** Removes the rule. */
  async end(): Promise<void> {
    if (this.ended) return;
    await this.counts();
    this.ended = true;
    try {
      await this.service.request("DELETE", `/v1/faults/${encodeURIComponent(this.name)}`);
    } catch (error) {
      // Its ttl has passed, or another client has removed it.
      if (!(error instanceof ProbesimError && error.status === 404)) throw error;
    }
  }
}

/** The addresses of a service, and its token. */
export interface Place {
  /** The URL of its admin listener. */
  admin: string;
  /** The URL of its probe listener. */
  url?: string;
  token?: string | undefined;
  /** Called by `close`. */
  close?: () => Promise<void>;
}

/** A running service. */
export class Service {
  readonly admin: string;
  readonly url: string;
  private readonly token: string | undefined;
  private readonly closing: () => Promise<void>;

  constructor(place: Place) {
    this.admin = place.admin.replace(/\/+$/, "");
    this.url = (place.url ?? "").replace(/\/+$/, "");
    this.token = place.token;
    this.closing = place.close ?? (async () => {});
  }

  /** Ends the program or container that `start` or `container` began. */
  close(): Promise<void> {
    return this.closing();
  }

  /** Calls the admin API and returns its JSON. Throws a ProbesimError with the reasons if the service refuses. */
  async request(method: string, path: string, body?: unknown): Promise<unknown> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.token) headers["X-Probesim-Token"] = this.token;
    let answer: Response;
    try {
      const content = body === undefined ? null : JSON.stringify(body);
      answer = await fetch(this.admin + path, { method, headers, body: content, signal: AbortSignal.timeout(10_000) });
    } catch (error) {
      const { cause, message } = error as Error & { cause?: Error };
      throw new ProbesimError(`no answer from ${this.admin}: ${cause?.message ?? message}`);
    }
    const text = await answer.text();
    if (!answer.ok) throw refusal(answer.status, text);
    return text === "" ? null : JSON.parse(text);
  }

  /** The answer of `GET /v1/state`. */
  async state(): Promise<State> {
    return (await this.request("GET", "/v1/state")) as State;
  }

  /** Puts every rule of every source out of force, until `resume`. */
  async stop(): Promise<void> {
    await this.request("POST", "/v1/stop");
  }

  /** Ends a stop. */
  async resume(): Promise<void> {
    await this.request("POST", "/v1/resume");
  }

  /** Puts a rule in force until its `end`. Without `ttl`, it ends after 15 minutes even if this process is killed. */
  async fault(rule: Rule): Promise<Fault> {
    const name = rule.name ?? `test-${randomBytes(4).toString("hex")}`;
    // Never replace another rule of that name.
    if ((await this.state()).rules.some((known) => known.name === name)) {
      throw new ProbesimError(`a fault named ${name} is in force already`);
    }
    await this.request("PUT", `/v1/faults/${encodeURIComponent(name)}`, { ttl: TTL, ...rule, name });
    return new Fault(this, name);
  }

  /** Puts a rule in force while a function runs. */
  async withFault<T>(rule: Rule, during: (fault: Fault) => Promise<T>): Promise<T> {
    const fault = await this.fault(rule);
    try {
      return await during(fault);
    } finally {
      await fault.end();
    }
  }
}

/** Runs the program on free ports of loopback. `env` has variables of the service, such as `UPSTREAM`. */
export async function start(options: { binary?: string; env?: Record<string, string> } = {}): Promise<Service> {
  const binary = options.binary ?? process.env["PROBESIM_BINARY"] ?? "kube-probesim";
  const env: Record<string, string> = {
    PATH: process.env["PATH"] ?? "", BIND_ADDRESS: "127.0.0.1", PORT: "0", ADMIN_ADDRESS: "127.0.0.1:0",
    ...options.env, LOG_FORMAT: "json",
  };
  const child = spawn(binary, ["serve"], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const close = async () => {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(timer);
  };
  let log = "";
  const at = await new Promise<{ admin: string; probe: string }>((resolve, reject) => {
    const fail = (message: string) => reject(new ProbesimError(message));
    const timer = setTimeout(() => void close().then(() => fail(`the service did not start within 10 s:\n${log}`)), 10_000);
    const read = (part: Buffer) => {
      log += part.toString();
      for (const line of log.split("\n").slice(0, -1)) {
        if (line.includes('"message":"started"')) {
          clearTimeout(timer);
          // Read and drop the rest, or the service would block on a full pipe.
          for (const stream of [child.stdout, child.stderr]) stream.off("data", read).resume();
          resolve(JSON.parse(line));
          return;
        }
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", (error) => (clearTimeout(timer), fail(`${binary} cannot be run: ${error.message}`)));
    child.once("close", () => (clearTimeout(timer), fail(`the service ended at its start:\n${log}`)));
  });
  return new Service({ admin: `http://${at.admin}`, url: `http://${at.probe}`, token: env["ADMIN_TOKEN"], close });
}

/** Runs an image by docker, or another `runtime` with its commands. `options` are those of run. */
export async function container(
  choice: { image?: string; runtime?: string[]; options?: string[]; env?: Record<string, string> } = {},
): Promise<Service> {
  const { image = "kube-probesim", runtime = ["docker"], options = [], env = {} } = choice;
  const [command = "docker", ...global] = runtime;
  const token = randomBytes(16).toString("hex");
  const run = async (...args: string[]) => {
    try {
      return (await promisify(execFile)(command, args)).stdout.trim().split("\n")[0] ?? "";
    } catch (error) {
      throw new ProbesimError(`${command}: ${(error as Error).message}`);
    }
  };
  const variables = { ...env, PORT: "8080", ADMIN_ADDRESS: ":8081", ADMIN_TOKEN: token };
  const identity = await run(
    ...global, "run", "--detach", "--rm", "--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8081", ...options,
    ...Object.entries(variables).flatMap(([name, value]) => ["--env", `${name}=${value}`]), image,
  );
  const close = async () => void (await run("rm", "--force", identity));
  try {
    const [admin, url] = [await run("port", identity, "8081/tcp"), await run("port", identity, "8080/tcp")];
    const service = new Service({ admin: `http://${admin}`, url: `http://${url}`, token, close });
    for (const deadline = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      try {
        await service.state();
        return service;
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
}

function refusal(status: number, text: string): ProbesimError {
  try {
    const problem = JSON.parse(text) as { detail?: string; title: string; errors?: { message: string }[] };
    return new ProbesimError(`${status}: ${problem.detail ?? problem.title}`, status, (problem.errors ?? []).map((each) => each.message));
  } catch {
    return new ProbesimError(`${status}: ${text.trim().slice(0, 200)}`, status);
  }
}
