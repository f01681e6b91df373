"""The cost of a TCP proxy in front of nginx, compared with HAProxy in TCP mode."""

import re

from .. import machine, server
from ..context import Samples
from ..services import OURS, rendered
from ..stats import spread, summary
from ..table import markdown
from .proxy import HAPROXY, latency, per_gigabyte, upstream

TITLE = "TCP proxies"

DELAY_MS = 30
DELAYED = f"{OURS}, {DELAY_MS} ms"
CONNECTIONS = 16
DELAY_RULE = f"{{faults: [{{name: late, target: tcp, delay: {DELAY_MS}ms}}]}}"


def ours(behind, **environment):
    port, probe = server.free_port(), server.free_port()
    own = {"PORT": str(probe), "BIND_ADDRESS": "127.0.0.1", "ADMIN_ADDRESS": "127.0.0.1:0", "SEED": "42",
           "LOG_LEVEL": "warn", "MAX_CONNECTIONS": "4096", "PROXIES": f"tcp=127.0.0.1:{port}->127.0.0.1:{behind.port}"}
    return server.running([machine.PROGRAM], port, own | environment)


def haproxy(behind):
    port = server.free_port()
    file = rendered("tcp.cfg", port, UPSTREAM=behind.port)
    return server.running([machine.tool("haproxy"), "-db", "-f", file], port)


def run(context):
    proxies = {OURS: ours}
    if machine.tool("haproxy"):
        proxies[HAPROXY] = haproxy
    samples = Samples()
    with upstream() as behind:
        for name in context.interleaved(proxies):
            with proxies[name](behind) as running:
                machine.say(f"tcp, {name}")
                added = latency(running, "/small") - latency(behind, "/small")
                samples.add(name, added_us=added, cpu_per_gb=per_gigabyte(running),
                            connection_us=per_connection(running, context.pace))
            if name == OURS:
                with ours(behind, FAULTS=DELAY_RULE) as delayed:
                    # The way through the proxy is not part of the error.
                    error = latency(delayed, "/small", 40) - added - latency(behind, "/small") - DELAY_MS * 1e3
                    samples.add(DELAYED, error_us=error)
    return {name: {figure: summary(values) for figure, values in figures.items()} for name, figures in samples.all.items()}


def per_connection(running, pace):
    """CPU time of the proxy per connection with one request, in microseconds."""
    command = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.tool("wrk"), "-t1", f"-c{CONNECTIONS}",
               f"-d{max(1, round(2 * pace))}s", "-H", "Connection: close", f"http://127.0.0.1:{running.port}/small"]
    machine.note(command)
    before = running.cpu_seconds()
    requests = re.search(r"(\d+) requests in", machine.output(*command))
    return (running.cpu_seconds() - before) / int(requests[1]) * 1e6


def report(data):
    figures = {"cpu_per_gb": "CPU per GB, s", "connection_us": "CPU per connection, µs",
               "added_us": "added at the median, µs", "error_us": f"error of {DELAY_MS} ms, µs"}
    rows = [[name, *(spread(of[figure]) if figure in of else "" for figure in figures)] for name, of in data.items()]
    return f"""\
{markdown(["", *figures.values()], rows)}

nginx answers behind each proxy. The latency is that of one client with one connection; a connection carries one small request.
"""
