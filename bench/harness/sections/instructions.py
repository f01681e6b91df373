"""Instructions per request, which the noise of the machine does not change."""

import re
import subprocess

from .. import machine, server
from ..load import client
from ..stats import number
from ..table import markdown

TITLE = "Instructions of a request"
MODES = {"keep-alive": [], "one connection per request": ["close"]}
TRIES = 3


def run(context):
    if not machine.tool("valgrind"):
        machine.say("valgrind is missing: instructions are left out")
        return {}
    few, many = (int(count * context.pace) for count in (200, 1200))
    data = {}
    for service in context.services:
        if not service.valgrind:
            continue
        machine.say(f"instructions of {service.name}")
        data[service.name] = {}
        for mode, options in MODES.items():
            counts = [tried(service, requests, options) for requests in (few, many)]
            if None not in counts:
                data[service.name][mode] = (counts[1] - counts[0]) / (many - few)
    return data


def tried(service, requests, options):
    """Instructions from start to end of the service; None if it does not run under valgrind.

    Go's runtime now and then fails there for no reason of its own.
    """
    for _ in range(TRIES):
        if total := count(service, requests, options):
            return total
    machine.say(f"{service.name} does not run under valgrind")
    return None


def count(service, requests, options):
    """The same for one attempt."""
    port = server.free_port()
    launch = service.launch(port, 0)
    out = machine.WORK / "callgrind.out"
    out.unlink(missing_ok=True)
    command = [machine.tool("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}", *launch.command]
    try:
        with server.running(command, port, launch.environment) as running:
            client("cost", running.goal, 1, f"{requests}r", *options)
    except (RuntimeError, subprocess.SubprocessError) as error:
        machine.say(str(error))
        return None
    total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE) if out.exists() else None
    return int(total[1]) if total else None


def report(data):
    rows = [[name, *(number(figures[mode]) if mode in figures else "" for mode in MODES)]
            for name, figures in data.items()]
    return markdown(["instructions in user space per request", *MODES], rows) + """
By callgrind, as the difference of two runs that differ in the number of requests alone, so that the start does not
count. What the kernel does is not in it.
"""
