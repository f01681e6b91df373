"""CPU time of the server per request."""

import re

from .. import machine
from ..context import CoreWatch, Samples
from ..load import client
from ..stats import mostly, number, spread, summary
from ..table import markdown

TITLE = "Cost of a request"
CONNECTIONS = 64
MODES = {"keep-alive": [], "one connection per request": ["close"]}

# A client or server that uses this share of its core is saturated.
FULL = 0.9


def run(context):
    data = {}
    for mode, options in MODES.items():
        machine.say(f"cost, {mode}")
        samples = Samples()
        for service in context.interleaved(context.services):
            with service.running() as server:
                client("cost", server.goal, CONNECTIONS, 0.15 * context.pace, *options)
                watch = CoreWatch(server)
                result = client("cost", server.goal, CONNECTIONS, 0.7 * context.pace, *options)
                cpu, others = watch.end()
                samples.add(service.name, **figures(result, cpu, others))
                if not options and machine.tool("wrk"):
                    samples.add(service.name, wrk=wrk(server.goal))
        data[mode] = {name: kept(figures) for name, figures in samples.all.items()}
    return data


def figures(result, cpu, others):
    """The figures of one run. The client is the limit if its core is saturated and the server's is not."""
    if cpu is None:
        return {"rate": result["requests"] / result["seconds"], "limited": result["busy"] > FULL,
                "failed": result["failed"] / result["requests"]}
    server_busy = cpu / result["seconds"]
    return {"cpu_us": cpu / result["requests"] * 1e6, "rate": result["requests"] / result["seconds"],
            "failed": result["failed"] / result["requests"], "others": others,
            "limited": result["busy"] > FULL > server_busy}


def wrk(goal):
    """Requests per second by wrk, as a second opinion."""
    command = ["taskset", "--cpu-list", str(machine.CLIENT_CORE), machine.tool("wrk"), "-t1", f"-c{CONNECTIONS}", "-d1s",
               f"http://{goal}"]
    machine.note(command)
    found = re.search(r"Requests/sec:\s+([\d.]+)", machine.output(*command))
    if not found:
        raise RuntimeError(f"wrk says nothing about {goal}")
    return float(found[1])


def kept(figures):
    """Summaries of the figures; of the flags, whether most are set."""
    return {name: mostly(values) if name == "limited" else summary(values) for name, values in figures.items()}


def report(data):
    parts = []
    for mode, services in data.items():
        rows = []
        for name, figures in services.items():
            rows.append([
                name,
                spread(figures["cpu_us"]) if "cpu_us" in figures else "",
                spread(figures["rate"], limited=figures["limited"]),
                spread(figures["wrk"]) if "wrk" in figures else "",
                f"{figures['others']['median']:.0%}" if "others" in figures else "",
            ])
        head = [f"{CONNECTIONS} connections", "CPU per request, µs", "requests/s", "requests/s by wrk",
                "core taken by others"]
        parts.append(f"### {mode.capitalize()}\n\n{markdown(head, rows)}")
    failed = {name: max(data[mode][name]["failed"]["median"] for mode in data) for name in data["keep-alive"]}
    failing = ", ".join(f"{number(share * 100)} % of {name}" for name, share in failed.items() if share)
    parts.append(f"""\
Each connection has one request under way. Ten rules of 1 % each fail 9.6 % of the answers; not 200 were: {failing or 'none'}.
Where others took much of the server's core, requests/s say little.
""")
    return "\n".join(parts)
