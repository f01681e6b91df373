// Drives a browser over the page of a real service.
//
//   node tests/e2e/page/page.mjs BINARY
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const binary = resolve(process.argv[2]);
const only = process.argv[3];
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "page-"));
const services = new Set();

/** Starts a service with these variables; with `admin`, at that address. */
const start = async (variables = {}, admin = "127.0.0.1:0") => {
  const env = { PORT: "0", SEED: "42", POD_NAME: "web-0", POD_NAMESPACE: "shop", LOG_FORMAT: "json", ...variables, ADMIN_ADDRESS: admin };
  const process = spawn(binary, [], { env, stdio: ["ignore", "pipe", "pipe"] });
  services.add(process);
  const addresses = await new Promise((done, failed) => {
    let text = "";
    const read = (chunk) => {
      text += chunk;
      const line = text.split("\n").find((one) => one.includes('"message":"started"') && one.endsWith("}"));
      if (line) done(JSON.parse(line));
    };
    process.stdout.on("data", read);
    process.stderr.on("data", read);
    process.on("exit", () => failed(new Error(`the service ended: ${text}`)));
  });
  const port = (address) => address.split(":").pop();
  const service = {
    process,
    admin: `127.0.0.1:${port(addresses.admin)}`,
    url: `http://127.0.0.1:${port(addresses.admin)}/`,
    probe: `http://127.0.0.1:${port(addresses.probe)}`,
    api: async (method, path, body, headers = {}) => {
      const answer = await fetch(`${service.url}v1/${path}`, { method, body: typeof body === "string" ? body : body && JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });
      return answer.json();
    },
    stop: async () => {
      const ended = new Promise((done) => process.on("exit", done));
      process.kill("SIGKILL");
      await ended;
      services.delete(process);
    },
  };
  return service;
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });

/** Opens a tab. Errors and warnings in the console fail the test, except failed requests. */
const open = async (url, options = {}, prepare) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(error.stack));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !/Failed to load resource|net::ERR/.test(message.text())) page.wrong.push(message.text());
  });
  if (prepare) await prepare(page, context);
  await page.goto(url);
  return page;
};

const close = async (...pages) => {
  for (const page of pages) {
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  }
};

const ready = (page) => page.getByRole("status").filter({ hasText: /^live$/ }).waitFor();

const until = async (what, check) => {
  for (let round = 0; round < 150; round += 1) {
    if (await check()) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.fail(`not within 15 s: ${what}`);
};

const accessible = async (page) => {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(violations.map((of) => `${of.id}: ${of.nodes.map((node) => node.html).slice(0, 3).join(" ")}`), []);
};

const COMPLEX = {
  name: "complex", target: ["traffic", "readiness"], mode: "status", status: 503, rate: "20%", burst: 2, client: "other",
  match: { path: "/orders/*", method: ["POST", "PUT"], host: "shop.example", headers: { "X-Tenant": "it's \"blue\"" }, query: { page: "*", q: "a b" } },
  when: { after: "1m", for: "20s", every: "5m", requests: { after: 3 } }, delay: { p50: "20ms", p99: "1s" },
  headers: { "Retry-After": ["5"] }, body_text: "<b>it's 100 % broken</b>\n$HOME `id`", ttl: "10m",
};

const WITH_PROXIES = { PROXIES: "db=127.0.0.1:0->127.0.0.1:9, stock=127.0.0.1:0->http://127.0.0.1:9", TLS: "self-signed" };

/** A rule of each kind. */
const RULES = [
  COMPLEX,
  { name: "slow-db", target: ["db"], delay: { distribution: "lognormal", median: "20ms", p99: "200ms" }, stream: "both", rate: "50%" },
  { name: "slice-db", target: ["db"], mode: "slice", piece: 100, piece_jitter: 10, pause: "5ms", stream: "upstream", when: { requests: { after: 1, for: 3 } }, burst: 2, rate: "20%" },
  { name: "hang-db", target: ["db"], mode: "hang", after: "1s", close_after: "5s", stream: "upstream" },
  { name: "reset-db", target: ["db"], mode: "reset", after: "2s", rate: "10%" },
  { name: "db-gone", target: ["db"], mode: "reset", from: ["127.0.0.0/8", "!127.0.0.9"] },
  { name: "db-drops", target: ["db"], mode: "drop", rate: "20%", when: { requests: { every: 10, for: 2 } } },
  { name: "stock-gone", target: ["stock"], mode: "refuse", from: ["10.0.0.0/8"], when: { after: "1m", for: "30s" } },
  { name: "stock-fails", target: ["stock", "traffic"], mode: "status", status: 503, forward: true, match: { method: ["POST"] } },
  { name: "alert", target: ["listener"], mode: "tls-alert", alert: "access_denied", rate: "10%", from: ["!10.0.0.0/8"] },
  { name: "expired", target: ["listener"], mode: "tls-expired", when: { after: "5s", for: "1m", every: "5m" } },
  { name: "slow-end", target: ["process"], mode: "slow-term", delay: "20s" },
  { name: "hold", target: ["process"], mode: "memory", size: "1MiB", ramp: "5s", when: { after: "5m", for: "1m" } },
];

/** Sends a line to a TCP proxy and returns the answer, or the error's code. */
const exchange = (port) => new Promise((done) => {
  const socket = connect(port, "127.0.0.1", () => socket.write("hello\n"));
  let text = "";
  socket.on("data", (chunk) => { text += chunk; socket.end(); });
  socket.on("error", (error) => done(error.code));
  socket.on("close", () => done(text || "nothing"));
});

const tests = {
  "by keyboard alone, a rule is added, seen at work, edited and ended": async () => {
    const service = await start();
    const page = await open(service.url);
    await ready(page);
    assert.match(await page.title(), /^shop\/web-0/);
    const key = async (role, name) => {
      await page.getByRole(role, { name, exact: true }).focus();
      await page.keyboard.press("Enter");
    };
    await key("button", "Add a rule");
    await page.getByRole("dialog").getByText("this Pod only").waitFor();
    await page.getByLabel("Status", { exact: true }).focus();
    await page.keyboard.type("503");
    await page.getByLabel("Name").focus();
    await page.keyboard.type("Not A Name");
    await page.locator("#name-about.error").waitFor();
    await page.keyboard.press("Control+A");
    await page.keyboard.type("down");
    await page.getByLabel("Rate", { exact: true }).focus();
    await page.keyboard.type("200%");
    const wrong = page.locator("#field-rate-about.error");
    await wrong.waitFor();
    assert.match(await wrong.innerText(), /0% and 100%/);
    assert.equal(await page.getByLabel("Rate", { exact: true }).getAttribute("aria-invalid"), "true");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").first().waitFor();
    assert.deepEqual((await service.api("GET", "faults")).faults, [], "a wrong rule is not put in force");
    await page.getByLabel("Rate", { exact: true }).fill("");
    await page.getByText(/Begins at once, for 15 min; acts on 100 % of the requests/).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("rowheader", { name: /down/ }).waitFor();
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 503);
    await page.getByText(/Down: readiness/).waitFor();
    await until("the injection is counted", async () => /1\s/.test(await page.locator("td[data-label=injected]").innerText().then((text) => `${text} `)));
    await key("button", "Edit down");
    assert.equal(await page.getByLabel("Status", { exact: true }).inputValue(), "503");
    await page.getByLabel("Status", { exact: true }).fill("429");
    await key("button", "Apply");
    await until("the edit is in force", async () => (await fetch(`${service.probe}/readyz`)).status === 429);
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Edit down" }).focus();
    await key("button", "End down");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 429, "Escape changes nothing");
    await key("button", "End down");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Enter");
    await page.getByText("No rule is in force: everything answers as it should.").waitFor();
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 200);
    await close(page);
    await service.stop();
  },

  "each way to write a rule makes the same rule": async () => {
    const service = await start(WITH_PROXIES);
    const shell = (line) => execFileSync("sh", ["-c", line], { env: { ...process.env, ADMIN_ADDRESS: service.admin } });
    const plan = async (of) => JSON.stringify((await of.api("GET", "faults")).faults.map(({ ttl, ...rule }) => rule));
    const page = await open(service.url);
    await ready(page);
    for (const rule of RULES) {
      await service.api("PUT", `faults/${rule.name}`, rule);
      const expected = await plan(service);
      await page.getByRole("button", { name: `Edit ${rule.name}` }).click();
      const ways = {};
      for (const way of ["YAML", "fault", "annotate", "curl"]) {
        await page.getByRole("button", { name: way, exact: true }).click();
        ways[way] = await page.locator("aside code").innerText();
      }
      await page.getByText(/Begins at once|windows?, .* in all/).waitFor();
      await page.getByRole("button", { name: "Apply" }).click();
      await page.getByRole("dialog").waitFor({ state: "detached" });
      assert.equal(await plan(service), expected, "the form loses nothing");

      const value = shell(`printf %s ${ways.annotate.split("--overwrite ")[1]}`).toString().replace("probesim.io/faults=", "");
      for (const [way, run] of [
        ["fault", () => shell(ways.fault.replace("kubectl exec -n shop web-0 -c probesim -- /kube-probesim", binary))],
        ["curl", () => shell(ways.curl.replace("http://localhost:8081/", service.url).replace("curl ", "curl -sf "))],
        ["YAML", () => service.api("PUT", "plan", ways.YAML, { "Content-Type": "application/yaml" })],
        ["annotate", () => service.api("PUT", "plan", value, { "Content-Type": "application/yaml" })],
      ]) {
        await service.api("POST", "reset");
        await run();
        assert.equal(await plan(service), expected, ways[way]);
      }
      await service.api("POST", "reset");
    }
    await close(page);
    await service.stop();
  },

  "quantities and conditions read as people say them": async () => {
    const service = await start();
    const page = await open(service.url);
    const said = await page.evaluate(async () => {
      const [words, history, formats, fields] = await Promise.all(["words", "history", "formats", "rules"].map((name) => import(new URL(`page/${name}.js`, document.baseURI))));
      return {
        spans: [0, 0.25, 4.24, 90, 3600, 90061].map(words.span),
        seconds: ["1m30s", "250ms", "1h", 5, "2d"].map(words.seconds),
        countdowns: [0, -3, 41.2, 3725].map(words.countdown),
        conditions: [{}, { rate: "20%", when: { after: "1m", for: "20s", every: "5m" } }, { when: { requests: { after: 1, for: 3 }, starts: { for: 1 } } }, { pods: [0, 2] }].map((rule) => words.conditions(rule)).concat(words.conditions({ rate: 5, when: { requests: { for: 2 } } }, "connections")),
        effects: [{ target: "db", mode: "slice", piece: 100, pause: "5ms" }, { target: "process", mode: "slow-term", delay: "90s" }, { target: "listener", mode: "tls-alert", alert: "access_denied" }, { target: "db", delay: "30ms", stream: "both" }].map(words.effect),
        counted: [{ target: "db" }, { target: ["stock"] }, { target: "listener", mode: "tls-hang" }, { target: "process" }].map((rule) => words.counted(rule, { db: "tcp", stock: "http" })),
        quantiles: [0.5, 0.99].map((share) => history.quantile(share, [1, 2, 5], [0, 10, 20, 20])).concat(history.quantile(0.5, [1], [0, 0]), history.quantile(0.99, [1, 2], [0, 0, 4])),
        yaml: formats.yaml({ faults: [{ name: "on", target: ["traffic"], body_text: "a: b\n", rate: "20%", status: 503, ttl: "1m" }], seed: "18446744073709551615" }),
        whole: formats.faultAdd({ target: "traffic", delay: { p95: "1s" } }),
        off: [fields.isOff(20, { eligible: 1000, rate: 21 }), fields.isOff(20, { eligible: 1000, rate: 40 }), fields.isOff(100, { eligible: 100, rate: 99 }), fields.isOff(20, { eligible: 5, rate: 100 })],
      };
    });
    assert.deepEqual(said, {
      spans: ["0 s", "250 ms", "4.2 s", "1 min 30 s", "1 h", "1 d 1 h"],
      seconds: [90, 0.25, 3600, 5, 172800],
      countdowns: ["0:00", "0:00", "0:42", "1:02:05"],
      conditions: ["always", "from 1 min on for 20 s, every 5 min; 20 % of the requests", "after 1 request for 3 requests; for 1 start", "in Pods 0, 2", "for 2 connections; 5 % of the connections"],
      effects: ["slice (piece 100 B, pause 5 ms)", "slow-term (delay 1 min 30 s)", "tls-alert access_denied", "delay 30 ms in both directions"],
      counted: ["connections", "requests", "connections", "starts"],
      quantiles: [2, 4.94, null, 2],
      yaml: 'seed: 18446744073709551615\nfaults:\n  - name: "on"\n    target: [traffic]\n    body_text: "a: b\\n"\n    rate: 20%\n    status: 503\n',
      whole: null,
      off: [false, true, true, false],
    });
    await close(page);
    await service.stop();
  },

  "the form offers what goes together": async () => {
    const service = await start(WITH_PROXIES);
    const page = await open(service.url);
    await ready(page);
    await page.getByRole("button", { name: "Add a rule" }).click();
    const mode = page.getByLabel("Mode", { exact: true });
    const target = (name) => page.getByRole("checkbox", { name, exact: true });
    const modes = async () => (await mode.locator("option").allInnerTexts()).filter((of) => !of.includes(" "));
    const shows = async (...labels) => Promise.all(labels.map((of) => page.getByLabel(of, { exact: true }).count()));
    const { requests, tcp, listener, handshakes, process: ofProcess } = (await (await fetch(`${service.url}openapi.json`)).json()).components.schemas.Rule["x-modes"];
    assert.deepEqual(await modes(), Object.keys(requests));
    assert.deepEqual(await shows("Speed", "Path", "Stream"), [0, 1, 0]);
    await mode.selectOption("throttle");
    await page.getByLabel("Speed", { exact: true }).waitFor();
    await target("listener").check();
    assert.deepEqual(await modes(), [...Object.keys(listener), ...Object.keys(handshakes)]);
    assert.equal(await target("readiness").isChecked(), false, "the listener stands alone");
    assert.deepEqual(await shows("Delay", "Rate", "From", "Client"), [0, 0, 1, 1]);
    await mode.selectOption("tls-alert");
    assert.deepEqual(await shows("Alert", "Rate", "From"), [1, 1, 1], "a fault of handshakes has a rate");
    assert((await page.getByLabel("Alert", { exact: true }).locator("option").allInnerTexts()).includes("access_denied"));
    await target("process").check();
    assert.deepEqual(await modes(), Object.keys(ofProcess));
    await mode.selectOption("memory");
    await page.getByLabel("Size", { exact: true }).fill("1MiB");
    await page.getByText(/Begins at once/).waitFor();
    await target("db TCP").check();
    assert.deepEqual(await modes(), Object.keys(tcp));
    assert.equal(await target("process").isChecked(), false, "TCP proxies go together with one another");
    assert.deepEqual(await shows("Path", "Client", "From", "Rate", "Stream"), [0, 0, 0, 1, 1]);
    await mode.selectOption("refuse");
    assert.deepEqual(await shows("Stream", "Piece", "From", "Rate"), [0, 0, 1, 1]);
    await page.getByText("Whose connections").click();
    await page.getByLabel("From", { exact: true }).fill("10.0.0.0/8");
    assert.deepEqual(await shows("Delay", "From", "Rate"), [0, 1, 0], "a partition has only time and peers");
    await page.getByLabel("From", { exact: true }).fill("");
    await mode.selectOption("slice");
    await page.getByLabel("Piece", { exact: true }).fill("1 parsec");
    await page.locator("#field-piece-about.error").waitFor();
    await page.getByLabel("Piece", { exact: true }).fill("100");
    await page.getByText(/acts on 100 % of the connections/).waitFor();
    await mode.selectOption("");
    await page.getByLabel("Delay", { exact: true }).fill("30ms");
    await page.getByLabel("Stream", { exact: true }).selectOption("both");
    await page.getByText(/acts on 100 % of the connections/).waitFor();
    await target("stock HTTP").check();
    assert.deepEqual(await modes(), [...Object.keys(requests), "drop", "refuse"]);
    assert.equal(await target("db TCP").isChecked(), false);
    await mode.selectOption("drop");
    assert.deepEqual(await shows("Delay", "Rate", "From"), [0, 0, 1]);
    await target("traffic").check();
    assert.deepEqual(await modes(), Object.keys(requests), "a class of requests cannot be cut off alone");
    await page.getByText(/acts on 100 % of the requests/).waitFor();
    await page.getByLabel("Keep until somebody ends it").check();
    await page.getByText(/Begins at once, without an end/).waitFor();
    await close(page);
    await service.stop();
  },

  "proxies, TLS and the process are faulted, seen at work, switched off and ended": async () => {
    const echo = createServer((socket) => socket.on("error", () => {}).pipe(socket));
    await new Promise((done) => echo.listen(0, "127.0.0.1", done));
    const service = await start({ PROXIES: `db=127.0.0.1:0->127.0.0.1:${echo.address().port}`, FAULTS: "faults: [{name: rare, target: db, mode: reset, rate: 0%}]", MEMORY_SIZE: "2MiB" });
    const proxies = (await service.api("GET", "proxies")).proxies;
    const port = Number(proxies[0].address.split(":").pop());
    const page = await open(service.url);
    await ready(page);
    assert.equal(await exchange(port), "hello\n");
    const tile = page.getByRole("article", { name: /^db: / });
    await tile.getByText("completed × 1").waitFor();
    assert.match(await tile.innerText(), /TCP|proxy/i);
    assert.deepEqual(await tile.locator("dt").allInnerTexts(), ["conn/s", "errors/s", "open", "bytes/s"]);
    await page.getByText(/0 % of the connections/).waitFor();
    const add = async (choose) => {
      await page.getByRole("button", { name: "Add a rule" }).click();
      await choose();
      await page.getByText(/Begins at once/).waitFor();
      await page.getByRole("button", { name: "Apply" }).click();
      await page.getByRole("dialog").waitFor({ state: "detached" });
    };
    await add(async () => {
      await page.getByRole("checkbox", { name: "db TCP" }).check();
      await page.getByLabel("Mode", { exact: true }).selectOption("reset");
    });
    await tile.getByText(/rules? active|down by a rule/).waitFor();
    assert.notEqual(await exchange(port), "hello\n");
    await tile.getByText("fault × 1").waitFor();
    await until("the injection is counted", async () => (await page.locator("tr", { hasText: "db-reset" }).locator("td[data-label=injected]").innerText()) === "1");
    await page.getByRole("cell", { name: /db-reset: connection 2 to db: reset/ }).first().waitFor();
    await page.getByRole("button", { name: "End db-reset" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
    await page.getByRole("rowheader", { name: /db-reset/ }).waitFor({ state: "detached" });
    assert.equal(await exchange(port), "hello\n");

    await page.getByRole("button", { name: "Edit rare" }).click();
    await page.getByLabel("Rate", { exact: true }).fill("100%");
    await page.getByText(/acts on 100 % of the connections/).waitFor();
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.notEqual(await exchange(port), "hello\n");
    await page.getByRole("button", { name: "End rare" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "End" }).click();
    await page.getByRole("rowheader", { name: /rare/ }).waitFor({ state: "detached" });
    assert.equal(await exchange(port), "hello\n");

    await add(async () => {
      await page.getByRole("checkbox", { name: "db TCP" }).check();
      await page.getByLabel("Mode", { exact: true }).selectOption("refuse");
    });
    await tile.getByText("cut: refused").waitFor();
    await until("connections are refused", async () => (await exchange(port)) === "ECONNREFUSED");
    await until("memory is held", async () => (await (await fetch(`${service.url}metrics`)).text()).includes("probesim_process_memory_bytes 2097152"));
    await page.getByRole("button", { name: "Switch off process-memory" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Switch off" }).click();
    await until("memory is released", async () => (await (await fetch(`${service.url}metrics`)).text()).includes("probesim_process_memory_bytes 0"));
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByRole("button", { name: "Stop everything" }).click();
    await page.getByRole("button", { name: "Done" }).click();
    await until("the proxy is open again", async () => (await exchange(port)) === "hello\n");
    await close(page);
    await service.stop();
    echo.close();
  },

  "a stop ends everything, says what it released and what comes back": async () => {
    const service = await start({ READINESS_FAILURE_RATE: "100", MEMORY_SIZE: "8MiB" });
    const page = await open(service.url);
    await ready(page);
    await until("memory is held", async () => (await (await fetch(`${service.url}metrics`)).text()).includes("probesim_process_memory_bytes 8388608"));
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByRole("button", { name: "Stop everything" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("2 active rules; 8 MiB of memory.").waitFor();
    await dialog.getByText(/^environment, 2 rules/).waitFor();
    assert.match(await dialog.locator("code").innerText(), /READINESS_FAILURE_RATE/);
    await page.getByRole("button", { name: "Done" }).click();
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 200);
    await page.getByText(/no rule of any source is in force/).waitFor();
    assert.match(await page.title(), /stopped/);
    await page.getByRole("button", { name: "Resume" }).click();
    await until("rules are back", async () => (await fetch(`${service.probe}/readyz`)).status === 500);
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor();
    await close(page);
    await service.stop();
  },

  "a rule of another source is switched off, and Reset brings it back": async () => {
    const service = await start({ READINESS_FAILURE_RATE: "100" });
    const page = await open(service.url);
    await ready(page);
    await page.getByRole("button", { name: /^Switch off/ }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Switch off" }).click();
    await page.getByText("1 rule is hidden by stronger sources").click();
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 200);
    await page.getByRole("button", { name: "Reset" }).click();
    await page.getByLabel("Restart all windows").check();
    await page.getByRole("dialog").getByRole("button", { name: "Reset" }).click();
    await page.getByRole("button", { name: /^Switch off/ }).waitFor();
    assert.equal((await fetch(`${service.probe}/readyz`)).status, 500);
    await close(page);
    await service.stop();
  },

  "a plan is exported, and imported as YAML; a wrong one is refused in words": async () => {
    const service = await start();
    await service.api("PUT", "faults/complex", COMPLEX);
    const page = await open(service.url);
    await ready(page);
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Export" }).click()]);
    const path = await file.path();
    assert.match(file.suggestedFilename(), /^probesim-web-0-.*\.yaml$/);
    const before = (await service.api("GET", "faults")).faults.map(({ ttl, ...rule }) => rule);
    await service.api("POST", "reset");
    await page.getByRole("button", { name: "Import" }).click();
    await page.getByLabel("Plan", { exact: true }).fill("faults: [{name: x, target: nobody, mode: status}]");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByRole("alert").getByText(/nobody/).first().waitFor();
    await page.getByLabel("File, YAML or JSON").setInputFiles({ name: "plan.yaml", mimeType: "application/yaml", buffer: readFileSync(path) });
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.deepEqual((await service.api("GET", "faults")).faults, before);
    await close(page);
    await service.stop();
  },

  "an exported plan takes its proxies and seed to another service": async () => {
    const [one, two] = [await start({ ...WITH_PROXIES, SEED: "18446744073709551615" }), await start()];
    await one.api("PUT", "proxies/cache", { listen: "127.0.0.1:0", upstream: "tls://cache.example:6380", insecure: true });
    await one.api("PUT", "faults/slow-db", { target: ["db", "cache"], delay: "30ms" });
    await one.api("PUT", "faults/stock-fails", { target: "stock", mode: "status", status: 503 });
    const pages = [await open(one.url), await open(two.url)];
    await Promise.all(pages.map(ready));
    const [file] = await Promise.all([pages[0].waitForEvent("download"), pages[0].getByRole("button", { name: "Export" }).click()]);
    await pages[1].getByRole("button", { name: "Import" }).click();
    await pages[1].getByLabel("File, YAML or JSON").setInputFiles(await file.path());
    await pages[1].getByRole("button", { name: "Apply" }).click();
    await pages[1].getByRole("dialog").waitFor({ state: "detached" });
    const plan = async (of) => (await fetch(`${of.url}v1/plan`)).text();
    assert.equal(await plan(two), await plan(one));
    await pages[1].getByRole("article", { name: /^cache: / }).waitFor();
    await close(...pages);
    await one.stop();
    await two.stop();
  },

  "two tabs see each other's changes, and do not overwrite them unseen": async () => {
    const service = await start();
    await service.api("PUT", "faults/shared", { target: "readiness", mode: "status" });
    const [one, two] = [await open(service.url), await open(service.url)];
    await Promise.all([ready(one), ready(two)]);
    await one.getByRole("button", { name: "Edit shared" }).click();
    await two.getByRole("button", { name: "Edit shared" }).click();
    await two.getByLabel("Status", { exact: true }).fill("418");
    await two.getByRole("button", { name: "Apply" }).click();
    await two.getByRole("cell", { name: /status 418/ }).waitFor();
    await service.api("PUT", "faults/other", { target: "liveness", mode: "hang" });
    await one.getByRole("rowheader", { name: /other/, includeHidden: true }).waitFor();
    await one.getByRole("button", { name: "Apply" }).click();
    await one.getByText(/The plan has changed in the meantime/).waitFor();
    assert.equal((await service.api("GET", "faults/shared")).status, 418);
    await close(one, two);
    await service.stop();
  },

  "a service that restarts under the page is said to be gone, and found again": async () => {
    const service = await start({ STATE_DIR: join(folder, "state") });
    const page = await open(service.url);
    await ready(page);
    await service.api("PUT", "faults/x", { target: "readiness", mode: "status" });
    await page.getByRole("rowheader", { name: /x/ }).waitFor();
    await service.stop();
    await page.getByText("The service does not answer.").waitFor();
    const again = await start({ STATE_DIR: join(folder, "state") }, service.admin);
    await ready(page);
    await page.getByText(/start 2/).first().waitFor();
    await again.api("PUT", "faults/y", { target: "readiness", mode: "status" });
    await page.getByRole("cell", { name: "the service has started anew" }).waitFor();
    await page.getByRole("rowheader", { name: /y/ }).waitFor();
    await close(page);
    await again.stop();
  },

  "a token is asked for, kept for the tab alone and never in a URL; behind a proxy with a prefix, too": async () => {
    const service = await start({ ADMIN_TOKEN: "se cret" });
    const prefix = "/api/v1/namespaces/shop/pods/web-0:8081/proxy";
    // Like the API server's proxy: it removes Authorization, and its Host is not the browser's.
    const proxy = http.createServer((request, response) => {
      const { authorization, ...headers } = request.headers;
      const options = { host: "127.0.0.1", port: service.admin.split(":")[1], method: request.method, path: request.url.replace(prefix, ""), headers: { ...headers, host: "10.0.0.1:8081", "x-forwarded-for": "10.0.0.9" } };
      const forwarded = http.request(options, (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      forwarded.on("error", () => response.destroy());
      response.on("close", () => forwarded.destroy());
      request.pipe(forwarded);
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    for (const url of [service.url, `http://127.0.0.1:${proxy.address().port}${prefix}/`]) {
      const urls = [];
      const page = await open(url, {}, (of) => of.on("request", (request) => urls.push(request.url())));
      const field = page.getByLabel(/Token of the service/);
      await field.fill("wrong");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByRole("dialog").getByText("the token is wrong").waitFor();
      await field.fill("se cret");
      await page.keyboard.press("Enter");
      await ready(page);
      await page.getByRole("button", { name: "Stop", exact: true }).click();
      await page.getByRole("button", { name: "Stop everything" }).click();
      await page.getByRole("button", { name: "Done" }).click();
      await page.getByRole("button", { name: "Resume" }).click();
      await page.getByRole("button", { name: "Stop", exact: true }).waitFor();
      await page.getByRole("cell", { name: /resumed: rules are in force again/ }).first().waitFor();
      assert.equal(urls.some((of) => /cret/.test(of)), false);
      assert.deepEqual(await page.evaluate(() => [document.cookie, Object.keys(localStorage), Object.keys(sessionStorage)]), ["", [], ["probesim-token"]]);
      await close(page);
    }
    proxy.closeAllConnections();
    proxy.close();
    await service.stop();
  },

  "a plan of 1,000 rules is shown, filtered and steered": async () => {
    const faults = Array.from({ length: 1000 }, (_, at) => ({ name: `rule-${at}`, target: "traffic", mode: "status", rate: "1%", when: { after: `${at}s`, for: "10s", every: "1h" } }));
    const path = join(folder, "thousand");
    writeFileSync(path, JSON.stringify({ faults }));
    const service = await start({ FAULTS_FILE: path });
    const page = await open(service.url);
    await ready(page);
    assert.equal(await page.locator(".rules tbody tr").count(), 100);
    await page.getByRole("button", { name: "Show 100 more of 900" }).click();
    assert.equal(await page.locator(".rules tbody tr").count(), 200);
    await page.getByLabel("Filter rules").fill("rule-777");
    const row = page.locator(".rules tbody tr");
    await until("one row is left", async () => (await row.count()) === 1);
    await page.getByRole("button", { name: "Switch off rule-777" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Switch off" }).click();
    await page.getByText("No rule matches the filter.").waitFor();
    await close(page);
    await service.stop();
  },

  "a clock that is an hour off is said, and windows are where they are": async () => {
    const service = await start({ READINESS_FAIL_AFTER_TIME: "120", READINESS_FAIL_FOR: "30" });
    const page = await open(service.url, {}, (of) => of.addInitScript(() => {
      const { now } = Date;
      Date.now = () => now() + 3600e3;
    }));
    await ready(page);
    await page.getByText(/The clock of the service is 1 h behind that of this browser/).waitFor();
    const left = await page.locator(".next b").innerText();
    assert.match(left, /^(1:[45]\d|2:00)$/);
    const { x, future } = await page.evaluate(() => ({ x: Number(document.querySelector(".timeline .band").getAttribute("x")), future: Number(document.querySelector(".timeline .now").getAttribute("x1")) }));
    assert(x > future && x < future + 120, `${x} ${future}`);
    await close(page);
    await service.stop();
  },

  "a slow network delays the page and breaks nothing": async () => {
    const service = await start();
    const page = await open(service.url, {}, async (of, context) => {
      const session = await context.newCDPSession(of);
      await session.send("Network.enable");
      await session.send("Network.emulateNetworkConditions", { offline: false, latency: 400, downloadThroughput: 40e3, uploadThroughput: 20e3 });
    });
    await ready(page);
    await page.getByRole("button", { name: "Add a rule" }).click();
    await page.getByText(/Begins at once/).waitFor();
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByRole("rowheader", { name: /readiness-status/ }).waitFor();
    await close(page);
    await service.stop();
  },

  "24 hours of events and samples do not grow the tab's memory": async () => {
    const service = await start();
    const page = await open(service.url);
    await ready(page);
    const session = await page.context().newCDPSession(page);
    // The least of five readings: the browser compiles and drops code in between.
    const heap = async () => {
      const sizes = [];
      for (let reading = 0; reading < 5; reading += 1) {
        await session.send("HeapProfiler.collectGarbage");
        sizes.push((await session.send("Runtime.getHeapUsage")).usedSize);
        await page.waitForTimeout(300);
      }
      return Math.min(...sizes);
    };
    // Ten injections per second for this many hours, with samples and states.
    const live = (hours, from) => page.evaluate(async ([count, first]) => {
      const { store } = await import(new URL("page/store.js", document.baseURI));
      const process = "1";
      for (let at = 0; at < count; at += 1) {
        const number = first + at;
        const what = at % 100 ? { kind: "injection", fault: `rule-${at % 50}`, target: "traffic", client: "other", number, mode: "status", delay_ms: 0 } : { kind: "plan", generation: number, source: "api", by: "api", change: `put fault rule-${number}`, rules: 3 };
        store.heard({ id: `${process}-${number}`, time: new Date(store.now()).toISOString(), ...what });
        if (at % 100 === 0) {
          store.samples.add({ ...store.targets, targets: store.targets.targets.map((target) => ({ ...target, durations: target.durations.map((count) => count + at) })) }, store.now() + (number / 10) * 1000);
          store.take({ ...store.state, rules: [{ name: `rule-${number}`, source: "api", active: true, selected: true, mode: "status", age: "1s", tallies: [], rule: { target: "traffic" } }] });
        }
        if (at % 20000 === 0) await new Promise((done) => setTimeout(done));
      }
    }, [hours * 36000, from]);
    await live(2, 1);
    const before = await heap();
    await live(22, 72001);
    await page.waitForTimeout(500);
    const grown = (await heap()) - before;
    console.log(`    ${(before / 1e6).toFixed(1)} MB after two hours, ${(grown / 1e6).toFixed(2)} MB more after a day`);
    assert(grown < 1e6, `${grown} bytes more`);
    assert((await page.locator("*").count()) < 6000);
    await close(page);
    await service.stop();
  },

  "names, screens, colours, print: accessible and without overflow from 320 to 2,560 px": async () => {
    const service = await start({ READINESS_FAILURE_RATE: "100", LATENCY: "30", PROXIES: "a-proxy-with-a-rather-long-name=127.0.0.1:0->http://127.0.0.1:9" });
    await service.api("PUT", "faults/complex", COMPLEX);
    for (let round = 0; round < 20; round += 1) await fetch(`${service.probe}/readyz`);
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(service.url, { colorScheme });
      await ready(page);
      await page.getByText(/active/).first().waitFor();
      await accessible(page);
      await page.getByRole("button", { name: "Edit complex" }).click();
      await page.getByText(/acts on 20 %/).waitFor();
      await accessible(page);
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByRole("button", { name: "Stop", exact: true }).click();
      await accessible(page);
      await page.keyboard.press("Escape");
      for (const width of [320, 480, 768, 1024, 1600, 2560]) {
        await page.setViewportSize({ width, height: 800 });
        await page.waitForTimeout(50);
        const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert(await overflow() <= 0, `${width} px: ${await overflow()} px too wide`);
        if (width === 320) {
          await page.getByRole("button", { name: "Add a rule" }).click();
          const box = await page.getByRole("dialog").evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth);
          assert(box <= 0, "the form fits");
          await page.keyboard.press("Escape");
        }
      }
      await page.emulateMedia({ media: "print" });
      assert.equal(await page.getByRole("button", { name: "Add a rule" }).count(), 0, "print has no buttons");
      assert((await page.pdf()).length > 5000);
      await close(page);
    }
    await service.stop();
  },

  "the timeline moves by itself, and pauses while one looks back": async () => {
    const service = await start({ READINESS_FAIL_AFTER_TIME: "20", READINESS_FAIL_FOR: "10", READINESS_FAIL_EVERY: "60" });
    const page = await open(service.url);
    await ready(page);
    const band = page.locator(".timeline .band.coming").last();
    const at = async () => Number(await band.getAttribute("x"));
    await page.getByRole("button", { name: "10 min" }).click();
    const before = await at();
    await until("it moves", async () => (await at()) < before);
    const timeline = page.getByRole("group", { name: /^Timeline/ });
    await timeline.focus();
    await page.keyboard.press("ArrowLeft");
    await page.getByText("paused", { exact: true }).waitFor();
    const held = await at();
    await page.waitForTimeout(1500);
    assert.equal(await at(), held);
    await page.keyboard.press("Home");
    await page.getByText("paused", { exact: true }).waitFor({ state: "detached" });
    const box = await timeline.boundingBox();
    await page.mouse.move(box.x + 600, box.y + 40);
    await page.mouse.down();
    await page.mouse.move(box.x + 700, box.y + 40, { steps: 4 });
    await page.mouse.up();
    await page.getByText("paused", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Now", exact: true }).click();
    for (const range of ["6 h", "24 h", "1 h"]) await page.getByRole("button", { name: range, exact: true }).click();
    await page.getByRole("button", { name: "Earlier" }).click();
    await page.getByRole("button", { name: "Later" }).click();
    await close(page);
    await service.stop();
  },

  "the log is filtered and paused, and the report holds what was asked and injected": async () => {
    const service = await start();
    const page = await open(service.url);
    await ready(page);
    await service.api("PUT", "faults/down", { target: "readiness", mode: "status", rate: "50%" });
    await page.getByRole("rowheader", { name: /down/ }).waitFor();
    for (let round = 0; round < 8; round += 1) await fetch(`${service.probe}/readyz`);
    const events = page.locator(".events tbody tr");
    await until("injections are listed", async () => (await events.count()) > 2);
    await page.getByRole("button", { name: "injection", exact: true }).click();
    await until("one is left", async () => (await events.count()) === 1);
    await page.getByLabel("Filter events").fill("nothing like this");
    await page.getByText("No event matches the filter.").waitFor();
    await page.getByLabel("Filter events").fill("");
    await page.getByRole("button", { name: "Pause" }).click();
    await until("the counts are known", async () => (await page.locator("td[data-label=eligible]").innerText()) === "8");
    await service.api("DELETE", "faults/down");
    await page.getByText("No rule is in force: everything").waitFor();
    assert.equal(await events.count(), 1, "paused");
    await page.getByRole("button", { name: "Follow" }).click();
    await until("it follows", async () => (await events.count()) === 2);
    const save = async (name) => {
      const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
      return readFileSync(await file.path(), "utf8");
    };
    const report = JSON.parse(await save("Report (JSON)"));
    const [rule] = report.rules;
    assert.deepEqual([rule.name, rule.rate_asked_percent, rule.eligible, report.identity.pod], ["down", 50, 8, "web-0"]);
    assert(rule.ended > rule.since && rule.injected > 0 && rule.injected < 8, JSON.stringify(rule));
    assert(report.events.some((event) => event.kind === "injection"));
    const text = await save("Report (HTML)");
    const copy = await open("about:blank");
    await copy.setContent(text);
    assert.match(await copy.innerText("body"), /shop\/web-0[\s\S]*down[\s\S]*delete fault down/);
    await close(page, copy);
    await service.stop();
  },

  "nothing that a client sends becomes markup": async () => {
    const evil = "<img src=x onerror=hacked=1><script>hacked=1</script>";
    const service = await start({ POD_NAME: evil, NODE_NAME: evil });
    const page = await open(service.url);
    await ready(page);
    await service.api("PUT", "faults/hostile", { target: "traffic", mode: "status", body_text: evil, match: { headers: { "X-Evil": evil }, query: { [evil]: evil } }, headers: { "X-Answer": evil } });
    await page.getByRole("rowheader", { name: /hostile/ }).waitFor();
    await service.api("PUT", "faults/hostile2", { target: evil, mode: evil, [evil]: evil });
    await fetch(`${service.probe}/${encodeURIComponent(evil)}?${encodeURIComponent(evil)}=${encodeURIComponent(evil)}`, { headers: { "X-Evil": evil, "User-Agent": evil, Referer: evil } });
    await page.getByRole("cell", { name: /refused: / }).waitFor();
    await page.getByRole("button", { name: "Edit hostile" }).click();
    for (const way of ["fault", "annotate", "curl", "YAML"]) await page.getByRole("button", { name: way, exact: true }).click();
    await page.getByLabel("Body text").fill(evil + evil);
    await page.getByText(/Begins at once/).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    const found = () => ({ hacked: globalThis.hacked ?? null, elements: document.querySelectorAll("img, iframe, script:not([src]), [onerror]").length });
    assert.deepEqual(await page.evaluate(found), { hacked: null, elements: 0 });
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Report (HTML)" }).click()]);
    const report = readFileSync(await file.path(), "utf8");
    assert(report.includes("&#60;img"));
    const copy = await open("about:blank");
    await copy.setContent(report);
    assert.deepEqual(await copy.evaluate(found), { hacked: null, elements: 0 });
    await close(page, copy);
    await service.stop();
  },
};

let failed = 0;
for (const [name, run] of Object.entries(tests)) {
  if (only && !name.includes(only)) continue;
  const began = Date.now();
  try {
    await run();
    console.log(`ok   ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${error.stack}`);
    for (const context of browser.contexts()) {
      for (const page of context.pages()) {
        console.log(`    console: ${(page.wrong || []).join("\n")}`);
        if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `failed-${failed}.png`) }).catch(() => {});
      }
      await context.close();
    }
    for (const service of services) service.kill("SIGKILL");
  }
}
await browser.close();
for (const service of services) service.kill("SIGKILL");
rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
