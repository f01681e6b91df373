"""How the cost grows: with rules, connections, proxies, event streams, worker threads, Pods and hours."""

import contextlib
import json
import socket
import time
import urllib.request

from .. import machine, server
from ..context import Samples
from ..load import client
from ..plot import Line, Plot
from ..services import ROOMY
from ..stats import spread, summary
from ..table import markdown
from . import footprint, predict

TITLE = "How the cost grows"

RULES = (0, 1, 10, 100, 1_000)
CONNECTIONS = (1, 10, 100, 1_000, 10_000)
# 58 is the most that a process has.
PROXIES = (0, 1, 10, 58)
# 16 is the most that are served.
STREAMS = (0, 1, 4, 16)
THREADS = (1, 2)
PODS = (1, 10, 100, 1_000, 10_000, 100_000)
POD_SECONDS = 30
HOURS = (1, 6, 24, 168)
HOURS_PODS = 5

# Connections of the load that measures CPU time per request.
LOAD = 32
REQUESTS = 40_000


def run(context):
    parts = {"rules": rules, "matches": matches, "connections": connections, "proxies": proxies, "streams": streams,
             "threads": threads, "pods": pods, "hours": hours}
    samples = {name: Samples() for name in parts}
    for name in context.interleaved(parts):
        machine.say(f"growth, {name}")
        for count, figures in parts[name](context.pace):
            samples[name].add(str(count), **figures)
    return {name: {count: {figure: summary(values) for figure, values in figures.items()} for count, figures in of.all.items()}
            for name, of in samples.items()}


def probesim(core=machine.SERVER_CORE, **environment):
    """A server with an admin listener at the port `admin` of what it yields."""
    port, admin = server.free_port(), server.free_port()
    own = {**ROOMY, "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": f"127.0.0.1:{admin}", "SEED": "42"}

    @contextlib.contextmanager
    def started():
        with server.running([machine.PROGRAM], port, own | environment, core=core) as running:
            running.admin = admin
            yield running
    return started()


def cost(running, pace, connections=LOAD):
    """CPU time of the server per request over kept connections, in microseconds, and requests per second."""
    # A number of requests, not a time: a busy machine may answer none of many connections in a short time.
    requests = max(round(REQUESTS * pace), 2 * connections)
    client("cost", running.goal, connections, f"{requests // 5}r")
    before = running.cpu_seconds()
    result = client("cost", running.goal, connections, f"{requests}r")
    return {"cpu_us": (running.cpu_seconds() - before) / result["requests"] * 1e6,
            "rate": result["requests"] / result["seconds"]}


def with_rules(count, more):
    """The environment for so many rules on liveness, none of which ever acts."""
    faults = [{"name": f"r{index}", "target": "liveness", "mode": "status", "rate": "0.0001%", **more} for index in range(count)]
    file = machine.WORK / "rules.json"
    file.write_text(json.dumps({"faults": faults}))
    return {"FAULTS_FILE": str(file)}


def rules(pace):
    """Rules that are drawn for each request."""
    for count in RULES:
        with probesim(**with_rules(count, {})) as running:
            yield count, cost(running, pace) | {"resident": running.resident_bytes()}


def matches(pace):
    """Rules with a match that no request has."""
    for count in RULES:
        with probesim(**with_rules(count, {"match": {"headers": {"x-tenant": "none"}}})) as running:
            yield count, cost(running, pace) | {"resident": running.resident_bytes()}


def connections(pace):
    """Open connections: all busy, and all idle."""
    for count in CONNECTIONS:
        with probesim() as running:
            figures = cost(running, pace, count)
        with probesim() as running, contextlib.ExitStack() as stack:
            time.sleep(footprint.REST)
            before = running.resident_bytes()
            for opened in range(count):
                stream = stack.enter_context(socket.create_connection((running.host, running.port), timeout=20))
                stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n")
                # Not more than the listen backlog holds.
                if opened % 100 == 99:
                    time.sleep(0.002)
            footprint.settle(running, count)
            time.sleep(footprint.LONG_REST)
            yield count, figures | {"held": running.resident_bytes() - before}


def proxies(pace):
    """TCP proxies that nobody uses."""
    for count in PROXIES:
        names = [f"p{index}=127.0.0.1:0->127.0.0.1:1" for index in range(count)]
        with probesim(**({"PROXIES": ", ".join(names)} if names else {})) as running:
            time.sleep(footprint.REST)
            yield count, {"resident": running.resident_bytes()} | cost(running, pace)


def streams(pace):
    """Streams of events, while each change of the plan is an event on all of them."""
    for count in STREAMS:
        with probesim() as running, contextlib.ExitStack() as stack:
            time.sleep(footprint.REST)
            before = running.resident_bytes()
            for _ in range(count):
                stream = stack.enter_context(socket.create_connection((running.host, running.admin), timeout=20))
                stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
                stream.recv(4096)
            time.sleep(footprint.REST)
            held = running.resident_bytes() - before
            changes = max(10, round(50 * pace))
            cpu = running.cpu_seconds()
            for turn in range(changes):
                change(running.admin, turn)
            yield count, {"held": held, "change_us": (running.cpu_seconds() - cpu) / changes * 1e6} | cost(running, pace)


def change(port, turn):
    rule = json.dumps({"target": "readiness", "mode": "status", "rate": f"{turn % 9 + 1}%"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/faults/turn", rule, {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def threads(pace):
    """Worker threads, on all cores; the client shares one of them."""
    for count in THREADS:
        with probesim(core=",".join(map(str, machine.CORES)), WORKER_THREADS=str(count), **with_rules(10, {})) as running:
            yield count, cost(running, pace)


def pods(pace):
    file = manifest()
    for count in PODS:
        seconds = max(1, round(POD_SECONDS * pace))
        found = predict.measure(file, count, seconds)
        # With less time than a full run, the figure is brought to the same length.
        yield count, {"cpu_s": found["cpu"] * POD_SECONDS / seconds, "resident": found["resident"]}


def hours(pace):
    file = manifest()
    for count in HOURS:
        seconds = max(1, round(count * 3600 * pace))
        found = predict.measure(file, HOURS_PODS, seconds)
        yield count, {"cpu_s": found["cpu"] * count * 3600 / seconds, "resident": found["resident"]}


def manifest():
    file = machine.WORK / "deployment.yaml"
    file.write_text(predict.MANIFEST)
    return file


def plots(data):
    """The pictures beside the report, by file name."""
    def line(part, figure, name, scale=1.0):
        return Line(name, [(float(count), of[figure]["median"] * scale) for count, of in data[part].items() if float(count) > 0])
    return {
        "growth-requests.svg": Plot(
            "CPU time of a request", "µs", "rules or connections",
            [line("rules", "cpu_us", "rules"), line("matches", "cpu_us", "rules with a match"),
             line("connections", "cpu_us", "busy connections")]).svg(),
        "growth-predict.svg": Plot(
            "CPU time of predict", "s", f"Pods for {POD_SECONDS} s, or hours of {HOURS_PODS} Pods",
            [line("pods", "cpu_s", "Pods"), line("hours", "cpu_s", "hours")]).svg(),
    }


def tables(data):
    """All tables."""
    kib, mib = 1 / 1024, 1 / (1 << 20)
    cpu, resident, rate = ("CPU per request, µs", "cpu_us", 1), ("resident, MiB", "resident", mib), ("requests/s", "rate", 1)
    wanted = [
        ("rules", "rules, none acts", [cpu, resident]),
        ("matches", "rules with a match, none acts", [cpu, resident]),
        ("connections", "connections", [cpu, rate, ("idle: held, KiB", "held", kib)]),
        ("proxies", "TCP proxies, unused", [cpu, resident]),
        ("streams", "event streams", [("CPU per change of the plan, µs", "change_us", 1), cpu, ("held, KiB", "held", kib)]),
        ("threads", "worker threads, ten rules", [cpu, rate]),
        ("pods", f"Pods predicted for {POD_SECONDS} s", [("CPU, s", "cpu_s", 1), resident]),
        ("hours", f"hours predicted for {HOURS_PODS} Pods", [("CPU, s", "cpu_s", 1), resident]),
    ]
    parts = []
    for part, head, figures in wanted:
        rows = [[f"{int(count):,}", *(spread(of[figure], scale) for _, figure, scale in figures)] for count, of in data[part].items()]
        parts.append(markdown([head, *(name for name, _, _ in figures)], rows))
    return "\n".join(parts)


def report(data):
    return f"""\
![CPU time of a request](growth-requests.svg)

![CPU time of predict](growth-predict.svg)

{tables(data)}
CPU time is that of the server, with {LOAD} kept connections unless the table says otherwise. Rules of the first table are drawn for each
request, those with a match look at a header field. Idle connections have had one request. Two worker threads share the two cores with
the client. Predicted are two probes of each Pod every second, a fifth of which fail.
"""
