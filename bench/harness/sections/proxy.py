"""The cost of a reverse proxy in front of nginx, compared with HAProxy and Envoy."""

import contextlib
import http.client
import os
import re
import resource
import socket
import statistics
import time

from .. import machine, server
from ..context import Samples
from ..services import OURS, rendered
from ..stats import spread, summary
from ..table import markdown

TITLE = "An application behind it"

CONNECTIONS = 32
TEN, LATE, HAPROXY, ENVOY = f"{OURS}, ten rules", f"{OURS}, 50 ms", "HAProxy", "Envoy"
LARGE_BYTES = 1 << 30
DELAY_MS = 50
WAITING = 1_000

# Three with a match, seven without; none acts on a request that is made.
TEN_RULES = "{faults: [%s]}" % ", ".join(
    [f"{{name: m{number}, target: traffic, match: {{path: /none{number}/*}}, mode: status}}" for number in range(3)]
    + [f"{{name: r{number}, target: traffic, mode: status, when: {{after: 1d}}}}" for number in range(7)])
LATE_RULE = f"{{faults: [{{name: late, target: traffic, delay: {DELAY_MS}ms}}]}}"


@contextlib.contextmanager
def upstream(before=(), address="127.0.0.1", host="127.0.0.1"):
    """nginx, on the core of the clients, and within a network namespace if that is what the words `before` do."""
    port = server.free_port()
    file = rendered("upstream.conf", port, ADDRESS=address)
    (file.parent / "small").write_text("hello\n")
    with open(file.parent / "large", "wb") as large:
        large.truncate(LARGE_BYTES)
    command = [*before, machine.tool("nginx"), "-c", file, "-p", file.parent, "-e", "stderr"]
    with server.running(command, port, core=machine.CLIENT_CORE, host=host) as running:
        yield running


def ours(behind, **environment):
    port = server.free_port()
    own = {"PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", "SEED": "42", "LOG_LEVEL": "warn",
           "MAX_CONNECTIONS": "4096", "UPSTREAM": f"http://127.0.0.1:{behind.port}"}
    return server.running([machine.PROGRAM], port, own | environment)


def haproxy(behind):
    port = server.free_port()
    return server.running([machine.tool("haproxy"), "-db", "-f", rendered("proxy.cfg", port, UPSTREAM=behind.port)], port)


def envoy(behind):
    port = server.free_port()
    file = rendered("envoy-proxy.yaml", port, UPSTREAM=behind.port)
    return server.running([machine.envoy(), "-c", file, "--concurrency", 1, "--disable-hot-restart", "-l", "off"], port)


def run(context):
    proxies = {OURS: ours, TEN: lambda behind: ours(behind, FAULTS=TEN_RULES)}
    if machine.tool("haproxy"):
        proxies[HAPROXY] = haproxy
    if machine.envoy():
        proxies[ENVOY] = envoy
    samples = Samples()
    with upstream() as behind:
        for name in context.interleaved(proxies):
            with proxies[name](behind) as running:
                machine.say(f"proxy, {name}")
                samples.add(name, idle=running.resident_bytes() / 1024)
                samples.add(name, cpu_us=per_request(running, context.pace))
                if name != TEN:
                    added = latency(running, "/small") - latency(behind, "/small")
                    samples.add(name, cpu_per_gb=per_gigabyte(running), added_us=added)
            if name == OURS:
                samples.add(LATE, error_us=error_of_delay())
        samples.add(OURS, waiting=memory_of_waiting())
    return {name: {figure: summary(values) for figure, values in figures.items()} for name, figures in samples.all.items()}


def per_request(running, pace):
    """CPU time of the proxy per request, in microseconds; connections are kept on both sides."""
    command = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.tool("wrk"), "-t1", f"-c{CONNECTIONS}",
               f"-d{max(1, round(2 * pace))}s", f"http://{running.host}:{running.port}/small"]
    machine.note(command)
    before = running.cpu_seconds()
    requests = re.search(r"(\d+) requests in", machine.output(*command))
    return (running.cpu_seconds() - before) / int(requests[1]) * 1e6


def per_gigabyte(running):
    """CPU seconds of the proxy for a body of 1 GB."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    before = running.cpu_seconds()
    connection.request("GET", "/large")
    answer, read = connection.getresponse(), 0
    while piece := answer.read(1 << 20):
        read += len(piece)
    return (running.cpu_seconds() - before) / read * 1e9


def latency(running, path, requests=1_000, pause=0.0):
    """The median time of a request of one client that pauses before each, in microseconds."""
    connection, times = http.client.HTTPConnection(running.host, running.port, timeout=60), []
    for _ in range(requests):
        time.sleep(pause)
        began = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(times) * 1e6


@contextlib.contextmanager
def real_time():
    """This process and those that it starts go before others, where that is allowed: others are no part of the error."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    except PermissionError:
        machine.say("without real-time priority, others on the machine count as errors of the delay")
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def error_of_delay(requests=100):
    """By how much the median is later than the delay, in microseconds. The way through the proxy, measured without a rule and at
    the same pace, is not part of the error."""
    with real_time(), upstream() as behind:
        with ours(behind) as plain:
            way = latency(plain, "/small", requests, DELAY_MS / 1e3)
        with ours(behind, FAULTS=LATE_RULE) as late:
            return latency(late, "/small", requests) - way - DELAY_MS * 1e3


class Silent:
    """An upstream that never answers: only the kernel accepts its connections."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]


def memory_of_waiting():
    """Memory per request that waits for its upstream, in KiB, both sides together."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    silent = Silent()
    with ours(silent, UPSTREAM_PROBES="false") as running:
        before, clients = running.resident_bytes(), []
        for number in range(WAITING):
            client = socket.create_connection(("127.0.0.1", running.port))
            client.sendall(b"GET /%d HTTP/1.1\r\nHost: bench\r\nX-Filling: %s\r\n\r\n" % (number, b"x" * 700))
            clients.append(client)
        time.sleep(1)
        grown = running.resident_bytes() - before
        for client in clients:
            client.close()
    silent.listener.close()
    return grown / 1024 / WAITING


def report(data):
    figures = {"cpu_us": "CPU per request, µs", "cpu_per_gb": "CPU per GB, s", "added_us": "added at the median, µs",
               "error_us": f"error of {DELAY_MS} ms, µs", "idle": "idle, KiB", "waiting": f"each of {WAITING:,} waiting, KiB"}
    rows = [[name, *(spread(of[figure]) if figure in of else "" for figure in figures)] for name, of in data.items()]
    return f"""\
{markdown(["", *figures.values()], rows)}

nginx answers behind each proxy, with {CONNECTIONS} connections that are kept on both sides, or one client for the latency. Of the ten
rules, three have a match; none acts on a request that is made.
"""
