"""Puts the figures of results.json into the documentation, between its markers.

`<!-- figure NAME -->…<!-- /figure -->` is one figure, `<!-- figures NAME -->…<!-- /figures -->` are lines of their own.
"""

import json
import re

from . import goals, machine, results
from .goals import value
from .sections import attach, crates, growth, proxy, tcp, tls
from .services import AXUM, GO, OURS, OURS_TEN
from .stats import number
from .table import markdown

FILES = ("README.md", "docs/benchmarks.md")
MARKER = re.compile(r"(<!-- (figures?) ([\w-]+) -->)(.*?)(<!-- /\2 -->)", re.DOTALL)
MIB, KIB = 1 / (1 << 20), 1 / (1 << 10)
KEEP, EACH = "keep-alive", "one connection per request"
SHOWN = (OURS, GO, "nginx", "Envoy")


def write(directory):
    """Writes everything that is made of results.json: the report, its pictures, and the figures of the documentation."""
    taken = json.loads((directory / "results.json").read_text())
    results.write(directory, taken)
    for name in FILES:
        file = machine.ROOT / name
        file.write_text(filled(file.read_text(), taken["sections"]))


def filled(text, taken):
    """The text with the figures between its markers."""
    def figure(match):
        begin, kind, name, _, end = match.groups()
        made = (TABLES if kind == "figures" else FIGURES)[name](taken)
        return f"{begin}\n{made.strip()}\n{end}" if kind == "figures" else f"{begin}{made}{end}"
    return MARKER.sub(figure, text)


def shown(taken, *path, scale=1.0):
    """The figure at a path, or nothing where it was not measured."""
    found = value(taken, path)
    return "" if found is None else number(found * scale)


def ratio(taken, ours, theirs):
    """The quotient of two figures, or nothing."""
    one, other = value(taken, ours), value(taken, theirs)
    return "" if one is None or not other else number(one / other)


def delay(taken, name):
    """Error of a delay of 50 ms with 1,000 clients, and how many answers were early."""
    of = ("delay", "50", "1000", name)
    middle, most = (shown(taken, *of, percentile, scale=1e-3) for percentile in ("p50", "p99"))
    early, answers = value(taken, (*of, "early")), value(taken, (*of, "requests"))
    if not middle:
        return ""
    return f"{middle} / {most}" + (f", {early / answers:.0%} early" if early else "")


def memory(taken, name):
    idle, load = (shown(taken, "footprint", name, figure, scale=MIB) for figure in ("idle", "after_load"))
    return f"{idle} / {load}" if idle else ""


def comparison(taken):
    cells = {
        "binary, MB": lambda name: shown(taken, "footprint", name, "binary", scale=1e-6),
        "resident memory, idle / after load, MiB": lambda name: memory(taken, name),
        "CPU time of a request, kept connection, µs": lambda name: shown(taken, "cost", KEEP, name, "cpu_us"),
        "the same with ten rules, µs": lambda name: shown(taken, "cost", KEEP, OURS_TEN, "cpu_us") if name == OURS else "",
        "CPU time of a request, a connection for each, µs": lambda name: shown(taken, "cost", EACH, name, "cpu_us"),
        "a delay of 50 ms, 1,000 clients: error at the median / 99 %, ms": lambda name: delay(taken, name),
        "memory of an idle connection, KiB": lambda name: shown(taken, "footprint", name, "rested", scale=KIB),
        "from exec to the first 200, ms": lambda name: shown(taken, "footprint", name, "start_ms"),
    }
    return markdown(["", *SHOWN], [[head, *map(cell, SHOWN)] for head, cell in cells.items()])


def instructions(taken):
    names = [name for name in (OURS, OURS_TEN, "bare epoll", AXUM, "nginx", "HAProxy") if value(taken, ("instructions", name, KEEP))]
    return markdown(["instructions of a request in user space", *names],
                    [[mode, *(shown(taken, "instructions", name, mode) for name in names)] for mode in (KEEP, EACH)])


def compared(rows):
    """A table of our figures, those of another program, and their quotient."""
    def table(taken):
        made = []
        for head, ours, other, theirs in rows:
            cells = [shown(taken, *path) for path in (ours, theirs)]
            if all(cells):
                made.append([head, cells[0], f"{other}: {cells[1]}", ratio(taken, ours, theirs)])
        return markdown(["", OURS, "compared with", "ratio"], made) if made else "Not measured."
    return table


PROXY, TCP, TLS = ("proxy", OURS), ("tcp", OURS), ("tls", OURS)
PROXIES = compared([
    ("HTTP: CPU time of a request, µs", (*PROXY, "cpu_us"), "HAProxy", ("proxy", proxy.HAPROXY, "cpu_us")),
    ("the same, compared with Envoy", (*PROXY, "cpu_us"), "Envoy", ("proxy", proxy.ENVOY, "cpu_us")),
    ("HTTP: CPU time of a GB of bodies, s", (*PROXY, "cpu_per_gb"), "HAProxy", ("proxy", proxy.HAPROXY, "cpu_per_gb")),
    ("HTTP: time added at the median, µs", (*PROXY, "added_us"), "HAProxy", ("proxy", proxy.HAPROXY, "added_us")),
    ("TCP: CPU time of a GB, s", (*TCP, "cpu_per_gb"), "HAProxy", ("tcp", proxy.HAPROXY, "cpu_per_gb")),
    ("TCP: CPU time of a new connection, µs", (*TCP, "connection_us"), "HAProxy", ("tcp", proxy.HAPROXY, "connection_us")),
    ("TCP: time added at the median, µs", (*TCP, "added_us"), "HAProxy", ("tcp", proxy.HAPROXY, "added_us")),
    ("TCP: memory of an idle connection, bytes", (*TCP, "idle_bytes"), "HAProxy", ("tcp", proxy.HAPROXY, "idle_bytes")),
    ("TCP: CPU time of a GB, s", (*TCP, "cpu_per_gb"), "noxious", ("tcp", tcp.NOXIOUS, "cpu_per_gb")),
    ("TCP: time added at the median, µs", (*TCP, "added_us"), "noxious", ("tcp", tcp.NOXIOUS, "added_us")),
])
SECURE = compared([
    ("full handshake, TLS 1.3, µs", (*TLS, "handshake"), "nginx", ("tls", tls.NGINX, "handshake")),
    ("request over HTTP/1.1 and TLS, µs", (*TLS, "kept"), "without TLS", (*TLS, "plain")),
    ("request over HTTP/2 and TLS, µs", (*TLS, "http2"), "HAProxy", ("tls", tls.HAPROXY, "http2")),
    ("the same, compared with its libraries alone", (*TLS, "http2"), tls.BARE, ("tls", tls.BARE, "http2")),
    ("gRPC `Check`, µs", (*TLS, "call"), "grpc-go", ("tls", tls.GRPC_GO, "call")),
    ("start with `TLS=self-signed`, ms", ("tls", tls.SELF_SIGNED, "start"), "without TLS", ("tls", tls.NO_TLS, "start")),
    ("resident after a request over TLS, KiB", ("tls", tls.SELF_SIGNED, "idle"), "without TLS", ("tls", tls.NO_TLS, "idle")),
])


def of_section(name, report):
    """The report of one section, or that it was not measured."""
    def table(taken):
        data = taken.get(name, {}).get("data")
        return report(data) if data else "Not measured."
    return table


def conditions(taken):
    """When and where the sections were measured, in a sentence for each."""
    places = {}
    for name, section in taken.items():
        found = section["machine"]
        place = (section["taken"].split()[0], section["revision"], found["cpu"], found["cores"], found["kernel"].split("-")[0],
                 found["versions"]["rustc"].split(" (")[0])
        places.setdefault(place, []).append(name)
    lines = []
    for (day, revision, cpu, cores, kernel, rustc), names in places.items():
        what = "Everything" if len(places) == 1 else ", ".join(f"`{name}`" for name in names)
        lines.append(f"{what}: measured on {day} at {revision}, on a virtual machine with {cores} cores ({cpu}), Linux {kernel}, {rustc}.")
    return "\n".join(lines)


PLOTS = """\
![CPU time of a request, by rules and connections](../bench/growth-requests.svg)

![CPU time of predict, by Pods and hours](../bench/growth-predict.svg)

"""
TABLES = {
    "conditions": conditions,
    "comparison": comparison,
    "goals": goals.report,
    "instructions": instructions,
    "proxies": PROXIES,
    "tls": SECURE,
    "attach": of_section("attach", attach.table),
    "growth": of_section("growth", lambda data: PLOTS + growth.tables(data)),
    "capabilities": of_section("crates", crates.capabilities),
}
FIGURES = {
    "binary-mb": lambda taken: shown(taken, "footprint", OURS, "binary", scale=1e-6),
    "idle-mib": lambda taken: shown(taken, "footprint", OURS, "idle", scale=MIB),
    "start-ms": lambda taken: shown(taken, "footprint", OURS, "start_ms"),
}
