"""The figures to reach, each as a ratio of two figures of one run."""

from dataclasses import dataclass

from .sections import attach, proxy, tcp, tls
from .services import AXUM, GO, OURS, OURS_TEN
from .stats import number
from .table import markdown


@dataclass
class Goal:
    """`what` must be at most `most` times (or units of) what it is compared with."""

    what: str
    most: float
    ours: tuple
    theirs: tuple = None
    unit: str = ""
    scale: float = 1.0
    # The goal is "below", not "at most".
    below: bool = False


KEEP, EACH = ("cost", "keep-alive"), ("cost", "one connection per request")
PROXY, TLS = ("proxy", OURS), ("tls", OURS)
ATTACH, ORDINARY = ("attach", attach.ATTACH), ("attach", attach.PROXY)

GOALS = [
    Goal("binary", 6.0, ("footprint", OURS, "binary"), unit="MB", scale=1e-6),
    Goal("resident, idle", 2.0, ("footprint", OURS, "idle"), unit="MiB", scale=1 / (1 << 20)),
    Goal("resident, after load", 3.0, ("footprint", OURS, "after_load"), unit="MiB", scale=1 / (1 << 20)),
    Goal("CPU per request, ten rules, to bare axum", 1.05, (*KEEP, OURS_TEN, "cpu_us"), (*KEEP, AXUM, "cpu_us")),
    Goal("CPU per request, ten rules, to a Go handler", 0.65, (*KEEP, OURS_TEN, "cpu_us"), (*KEEP, GO, "cpu_us")),
    Goal("CPU per request, to nginx", 1.0, (*KEEP, OURS, "cpu_us"), (*KEEP, "nginx", "cpu_us")),
    Goal("one connection per request, to bare axum", 0.6, (*EACH, OURS_TEN, "cpu_us"), (*EACH, AXUM, "cpu_us")),
    Goal("one connection per request, to a Go handler", 1.0, (*EACH, OURS_TEN, "cpu_us"), (*EACH, GO, "cpu_us"),
         below=True),
    Goal("50 ms, one client, p50", 0.3, ("delay", "50", "1", OURS, "p50"), unit="ms", scale=1e-3),
    Goal("50 ms, one client, p99", 0.8, ("delay", "50", "1", OURS, "p99"), unit="ms", scale=1e-3),
    Goal("50 ms, 1,000 clients, p50 to a Go handler", 0.5, ("delay", "50", "1000", OURS, "p50"),
         ("delay", "50", "1000", GO, "p50"), below=True),
    Goal("50 ms, 1,000 clients, p99 to a Go handler", 1.0, ("delay", "50", "1000", OURS, "p99"),
         ("delay", "50", "1000", GO, "p99"), below=True),
    Goal("1 ms, one client, p50", 0.3, ("delay", "1", "1", OURS, "p50"), unit="ms", scale=1e-3, below=True),
    Goal("exec to first 200, to bare axum", 1.25, ("footprint", OURS, "start_ms"), ("footprint", AXUM, "start_ms")),
    Goal("connection never used, to bare axum", 1.0, ("footprint", OURS, "unused"), ("footprint", AXUM, "unused")),
    Goal("connection idle after a request, to bare axum", 0.5, ("footprint", OURS, "rested"),
         ("footprint", AXUM, "rested")),
    Goal("connection idle after a request", 2.5, ("footprint", OURS, "rested"), unit="KiB", scale=1 / 1024),
    Goal("instructions of a request", 10_000, ("instructions", OURS, "keep-alive")),
    Goal("proxied request, CPU, to HAProxy", 1.3, (*PROXY, "cpu_us"), ("proxy", proxy.HAPROXY, "cpu_us")),
    Goal("proxied request, CPU, to Envoy", 0.5, (*PROXY, "cpu_us"), ("proxy", proxy.ENVOY, "cpu_us")),
    Goal("proxied request, ten rules to none", 1.1, ("proxy", proxy.TEN, "cpu_us"), (*PROXY, "cpu_us")),
    Goal("proxied request, time added, to HAProxy", 1.3, (*PROXY, "added_us"), ("proxy", proxy.HAPROXY, "added_us")),
    Goal("proxied body, CPU per GB, to HAProxy", 1.2, (*PROXY, "cpu_per_gb"), ("proxy", proxy.HAPROXY, "cpu_per_gb")),
    Goal("proxy, resident, idle", 2.5, (*PROXY, "idle"), unit="MiB", scale=1 / 1024),
    Goal("proxied request that waits, resident", 25.0, (*PROXY, "waiting"), unit="KiB"),
    Goal("proxied request, 50 ms", 0.3, ("proxy", proxy.LATE, "error_us"), unit="ms", scale=1e-3),
    Goal("attach, request, CPU, to the proxy", 1.1, (*ATTACH, "cpu_us"), (*ORDINARY, "cpu_us")),
    Goal("attach, request, time added", 0.4, (*ATTACH, "added_us"), unit="ms", scale=1e-3),
    Goal("attach, resident, idle", 3.0, (*ATTACH, "idle"), unit="MiB", scale=1 / 1024),
    Goal("TCP proxy, CPU per GB, to HAProxy", 1.2, ("tcp", OURS, "cpu_per_gb"), ("tcp", proxy.HAPROXY, "cpu_per_gb")),
    Goal("TCP proxy, CPU per connection, to HAProxy", 1.3, ("tcp", OURS, "connection_us"),
         ("tcp", proxy.HAPROXY, "connection_us")),
    Goal("TCP proxy, time added, to HAProxy", 1.2, ("tcp", OURS, "added_us"), ("tcp", proxy.HAPROXY, "added_us")),
    Goal("TCP proxy, CPU per GB, to noxious", 1.0, ("tcp", OURS, "cpu_per_gb"), ("tcp", tcp.NOXIOUS, "cpu_per_gb"),
         below=True),
    Goal("TCP proxy, 30 ms, p50", 0.3, ("tcp", tcp.DELAYED, "error_us"), unit="ms", scale=1e-3),
    Goal("TCP proxy, 30 ms, p99", 1.0, ("tcp", tcp.DELAYED, "error_99_us"), unit="ms", scale=1e-3),
    Goal("TCP proxy, off 1 MiB/s", 1.0, ("tcp", tcp.THROTTLED, "speed_off_percent"), unit="%"),
    Goal("TCP proxy, pause at 1 MiB/s", 50.0, ("tcp", tcp.THROTTLED, "pause_ms"), unit="ms"),
    Goal("TCP proxy, idle connection", 8.0, ("tcp", OURS, "idle_bytes"), unit="KiB", scale=1 / 1024),
    # 0.9 times the handshakes per CPU second.
    Goal("TLS handshake, CPU, to nginx", 1.11, (*TLS, "handshake"), ("tls", tls.NGINX, "handshake")),
    Goal("request over TLS, CPU, to one without", 1.3, (*TLS, "kept"), (*TLS, "plain")),
    Goal("request over HTTP/2 and TLS, CPU, to HAProxy", 1.2, (*TLS, "http2"), ("tls", tls.HAPROXY, "http2")),
    Goal("gRPC `Check`, CPU, to grpc-go", 1.0, (*TLS, "call"), ("tls", tls.GRPC_GO, "call"), below=True),
    Goal("resident with TLS, used", 3.0, ("tls", tls.SELF_SIGNED, "idle"), unit="MiB", scale=1 / 1024),
]


def value(sections, path):
    """The figure at a path, or its median; None where it was not measured."""
    section, *keys = path
    at = sections.get(section, {}).get("data", {})
    for key in keys:
        if not isinstance(at, dict) or key not in at:
            return None
        at = at[key]
    return at["median"] if isinstance(at, dict) else at


def outcome(goal, sections):
    """What was reached, and whether that is enough; None where something was not measured."""
    ours = value(sections, goal.ours)
    theirs = value(sections, goal.theirs) if goal.theirs else 1.0
    if ours is None or not theirs:
        return None
    reached = ours * goal.scale / theirs
    return reached, reached < goal.most or (reached == goal.most and not goal.below)


def early(sections):
    """How many answers of ours came early; None where no delay was measured."""
    if "delay" not in sections:
        return None
    return sum(services[OURS]["early"] for by_clients in sections["delay"]["data"].values()
               for services in by_clients.values() if OURS in services)


def report(sections):
    """The table of goals."""
    rows = []
    for goal in GOALS:
        found = outcome(goal, sections)
        most = f"{goal.most:g}" if goal.most < 1000 else number(goal.most)
        bound = f"{'below' if goal.below else 'at most'} {most} {goal.unit}".strip()
        if found is None:
            rows.append([goal.what, bound, "not measured", ""])
        else:
            rows.append([goal.what, bound, f"{number(found[0])} {goal.unit}".strip(), "yes" if found[1] else "**no**"])
    count = early(sections)
    if count is not None:
        rows.append(["early answers", "0", count, "yes" if count == 0 else "**no**"])
    return markdown(["", "to reach", "reached", ""], rows)
