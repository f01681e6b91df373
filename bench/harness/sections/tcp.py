"""The cost of a TCP proxy in front of nginx, compared with HAProxy in TCP mode and noxious, and how exact its rules are."""

import contextlib
import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time

from .. import machine, server
from ..context import Samples
from ..services import OURS, rendered
from ..stats import ratio, spread, summary
from ..table import markdown
from .proxy import HAPROXY, Silent, latency, per_gigabyte, real_time, upstream

TITLE = "TCP proxies"

NOXIOUS = "noxious"
NOXIOUS_ROOT = machine.WORK / "noxious"
DELAY_MS = 30
DELAYED = f"{OURS}, {DELAY_MS} ms"
THROTTLED = f"{OURS}, 1 MiB/s"
CONNECTIONS, IDLE = 16, 1_000
DELAY_RULE = f"{{faults: [{{name: late, target: tcp, delay: {DELAY_MS}ms}}]}}"
THROTTLE_RULE = "{faults: [{name: narrow, target: tcp, mode: throttle, speed: 1MiB}]}"


def ours(behind, path="/healthz", **environment):
    port, probe = server.free_port(), server.free_port()
    own = {"PORT": str(probe), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", "SEED": "42",
           "LOG_LEVEL": "warn", "MAX_CONNECTIONS": "4096", "PROXIES": f"tcp=127.0.0.1:{port}->127.0.0.1:{behind.port}"}
    return server.running([machine.PROGRAM], port, own | environment, path)


def haproxy(behind, path="/healthz"):
    port = server.free_port()
    file = rendered("tcp.cfg", port, UPSTREAM=behind.port)
    return server.running([machine.tool("haproxy"), "-db", "-f", file], port, path=path)


def noxious(behind, path="/healthz"):
    port, api = server.free_port(), server.free_port()
    file = machine.WORK / f"noxious-{port}.json"
    proxy = {"name": "tcp", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{behind.port}"}
    file.write_text(json.dumps([proxy]))
    # One worker thread, as it has one core.
    own = {"TOKIO_WORKER_THREADS": "1", "RUST_LOG": "error"}
    return server.running([installed_noxious(), "--port", str(api), "--config", file], port, own, path)


def installed_noxious():
    """The server of noxious; None if it cannot be built. It is not on crates.io (its manifest says `publish = false`)."""
    program = NOXIOUS_ROOT / "bin" / "noxious-server"
    if not program.exists():
        machine.say("install noxious-server")
        command = ["cargo", "install", "--quiet", "--root", NOXIOUS_ROOT, "noxious-server",
                   "--git", "https://github.com/oguzbilgener/noxious"]
        subprocess.run(command, check=False, stdout=sys.stderr)
    return program if program.exists() else None


def run(context):
    proxies = {OURS: ours}
    if machine.tool("haproxy"):
        proxies[HAPROXY] = haproxy
    if installed_noxious():
        proxies[NOXIOUS] = noxious
    samples = Samples()
    with upstream() as behind:
        for name in context.interleaved(proxies):
            with proxies[name](behind) as running:
                machine.say(f"tcp, {name}")
                samples.add(name, cpu_per_gb=per_gigabyte(running), connection_us=per_connection(running, context.pace))
            samples.add(name, added_us=added(proxies[name]), idle_bytes=per_idle_connection(proxies[name]))
            if name == OURS:
                samples.add(DELAYED, **errors_of_delay(round(200 * context.pace)))
                with ours(behind, FAULTS=THROTTLE_RULE) as throttled:
                    samples.add(THROTTLED, **exactness_of_throttle(throttled, max(2, 10 * context.pace)))
    return {name: {figure: summary(values) for figure, values in figures.items()} for name, figures in samples.all.items()}


def per_connection(running, pace):
    """CPU time of the proxy per connection with one request, in microseconds."""
    command = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.tool("wrk"), "-t1", f"-c{CONNECTIONS}",
               f"-d{max(1, round(2 * pace))}s", "-H", "Connection: close", f"http://127.0.0.1:{running.port}/small"]
    machine.note(command)
    before = running.cpu_seconds()
    requests = re.search(r"(\d+) requests in", machine.output(*command))
    return (running.cpu_seconds() - before) / int(requests[1]) * 1e6


def added(proxy):
    """By how much the proxy makes the median of a request longer, in microseconds."""
    with real_time(), upstream() as behind, proxy(behind) as running:
        return latency(running, "/small") - latency(behind, "/small")


def per_idle_connection(proxy):
    """Memory of the proxy per connection on which nothing is sent, in bytes."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    silent = Silent()
    with proxy(silent, path=None) as running:
        before = running.resident_bytes()
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(IDLE)]
        time.sleep(1)
        grown = running.resident_bytes() - before
        for client in clients:
            client.close()
    silent.listener.close()
    return grown / IDLE


class Stamping:
    """An upstream that answers each message with the time at which it does."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.answer, args=(client,), daemon=True).start()

    @staticmethod
    def answer(client):
        with contextlib.suppress(OSError):
            while client.recv(64):
                client.sendall(time.monotonic_ns().to_bytes(8, "little"))


def ways(port, count, pause):
    """How long answers of the upstream take to the client, in microseconds, sorted."""
    times = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            time.sleep(pause)
            client.sendall(b"x")
            sent = client.recv(8)
            times.append((time.monotonic_ns() - int.from_bytes(sent, "little")) / 1e3)
    return sorted(times)


def errors_of_delay(count):
    """By how much answers are later than the delay. The way through the proxy, measured without a rule and at the same pace, is
    not part of the error."""
    with real_time():
        behind = Stamping()
        with ours(behind, path=None) as plain:
            way = statistics.median(ways(plain.port, count, DELAY_MS / 1e3))
        with ours(behind, path=None, FAULTS=DELAY_RULE) as delayed:
            errors = [time - DELAY_MS * 1e3 - way for time in ways(delayed.port, count, 0.001)]
        behind.listener.close()
    return {"error_us": statistics.median(errors), "error_99_us": errors[int(0.99 * len(errors))],
            "earliest_us": errors[0] + way}


def exactness_of_throttle(running, seconds):
    """How far the speed is from 1 MiB/s in percent, and the longest pause in milliseconds."""
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: bench\r\n\r\n")
        client.recv(1 << 20)
        began = last = time.monotonic()
        received, longest = 0, 0
        while last - began < seconds:
            received += len(client.recv(1 << 20))
            now = time.monotonic()
            longest, last = max(longest, now - last), now
    return {"speed_off_percent": abs(received / (last - began) / (1 << 20) - 1) * 100, "pause_ms": longest * 1e3}


FIGURES = {"cpu_per_gb": "CPU per GB, s", "connection_us": "CPU per connection, µs", "added_us": "added at the median, µs",
           "idle_bytes": "memory per idle connection, bytes"}
OF_RULES = {"error_us": f"error of {DELAY_MS} ms at the median, µs", "error_99_us": "at 99 %, µs",
            "earliest_us": "earliest, µs", "speed_off_percent": "off 1 MiB/s, %", "pause_ms": "longest pause, ms"}


def report(data):
    peers = [name for name in (OURS, HAPROXY, NOXIOUS) if name in data]
    rows = [[name, *(spread(data[name][figure]) for figure in FIGURES)] for name in peers]
    for peer in peers[1:]:
        rows.append([f"ratio to {peer}", *(f"{ratio(data[OURS][figure], data[peer][figure]):.2f}" for figure in FIGURES)])
    rules = [[title, spread(data[name][figure])] for figure, title in OF_RULES.items()
             for name in (DELAYED, THROTTLED) if figure in data.get(name, {})]
    return f"""\
{markdown(["", *FIGURES.values()], rows)}

nginx answers behind each proxy. The latency is that of one client with one connection; a connection carries one small request.

{markdown(["rule", "figure"], rules)}

All processes that take part in latencies and delays have real-time priority. The way through the proxy at the same pace is not part
of the error of the delay.
"""
