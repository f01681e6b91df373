"""The engine without a network, by divan."""

import re
import subprocess

from .. import machine
from ..stats import number, summary
from ..table import markdown

TITLE = "The engine alone"
UNITS = {"ps": 1e-12, "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
# Decisions of a sample, in bench/decide.rs.
BATCH = 1_000


def run(context):
    command = ["cargo", "bench", "--quiet", "--bench", "decide", "--", "--max-time", str(0.1 * context.pace)]
    machine.note(command)
    # Built first, so that the compiler is not held to one core.
    machine.check("cargo", "bench", "--quiet", "--bench", "decide", "--no-run", cwd=machine.ROOT)
    every = {}
    for turn in range(context.rounds):
        machine.say(f"engine, round {turn + 1} of {context.rounds}")
        pinned = ["taskset", "--cpu-list", str(machine.SERVER_CORE), *command]
        done = subprocess.run(pinned, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True, check=True)
        for name, seconds in medians(done.stdout).items():
            every.setdefault(name, []).append(seconds)
    return {name: summary(values) for name, values in every.items()}


def medians(text):
    """The median of each benchmark in divan's table, in seconds, by `group argument`."""
    result, group = {}, ""
    for line in text.splitlines():
        match = re.match(r"^(?P<indent>[│ ]*)[├╰]─ (?P<name>\S+)\s*(?P<cells>.*)$", line)
        if not match:
            continue
        name = match["name"]
        if match["indent"]:
            name = f"{group} {name}"
        else:
            group = name
        cells = [cell.strip() for cell in match["cells"].split("│")]
        if len(cells) > 2 and (value := re.fullmatch(r"([\d.]+) (\S+)", cells[2])):
            result[name] = float(value[1]) * UNITS[value[2]]
    return result


def report(data):
    rows = []
    for name, result in data.items():
        whole = name.split()[0] in ("build_1000_rules", "succeed_1000_rules", "scrape")
        low, middle, high = (result[key] * 1e6 * (1 if whole else 1000 / BATCH) for key in ("min", "median", "max"))
        rows.append([f"`{name}`", f"{number(middle)} ({number(low)}–{number(high)}) {'µs' if whole else 'ns'}"])
    return markdown(["benchmark and its argument", "median of a sample's medians"], rows) + """
A decision is in ns: `independent`, `bursts_of_5`, `bursts_of_100` have as many rules as the argument says, the others
ten. `scrape` is the text of `/metrics` with as many rules.
"""
