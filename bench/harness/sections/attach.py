"""The cost of `attach` in front of nginx, compared with the ordinary proxy in front of it, in a network namespace like a Pod's."""

import contextlib
import os
import time

from .. import machine, server
from ..context import Samples
from ..stats import spread, summary
from ..table import markdown
from .proxy import CONNECTIONS, latency, per_request, upstream

TITLE = "A port that is taken over"

ATTACH, PROXY = "attach", "the ordinary proxy"
SPACE, LINK = "probesim-bench", "probesim-bench"
HOST, POD = "10.78.0.1", "10.78.0.2"
INSIDE = ["ip", "netns", "exec", SPACE]


@contextlib.contextmanager
def network():
    """A network namespace, behind a pair of interfaces."""
    ip = lambda *command: machine.check("ip", *command)
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", SPACE)
        ip("addr", "add", f"{HOST}/24", "dev", LINK)
        ip("link", "set", LINK, "up")
        ip("-n", SPACE, "addr", "add", f"{POD}/24", "dev", "eth0")
        ip("-n", SPACE, "link", "set", "eth0", "up")
        ip("-n", SPACE, "link", "set", "lo", "up")
        yield
    finally:
        ip("netns", "del", SPACE)


@contextlib.contextmanager
def attached(behind):
    """`attach` in front of nginx; clients keep their address."""
    command = [*INSIDE, machine.PROGRAM, "attach", "--port", behind.port, "--for", "10m"]
    with server.running(command, behind.port, {"LOG_LEVEL": "warn"}, host=POD) as running:
        end = time.monotonic() + server.PATIENCE
        # Before the port is taken over, nginx answers.
        while '"attached"' not in (log := running.child.log.read_text()):
            if running.child.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"attach has not taken the port: {log}")
            time.sleep(0.02)
        yield running


@contextlib.contextmanager
def proxied(behind):
    """The ordinary proxy in front of nginx, on another port."""
    port = server.free_port()
    own = {"PORT": str(port), "ADMIN_ADDRESS": "127.0.0.1:0", "LOG_LEVEL": "warn", "UPSTREAM": f"http://127.0.0.1:{behind.port}"}
    with server.running([*INSIDE, machine.PROGRAM], port, own, host=POD) as running:
        yield running


def run(context):
    if not machine.tool("ip") or os.geteuid() != 0:
        return {}
    samples, proxies = Samples(), {ATTACH: attached, PROXY: proxied}
    with network(), upstream(INSIDE, "0.0.0.0", POD) as behind:
        for name in context.interleaved(proxies):
            machine.say(f"attach, {name}")
            alone = latency(behind, "/small")
            with proxies[name](behind) as running:
                samples.add(name, idle=running.resident_bytes() / 1024)
                samples.add(name, cpu_us=per_request(running, context.pace))
                samples.add(name, added_us=latency(running, "/small") - alone, idle_after=running.resident_bytes() / 1024)
    return {name: {figure: summary(values) for figure, values in figures.items()} for name, figures in samples.all.items()}


def table(data):
    figures = {"cpu_us": "CPU per request, µs", "added_us": "added at the median, µs", "idle": "resident, started, KiB",
               "idle_after": "resident, after the load, KiB"}
    rows = [[name, *(spread(of[figure]) for figure in figures)] for name, of in data.items()]
    return markdown(["", *figures.values()], rows)


def report(data):
    return f"""\
{table(data)}

nginx listens on all addresses of a network namespace. The clients are outside, with {CONNECTIONS} connections that are kept on both
sides, or one client for the latency. No rule is given.
"""
